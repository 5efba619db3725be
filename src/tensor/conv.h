/* tensor/conv.h - two-dimensional convolution, NHWC, weights (O, kh, kw, I / groups), forward and both gradients.
 *
 * Who does it: 1x1 as a matrix product; depthwise by own kernels; 3x3 of stride 1 with 16 channels or more by own
 * Winograd F(4x4, 3x3), 2 to 3 times the direct sum at an error of 1e-6; others of some hundred channels by products of
 * AMX; the rest by oneDNN's direct kernels, or copies and products (im2col) without oneDNN. A transposed convolution is
 * conv_backward_data called forward. */
#ifndef TENSOR_CONV_H
#define TENSOR_CONV_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct conv {
    int64_t n, h, w, c;          /* input: pictures, height, width, channels */
    int64_t oh, ow, o;           /* output */
    int64_t kh, kw;              /* kernel */
    int64_t stride, pad, groups; /* both directions; pad zeros on top and left, as many as needed below and right */
    bool bf16;                   /* may round inputs to bf16 */
} conv;

/* y = x * w + bias (o, may be NULL) */
void conv_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
/* dx (+)= gradient of the input */
void conv_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch);
/* dw (+)= gradient of the weights */
void conv_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch);

/* The same by copies and products alone (im2col): the fallback, and what tests compare with. */
void conv_plain_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
void conv_plain_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch);
void conv_plain_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch);

/* Depthwise (groups = c = o): own kernels, in tensor/depthwise.c. */
bool conv_is_depthwise(const conv *v);
void depthwise_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
void depthwise_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch);
void depthwise_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch);

#endif
