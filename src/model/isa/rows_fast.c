/* model/isa/rows_fast.c - norms and activations of one row; loops the compiler vectorizes, sums reordered. */
#include "base/isa.h"
#include "model/rows.h"

#include <math.h>

static void rms_norm(const float *x, const float *weight, int64_t n, float epsilon, float *out) {
    float square = 0;
    for (int64_t i = 0; i < n; i++) square += x[i] * x[i];
    float scale = 1.0f / sqrtf(square / (float)n + epsilon);
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * scale * weight[i];
}

static void layer_norm(const float *x, const float *weight, const float *bias, int64_t n, float epsilon, float *out) {
    float mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i];
    mean /= (float)n;
    for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    float scale = 1.0f / sqrtf(square / (float)n + epsilon);
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * weight[i];
    if (bias)
        for (int64_t i = 0; i < n; i++) out[i] += bias[i];
}

static void silu_times(float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void gelu(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float inner = 0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        inner = inner > 15 ? 15 : inner < -15 ? -15 : inner; /* exp stays finite; tanh is 1 there */
        x[i] = x[i] - x[i] / (1.0f + expf(2 * inner));
    }
}

static void add(float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
}

extern const struct rows_kernels ISA_TABLE(rows);
const struct rows_kernels ISA_TABLE(rows) = {rms_norm, layer_norm, silu_times, gelu, add};
