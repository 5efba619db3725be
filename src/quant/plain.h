/* quant/plain.h - products with f32, f16 and bf16 weights. */
#ifndef QUANT_PLAIN_H
#define QUANT_PLAIN_H

#include <stdint.h>

struct plain_kernels {
    /* y[i * ldy + r] = x[i] . w[r], r < rows, i < n; w: rows of `cols` numbers of `type`, adjacent; x: f32, adjacent.
     */
    void (*mul)(uint16_t type, const void *w, int64_t rows, int64_t cols, const float *x, int64_t n, float *y,
                int64_t ldy);
};

/* The same for f16 and bf16 and many rows of inputs, with AMX; in isa/plain_amx.c. */
void plain_amx_mul(uint16_t type, const void *w, int64_t rows, int64_t cols, const float *x, int64_t n, float *y,
                   int64_t ldy);

#endif
