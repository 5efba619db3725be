/* grad/isa/softmax_fast.c - exponentials of one row. */
#include "grad/isa/exponential.h"
#include "grad/kernels.h"

#include <math.h>

static float highest(int64_t n, const float *x) {
    float top = x[0];
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static float forward(int64_t own, int64_t n, float scale, const float *x, float *y) {
    int given = (int)own, all = (int)n; /* narrow counters: a vector's places are compared with `given` at once */
    float side = scale < 0 ? -1.0f : 1.0f, top = side * x[0], sum = 0;
    for (int i = 0; i < all; i++) {
        float v = i < given ? side * x[i] : top;
        top = v > top ? v : top;
    }
    top *= side;
    for (int i = 0; i < all; i++) {
        float e = exponential(scale * (x[i] - top));
        y[i] = i < given ? e : 0;
        sum += y[i];
    }
    float inverse = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) y[i] *= inverse;
    return logf(sum) + scale * top;
}

static void exp_minus(int64_t own, int64_t n, float scale, float log_sum, float *x) {
    int given = (int)own, all = (int)n;
    for (int i = 0; i < all; i++) {
        float e = exponential(scale * x[i] - log_sum);
        x[i] = i < given ? e : 0;
    }
}

static float cross_entropy(int64_t n, const float *x, int label, float smoothing, float *log_sum) {
    float top = highest(n, x), sum = 0, all = 0;
    for (int64_t i = 0; i < n; i++) sum += exponential(x[i] - top);
    if (smoothing > 0)
        for (int64_t i = 0; i < n; i++) all += x[i] - top;
    *log_sum = logf(sum) + top;
    return logf(sum) - (1 - smoothing) * (x[label] - top) - smoothing * all / (float)n;
}

static void cross_entropy_backward(int64_t n, const float *restrict x, int label, float smoothing, float log_sum,
                                   float scale, float *restrict dx, bool fresh) {
    float flat = smoothing / (float)n;
    if (fresh)
        for (int64_t i = 0; i < n; i++) dx[i] = scale * (exponential(x[i] - log_sum) - flat);
    else
        for (int64_t i = 0; i < n; i++) dx[i] += scale * (exponential(x[i] - log_sum) - flat);
    dx[label] -= scale * (1 - smoothing);
}

static void scores_backward(int64_t n, const float *restrict p, float d, float scale, float *restrict dp) {
    for (int64_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - d) * scale;
}

static float dot(int64_t n, const float *a, const float *b) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

const softmax_kernels ISA_TABLE(softmax_table) = {forward,         exp_minus, cross_entropy, cross_entropy_backward,
                                                  scores_backward, dot};
