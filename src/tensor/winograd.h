/* tensor/winograd.h - 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3). Internal to tensor/. */
#ifndef TENSOR_WINOGRAD_H
#define TENSOR_WINOGRAD_H

#include "tensor/conv.h"

enum { WINOGRAD = 36 }; /* values of a transformed tile */

bool winograd_fits(const conv *v);
void winograd_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
void winograd_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch);
void winograd_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch);

/* A window whose first pixel is (y, x) of a picture h x w of c channels, which it may overlap. */
typedef struct winograd_window {
    const float *picture;
    int64_t h, w, c, y, x;
} winograd_window;

/* Value k of channel ch stands at [k * plane + ch]; a window's channels are written up to a multiple of 16 (zeros). */
typedef struct winograd_kernels {
    void (*input)(const winograd_window *from, float *to, int64_t plane);    /* 6 x 6 pixels */
    void (*gradient)(const winograd_window *from, float *to, int64_t plane); /* 4 x 4 pixels of an output's gradient */
    /* to->picture (+)= bias + the 4 x 4 pixels of a tile of products, those inside */
    void (*output)(const float *from, int64_t plane, const float *bias, const winograd_window *to, bool add);
    /* Nine taps of c channels, (3, 3, c), or those turned round */
    void (*weights)(const float *taps, int64_t c, bool turned, float *to, int64_t plane);
    /* taps (+)= the gradient, summed over `parts` arrays that lie `part` floats apart */
    void (*taps)(const float *from, int64_t plane, int64_t parts, int64_t part, float *taps, int64_t c, bool add);
} winograd_kernels;

#endif
