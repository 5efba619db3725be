/* tensor/dnnl.h - the one door to oneDNN (libdnnl 2.x, C interface).
 *
 * Primitives are made once per shape and kept; they work in memory of the caller's arena. Every function returns false
 * when oneDNN is not built in or has no fast way (an implementation named ref*), so that the caller does it itself. */
#ifndef TENSOR_DNNL_H
#define TENSOR_DNNL_H

#include "tensor/conv.h"
#include "tensor/gemm.h"

/* Built in, and the user has not lowered the instruction set (PITH_ISA, isa_force): own kernels then do all. */
bool onednn_usable(void);
bool onednn_gemm(const gemm *g, arena *scratch);
/* Outputs and gradients are assigned, not added to. */
bool onednn_conv_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
bool onednn_conv_backward_data(const conv *v, const float *dy, const float *w, float *dx, arena *scratch);
bool onednn_conv_backward_weights(const conv *v, const float *x, const float *dy, float *dw, arena *scratch);

#endif
