/* code/float_kernels.h - the loops of float_way over one plane or row, compiled for each instruction set. */
#ifndef CODE_FLOAT_KERNELS_H
#define CODE_FLOAT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { FLOAT_ZERO = 0, FLOAT_ESCAPE = 1, FLOAT_CENTER = 160 }; /* see float_parts.h */

typedef struct float_near { /* neighbors in the kernel: distances to the scale, signed values (16: at the scale) */
    const int8_t *west, *north, *north_west, *north_east;
    const int16_t *west_value, *north_value, *north_west_value, *north_east_value;
    int weight; /* sum of the weights of those that are there */
} float_near;

typedef struct float_kernels {
    /* One row: scale = base + axis (at least 4), table = its quarter. */
    void (*scales)(int base, const int8_t *axis, int16_t *scale, uint8_t *table, size_t n);
    /* table += 4 * class of the neighbors' mean distance; there is at least one. */
    void (*classes)(const float_near *f, uint8_t *table, size_t n);
    /* level = scale's whole exponent + symbol - center, cut to 0..most; returns the number of escapes. */
    size_t (*levels)(const int16_t *scale, const uint8_t *symbol, int most, int16_t *level, size_t n);
    void (*distances)(const int16_t *level, const int16_t *scale, int8_t *distance, size_t n);
    void (*values)(const int8_t *distance, const uint8_t *sign, int16_t *value, size_t n);
    void (*sign_contexts)(const float_near *f, const int8_t *distance, uint8_t *context, size_t n);
    void (*symbols)(const int16_t *level, const int16_t *scale, uint8_t *symbol, size_t n);
    /* Adds, over elements of level 4 and above, level - base - axis and their number: of a row, of each column. */
    void (*row_sum)(const int16_t *level, const int8_t *axis, int base, int32_t *sum, int32_t *count, size_t n);
    void (*column_sums)(const int16_t *level, const int8_t *axis, int base, int32_t *sum, int32_t *count, size_t n);
} float_kernels;

#endif
