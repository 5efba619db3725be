/* file/model_sink.c - what all targets of a model share: order, reordering of rows, commit and abort. */
#include "file/model_sink.h"

#include "base/memory.h"
#include "file/model_sink_parts.h"

#include <string.h>

pith_status sink_no_memory(const model_sink *k, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, k ? k->path : NULL, -1, "out of memory");
}

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

model_target model_target_of(const char *path) {
    bool plain = ends_with(path, ".safetensors") || strcmp(path, "-") == 0;
    return ends_with(path, ".gguf") ? MODEL_GGUF : plain ? MODEL_SAFETENSORS : MODEL_FOLDER;
}

pith_status model_reorder_rows(const pith_tensor *t, uint64_t heads, bool to_adjacent, uint8_t *out, pith_error *err) {
    bool vector = t->rank == 1;
    uint64_t rows = vector ? (uint64_t)t->shape[0] : (uint64_t)pith_tensor_row_count(t);
    size_t bytes = vector ? pith_types[t->type].block_bytes : (size_t)t->row_bytes;
    if (heads == 0 || rows % heads || rows / heads % 2 || (vector && pith_types[t->type].block != 1))
        return pith_fail(err, PITH_MISMATCH, NULL, -1, "expected rows for %llu heads of an even size, found %llu rows",
                         (unsigned long long)heads, (unsigned long long)rows);
    uint64_t size = rows / heads, half = size / 2;
    const uint8_t *in = t->data;
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t i = 0; i < size; i++) {
            uint64_t apart = i % 2 * half + i / 2; /* where row i of adjacent pairs stands among halves */
            uint64_t from = h * size + (to_adjacent ? apart : i), to = h * size + (to_adjacent ? i : apart);
            memcpy(out + to * bytes, in + from * bytes, bytes);
        }
    return PITH_OK;
}

pith_status model_sink_open(model_sink **out, const char *path, model_source *s, const model_sink_options *o,
                            pith_error *err) {
    model_sink *k = memory_zero(1, sizeof *k);
    if (!k) return sink_no_memory(NULL, err);
    k->target = model_target_of(path);
    k->source = s;
    k->options = *o;
    k->meta = o->meta ? o->meta : s->meta;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    k->path = memory_text_n(path, n);
    k->plan = memory_zero(s->count, sizeof *k->plan);
    pith_status st = k->path && k->plan ? PITH_OK : sink_no_memory(NULL, err);
    if (st == PITH_OK && k->target == MODEL_GGUF) st = sink_gguf_open(k, err);
    else if (st == PITH_OK && k->target == MODEL_SAFETENSORS) st = sink_plain_open(k, k->path, false, err);
    else if (st == PITH_OK) st = sink_folder_open(k, err);
    if (st != PITH_OK) {
        model_sink_abort(k);
        return st;
    }
    *out = k;
    return PITH_OK;
}

const char *model_sink_planned(const model_sink *k, size_t i, pith_tensor *layout) {
    *layout = k->plan[i].layout;
    return k->plan[i].skip ? NULL : k->plan[i].name;
}

static pith_status put_gguf(model_sink *k, const sink_tensor *p, const pith_tensor *t, pith_error *err) {
    size_t bytes = (size_t)pith_tensor_bytes(t);
    if (!p->heads) return gguf_writer_write(k->gguf, t->data, bytes, err);
    uint8_t *ordered = memory_alloc(bytes);
    if (!ordered) return sink_no_memory(k, err);
    pith_status st = model_reorder_rows(t, p->heads, true, ordered, err);
    if (st == PITH_OK) st = gguf_writer_write(k->gguf, ordered, bytes, err);
    memory_free(ordered);
    return st;
}

pith_status model_sink_put(model_sink *k, size_t i, const pith_tensor *t, pith_error *err) {
    if (i != k->next || i >= k->source->count)
        return pith_fail(err, PITH_USAGE, k->path, -1, "expected tensor %zu, was given %zu", k->next, i);
    const sink_tensor *p = &k->plan[i];
    k->next++;
    if (p->skip) return PITH_OK;
    if (k->target != MODEL_GGUF) return sink_plain_put(k, i, t, err);
    if (t->type != p->layout.type || pith_tensor_bytes(t) != pith_tensor_bytes(&p->layout))
        return pith_fail(err, PITH_USAGE, p->name, -1, "the tensor differs from what was announced");
    return put_gguf(k, p, t, err);
}

pith_status model_sink_commit(model_sink *k, const output_check *check, pith_error *err) {
    pith_status st = PITH_OK;
    if (k->next != k->source->count)
        st = pith_fail(err, PITH_USAGE, k->path, -1, "expected %zu tensors, was given %zu", k->source->count, k->next);
    if (st == PITH_OK && k->gguf) {
        st = gguf_writer_commit_checked(k->gguf, check, err);
        k->gguf = NULL;
    }
    if (st == PITH_OK && k->plain) {
        st = safetensors_writer_commit(k->plain, err);
        k->plain = NULL;
    }
    if (st == PITH_OK && k->folder) st = sink_folder_commit(k, err);
    model_sink_abort(k);
    return st;
}

void model_sink_abort(model_sink *k) {
    if (!k) return;
    gguf_writer_abort(k->gguf);
    safetensors_writer_abort(k->plain);
    if (k->folder) sink_folder_abort(k);
    memory_free((float *)k->factors);
    memory_free(k->folder);
    memory_free(k->plan);
    memory_free(k->path);
    memory_free(k);
}

pith_status model_sink_copy(const char *path, model_source *s, const model_sink_options *o, const pith_context *c,
                            pith_error *err) {
    model_sink *k;
    double done = 0, total = 0;
    for (size_t i = 0; i < s->count; i++) total += (double)model_tensor_bytes(&s->tensors[i]);
    pith_status st = model_sink_open(&k, path, s, o, err);
    if (st != PITH_OK) return st;
    for (size_t i = 0; i < s->count && st == PITH_OK; i++) {
        pith_tensor t = {0};
        st = pith_progress(c, done, total, "bytes", err);
        if (st != PITH_OK) break;
        st = k->target == MODEL_GGUF ? model_source_canonical(s, i, &t, err) : model_source_load(s, i, &t, err);
        if (st == PITH_OK) st = model_sink_put(k, i, &t, err);
        pith_tensor_release(&t);
        done += (double)model_tensor_bytes(&s->tensors[i]);
    }
    if (st == PITH_OK) return model_sink_commit(k, NULL, err);
    model_sink_abort(k);
    return st;
}
