/* quant/isa/plain_amx.c - products of many inputs with f16 and bf16 weights by AMX.
 *
 * Tiles multiply bf16 numbers, whose 8 bits hold half of an f32 input. So a number goes in as the sum of two, upper and
 * lower: inputs as good as 17 bits, weights of f16 exactly. Of a product that leaves away lower times lower, 2^-18 of
 * it, and as much from the rounding of the input; sums are f32. A block of columns of up to 64 rows is turned into
 * tiles once, then meets all inputs, 32 at a time. */
#include "base/isa.h"
#include "quant/plain.h"

#if PITH_ISA_LEVEL == 2
#include "base/amx.h"
#include "tensor/isa/turn.h"
#include "tensor/tensor.h"

#include <string.h>

enum { SIDE = 16, STEP = 32, DEPTH = 256, STEPS = DEPTH / STEP, STRIPS = 4, TILE = SIDE * STEP };
enum { UPPER, LOWER };

typedef struct factors {
    _Alignas(64) uint16_t weights[STRIPS][2][STEPS][TILE]; /* upper, lower; tile: [pair of columns][row][2] */
    _Alignas(64) uint16_t inputs[2][2][STEPS][TILE];       /* two tiles of tokens; tile: [token][column] */
} factors;

static void split(__m512 v, uint16_t *upper, uint16_t *lower) {
    __m256i high = (__m256i)_mm512_cvtneps_pbh(v);
    __m512 as_float = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
    _mm256_store_si256((__m256i *)upper, high);
    _mm256_store_si256((__m256i *)lower, (__m256i)_mm512_cvtneps_pbh(_mm512_sub_ps(v, as_float)));
}

/* 32 columns of a row of weights, of which `left` exist. */
static void split_weights(uint16_t type, const uint16_t *w, int64_t left, uint16_t *upper, uint16_t *lower) {
    for (int i = 0; i < STEP; i += SIDE) {
        __m256i half = _mm256_maskz_loadu_epi16(amx_first(left - i), w + i);
        if (type == PITH_F16) split(_mm512_cvtph_ps(half), upper + i, lower + i);
        else _mm256_store_si256((__m256i *)(upper + i), half);
    }
}

static void fill_strip(uint16_t type, const uint16_t *w, int64_t rows, int64_t cols, int64_t first,
                       uint16_t out[2][STEPS][TILE]) {
    for (int64_t k = 0; k < STEPS && first + k * STEP < cols; k++) {
        _Alignas(64) uint16_t plane[2][TILE];
        if (rows < SIDE) memset(plane, 0, sizeof plane);
        for (int64_t r = 0; r < SIDE && r < rows; r++) {
            int64_t at = first + k * STEP;
            split_weights(type, w + r * cols + at, cols - at, plane[UPPER] + r * STEP, plane[LOWER] + r * STEP);
        }
        for (int p = UPPER; p <= (type == PITH_F16 ? LOWER : UPPER); p++)
            turn16((const float *)plane[p], SIDE, (float *)out[p][k]);
    }
}

static void fill_inputs(const float *x, int64_t n, int64_t cols, int64_t first, uint16_t out[2][STEPS][TILE]) {
    for (int64_t k = 0; k < STEPS && first + k * STEP < cols; k++)
        for (int64_t t = 0; t < SIDE; t++)
            for (int i = 0; i < STEP; i += SIDE) {
                int64_t at = first + k * STEP + i;
                __mmask16 there = t < n ? amx_first(cols - at) : 0;
                __m512 v = there ? _mm512_maskz_loadu_ps(there, x + t * cols + at) : _mm512_setzero_ps();
                split(v, out[UPPER][k] + t * STEP + i, out[LOWER][k] + t * STEP + i);
            }
}

/* Both tiles of tokens times a strip; sums of the two by turns, since a product waits for the one before it. */
#define STRIP(number, first, second)                              \
    do {                                                          \
        AMX_LOAD(6, f->weights[number][UPPER][k], 64);            \
        if (pairs) AMX_LOAD(7, f->weights[number][LOWER][k], 64); \
        AMX_LOAD(4, f->inputs[0][UPPER][k], 64);                  \
        AMX_LOAD(5, f->inputs[1][UPPER][k], 64);                  \
        AMX_MULTIPLY_BF16(first, 4, 6);                           \
        AMX_MULTIPLY_BF16(second, 5, 6);                          \
        if (pairs) AMX_MULTIPLY_BF16(first, 4, 7);                \
        if (pairs) AMX_MULTIPLY_BF16(second, 5, 7);               \
        AMX_LOAD(4, f->inputs[0][LOWER][k], 64);                  \
        AMX_LOAD(5, f->inputs[1][LOWER][k], 64);                  \
        AMX_MULTIPLY_BF16(first, 4, 6);                           \
        AMX_MULTIPLY_BF16(second, 5, 6);                          \
    } while (0)

/* Two tiles of tokens times two strips. pairs: weights have a lower part. */
static inline __attribute__((always_inline)) void multiply(const factors *f, int strip, int64_t steps, const bool pairs,
                                                           float sum[2][2][SIDE][SIDE]) {
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (int64_t k = 0; k < steps; k++) {
        STRIP(strip, 0, 1);
        STRIP(strip + 1, 2, 3);
    }
    AMX_STORE(0, sum[0][0], 64);
    AMX_STORE(1, sum[0][1], 64);
    AMX_STORE(2, sum[1][0], 64);
    AMX_STORE(3, sum[1][1], 64);
}

/* y of a strip: what earlier columns left, plus the sums. */
static void put(const float sum[2][SIDE][SIDE], int64_t n, int64_t rows, bool add, float *y, int64_t ldy) {
    __mmask16 there = amx_first(rows);
    for (int64_t t = 0; t < n && t < 2 * SIDE; t++) {
        __m512 v = _mm512_loadu_ps(sum[t / SIDE][t % SIDE]);
        if (add) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(there, y + t * ldy));
        _mm512_mask_storeu_ps(y + t * ldy, there, v);
    }
}

/* Rows of at most STRIPS strips, one block of columns. */
static void block(uint16_t type, const uint16_t *w, int64_t rows, int64_t cols, int64_t first, const float *x,
                  int64_t n, float *y, int64_t ldy) {
    factors f;
    int64_t left = cols - first, steps = left < DEPTH ? (left + STEP - 1) / STEP : STEPS;
    for (int64_t s = 0; s < STRIPS; s++)
        fill_strip(type, w + s * SIDE * cols, rows - s * SIDE, cols, first, f.weights[s]);
    for (int64_t i = 0; i < n; i += 2 * SIDE) {
        for (int k = 0; k < 2; k++) fill_inputs(x + (i + k * SIDE) * cols, n - i - k * SIDE, cols, first, f.inputs[k]);
        for (int s = 0; s < STRIPS && s * SIDE < rows; s += 2) {
            float sum[2][2][SIDE][SIDE];
            if (type == PITH_F16) multiply(&f, s, steps, true, sum);
            else multiply(&f, s, steps, false, sum);
            for (int j = 0; j < 2 && (s + j) * SIDE < rows; j++)
                put(sum[j], n - i, rows - (s + j) * SIDE, first > 0, y + i * ldy + (s + j) * SIDE, ldy);
        }
    }
}

void plain_amx_mul(uint16_t type, const void *w, int64_t rows, int64_t cols, const float *x, int64_t n, float *y,
                   int64_t ldy) {
    amx_begin_whole();
    for (int64_t r = 0; r < rows; r += STRIPS * SIDE)
        for (int64_t first = 0; first < cols; first += DEPTH)
            block(type, (const uint16_t *)w + r * cols, rows - r < STRIPS * SIDE ? rows - r : STRIPS * SIDE, cols,
                  first, x, n, y + r, ldy);
    amx_end();
}
#endif
