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

/* A vector and its lanes moved down by `by`: what folding 16 lanes into one is made of. */
#define MOVED(v, by)                                                                                         \
    __builtin_shufflevector(v, v, by, by + 1, by + 2, by + 3, by + 4, by + 5, by + 6, by + 7, (by + 8) % 16, \
                            (by + 9) % 16, (by + 10) % 16, (by + 11) % 16, (by + 12) % 16, (by + 13) % 16,   \
                            (by + 14) % 16, (by + 15) % 16)

static inline float total(lane v) {
    v += MOVED(v, 8);
    v += MOVED(v, 4);
    v += MOVED(v, 2);
    v += MOVED(v, 1);
    return v[0];
}

static inline lane larger(lane a, lane b) {
    lane out;
    for (int c = 0; c < LANES; c++) out[c] = a[c] > b[c] ? a[c] : b[c];
    return out;
}

static inline float largest(lane v) {
    v = larger(v, MOVED(v, 8));
    v = larger(v, MOVED(v, 4));
    v = larger(v, MOVED(v, 2));
    v = larger(v, MOVED(v, 1));
    return v[0];
}

static void sums(const float *all, const float *part, int32_t width, float out[2]) {
    lane sum = {0}, of_part = {0};
    for (int32_t k = 0; k < width; k += LANES) {
        lane v = load(all + k);
        sum += v;
        of_part += v * load(part + k);
    }
    out[0] = total(sum), out[1] = total(of_part);
}

/* Multiplies a row by the power of two that brings `most`, its largest number, into [1, 2). */
static inline void rescale(float *row, float most, int32_t width) {
    uint32_t bits;
    float scale;
    if (!(most > 0x1p-120f)) {
        for (int32_t k = 0; k < width; k++) row[k] = 1;
        return;
    }
    memcpy(&bits, &most, 4);
    bits = (254 - (bits >> 23)) << 23; /* 2^-exponent, exactly */
    memcpy(&scale, &bits, 4);
    for (int32_t k = 0; k < width; k += LANES)
        for (int c = 0; c < LANES; c++) {
            float v = row[k + c] * scale;
            row[k + c] = v > 0x1p-100f ? v : 0;
        }
}

static void times(float *out, const float *a, const float *b, int32_t rows, int32_t stride) {
    for (int32_t r = 0; r < rows; r++, out += stride, a += stride, b += stride) {
        lane most = {0};
        for (int32_t k = 0; k < stride; k += LANES) {
            lane v = load(a + k) * load(b + k);
            most = larger(most, v);
            store(out + k, v);
        }
        rescale(out, largest(most), stride);
    }
}

static void weigh(float *out, const float *a, const float *b, const float *part, int32_t width, float sum[2]) {
    lane most = {0}, all = {0}, of_part = {0};
    for (int32_t k = 0; k < width; k += LANES) {
        lane v = load(a + k) * load(b + k);
        most = larger(most, v);
        all += v;
        of_part += v * load(part + k);
        store(out + k, v);
    }
    sum[0] = total(all), sum[1] = total(of_part);
    rescale(out, largest(most), width);
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
const struct circuit_kernels ISA_TABLE(circuit_exact) = {product, each, sums, times, weigh, starts, column_of};
