/* file/model_sink_plain.c - the tensors of a model as one safetensors file, names as in the source or HuggingFace's.
 *
 * Block types become f32 through the caller's function, whole tensors at a time. */
#include "file/model_sink_parts.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static pith_status unsupported(const sink_tensor *p, const char *what, pith_error *err) {
    return pith_fail(err, PITH_UNSUPPORTED, p->name, -1, "%s", what);
}

/* HuggingFace's name and layout of a tensor known by its canonical name. */
static pith_status plan_hf(model_sink *k, const model_tensor *t, sink_tensor *p, pith_error *err) {
    const char *architecture = meta_text(k->meta, "general.architecture", NULL);
    char name[HF_NAME];
    bool transposed = false, from_hf = model_source_extra(k->source, "config.json") != NULL;
    bool known = hf_from_canonical(architecture, t->canonical, name, &transposed);
    if (!from_hf && strcmp(t->canonical, "rope_freqs.weight") == 0) {
        p->skip = true; /* config.json says it in numbers */
        return PITH_OK;
    }
    if (!known && !from_hf) return unsupported(p, "expected a tensor that has a name in HuggingFace's form", err);
    if (!from_hf) snprintf(p->name, sizeof p->name, "%s", name);
    if (known) p->turn = transposed != t->transposed;
    if (!k->source->rope_halves) p->heads = hf_reordered_heads(k->meta, t->canonical);
    return PITH_OK;
}

static pith_status plan_tensor(model_sink *k, size_t i, bool hf, pith_error *err) {
    const model_tensor *t = &k->source->tensors[i];
    sink_tensor *p = &k->plan[i];
    uint16_t type = k->options.types ? k->options.types[i] : t->layout.type;
    int64_t shape[PITH_MAX_RANK];
    uint64_t bytes;
    if (snprintf(p->name, sizeof p->name, "%s", t->name) >= (int)sizeof p->name)
        return unsupported(p, "the name is too long", err);
    pith_status st = hf ? plan_hf(k, t, p, err) : PITH_OK;
    if (st != PITH_OK || p->skip) return st;
    if (pith_type_is_packed(type)) {
        if (!k->options.to_f32) return unsupported(p, "expected a plain type", err);
        type = PITH_F32;
    }
    memcpy(shape, t->layout.shape, sizeof shape);
    if (p->turn) {
        if (t->layout.rank != 2) return unsupported(p, "expected a matrix", err);
        shape[0] = t->layout.shape[1];
        shape[1] = t->layout.shape[0];
    }
    return pith_tensor_layout(&p->layout, type, t->layout.rank, shape, &bytes, err);
}

/* The source's own header, if the target is to hold the very same. */
static bool same_header(const model_sink *k, pith_bytes *header) {
    const model_extra *kept = model_source_extra(k->source, MODEL_HEADER);
    safetensors f = {0};
    uint64_t total = 0;
    pith_error ignored = {0};
    if (!kept) return false;
    for (size_t i = 0; i < k->source->count; i++) total += pith_tensor_bytes(&k->plan[i].layout);
    if (safetensors_parse(&f, "header", kept->bytes, total, &ignored) != PITH_OK) return false;
    bool same = f.count == k->source->count;
    for (size_t i = 0; same && i < f.count; i++) {
        const pith_tensor *a = &f.entries[i].layout, *b = &k->plan[i].layout;
        same = strcmp(f.entries[i].name, k->plan[i].name) == 0 && a->type == b->type && a->rank == b->rank &&
               memcmp(a->shape, b->shape, sizeof a->shape) == 0;
    }
    safetensors_close(&f);
    *header = kept->bytes;
    return same;
}

static pith_status make_header(const model_sink *k, bool hf, pith_bytes *header, pith_error *err) {
    safetensors_entry *e = memory_zero(k->source->count, sizeof *e);
    size_t n = 0;
    if (!e) return sink_no_memory(k, err);
    for (size_t i = 0; i < k->source->count; i++)
        if (!k->plan[i].skip) e[n++] = (safetensors_entry){.name = k->plan[i].name, .layout = k->plan[i].layout};
    pith_status st = safetensors_header(e, n, hf ? "{\"format\":\"pt\"}" : NULL, header, err);
    memory_free(e);
    return st;
}

pith_status sink_plain_open(model_sink *k, const char *path, bool hf, pith_error *err) {
    pith_bytes header = {0};
    pith_status st = PITH_OK;
    for (size_t i = 0; i < k->source->count && st == PITH_OK; i++) st = plan_tensor(k, i, hf, err);
    if (st != PITH_OK || k->options.plan_only) return st;
    bool same = same_header(k, &header);
    if (!same) st = make_header(k, hf, &header, err);
    if (st == PITH_OK) st = safetensors_writer_open(&k->plain, path, k->options.replace, header, err);
    if (!same) memory_free(header.data);
    return st;
}

static pith_status expand(const model_sink *k, const pith_tensor *t, pith_tensor *out, pith_error *err) {
    pith_status st = pith_tensor_new(out, PITH_F32, t->rank, t->shape, err);
    return st == PITH_OK ? k->options.to_f32(t, 0, pith_tensor_row_count(t), out->data, err) : st;
}

static void turn(const pith_tensor *t, uint8_t *out) {
    size_t size = pith_types[t->type].block_bytes;
    int64_t rows = t->shape[0], cols = t->shape[1];
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = 0; r < rows; r++, out += size)
            memcpy(out, (uint8_t *)t->data + (size_t)(r * cols + c) * size, size);
}

pith_status sink_plain_put(model_sink *k, size_t i, const pith_tensor *given, pith_error *err) {
    const sink_tensor *p = &k->plan[i];
    pith_tensor expanded = {0};
    const pith_tensor *t = given;
    uint8_t *moved = NULL;
    pith_status st = PITH_OK;
    if (pith_type_is_packed(t->type)) {
        st = k->options.to_f32 ? expand(k, t, &expanded, err) : unsupported(p, "expected a plain type", err);
        t = &expanded;
    }
    size_t bytes = st == PITH_OK ? (size_t)pith_tensor_bytes(t) : 0;
    if (st == PITH_OK && (t->type != p->layout.type || bytes != pith_tensor_bytes(&p->layout)))
        st = pith_fail(err, PITH_USAGE, p->name, -1, "the tensor differs from what was announced");
    if (st == PITH_OK && (p->turn || p->heads)) {
        moved = memory_alloc(bytes);
        if (!moved) st = sink_no_memory(k, err);
        else if (p->turn) turn(t, moved);
        else st = model_reorder_rows(t, p->heads, false, moved, err);
    }
    if (st == PITH_OK) st = safetensors_write(k->plain, moved ? moved : t->data, bytes, err);
    memory_free(moved);
    pith_tensor_release(&expanded);
    return st;
}
