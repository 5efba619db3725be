/* grad/isa/unary_fast.c - element-wise functions and their derivatives; the compiler's vector math does exp, sin, ...
 */
#include "grad/isa/exponential.h"
#include "grad/isa/sine.h"
#include "grad/kernels.h"

#include <math.h>

static inline float square(float x) { return x * x; }

static const float DENSITY = 0.39894228f;                    /* 1 / sqrt(2 pi) */
static const float TANH_A = 0.79788456f, TANH_B = 0.044715f; /* sqrt(2 / pi); Hendrycks, Gimpel: 1606.08415 */

/* Distribution of the normal law: 1/2 + x P(x^2), with the polynomial of degree 13 whose error times |x| is least up to
 * |x| = 5 (3e-8; 4e-7 with f32's rounding, and beyond), in powers of t = 2 x^2 / 25 - 1. A dozen multiply-adds cost
 * half of what an exponential and a division do. */
static inline float normal(float x) {
    x = x < -5 ? -5 : x;
    x = x > 5 ? 5 : x;
    float t = 0.08f * x * x - 1, p = -0.000253398408f;
    p = p * t + 0.000710507797f;
    p = p * t - 0.000840748427f;
    p = p * t + 0.00144298293f;
    p = p * t - 0.00358744198f;
    p = p * t + 0.00669658883f;
    p = p * t - 0.0106614819f;
    p = p * t + 0.0162687264f;
    p = p * t - 0.0234041624f;
    p = p * t + 0.0314699598f;
    p = p * t - 0.0404270627f;
    p = p * t + 0.0515184402f;
    p = p * t - 0.0702967867f;
    p = p * t + 0.141363814f;
    return 0.5f + x * p;
}
static inline float gelu_slope(float x) { return normal(x) + x * DENSITY * exponential(-0.5f * x * x); }

/* (1 + tanh z) / 2 = 1 / (1 + e^-2z) */
static inline float tanh_gate(float x) { return logistic(2 * TANH_A * (x + TANH_B * x * x * x)); }
static inline float gelu_tanh_slope(float x) {
    float g = tanh_gate(x);
    return g + x * g * (1 - g) * 2 * TANH_A * (1 + 3 * TANH_B * x * x);
}
static inline float silu_slope(float x) {
    float s = logistic(x);
    return s + x * s * (1 - s);
}

/* kind, value of x, slope as a function of x and y */
#define KINDS(K)                                                                     \
    K(UNARY_AFFINE, p *x[i] + q, p)                                                  \
    K(UNARY_EXP, expf(x[i]), y[i])                                                   \
    K(UNARY_LOG, logf(x[i]), 1 / x[i])                                               \
    K(UNARY_SQRT, sqrtf(x[i]), 0.5f / y[i])                                          \
    K(UNARY_ABS, fabsf(x[i]), x[i]<0 ? -1.0f : x[i]> 0 ? 1.0f : 0.0f)                \
    K(UNARY_SQUARE, x[i] * x[i], 2 * x[i])                                           \
    K(UNARY_POW, powf(x[i], p), p *y[i] / x[i])                                      \
    K(UNARY_CLAMP, x[i]<p ? p : x[i]> q ? q : x[i], x[i]<p || x[i]> q ? 0.0f : 1.0f) \
    K(UNARY_SIN, sine_of(p *x[i]).sine, p *sine_of(p *x[i]).cosine)                  \
    K(UNARY_TANH, tanhf(x[i]), 1 - square(y[i]))                                     \
    K(UNARY_SIGMOID, logistic(x[i]), y[i] * (1 - y[i]))                              \
    K(UNARY_LEAKY_RELU, x[i] < 0 ? p * x[i] : x[i], x[i] < 0 ? p : 1.0f)             \
    K(UNARY_GELU, x[i] * normal(x[i]), gelu_slope(x[i]))                             \
    K(UNARY_GELU_TANH, x[i] * tanh_gate(x[i]), gelu_tanh_slope(x[i]))                \
    K(UNARY_SILU, x[i] * logistic(x[i]), silu_slope(x[i]))                           \
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

#define THROUGH(kind_, value, slope)      \
    case kind_:                           \
        for (int64_t i = 0; i < n; i++) { \
            y[i] = value;                 \
            d[i] *= slope;                \
        }                                 \
        break;

static void through(unary_kind kind, float p, float q, int64_t n, const float *restrict x, float *restrict y,
                    float *restrict d) {
    switch (kind) {
        KINDS(THROUGH)
    case UNARY_KINDS: break;
    }
}

const unary_kernels ISA_TABLE(unary_table) = {forward, backward, through};
