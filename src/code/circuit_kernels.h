/* code/circuit_kernels.h - the arithmetic that decides probabilities, one table of functions per instruction set.
 *
 * Every number is an IEEE float and every sum has one order (along the depth, first to last), multiply and add rounded
 * apart: all instruction sets give the same bits. Rows have a stride in whole vectors of 16. */
#ifndef CODE_CIRCUIT_KERNELS_H
#define CODE_CIRCUIT_KERNELS_H

#include "code/code.h"

enum { CIRCUIT_BITS = 24 }; /* of the masses */

struct circuit_kernels {
    /* out[rows][columns] = in[rows][depth] * weights[depth][columns]; columns a multiple of 16 */
    void (*product)(float *out, const float *in, const float *weights, int32_t rows, int32_t depth, int32_t columns);
    /* out[row][16] = in[row][depth] * weights[row][depth][16]: rows that lie anywhere, each with weights of its own */
    void (*each)(float *out, const float *const *in, const float *const *weights, int32_t rows, int32_t depth);
    /* sums[0] = sum of all, sums[1] = sum of all * part; width in whole vectors */
    void (*sums)(const float *all, const float *part, int32_t width, float sums[2]);
    /* out = a * b element by element, each row times a power of two that brings its largest number into [1, 2); a row
     * without a number above 2^-120 becomes all ones; numbers under 2^-100 of the largest become zero, so that none is
     * denormal. out may be a or b. */
    void (*times)(float *out, const float *a, const float *b, int32_t rows, int32_t stride);
    /* times of one row, and sums[0] = sum of a * b, sums[1] = sum of a * b * part */
    void (*weigh)(float *out, const float *a, const float *b, const float *part, int32_t width, float sums[2]);
    /* 16 likelihoods to the starts of 16 masses of 2^24 together, each at least 1 wide. */
    void (*starts)(const float *likelihood, uint32_t *start, int32_t rows);
    /* out[state] = emit[state][column] */
    void (*column)(const float *emit, int32_t column, float *out, int32_t stride);
};

#endif
