/* tensor/depthwise.h - inner loops of depthwise convolution: one output row at a time. Internal to tensor/. */
#ifndef TENSOR_DEPTHWISE_H
#define TENSOR_DEPTHWISE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct depthwise_row {
    const float *x; /* input row of tap row ky0, `line` floats to the next one; w pixels of c channels */
    const float *k; /* weights (kh, kw, c) */
    const float *bias;
    float *y; /* ow pixels */
    int64_t line, w, ow, c, kw, ky0, ky1, stride, pad;
    bool add;
} depthwise_row;

typedef struct depthwise_kernels {
    void (*row)(const depthwise_row *r); /* y (+)= bias + taps ky0 .. ky1 */
    /* dk (kw, c) += the gradient of one row of taps, from input row x and output row gradient dy (y, k unused) */
    void (*taps)(const depthwise_row *r, const float *dy, float *dk);
} depthwise_kernels;

#endif
