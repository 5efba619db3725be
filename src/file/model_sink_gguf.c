/* file/model_sink_gguf.c - a model as a GGUF file: canonical names, orientation and row order.
 *
 * GGUF has no keys for llama-3's rotary scaling, but a tensor of divisors, rope_freqs.weight (llama.cpp's conversion
 * script): made here from the metadata, which then no longer name a scaling. */
#include "file/model_sink_parts.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char factors_name[] = "rope_freqs.weight";

typedef struct scaling {
    uint64_t dims;
    double base, factor, original, low, high;
} scaling;

static bool llama3_scaling(const meta *m, scaling *r) {
    const char *type = meta_model_text(m, "rope.scaling.type");
    *r = (scaling){.base = 10000, .factor = 1, .original = 8192, .low = 1, .high = 4};
    if (!type || strcmp(type, "llama3") != 0) return false;
    meta_model_f64(m, "rope.freq_base", &r->base);
    meta_model_f64(m, "rope.scaling.factor", &r->factor);
    meta_model_f64(m, "rope.scaling.original_context_length", &r->original);
    meta_model_f64(m, "rope.scaling.low_freq_factor", &r->low);
    meta_model_f64(m, "rope.scaling.high_freq_factor", &r->high);
    return meta_model_u64(m, "rope.dimension_count", &r->dims) && r->dims >= 2 && r->dims <= 1 << 16 &&
           r->high > r->low;
}

/* transformers, modeling_rope_utils.py: long waves are slowed by `factor`, short ones not, those between partly. */
static void llama3_factors(const scaling *r, float *out) {
    for (uint64_t i = 0; i < r->dims / 2; i++) {
        double wave = 2 * M_PI * pow(r->base, 2.0 * (double)i / (double)r->dims);
        double smooth = (r->original / wave - r->low) / (r->high - r->low);
        if (wave < r->original / r->high) out[i] = 1;
        else if (wave > r->original / r->low) out[i] = (float)r->factor;
        else out[i] = (float)(1 / ((1 - smooth) / r->factor + smooth));
    }
}

static pith_status own_meta(const model_sink *k, bool scaled, meta **out, pith_error *err) {
    const char *architecture = meta_text(k->meta, "general.architecture", NULL);
    char key[128];
    bool blocks = false;
    pith_status st = meta_copy(out, k->meta, err);
    if (st == PITH_OK && scaled)
        for (int i = 0; i < 2; i++) {
            snprintf(key, sizeof key, "%.64s.rope.scaling.%s", architecture, i ? "factor" : "type");
            meta_remove(*out, key);
        }
    for (size_t i = 0; i < k->source->count; i++) blocks = blocks || pith_type_is_packed(k->plan[i].layout.type);
    if (st == PITH_OK && blocks && !meta_has(*out, "general.quantization_version"))
        st = meta_set_u32(*out, "general.quantization_version", 2, err);
    if (st == PITH_OK && k->options.file_type >= 0)
        st = meta_set_u32(*out, "general.file_type", (uint32_t)k->options.file_type, err);
    return st;
}

static pith_status plan_tensor(model_sink *k, size_t i, pith_error *err) {
    const model_tensor *t = &k->source->tensors[i];
    sink_tensor *p = &k->plan[i];
    uint16_t type = k->options.types ? k->options.types[i] : t->layout.type;
    int64_t shape[PITH_MAX_RANK];
    uint64_t bytes;
    p->skip = hf_is_leftover(t->name) && k->source->rope_halves;
    if (snprintf(p->name, sizeof p->name, "%s", t->canonical) >= (int)sizeof p->name)
        return pith_fail(err, PITH_UNSUPPORTED, t->name, -1, "the name is too long");
    memcpy(shape, t->layout.shape, sizeof shape);
    if (t->transposed) {
        shape[0] = t->layout.shape[1];
        shape[1] = t->layout.shape[0];
    }
    p->heads = k->source->rope_halves ? hf_reordered_heads(k->meta, t->canonical) : 0;
    return pith_tensor_layout(&p->layout, type, t->layout.rank, shape, &bytes, err);
}

static pith_status declare_all(model_sink *k, const scaling *r, pith_error *err) {
    pith_status st = PITH_OK;
    if (k->factors) {
        pith_tensor layout;
        uint64_t bytes;
        st = pith_tensor_layout(&layout, PITH_F32, 1, (int64_t[]){(int64_t)(r->dims / 2)}, &bytes, err);
        if (st == PITH_OK) st = gguf_writer_declare(k->gguf, factors_name, &layout, err);
    }
    for (size_t i = 0; i < k->source->count && st == PITH_OK; i++)
        if (!k->plan[i].skip) st = gguf_writer_declare(k->gguf, k->plan[i].name, &k->plan[i].layout, err);
    if (st == PITH_OK && k->factors) st = gguf_writer_write(k->gguf, k->factors, (size_t)(r->dims / 2) * 4, err);
    return st;
}

pith_status sink_gguf_open(model_sink *k, pith_error *err) {
    meta *m = NULL;
    scaling r;
    pith_status st = PITH_OK;
    for (size_t i = 0; i < k->source->count && st == PITH_OK; i++) st = plan_tensor(k, i, err);
    if (st != PITH_OK || k->options.plan_only) return st;
    bool scaled = llama3_scaling(k->meta, &r);
    if (scaled && model_source_find(k->source, factors_name) < 0) {
        float *factors = memory_alloc((size_t)(r.dims / 2) * sizeof *factors);
        if (!factors) return sink_no_memory(k, err);
        llama3_factors(&r, factors);
        k->factors = factors;
    }
    st = own_meta(k, scaled, &m, err);
    if (st == PITH_OK) st = gguf_writer_open(&k->gguf, k->path, k->options.replace, m, err);
    meta_free(m);
    return st == PITH_OK ? declare_all(k, &r, err) : st;
}
