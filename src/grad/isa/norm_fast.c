/* grad/isa/norm_fast.c - norms of one row, with their gradients. */
#include "grad/kernels.h"

#include <math.h>

static float rms(int64_t n, const float *restrict x, const float *restrict w, float epsilon, float *restrict y) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    float r = 1.0f / sqrtf(sum / (float)n + epsilon);
    if (w)
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * r * w[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * r;
    return r;
}

/* With g = dy w: dx = r g - x r^3 mean(g x) */
static void rms_backward(int64_t n, const float *restrict x, const float *restrict w, float r, const float *restrict dy,
                         float *restrict dx, bool fresh, float *restrict dw) {
    if (dw)
        for (int64_t i = 0; i < n; i++) dw[i] += dy[i] * x[i] * r;
    if (!dx) return;
    float dot = 0;
    if (w)
        for (int64_t i = 0; i < n; i++) dot += dy[i] * w[i] * x[i];
    else
        for (int64_t i = 0; i < n; i++) dot += dy[i] * x[i];
    float s = r * r * r * dot / (float)n;
    if (fresh)
        for (int64_t i = 0; i < n; i++) dx[i] = r * (w ? dy[i] * w[i] : dy[i]) - s * x[i];
    else
        for (int64_t i = 0; i < n; i++) dx[i] += r * (w ? dy[i] * w[i] : dy[i]) - s * x[i];
}

const norm_kernels ISA_TABLE(norm_table) = {rms, rms_backward};
