/* quant/formats.c - the table of weight formats, and packed matrices as values. */
#include "quant/block.h"

#include <math.h>
#include <string.h>
#include <strings.h>

extern const pith_format quant_f32, quant_f16, quant_bf16;
extern const block_codec quant_q4_0, quant_q4_1, quant_q5_0, quant_q5_1, quant_q8_0;
extern const block_codec quant_q2_k, quant_q3_k, quant_q4_k, quant_q5_k, quant_q6_k;
extern const block_codec quant_iq4_nl, quant_iq4_xs, quant_tq1_0, quant_tq2_0, quant_mxfp4;

const pith_format *const pith_formats[] = {
    &quant_f32,
    &quant_f16,
    &quant_bf16,
    &quant_q8_0.format,
    &quant_q6_k.format,
    &quant_q5_k.format,
    &quant_q5_1.format,
    &quant_q5_0.format,
    &quant_q4_k.format,
    &quant_q4_1.format,
    &quant_q4_0.format,
    &quant_iq4_nl.format,
    &quant_iq4_xs.format,
    &quant_mxfp4.format,
    &quant_q3_k.format,
    &quant_q2_k.format,
    &quant_tq2_0.format,
    &quant_tq1_0.format,
    NULL,
};

const pith_format *pith_format_by_name(const char *name) {
    for (const pith_format *const *f = pith_formats; *f; f++)
        if (strcasecmp((*f)->name, name) == 0) return *f;
    return NULL;
}

const pith_format *pith_format_by_id(uint16_t id) {
    for (const pith_format *const *f = pith_formats; *f; f++)
        if ((*f)->id == id) return *f;
    return NULL;
}

pith_status pith_packed_from_tensor(pith_packed *p, const pith_tensor *t, pith_error *err) {
    memset(p, 0, sizeof *p);
    const char *name = t->type < PITH_TYPES ? pith_types[t->type].name : "unknown type";
    const pith_format *format = pith_format_by_id(t->type);
    if (!format) return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "%s is no weight format", name);
    if (t->rank < 1) return pith_fail(err, PITH_MISMATCH, NULL, -1, "expected a vector or matrix, found a scalar");
    p->format = format;
    p->rows = pith_tensor_row_count(t);
    p->cols = pith_tensor_cols(t);
    p->part[0] = *t;
    p->part[0].rank = 2;
    memset(p->part[0].shape, 0, sizeof p->part[0].shape);
    p->part[0].shape[0] = p->rows, p->part[0].shape[1] = p->cols;
    pith_status s = format->check(p, err);
    if (s == PITH_OK) pith_tensor_retain(&p->part[0]);
    else memset(p, 0, sizeof *p);
    return s;
}

void pith_packed_release(pith_packed *p) {
    for (int k = 0; k < PITH_PARTS; k++) pith_tensor_release(&p->part[k]);
    memset(p, 0, sizeof *p);
}

void pith_packed_let_go(pith_packed *p) {
    for (int k = 0; k < PITH_PARTS; k++) {
        pith_tensor *t = &p->part[k];
        if (t->data) pith_buffer_forget(t->owner, t->data, pith_tensor_bytes(t));
        pith_buffer_release(t->owner);
        t->data = NULL, t->owner = NULL;
    }
}

uint64_t pith_packed_bytes(const pith_packed *p) {
    uint64_t total = 0;
    for (int k = 0; k < PITH_PARTS; k++)
        if (p->part[k].rank) total += pith_tensor_bytes(&p->part[k]);
    return total;
}

pith_status quant_check_part(const pith_packed *p, pith_error *err) {
    const pith_tensor *t = &p->part[0];
    pith_tensor wanted;
    uint64_t bytes;
    int64_t shape[2] = {p->rows, p->cols};
    pith_status s = pith_tensor_layout(&wanted, p->format->id, 2, shape, &bytes, err);
    if (s != PITH_OK) return s;
    if (t->type != wanted.type || t->rank != 2 || t->shape[0] != p->rows || t->shape[1] != p->cols ||
        t->row_bytes != wanted.row_bytes || (!t->data && bytes))
        return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %lld x %lld weights of %s, found another tensor",
                         (long long)p->rows, (long long)p->cols, p->format->name);
    const uint8_t *data = t->data, *start = t->owner ? pith_buffer_data(t->owner) : NULL;
    if (t->owner && (data < start || bytes > pith_buffer_size(t->owner) ||
                     (uint64_t)(data - start) > pith_buffer_size(t->owner) - bytes))
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %llu bytes of weights inside their buffer",
                         (unsigned long long)bytes);
    return PITH_OK;
}

pith_status quant_new_part(const pith_format *format, const pith_pack_input *in, pith_packed *out, pith_error *err) {
    if (in->options && *in->options)
        return pith_fail(err, PITH_USAGE, "options", -1, "%s takes none, found \"%s\"", format->name, in->options);
    int64_t shape[2] = {in->rows, in->cols};
    pith_status s = pith_tensor_new(&out->part[0], format->id, 2, shape, err);
    if (s != PITH_OK) return s;
    out->format = format;
    out->rows = in->rows, out->cols = in->cols;
    return PITH_OK;
}

pith_status quant_not_finite(const pith_pack_input *in, int64_t index, pith_error *err) {
    int64_t row = index / in->cols, col = index % in->cols;
    return pith_fail(err, PITH_NOT_FINITE, NULL, -1,
                     "expected finite weights, found %g in row %lld, column %lld (counted from 0)",
                     (double)in->w[index], (long long)row, (long long)col);
}
