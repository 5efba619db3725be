/* quant/plain.c - f32, f16 and bf16 as weight formats: one number a weight, rounded to nearest even. */
#include "quant/plain.h"

#include "base/isa.h"
#include "base/memory.h"
#include "quant/block.h"

#include <math.h>
#include <string.h>

static int width_of(const pith_packed *p) { return p->format->block_bytes; }

static void to_f32(const pith_packed *p, int64_t row, int64_t rows, float *out) {
    const uint8_t *data = (const uint8_t *)p->part[0].data + row * p->part[0].row_bytes;
    pith_to_f32(p->format->id, data, rows * p->cols, out);
}

ISA_DECLARE(struct plain_kernels, plain);

/* Only moved, to large pages: a file map has small ones, which cost a tenth and more of the speed of reading. */
static pith_status prepare(const pith_packed *p, pith_buffer **fast, pith_error *err) {
    uint64_t bytes = pith_packed_bytes(p);
    pith_status s = pith_buffer_new_lasting(fast, bytes, err);
    if (s == PITH_OK) memcpy(pith_buffer_data(*fast), p->part[0].data, bytes);
    return s;
}

static const uint8_t *rows_at(const pith_packed *p, const pith_buffer *fast, int64_t row) {
    const uint8_t *data = fast ? pith_buffer_data(fast) : p->part[0].data;
    return data + row * p->part[0].row_bytes;
}

static void restore(const pith_packed *p, const pith_buffer *fast, int64_t row, int64_t rows, void *out) {
    memcpy(out, rows_at(p, fast, row), (size_t)(rows * p->part[0].row_bytes));
}

static void mul(const pith_packed *p, const pith_buffer *fast, const void *x, int64_t n, int64_t row, int64_t rows,
                float *y, int64_t ldy) {
    const uint8_t *data = rows_at(p, fast, row);
    ISA_SELECT(plain)->mul(p->format->id, data, rows, p->cols, x, n, y + row, ldy);
}

static int split(const pith_packed *p, int part, int64_t row, int64_t rows, pith_bytes plane[PITH_PLANES]) {
    int n = width_of(p);
    size_t count = (size_t)(rows * p->cols);
    for (int k = 0; k < n; k++) {
        plane[k] = (pith_bytes){memory_alloc(count), count};
        if (plane[k].data) continue;
        while (k-- > 0) memory_free(plane[k].data);
        return -1;
    }
    const uint8_t *in = (const uint8_t *)p->part[part].data + row * p->part[part].row_bytes;
    for (int k = 0; k < n; k++)
        for (size_t i = 0; i < count; i++) plane[k].data[i] = in[i * (size_t)n + (size_t)k];
    return n;
}

static pith_status join(pith_packed *p, int part, int64_t row, int64_t rows, const pith_bytes plane[PITH_PLANES],
                        pith_error *err) {
    int n = width_of(p);
    size_t count = (size_t)(rows * p->cols);
    uint8_t *out = (uint8_t *)p->part[part].data + row * p->part[part].row_bytes;
    for (int k = 0; k < n; k++) {
        if (plane[k].size != count)
            return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %zu bytes in plane %d of %s, found %zu", count, k,
                             p->format->name, plane[k].size);
        for (size_t i = 0; i < count; i++) out[i * (size_t)n + (size_t)k] = plane[k].data[i];
    }
    return PITH_OK;
}

/* Infinity and NaN are refused as everywhere, and so is what the narrower type would make infinite. */
static bool fits(uint16_t type, float w) {
    if (!isfinite(w)) return false;
    if (type == PITH_F16) return fabsf(w) < 65520.0f;
    return type != PITH_BF16 || isfinite(pith_bf16_to_f32(pith_f32_to_bf16(w)));
}

static pith_status pack_as(const pith_format *format, const pith_context *c, const pith_pack_input *in,
                           pith_packed *out, pith_error *err) {
    pith_status s = pith_progress(c, 0, 1, "matrix", err);
    if (s != PITH_OK) return s;
    int64_t n = in->rows * in->cols;
    for (int64_t i = 0; i < n; i++)
        if (!fits(format->id, in->w[i])) return quant_not_finite(in, i, err);
    s = quant_new_part(format, in, out, err);
    if (s == PITH_OK) pith_from_f32(format->id, in->w, n, out->part[0].data);
    return s;
}

#define PLAIN_FORMAT(type, type_id, gguf_id, bytes)                                                    \
    extern const pith_format quant_##type;                                                             \
    static pith_status type##_pack(const pith_context *c, const pith_pack_input *in, pith_packed *out, \
                                   pith_error *err) {                                                  \
        return pack_as(&quant_##type, c, in, out, err);                                                \
    }                                                                                                  \
    const pith_format quant_##type = {                                                                 \
        .name = #type,                                                                                 \
        .part_name = {"values"},                                                                       \
        .id = (type_id),                                                                               \
        .activation = PITH_F32,                                                                        \
        .gguf = (gguf_id),                                                                             \
        .block = 1,                                                                                    \
        .block_bytes = (bytes),                                                                        \
        .check = quant_check_part,                                                                     \
        .pack = type##_pack,                                                                           \
        .to_f32 = to_f32,                                                                              \
        .prepare = prepare,                                                                            \
        .restore = restore,                                                                            \
        .mul = mul,                                                                                    \
        .row_align = 1,                                                                                \
        .split = split,                                                                                \
        .join = join,                                                                                  \
    };

PLAIN_FORMAT(f32, PITH_F32, 0, 4)
PLAIN_FORMAT(f16, PITH_F16, 1, 2)
PLAIN_FORMAT(bf16, PITH_BF16, 30, 2)
