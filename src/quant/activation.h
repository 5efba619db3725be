/* quant/activation.h - what a row of inputs is turned into before it meets a packed matrix. */
#ifndef QUANT_ACTIVATION_H
#define QUANT_ACTIVATION_H

#include <stdint.h>

/* Bytes of n rows of `cols` inputs as `type` (a format's `activation`). */
uint64_t activation_bytes(uint16_t type, int64_t n, int64_t cols);
/* x [n][cols] to out; rows adjacent in both. cols is a multiple of the type's block. */
void activation_from_f32(uint16_t type, const float *x, int64_t n, int64_t cols, void *out);

#endif
