/* model/pack.c - the plan of packing a model, the stream of its tensors, and the check of what was written. */
#include "model/pack.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/hf_names.h"
#include "model/pack_convert.h"
#include "model/pack_reader.h"
#include "model/pack_writer.h"
#include "quant/mix.h"

#include <string.h>
#include <strings.h>

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

/* ---- plan ---- */

static void describe(const model_source *s, mix_model *m) {
    uint64_t v;
    memset(m, 0, sizeof *m);
    if (meta_model_u64(s->meta, "block_count", &v)) m->layers = (int)v;
    if (meta_model_u64(s->meta, "attention.head_count", &v)) m->heads = (int)v;
    m->kv_heads = m->heads;
    if (meta_model_u64(s->meta, "attention.head_count_kv", &v)) m->kv_heads = (int)v;
    m->tied = model_source_find(s, "output.weight") < 0;
}

/* What tensor i becomes: its type, and GGUF's orientation wherever something changes. */
static pith_status plan_tensor(pack_plan *p, const model_source *s, const pith_mix *mix, size_t i, pith_error *err) {
    const model_tensor *t = &s->tensors[i];
    int64_t shape[PITH_MAX_RANK];
    uint64_t bytes;
    memcpy(shape, t->layout.shape, sizeof shape);
    if (t->transposed) {
        shape[0] = t->layout.shape[1];
        shape[1] = t->layout.shape[0];
    }
    mix_choice choice = {t->layout.type, t->layout.type};
    if (mix) choice = pith_mix_choose(mix, t->canonical, t->layout.type, t->layout.rank, shape);
    p->tensors[i] = *t;
    p->types[i] = choice.type;
    p->wanted[i] = choice.wanted;
    bool same = choice.type == t->layout.type;
    if (!same) p->unchanged = false;
    if (same && !p->gguf) {
        p->bytes += model_tensor_bytes(t);
        return PITH_OK;
    }
    p->tensors[i].transposed = false;
    pith_status st = pith_tensor_layout(&p->tensors[i].layout, choice.type, t->layout.rank, shape, &bytes, err);
    p->bytes += bytes;
    return st;
}

static pith_status plan_tensors(pack_plan *p, const model_source *s, const pack_options *o, pith_error *err) {
    mix_model model;
    pith_mix *mix = NULL;
    pith_status st = PITH_OK;
    bool lossless = !o->type || strcasecmp(o->type, "lossless") == 0;
    if (lossless && p->gguf && o->type)
        return pith_fail(err, PITH_USAGE, "--type", -1, "lossless is for .pith files; expected a type GGUF has");
    if (lossless && o->rule_count)
        return pith_fail(err, PITH_USAGE, "--tensor-type", -1, "expected --type with it: lossless changes no tensor");
    describe(s, &model);
    model.importance = o->importance != NULL;
    if (!lossless) st = pith_mix_open(&mix, o->type, o->rules, o->rule_count, &model, err);
    if (!lossless) p->file_type = pith_mix_file_type(o->type);
    for (size_t i = 0; i < s->count && st == PITH_OK; i++) st = plan_tensor(p, s, mix, i, err);
    pith_mix_free(mix);
    return st;
}

/* Files of a .pith: all but a tokenizer that is in the metadata now, and a header that is no longer true. */
static void plan_extras(pack_plan *p, const model_source *s) {
    for (size_t i = 0; i < s->extra_count; i++) {
        const char *name = s->extras[i].name;
        if (strcmp(name, MODEL_HEADER) == 0 || (p->export.meta && strcmp(name, "tokenizer.bin") == 0)) continue;
        p->extras[p->extra_count++] = s->extras[i];
    }
}

pith_status pack_plan_make(pack_plan *p, model_source *s, const char *out, const pack_options *o, pith_error *err) {
    memset(p, 0, sizeof *p);
    p->gguf = ends_with(out, ".gguf");
    p->file_type = -1;
    p->unchanged = true;
    if (!p->gguf && !ends_with(out, ".pith") && strcmp(out, "-") != 0)
        return pith_fail(err, PITH_USAGE, out, -1, "expected an output ending in .gguf or .pith");
    if (p->gguf && o->base)
        return pith_fail(err, PITH_USAGE, "--base", -1,
                         "expected an output ending in .pith: GGUF holds no differences");
    p->count = s->count;
    p->tensors = memory_zero(s->count, sizeof *p->tensors);
    p->types = memory_zero(s->count, sizeof *p->types);
    p->wanted = memory_zero(s->count, sizeof *p->wanted);
    p->extras = memory_zero(s->extra_count, sizeof *p->extras);
    pith_status st = p->tensors && p->types && p->wanted && p->extras ? PITH_OK : no_memory(err);
    if (st == PITH_OK) st = plan_tensors(p, s, o, err);
    /* a tokenizer.json goes along as it is; llama2.c's becomes keys, as in GGUF */
    if (st == PITH_OK && (p->gguf || !model_source_extra(s, "tokenizer.json")))
        st = model_export_prepare(&p->export, "x.gguf", s, err);
    if (st == PITH_OK) plan_extras(p, s);
    if (st != PITH_OK) pack_plan_free(p);
    return st;
}

void pack_plan_free(pack_plan *p) {
    model_export_release(&p->export);
    memory_free(p->tensors);
    memory_free(p->types);
    memory_free(p->wanted);
    memory_free(p->extras);
    memset(p, 0, sizeof *p);
}

/* ---- stream ---- */

typedef struct stream {
    const pith_context *context;
    const pack_plan *plan;
    model_source *source;
    const pack_options *options;
    const char *out; /* for error texts */
    pack_base base;  /* zeroed: none */
    uint64_t *hash;  /* of each tensor, as it must come out of the file */
    model_sink *sink;
    pack_writer *writer;
    double done, total; /* bytes of source; verifying counts as half as much again */
    double span;        /* of the tensor in work */
    pith_error *err;
} stream;

static bool report(void *user, double done, double total, const char *unit) {
    const stream *x = user;
    (void)unit;
    if (!x->context->progress) return true;
    return x->context->progress(x->context->user, x->done + x->span * (total > 0 ? done / total : 0), x->total,
                                "bytes");
}

static pith_context inner_context(stream *x) {
    pith_context c = *x->context;
    c.progress = report;
    c.user = x;
    return c;
}

/* Whole tensors of a file map are read once: what they took of memory goes back. */
static void drop(pith_tensor *t) {
    if (t->owner && t->data) pith_buffer_forget(t->owner, t->data, pith_tensor_bytes(t));
    pith_tensor_release(t);
}

static pith_status make_tensor(stream *x, size_t i, pith_tensor *out) {
    const model_tensor *from = &x->source->tensors[i], *to = &x->plan->tensors[i];
    pith_tensor t = {0};
    pith_status s = from->transposed && to->transposed ? model_source_load(x->source, i, &t, x->err)
                                                       : model_source_canonical(x->source, i, &t, x->err);
    if (s != PITH_OK) return s;
    if (t.type == to->layout.type) {
        *out = t;
        return PITH_OK;
    }
    const float *importance = NULL;
    if (x->options->importance)
        importance = x->options->importance(x->options->user, from->canonical, pith_tensor_cols(&t));
    pith_context c = inner_context(x);
    s = pack_convert(&c, &t, to->layout.type, importance, from->name, out, x->err);
    drop(&t);
    return s;
}

static pith_status put_all(stream *x) {
    pith_status s = PITH_OK;
    pith_context c = inner_context(x);
    for (size_t i = 0; i < x->plan->count && s == PITH_OK; i++) {
        pith_tensor t = {0};
        x->span = (double)model_tensor_bytes(&x->source->tensors[i]);
        s = pith_progress(&c, 0, 1, "tensor", x->err);
        if (s == PITH_OK) s = make_tensor(x, i, &t);
        if (s == PITH_OK) x->hash[i] = hash_bytes(t.data, (size_t)pith_tensor_bytes(&t));
        if (s == PITH_OK && x->sink) s = model_sink_put(x->sink, i, &t, x->err);
        if (s == PITH_OK && x->writer) s = pack_writer_put(x->writer, i, &t, x->err);
        if (x->sink) drop(&t);
        else pith_tensor_release(&t);
        x->done += x->span;
        x->span = 0;
    }
    return s;
}

static pith_status write_gguf(stream *x, const char *out, const output_check *check) {
    model_sink_options o = x->plan->export.options;
    o.replace = x->options->replace;
    o.types = x->plan->types;
    o.file_type = x->plan->file_type;
    pith_status s = model_sink_open(&x->sink, out, x->source, &o, x->err);
    if (s == PITH_OK) s = put_all(x);
    if (s == PITH_OK) return model_sink_commit(x->sink, check, x->err);
    model_sink_abort(x->sink);
    return s;
}

static pith_status write_pith(stream *x, const char *out, const output_check *check) {
    const pack_plan *p = x->plan;
    const model_extra *header = model_source_extra(x->source, MODEL_HEADER);
    bool packed = strcmp(x->source->format, "pith") == 0;
    pack_contents what = {.origin = packed ? pack_origin(x->source) : x->source->format,
                          .meta = p->export.meta ? p->export.meta : x->source->meta,
                          .rope_halves = x->source->rope_halves,
                          .tensors = p->tensors,
                          .count = p->count,
                          .extras = p->extras,
                          .extra_count = p->extra_count};
    if (header && p->unchanged) what.header = header->bytes;
    if (x->base.source) {
        const char *slash = strrchr(x->options->base, '/');
        what.base = &x->base;
        what.base_name = slash && slash[1] ? slash + 1 : x->options->base;
    }
    pith_context c = inner_context(x);
    pith_status s = pack_writer_open(&x->writer, out, x->options->replace, &what, &c, x->err);
    if (s == PITH_OK) s = put_all(x);
    if (s == PITH_OK) return pack_writer_commit(x->writer, check, x->err);
    pack_writer_abort(x->writer);
    return s;
}

/* ---- check ---- */

static pith_status differs(const stream *x, const char *name) {
    return pith_fail(x->err, PITH_CORRUPT, x->out, -1, "what was written differs from what was meant: tensor %s", name);
}

/* Tensor i of the file back in the source's order of rows. */
static pith_status check_tensor(stream *x, model_source *f, size_t i) {
    const model_tensor *meant = &x->plan->tensors[i];
    int64_t at = x->plan->gguf ? model_source_find(f, meant->canonical) : (int64_t)i;
    if (at < 0) return hf_is_leftover(meant->name) ? PITH_OK : differs(x, meant->name);
    pith_tensor t = {0};
    uint8_t *ordered = NULL;
    pith_status s = model_source_load(f, (size_t)at, &t, x->err);
    if (s != PITH_OK) return s;
    size_t bytes = (size_t)pith_tensor_bytes(&t);
    uint64_t heads =
        x->plan->gguf && x->source->rope_halves ? hf_reordered_heads(x->source->meta, meant->canonical) : 0;
    if (heads) {
        ordered = memory_alloc(bytes);
        s = ordered ? model_reorder_rows(&t, heads, false, ordered, x->err) : no_memory(x->err);
    }
    if (s == PITH_OK && (t.type != meant->layout.type || bytes != pith_tensor_bytes(&meant->layout) ||
                         hash_bytes(ordered ? ordered : t.data, bytes) != x->hash[i]))
        s = differs(x, meant->name);
    memory_free(ordered);
    drop(&t);
    return s;
}

/* Of the finished file, before it takes its name. */
static pith_status check_file(void *user, const char *path, pith_error *err) {
    stream *x = user;
    pith_context c = inner_context(x);
    model_options o = {.context = &c, .base = x->options->base};
    model_source *f = NULL;
    pith_status s = model_source_open(&f, path, &o, err);
    if (s == PITH_OK && !x->plan->gguf) s = pack_check(f, &c, err);
    for (size_t i = 0; i < x->plan->count && s == PITH_OK; i++) {
        x->span = (double)model_tensor_bytes(&x->source->tensors[i]) / 2;
        s = pith_progress(&c, 0, 1, "tensor", err);
        if (s == PITH_OK) s = check_tensor(x, f, i);
        x->done += x->span;
        x->span = 0;
    }
    model_source_close(f);
    return s;
}

pith_status pack_run(const pith_context *c, const pack_plan *p, model_source *s, const char *out, const pack_options *o,
                     pith_error *err) {
    stream x = {.context = c, .plan = p, .source = s, .options = o, .out = out, .err = err};
    bool verify = o->verify && strcmp(out, "-") != 0;
    output_check check = {verify ? check_file : NULL, &x};
    x.hash = memory_zero(s->count, sizeof *x.hash);
    if (!x.hash) return no_memory(err);
    for (size_t i = 0; i < s->count; i++) x.total += (double)model_tensor_bytes(&s->tensors[i]);
    if (verify) x.total *= 1.5;
    pith_status st = o->base ? pack_base_open(&x.base, o->base, c, err) : PITH_OK;
    if (st == PITH_OK) st = p->gguf ? write_gguf(&x, out, &check) : write_pith(&x, out, &check);
    pack_base_close(&x.base);
    memory_free(x.hash);
    return st;
}

/* ---- for people ---- */

pith_status model_codings(model_source *s, pack_coding *coding, pith_error *err) {
    if (strcmp(s->format, "pith") == 0) return pack_codings(s, coding, err);
    for (size_t i = 0; i < s->count; i++) coding[i] = (pack_coding){"raw", model_tensor_bytes(&s->tensors[i])};
    return PITH_OK;
}
