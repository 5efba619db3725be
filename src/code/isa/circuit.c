/* code/isa/circuit.c - products and masses of circuits, the same bits on every instruction set.
 *
 * No contraction, no reordering: a vector holds 16 results, each summed from first to last; see circuit_kernels.h. */
#include "base/isa.h"
#include "code/circuit_kernels.h"

#include <string.h>

typedef float lane __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16, ROWS = 6, ONE = 1 << CIRCUIT_BITS, SLACK = 64 };

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions of this file only */

static inline lane load(const float *p) { return *(const lane *)p; }
static inline void store(float *p, lane v) { *(lane *)p = v; }

#define PRODUCT_TILE(rows_, vectors)                                                                  \
    do {                                                                                              \
        lane sum[rows_][vectors] = {0};                                                               \
        for (int32_t k = 0; k < depth; k++)                                                           \
            for (int c = 0; c < (vectors); c++) {                                                     \
                lane w = load(weights + (size_t)k * columns + column + LANES * c);                    \
                for (int r = 0; r < (rows_); r++) sum[r][c] += w * in[(size_t)(row + r) * depth + k]; \
            }                                                                                         \
        for (int r = 0; r < (rows_); r++)                                                             \
            for (int c = 0; c < (vectors); c++)                                                       \
                store(out + (size_t)(row + r) * columns + column + LANES * c, sum[r][c]);             \
    } while (0)

static void product(float *out, const float *in, const float *weights, int32_t rows, int32_t depth, int32_t columns) {
    for (int32_t column = 0; column < columns; column += 2 * LANES) {
        bool wide = column + LANES < columns;
        int32_t row = 0;
        for (; row + ROWS <= rows; row += ROWS) {
            if (wide) PRODUCT_TILE(ROWS, 2);
            else PRODUCT_TILE(ROWS, 1);
        }
        for (; row < rows; row++) {
            if (wide) PRODUCT_TILE(1, 2);
            else PRODUCT_TILE(1, 1);
        }
    }
}

static void times_row(float *out, const float *a, const float *b, int32_t stride) {
    float most[LANES] = {0}, largest = 0;
    for (int32_t k = 0; k < stride; k += LANES)
        for (int c = 0; c < LANES; c++) {
            float v = a[k + c] * b[k + c];
            most[c] = v > most[c] ? v : most[c];
        }
    for (int c = 0; c < LANES; c++) largest = most[c] > largest ? most[c] : largest;
    if (!(largest > 0x1p-120f)) {
        for (int32_t k = 0; k < stride; k++) out[k] = 1;
        return;
    }
    uint32_t bits;
    float scale;
    memcpy(&bits, &largest, 4);
    bits = (254 - (bits >> 23)) << 23; /* 2^-exponent, exactly */
    memcpy(&scale, &bits, 4);
    for (int32_t k = 0; k < stride; k += LANES) store(out + k, load(a + k) * load(b + k) * scale);
}

static void times(float *out, const float *a, const float *b, int32_t rows, int32_t stride) {
    for (int32_t r = 0; r < rows; r++)
        times_row(out + (size_t)r * stride, a + (size_t)r * stride, b + (size_t)r * stride, stride);
}

static void starts(const float *likelihood, uint32_t *start, int32_t rows) {
    for (int32_t r = 0; r < rows; r++, likelihood += LANES, start += LANES) {
        float sum = 0;
        for (int c = 0; c < LANES; c++) sum += likelihood[c];
        /* rounding of sum and products takes less than SLACK masses; what is left goes to the last value */
        float scale = sum > 0x1p-100f && sum < 0x1p100f ? (float)(ONE - SLACK) / sum : 0;
        uint32_t at = 0, width[LANES];
        for (int c = 0; c < LANES; c++) width[c] = 1 + (uint32_t)(int32_t)(likelihood[c] * scale);
        for (int c = 0; c < LANES; c++) {
            start[c] = at;
            at += width[c];
        }
    }
}

static void column_of(const float *emit, int32_t column, float *out, int32_t stride) {
    for (int32_t k = 0; k < stride; k++) out[k] = emit[(size_t)k * LANES + column];
}

extern const struct circuit_kernels ISA_TABLE(circuit_exact);
const struct circuit_kernels ISA_TABLE(circuit_exact) = {product, times, starts, column_of};
