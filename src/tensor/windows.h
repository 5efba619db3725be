/* tensor/windows.h - f32 convolutions whose products AMX takes. Internal to tensor/.
 *
 * False: not of this shape, or there is no AMX, and nothing was done. As in conv.h otherwise. */
#ifndef TENSOR_WINDOWS_H
#define TENSOR_WINDOWS_H

#include "tensor/conv.h"

bool windows_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch);
bool windows_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch);
bool windows_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch);

#endif
