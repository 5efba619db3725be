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

static void layer(int64_t n, const float *restrict x, const float *restrict w, const float *restrict b, float epsilon,
                  float *restrict y, float *restrict stats) {
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    float mean = sum / (float)n;
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    float r = 1.0f / sqrtf(squares / (float)n + epsilon);
    stats[0] = mean, stats[1] = r;
    if (w && b)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * r * w[i] + b[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * r * (w ? w[i] : 1) + (b ? b[i] : 0);
}

/* With g = dy w and h = (x - mean) r: dx = r (g - mean(g) - h mean(g h)) */
static void layer_backward(int64_t n, const float *restrict x, const float *restrict w, const float *restrict stats,
                           const float *restrict dy, float *restrict dx, bool fresh, float *restrict dw,
                           float *restrict db) {
    float mean = stats[0], r = stats[1], sum = 0, dot = 0;
    if (dw)
        for (int64_t i = 0; i < n; i++) dw[i] += dy[i] * (x[i] - mean) * r;
    if (db)
        for (int64_t i = 0; i < n; i++) db[i] += dy[i];
    if (!dx) return;
    if (w)
        for (int64_t i = 0; i < n; i++) sum += dy[i] * w[i], dot += dy[i] * w[i] * (x[i] - mean);
    else
        for (int64_t i = 0; i < n; i++) sum += dy[i], dot += dy[i] * (x[i] - mean);
    float a = sum / (float)n, s = r * r * dot / (float)n;
    if (fresh)
        for (int64_t i = 0; i < n; i++) dx[i] = r * ((w ? dy[i] * w[i] : dy[i]) - a - (x[i] - mean) * s);
    else
        for (int64_t i = 0; i < n; i++) dx[i] += r * ((w ? dy[i] * w[i] : dy[i]) - a - (x[i] - mean) * s);
}

static void channels(int64_t n, const float *restrict x, const float *restrict scale, const float *restrict shift,
                     float *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale[i] + shift[i];
}

static void channel_sums(int64_t n, const float *restrict x, const float *restrict center, float *restrict sum,
                         float *restrict squares) {
    for (int64_t i = 0; i < n; i++) {
        float d = x[i] - center[i];
        sum[i] += d;
        squares[i] += d * d;
    }
}

static void channel_dots(int64_t n, const float *restrict x, const float *restrict mean, const float *restrict dy,
                         float *restrict sum, float *restrict dot) {
    for (int64_t i = 0; i < n; i++) {
        sum[i] += dy[i];
        dot[i] += dy[i] * (x[i] - mean[i]);
    }
}

static void channels_backward(int64_t n, const float *restrict x, const float *restrict mean, const float *restrict dy,
                              const float *restrict a, const float *restrict b, const float *restrict c,
                              float *restrict dx, bool fresh) {
    if (fresh)
        for (int64_t i = 0; i < n; i++) dx[i] = a[i] * dy[i] + b[i] * (x[i] - mean[i]) + c[i];
    else
        for (int64_t i = 0; i < n; i++) dx[i] += a[i] * dy[i] + b[i] * (x[i] - mean[i]) + c[i];
}

const norm_kernels ISA_TABLE(norm_table) = {rms,      rms_backward, layer,        layer_backward,
                                            channels, channel_sums, channel_dots, channels_backward};
