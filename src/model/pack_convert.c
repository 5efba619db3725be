/* model/pack_convert.c - slabs of rows through f32 into a weight format. */
#include "model/pack_convert.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "quant/format.h"

#include <string.h>

enum { SLAB_WEIGHTS = 1 << 22, ROWS_A_TASK = 16 };

typedef struct expansion {
    const pith_tensor *in;
    pith_packed packed; /* of block types */
    int64_t row, cols;  /* first of the slab */
    float *out;
} expansion;

static void expand(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const expansion *e = user;
    float *out = e->out + begin * e->cols;
    if (e->packed.format) e->packed.format->to_f32(&e->packed, e->row + begin, end - begin, out);
    else
        pith_to_f32(e->in->type, (const uint8_t *)e->in->data + (e->row + begin) * e->in->row_bytes,
                    (end - begin) * e->cols, out);
}

/* A tensor's share of a longer job's progress. */
typedef struct share {
    const pith_context *context;
    double from, to;
} share;

static bool report_share(void *user, double done, double total, const char *unit) {
    const share *x = user;
    double at = x->from + (total > 0 ? done / total : 1) * (x->to - x->from);
    (void)unit;
    return !x->context->progress || x->context->progress(x->context->user, at, 1, "tensor");
}

static pith_status pack_slab(const pith_context *c, const pith_format *f, const pith_pack_input *in, double from,
                             double to, uint8_t *out, pith_error *err) {
    share x = {c, from, to};
    pith_context inner = *c;
    pith_packed p = {0};
    inner.progress = report_share;
    inner.user = &x;
    pith_status s = f->pack(&inner, in, &p, err);
    if (s == PITH_OK) memcpy(out, p.part[0].data, (size_t)pith_tensor_bytes(&p.part[0]));
    pith_packed_release(&p);
    return s;
}

static pith_status pack_slabs(const pith_context *c, expansion *e, const pith_format *f, const float *importance,
                              pith_tensor *out, pith_error *err) {
    int64_t rows = pith_tensor_row_count(e->in), slab = SLAB_WEIGHTS / (e->cols > 0 ? e->cols : 1);
    if (slab < 1) slab = 1;
    if (slab > rows) slab = rows;
    e->out = memory_alloc((size_t)(slab * e->cols) * sizeof *e->out);
    if (!e->out) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    for (e->row = 0; e->row < rows && s == PITH_OK; e->row += slab) {
        int64_t n = rows - e->row < slab ? rows - e->row : slab;
        uint8_t *to = (uint8_t *)out->data + e->row * out->row_bytes;
        parallel_for(n, ROWS_A_TASK, expand, e);
        if (f->id == PITH_F32) memcpy(to, e->out, (size_t)(n * e->cols) * sizeof *e->out);
        else {
            pith_pack_input in = {.w = e->out, .importance = importance, .rows = n, .cols = e->cols};
            s = pack_slab(c, f, &in, (double)e->row / (double)rows, (double)(e->row + n) / (double)rows, to, err);
        }
    }
    memory_free(e->out);
    return s;
}

pith_status pack_convert(const pith_context *c, const pith_tensor *in, uint16_t type, const float *importance,
                         const char *name, pith_tensor *out, pith_error *err) {
    const pith_format *f = pith_format_by_id(type);
    pith_error own = {0};
    expansion e = {.in = in, .cols = pith_tensor_cols(in)};
    memset(out, 0, sizeof *out);
    if (!f) return pith_fail(err, PITH_UNSUPPORTED, name, -1, "%s is no type of weights", pith_types[type].name);
    pith_status s = pith_tensor_new(out, type, in->rank, in->shape, err);
    if (s == PITH_OK && pith_type_is_packed(in->type)) s = pith_packed_from_tensor(&e.packed, in, err);
    if (s == PITH_OK && pith_tensor_elements(in) > 0) {
        s = pack_slabs(c, &e, f, importance, out, &own);
        if (s != PITH_OK) pith_fail(err, s, name, own.offset, "%s", own.text);
    }
    pith_packed_release(&e.packed);
    if (s != PITH_OK) pith_tensor_release(out);
    return s;
}
