/* grad/isa/unary_fast.c - element-wise functions and their derivatives; the compiler's vector math does exp, sin, ...
 */
#include "grad/isa/exponential.h"
#include "grad/kernels.h"

#include <math.h>

static inline float square(float x) { return x * x; }

static const float DENSITY = 0.39894228f;                    /* 1 / sqrt(2 pi) */
static const float TANH_A = 0.79788456f, TANH_B = 0.044715f; /* sqrt(2 / pi); Hendrycks, Gimpel: 1606.08415 */

/* Distribution of the normal law times exp(x^2 / 2), for x <= 0: Abramowitz and Stegun 7.1.26, error 1.5e-7 / 2. The
 * exponential is the caller's, who needs it for the density too. */
static inline float tail(float x) {
    float t = 1 / (1 + 0.3275911f * 0.70710678f * fabsf(x));
    return 0.5f * t *
           (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
}
static inline float normal(float x, float bell) { return x < 0 ? tail(x) * bell : 1 - tail(x) * bell; }
static inline float gelu(float x) { return x * normal(x, exponential(-0.5f * x * x)); }
static inline float gelu_slope(float x) {
    float bell = exponential(-0.5f * x * x);
    return normal(x, bell) + x * DENSITY * bell;
}
static inline float gelu_tanh_slope(float x) {
    float t = tanhf(TANH_A * (x + TANH_B * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * TANH_A * (1 + 3 * TANH_B * x * x);
}
static inline float silu_slope(float x) {
    float s = logistic(x);
    return s + x * s * (1 - s);
}

/* kind, value of x, slope as a function of x and y */
#define KINDS(K)                                                                                 \
    K(UNARY_AFFINE, p *x[i] + q, p)                                                              \
    K(UNARY_EXP, expf(x[i]), y[i])                                                               \
    K(UNARY_LOG, logf(x[i]), 1 / x[i])                                                           \
    K(UNARY_SQRT, sqrtf(x[i]), 0.5f / y[i])                                                      \
    K(UNARY_ABS, fabsf(x[i]), x[i]<0 ? -1.0f : x[i]> 0 ? 1.0f : 0.0f)                            \
    K(UNARY_SQUARE, x[i] * x[i], 2 * x[i])                                                       \
    K(UNARY_POW, powf(x[i], p), p *y[i] / x[i])                                                  \
    K(UNARY_CLAMP, x[i]<p ? p : x[i]> q ? q : x[i], x[i]<p || x[i]> q ? 0.0f : 1.0f)             \
    K(UNARY_SIN, sinf(p *x[i]), p *cosf(p *x[i]))                                                \
    K(UNARY_TANH, tanhf(x[i]), 1 - square(y[i]))                                                 \
    K(UNARY_SIGMOID, logistic(x[i]), y[i] * (1 - y[i]))                                          \
    K(UNARY_LEAKY_RELU, x[i] < 0 ? p * x[i] : x[i], x[i] < 0 ? p : 1.0f)                         \
    K(UNARY_GELU, gelu(x[i]), gelu_slope(x[i]))                                                  \
    K(UNARY_GELU_TANH, 0.5f * x[i] * (1 + tanhf(TANH_A * (x[i] + TANH_B * x[i] * x[i] * x[i]))), \
      gelu_tanh_slope(x[i]))                                                                     \
    K(UNARY_SILU, x[i] * logistic(x[i]), silu_slope(x[i]))                                       \
    K(UNARY_SOFTPLUS, fmaxf(x[i], 0) + log1pf(expf(-fabsf(x[i]))), logistic(x[i]))

#define FORWARD(kind_, value, slope)                  \
    case kind_:                                       \
        for (int64_t i = 0; i < n; i++) y[i] = value; \
        break;

static void forward(unary_kind kind, float p, float q, int64_t n, const float *restrict x, float *restrict y) {
    switch (kind) {
        KINDS(FORWARD)
    case UNARY_KINDS: break;
    }
}

#define BACKWARD(kind_, value, slope)                                        \
    case kind_:                                                              \
        if (fresh)                                                           \
            for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * (slope);         \
        else                                                                 \
            for (int64_t i = 0; i < n; i++) add_to(dx + i, dy[i] * (slope)); \
        break;

static inline void add_to(float *d, float slope) { *d += slope; }

static void backward(unary_kind kind, float p, float q, int64_t n, const float *restrict x, const float *restrict y,
                     const float *restrict dy, float *restrict dx, bool fresh) {
    switch (kind) {
        KINDS(BACKWARD)
    case UNARY_KINDS: break;
    }
    (void)q;
}

const unary_kernels ISA_TABLE(unary_table) = {forward, backward};
