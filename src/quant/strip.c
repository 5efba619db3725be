/* quant/strip.c - building strips, and the way from a format's mul to the kernels of the active instruction set.
 *
 * TQ1_0 is multiplied as TQ2_0: two bits a weight instead of five weights a byte cost a fifth more memory and a third
 * of the time. Blocks with bytes that no packer writes would not come back the same; a matrix that has one keeps its
 * own strips. */
#include "quant/strip.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "quant/activation.h"
#include "quant/block.h"

#include <assert.h>
#include <stdatomic.h>
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

static const struct detour { /* blocks of one type kept as another's */
    uint16_t type, as;
    bool (*there)(const uint8_t *block, uint8_t *out); /* false: would not come back the same */
    void (*back)(const uint8_t *block, uint8_t *out);
} detours[] = {{PITH_TQ1_0, PITH_TQ2_0, quant_tq1_0_to_tq2_0, quant_tq2_0_to_tq1_0}};

static const struct detour *detour_of(uint16_t type) {
    for (const struct detour *d = detours; d < detours + sizeof detours / sizeof *detours; d++)
        if (d->type == type) return d;
    return NULL;
}

/* What a matrix is cut into. */
typedef struct strips {
    const strip_layout *layout;
    const struct detour *detour; /* or NULL */
    uint16_t type;               /* of what is kept */
    int64_t blocks, bytes;       /* of a row, of a strip */
} strips;

static strips strips_of(const pith_packed *p, const struct detour *d) {
    strips s = {.detour = d, .type = d ? d->as : p->format->id, .blocks = p->cols / p->format->block};
    s.layout = strip_layout_of(s.type);
    s.bytes = strip_bytes(s.layout, s.blocks);
    return s;
}

static int64_t count_of(const pith_packed *p) { return (p->rows + STRIP_ROWS - 1) / STRIP_ROWS; }

/* The size of what prepare made tells which way it went. */
static strips strips_in(const pith_packed *p, const pith_buffer *fast) {
    strips s = strips_of(p, fast ? detour_of(p->format->id) : NULL);
    bool other = s.detour && pith_buffer_size(fast) != (uint64_t)(count_of(p) * s.bytes);
    return other ? strips_of(p, NULL) : s;
}

typedef struct building {
    const pith_packed *p;
    strips to;
    uint8_t *out;
    atomic_bool exact;
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
    building *w = user;
    const pith_packed *p = w->p;
    int64_t row_bytes = p->part[0].row_bytes;
    for (int64_t s = begin; s < end; s++) {
        const uint8_t *in = (const uint8_t *)p->part[0].data + s * STRIP_ROWS * row_bytes;
        int rows = p->rows - s * STRIP_ROWS < STRIP_ROWS ? (int)(p->rows - s * STRIP_ROWS) : STRIP_ROWS;
        uint8_t *head = w->out + s * w->to.bytes, *code = head + strip_heads(w->to.layout, w->to.blocks);
        for (int64_t b = 0; b < w->to.blocks; b++, in += p->format->block_bytes) {
            uint8_t other[STRIP_ROWS][BLOCK_MAX];
            for (int r = 0; r < rows && w->to.detour; r++)
                if (!w->to.detour->there(in + r * row_bytes, other[r])) atomic_store(&w->exact, false);
            const uint8_t *from = w->to.detour ? other[0] : in;
            for (const struct strip_field *f = w->to.layout->field; f < w->to.layout->field + STRIP_FIELDS && f->bytes;
                 f++) {
                uint8_t **out = f->unit == 4 ? &code : &head;
                transpose(f, from + f->at, w->to.detour ? BLOCK_MAX : row_bytes, rows, *out);
                *out += f->bytes * STRIP_ROWS;
            }
        }
    }
}

static pith_status build_all(building *w, pith_buffer **fast, pith_error *err) {
    int64_t total;
    if (__builtin_mul_overflow(count_of(w->p), w->to.bytes, &total))
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected a smaller matrix than %lld x %lld", (long long)w->p->rows,
                         (long long)w->p->cols);
    pith_status s = pith_buffer_new_lasting(fast, (uint64_t)total, err);
    if (s != PITH_OK) return s;
    w->out = pith_buffer_data(*fast);
    parallel_for(count_of(w->p), 4, build, w);
    return PITH_OK;
}

pith_status strip_prepare(const pith_packed *p, pith_buffer **fast, pith_error *err) {
    *fast = NULL;
    if (isa_active() == ISA_SCALAR) return PITH_OK;
    building w = {.p = p, .to = strips_of(p, detour_of(p->format->id)), .exact = true};
    pith_status s = build_all(&w, fast, err);
    if (s != PITH_OK || w.exact) return s;
    pith_buffer_release(*fast);
    w.to = strips_of(p, NULL);
    return build_all(&w, fast, err);
}

/* One block of one row, out of the strips. */
static void take_back(const strips *s, const uint8_t *from, int64_t row, int64_t block, uint8_t *out) {
    const strip_layout *l = s->layout;
    int64_t lane = row % STRIP_ROWS;
    const uint8_t *strip = from + row / STRIP_ROWS * s->bytes;
    const uint8_t *head = strip + block * l->head * STRIP_ROWS,
                  *code = strip + strip_heads(l, s->blocks) + block * l->code * STRIP_ROWS;
    uint8_t other[BLOCK_MAX], *to = s->detour ? other : out;
    for (const struct strip_field *f = l->field; f < l->field + STRIP_FIELDS && f->bytes; f++) {
        const uint8_t **in = f->unit == 4 ? &code : &head;
        for (int u = 0; u < f->bytes; u += f->unit)
            memcpy(to + f->at + u, *in + u * STRIP_ROWS + lane * f->unit, f->unit);
        *in += f->bytes * STRIP_ROWS;
    }
    if (s->detour) s->detour->back(other, out);
}

void strip_restore(const pith_packed *p, const pith_buffer *fast, int64_t row, int64_t rows, void *out) {
    strips s = strips_in(p, fast);
    for (int64_t k = 0; k < rows * s.blocks; k++)
        take_back(&s, pith_buffer_data(fast), row + k / s.blocks, k % s.blocks,
                  (uint8_t *)out + k * p->format->block_bytes);
}

/* One row times token t of a tile, block by block from the decoded weights. */
static float dot_row(const pith_packed *p, const pith_buffer *fast, int64_t row, const uint8_t *x, int tile, int t) {
    uint16_t type = p->format->activation;
    const float *number = (const float *)(x + tile * p->cols) + t;
    const block_codec *codec = (const block_codec *)p->format;
    strips s = strips_in(p, fast);
    float sum = 0;
    for (int64_t b = 0; b < s.blocks; b++) {
        block_fields f;
        uint8_t block[BLOCK_MAX];
        float w[BLOCK_MAX];
        if (fast) take_back(&s, pith_buffer_data(fast), row, b, block);
        else
            memcpy(block, (const uint8_t *)p->part[0].data + row * p->part[0].row_bytes + b * p->format->block_bytes,
                   p->format->block_bytes);
        codec->take(block, &f);
        codec->decode(&f, w);
        for (int e = 0; e < p->format->block; e += ACTIVATION_GROUP) {
            float part = 0;
            const int8_t *code = (const int8_t *)x + activation_at(type, tile, t, b * p->format->block + e);
            for (int k = 0; k < ACTIVATION_GROUP; k++) part += w[e + k] * (float)code[k];
            sum += part * *number;
            number += tile * ACTIVATION_NUMBERS;
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
            for (int64_t r = row; r < row + rows; r++) y[(i + t) * ldy + r] = dot_row(p, fast, r, base, tile, t);
        i += tile;
    }
}

ISA_DECLARE(struct strip_kernels, strip_legacy);
ISA_DECLARE(struct strip_kernels, strip_k);
ISA_DECLARE(struct strip_kernels, strip_other);

static void (*kernel_of(uint16_t type))(const strip_call *) {
    isa_level level = isa_active();
    const struct strip_kernels *files[] = {ISA_AT(strip_legacy, level), ISA_AT(strip_k, level),
                                           ISA_AT(strip_other, level)};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i]->mul[type]) return files[i]->mul[type];
    return NULL;
}

void strip_mul(const pith_packed *p, const pith_buffer *fast, const void *x, int64_t n, int64_t row, int64_t rows,
               float *y, int64_t ldy) {
    strips s = strips_in(p, fast);
    void (*kernel)(const strip_call *) = fast ? kernel_of(s.type) : NULL;
    if (!kernel) {
        mul_plainly(p, fast, x, n, row, rows, y, ldy);
        return;
    }
    assert(row % STRIP_ROWS == 0);
    kernel(&(strip_call){.strip = (const uint8_t *)pith_buffer_data(fast) + row / STRIP_ROWS * s.bytes,
                         .heads = strip_heads(s.layout, s.blocks),
                         .bytes = s.bytes,
                         .cols = p->cols,
                         .rows = rows,
                         .x = x,
                         .n = n,
                         .y = y + row,
                         .ldy = ldy});
}
