/* quant/strip.c - building strips, and the way from a format's mul to the kernels of the active instruction set. */
#include "quant/strip.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "quant/activation.h"
#include "quant/block.h"

#include <assert.h>
#include <string.h>

static const strip_layout layouts[PITH_TYPES] = {
    [PITH_Q4_0] = {{{0, 2, 2}, {2, 16, 4}}, 2, 16},
    [PITH_Q4_1] = {{{0, 4, 2}, {4, 16, 4}}, 4, 16},
    [PITH_Q5_0] = {{{0, 2, 2}, {2, 20, 4}}, 2, 20},
    [PITH_Q5_1] = {{{0, 4, 2}, {4, 20, 4}}, 4, 20},
    [PITH_Q8_0] = {{{0, 2, 2}, {2, 32, 4}}, 2, 32},
    [PITH_Q2_K] = {{{80, 4, 2}, {0, 16, 1}, {16, 64, 4}}, 20, 64},
    [PITH_Q3_K] = {{{108, 2, 2}, {96, 12, 1}, {0, 96, 4}}, 14, 96},
    [PITH_Q4_K] = {{{0, 4, 2}, {4, 12, 1}, {16, 128, 4}}, 16, 128},
    [PITH_Q5_K] = {{{0, 4, 2}, {4, 12, 1}, {16, 160, 4}}, 16, 160},
    [PITH_Q6_K] = {{{208, 2, 2}, {192, 16, 1}, {0, 192, 4}}, 18, 192},
    [PITH_IQ4_NL] = {{{0, 2, 2}, {2, 16, 4}}, 2, 16},
    [PITH_IQ4_XS] = {{{0, 4, 2}, {4, 4, 1}, {8, 128, 4}}, 8, 128},
    [PITH_TQ1_0] = {{{52, 2, 2}, {0, 52, 4}}, 2, 52},
    [PITH_TQ2_0] = {{{64, 2, 2}, {0, 64, 4}}, 2, 64},
    [PITH_MXFP4] = {{{0, 1, 1}, {1, 16, 4}}, 1, 16},
};

const strip_layout *strip_layout_of(uint16_t type) {
    assert(type < PITH_TYPES && layouts[type].code);
    return &layouts[type];
}

int64_t strip_heads(const strip_layout *l, int64_t blocks) { return (blocks * l->head * STRIP_ROWS + 63) / 64 * 64; }
int64_t strip_bytes(const strip_layout *l, int64_t blocks) {
    return strip_heads(l, blocks) + blocks * l->code * STRIP_ROWS;
}

typedef struct building {
    const pith_packed *p;
    const strip_layout *layout;
    uint8_t *out;
    int64_t bytes, heads;
} building;

#define TRANSPOSE(T)                                   \
    for (int u = 0; u < f->bytes; u += (int)sizeof(T)) \
        for (int r = 0; r < rows; r++) memcpy(out + u * STRIP_ROWS + r * (int)sizeof(T), in + r * stride + u, sizeof(T))

/* One field of one block in `rows` rows; in: the field in the first row. */
static void transpose(const struct strip_field *f, const uint8_t *in, int64_t stride, int rows, uint8_t *out) {
    if (f->unit == 4) TRANSPOSE(uint32_t);
    else if (f->unit == 2) TRANSPOSE(uint16_t);
    else TRANSPOSE(uint8_t);
}

static void build(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const building *w = user;
    const pith_packed *p = w->p;
    int64_t blocks = p->cols / p->format->block, stride = p->part[0].row_bytes;
    for (int64_t s = begin; s < end; s++) {
        const uint8_t *in = (const uint8_t *)p->part[0].data + s * STRIP_ROWS * stride;
        int64_t left = p->rows - s * STRIP_ROWS;
        uint8_t *head = w->out + s * w->bytes, *code = head + w->heads;
        for (int64_t b = 0; b < blocks; b++, in += p->format->block_bytes)
            for (const struct strip_field *f = w->layout->field; f < w->layout->field + STRIP_FIELDS && f->bytes; f++) {
                uint8_t **out = f->unit == 4 ? &code : &head;
                transpose(f, in + f->at, stride, left < STRIP_ROWS ? (int)left : STRIP_ROWS, *out);
                *out += f->bytes * STRIP_ROWS;
            }
    }
}

pith_status strip_prepare(const pith_packed *p, pith_buffer **fast, pith_error *err) {
    *fast = NULL;
    if (isa_active() == ISA_SCALAR) return PITH_OK;
    building w = {.p = p, .layout = strip_layout_of(p->format->id)};
    int64_t blocks = p->cols / p->format->block, strips = (p->rows + STRIP_ROWS - 1) / STRIP_ROWS, total;
    w.bytes = strip_bytes(w.layout, blocks), w.heads = strip_heads(w.layout, blocks);
    if (__builtin_mul_overflow(strips, w.bytes, &total))
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected a smaller matrix than %lld x %lld", (long long)p->rows,
                         (long long)p->cols);
    pith_status s = pith_buffer_new_lasting(fast, (uint64_t)total, err);
    if (s != PITH_OK) return s;
    w.out = pith_buffer_data(*fast);
    parallel_for(strips, 4, build, &w);
    return PITH_OK;
}

/* One block of one row, out of the strips. */
static void take_back(const strip_layout *l, const uint8_t *strips, int64_t blocks, int64_t row, int64_t block,
                      uint8_t *out) {
    int64_t lane = row % STRIP_ROWS;
    const uint8_t *strip = strips + row / STRIP_ROWS * strip_bytes(l, blocks);
    const uint8_t *head = strip + block * l->head * STRIP_ROWS,
                  *code = strip + strip_heads(l, blocks) + block * l->code * STRIP_ROWS;
    for (const struct strip_field *f = l->field; f < l->field + STRIP_FIELDS && f->bytes; f++) {
        const uint8_t **in = f->unit == 4 ? &code : &head;
        for (int u = 0; u < f->bytes; u += f->unit)
            memcpy(out + f->at + u, *in + u * STRIP_ROWS + lane * f->unit, f->unit);
        *in += f->bytes * STRIP_ROWS;
    }
}

void strip_restore(const pith_packed *p, const pith_buffer *fast, int64_t row, int64_t rows, void *out) {
    const strip_layout *l = strip_layout_of(p->format->id);
    int64_t blocks = p->cols / p->format->block;
    for (int64_t k = 0; k < rows * blocks; k++)
        take_back(l, pith_buffer_data(fast), blocks, row + k / blocks, k % blocks,
                  (uint8_t *)out + k * p->format->block_bytes);
}

/* One row times one row of inputs, block by block from the decoded weights. */
static float dot_row(const pith_packed *p, const pith_buffer *fast, int64_t row, const int8_t *code,
                     const float *number, int tile) {
    const block_codec *codec = (const block_codec *)p->format;
    const strip_layout *l = strip_layout_of(p->format->id);
    int64_t blocks = p->cols / p->format->block;
    float sum = 0;
    for (int64_t b = 0; b < blocks; b++) {
        block_fields f;
        uint8_t block[BLOCK_MAX];
        float w[BLOCK_MAX];
        if (fast) take_back(l, pith_buffer_data(fast), blocks, row, b, block);
        else
            memcpy(block, (const uint8_t *)p->part[0].data + row * p->part[0].row_bytes + b * p->format->block_bytes,
                   p->format->block_bytes);
        codec->take(block, &f);
        codec->decode(&f, w);
        for (int e = 0; e < p->format->block; e += ACTIVATION_GROUP) {
            float part = 0;
            for (int k = 0; k < ACTIVATION_GROUP; k++) part += w[e + k] * (float)code[k];
            sum += part * *number;
            code += tile * ACTIVATION_GROUP, number += tile * ACTIVATION_NUMBERS;
        }
    }
    return sum;
}

static void mul_plainly(const pith_packed *p, const pith_buffer *fast, const uint8_t *x, int64_t n, int64_t row,
                        int64_t rows, float *y, int64_t ldy) {
    for (int64_t i = 0; i < n;) {
        int tile = activation_tile(n - i);
        const uint8_t *base = x + activation_bytes(ACTIVATION_Q8, i, p->cols);
        for (int t = 0; t < tile; t++)
            for (int64_t r = row; r < row + rows; r++)
                y[(i + t) * ldy + r] = dot_row(p, fast, r, (const int8_t *)base + t * ACTIVATION_GROUP,
                                               (const float *)(base + tile * p->cols) + t, tile);
        i += tile;
    }
}

ISA_DECLARE(struct strip_kernels, strip_legacy);
ISA_DECLARE(struct strip_kernels, strip_k);
ISA_DECLARE(struct strip_kernels, strip_other);

static void (*kernel_of(uint16_t type))(const strip_call *) {
    const struct strip_kernels *files[] = {ISA_SELECT(strip_legacy), ISA_SELECT(strip_k), ISA_SELECT(strip_other)};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i]->mul[type]) return files[i]->mul[type];
    return NULL;
}

void strip_mul(const pith_packed *p, const pith_buffer *fast, const void *x, int64_t n, int64_t row, int64_t rows,
               float *y, int64_t ldy) {
    void (*kernel)(const strip_call *) = fast ? kernel_of(p->format->id) : NULL;
    if (!kernel) {
        mul_plainly(p, fast, x, n, row, rows, y, ldy);
        return;
    }
    assert(row % STRIP_ROWS == 0);
    const strip_layout *l = strip_layout_of(p->format->id);
    int64_t blocks = p->cols / p->format->block;
    strip_call c = {.heads = strip_heads(l, blocks),
                    .bytes = strip_bytes(l, blocks),
                    .cols = p->cols,
                    .rows = rows,
                    .x = x,
                    .n = n,
                    .y = y + row,
                    .ldy = ldy};
    c.strip = (const uint8_t *)pith_buffer_data(fast) + row / STRIP_ROWS * c.bytes;
    kernel(&c);
}
