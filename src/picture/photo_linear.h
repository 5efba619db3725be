/* picture/photo_linear.h - least squares over a sample's neighborhood, for the kernels under isa/.
 *
 * X. Wu, K. U. Barthel, W. Zhang, "Piecewise 2D autoregression for predictive image coding" (ICIP 1998) and its many
 * successors solve for coefficients that would have predicted the samples around best. Here BLOCK samples of a row
 * share coefficients; products of inputs are summed per block and fade with the distance in rows and blocks, so that a
 * solution costs INPUTS^3 / 6 multiplications and its sums a few passes over a matrix.
 *
 * Decoders repeat these sums: every operation is a single-precision sum, product or quotient in an order that no
 * instruction set changes (each lane of a vector is an element of a matrix). */
#ifndef PICTURE_PHOTO_LINEAR_H
#define PICTURE_PHOTO_LINEAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    INPUTS = 32, /* at most INPUTS - 1 neighbors; the last input is what is to be predicted */
    BLOCK = 8,
    HALF = INPUTS / 2,
    SUMS = INPUTS * INPUTS * 3 / 4, /* a symmetric matrix without the left half of its lower rows */
    FAR = 2                         /* blocks to either side in the row above that count */
};

/* Element [i][j], j at least i, stands at row_at(i) + j. */
static inline int row_at(int i) { return i < HALF ? i * INPUTS : HALF * INPUTS + (i - HALF) * HALF - HALF; }

typedef struct linear {
    int taps;                        /* neighbors */
    int used;                        /* of SUMS, by these taps */
    ptrdiff_t offset[INPUTS];        /* of each, in samples */
    uint8_t plane_of[INPUTS];        /* planes back */
    float down, left, side[FAR + 1]; /* what a row, a block to the left, blocks in the row above still count */
    float *above, *row;              /* [block][SUMS]: rows above, faded; this row */
    float before[SUMS];              /* blocks to the left in this row, faded */
    float matrix[SUMS], lower[INPUTS][INPUTS];
    float coefficients[INPUTS];             /* 0 from `taps` on */
    float in[BLOCK][INPUTS], weight[BLOCK]; /* samples of the block at hand */
} linear;

/* Sums never fade to subnormal numbers, which take a hundred times as long. */
static const float never_zero = 1e-12f;

static void fade_and_add(float *restrict to, float f, const float *restrict more, int count) {
    for (int i = 0; i < count; i++) to[i] = f * to[i] + more[i] + never_zero;
}

static void add_scaled(float *restrict to, float f, const float *restrict more, int count) {
    for (int i = 0; i < count; i++) to[i] += f * more[i];
}

static inline __attribute__((always_inline)) void subtract_scaled(float *restrict from, float f,
                                                                  const float *restrict row, int begin, int end) {
    for (int j = begin; j < end; j++) from[j] -= f * row[j];
}

/* Row i of the sums of weight * in * in, from column `from` on. */
static inline __attribute__((always_inline)) void add_products(float *restrict sums, const linear *restrict l,
                                                               int count, int i, int from) {
    float sum[INPUTS];
    for (int j = from; j < INPUTS; j++) sum[j] = sums[j];
    for (int n = 0; n < count; n++) {
        float f = l->weight[n] * l->in[n][i];
        for (int j = from; j < INPUTS; j++) sum[j] += f * l->in[n][j];
    }
    for (int j = from; j < INPUTS; j++) sums[j] = sum[j];
}

/* The first `count` samples of the block become sums of their own. */
static void linear_end_block(linear *l, int block, int count) {
    float *sums = l->row + (size_t)block * SUMS;
    memset(sums, 0, (size_t)l->used * sizeof *sums);
    for (int i = 0; i < l->taps && i < HALF; i++) add_products(sums + row_at(i), l, count, i, 0);
    for (int i = HALF; i < l->taps; i++) add_products(sums + row_at(i), l, count, i, HALF);
    fade_and_add(l->before, l->left, sums, l->used);
}

static void linear_start_row(linear *l) { memset(l->before, 0, sizeof l->before); }

static void linear_end_row(linear *l, int blocks) {
    for (size_t b = 0; b < (size_t)blocks; b++) fade_and_add(l->above + b * SUMS, l->down, l->row + b * SUMS, l->used);
}

/* Elimination; lower[i][k] is the multiple of row k that was taken from row i. */
static void eliminate(linear *l) {
    float *a = l->matrix;
    int n = l->taps;
    for (int i = 0; i < n; i++) a[row_at(i) + i] += 1.0f; /* rather small coefficients than arbitrary ones */
    for (int k = 0; k < n; k++) {
        const float *pivot = a + row_at(k);
        float inverse = 1 / pivot[k];
        for (int i = k + 1; i < n; i++) {
            float f = pivot[i] * inverse, *row = a + row_at(i);
            l->lower[i][k] = f;
            if (i < HALF) subtract_scaled(row, f, pivot, 0, INPUTS);
            else subtract_scaled(row, f, pivot, HALF, INPUTS);
        }
    }
}

/* Coefficients for the block from all that is known around it. */
static void linear_solve(linear *l, int block, int blocks) {
    float *a = l->matrix, x[INPUTS] = {0};
    memcpy(a, l->before, (size_t)l->used * sizeof *a);
    for (int d = -FAR; d <= FAR; d++)
        if (block + d >= 0 && block + d < blocks)
            add_scaled(a, l->side[d < 0 ? -d : d], l->above + (size_t)(block + d) * SUMS, l->used);
    eliminate(l);
    for (int k = 0; k < l->taps; k++) x[k] = a[row_at(k) + INPUTS - 1] / a[row_at(k) + k];
    for (int k = l->taps - 1; k > 0; k--) subtract_scaled(x, x[k], l->lower[k], 0, k);
    memcpy(l->coefficients, x, sizeof x);
}

static float linear_predict(const linear *l, const float *in) {
    float sum[HALF];
    const float *c = l->coefficients;
    for (int i = 0; i < HALF; i++) sum[i] = c[i] * in[i] + c[i + HALF] * in[i + HALF];
    for (int n = HALF / 2; n; n /= 2)
        for (int i = 0; i < n; i++) sum[i] += sum[i + n];
    return sum[0];
}

#endif
