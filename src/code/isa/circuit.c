/* code/isa/circuit.c - products and masses of circuits, the same bits on every instruction set.
 *
 * No contraction, no reordering: a vector holds 16 results, each summed from first to last; see circuit_kernels.h. */
#include "base/isa.h"
#include "code/circuit_kernels.h"

#include <string.h>

typedef float lane __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16, ROWS = 6, SPREAD = 4, ONE = 1 << CIRCUIT_BITS, SLACK = 64 };

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions of this file only */

static inline lane load(const float *p) { return *(const lane *)p; }
static inline void store(float *p, lane v) { *(lane *)p = v; }

/* Rows past the last are the last again: a sum has the same cost alone as beside others. */
#define PRODUCT_TILE(rows_, vectors)                                                                            \
    do {                                                                                                        \
        const float *from[rows_];                                                                               \
        lane sum[rows_][vectors] = {0};                                                                         \
        for (int r = 0; r < (rows_); r++) from[r] = in + (size_t)(row + r < rows ? row + r : rows - 1) * depth; \
        for (int32_t k = 0; k < depth; k++)                                                                     \
            for (int c = 0; c < (vectors); c++) {                                                               \
                lane w = load(weights + (size_t)k * columns + column + LANES * c);                              \
                for (int r = 0; r < (rows_); r++) sum[r][c] += w * from[r][k];                                  \
            }                                                                                                   \
        for (int r = 0; r < (rows_) && row + r < rows; r++)                                                     \
            for (int c = 0; c < (vectors); c++)                                                                 \
                store(out + (size_t)(row + r) * columns + column + LANES * c, sum[r][c]);                       \
    } while (0)

static void product(float *out, const float *in, const float *weights, int32_t rows, int32_t depth, int32_t columns) {
    for (int32_t column = 0; column < columns; column += 2 * LANES) {
        bool wide = column + LANES < columns;
        int32_t row = 0;
        for (; row + ROWS / 2 < rows; row += ROWS) {
            if (wide) PRODUCT_TILE(ROWS, 2);
            else PRODUCT_TILE(ROWS, 1);
        }
        for (; row < rows; row += ROWS / 2) {
            if (wide) PRODUCT_TILE(ROWS / 2, 2);
            else PRODUCT_TILE(ROWS / 2, 1);
        }
    }
}

static void each(float *out, const float *const *in, const float *const *weights, int32_t rows, int32_t depth) {
    for (int32_t row = 0; row < rows; row += SPREAD) {
        const float *from[SPREAD], *w[SPREAD];
        lane sum[SPREAD] = {0};
        for (int r = 0; r < SPREAD; r++) {
            int32_t at = row + r < rows ? row + r : rows - 1;
            from[r] = in[at], w[r] = weights[at];
        }
        for (int32_t k = 0; k < depth; k++)
            for (int r = 0; r < SPREAD; r++) sum[r] += load(w[r] + (size_t)k * LANES) * from[r][k];
        for (int r = 0; r < SPREAD && row + r < rows; r++) store(out + (size_t)(row + r) * LANES, sum[r]);
    }
}

static void sums(const float *all, const float *part, int32_t width, float out[2]) {
    float total[2][LANES] = {0};
    for (int32_t k = 0; k < width; k += LANES)
        for (int c = 0; c < LANES; c++) {
            total[0][c] += all[k + c];
            total[1][c] += all[k + c] * part[k + c];
        }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int c = 0; c < half; c++) total[0][c] += total[0][c + half], total[1][c] += total[1][c + half];
    out[0] = total[0][0], out[1] = total[1][0];
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
    for (int32_t k = 0; k < stride; k += LANES)
        for (int c = 0; c < LANES; c++) {
            float v = a[k + c] * b[k + c] * scale;
            out[k + c] = v > 0x1p-100f ? v : 0;
        }
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
const struct circuit_kernels ISA_TABLE(circuit_exact) = {product, each, sums, times, starts, column_of};
