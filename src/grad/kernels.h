/* grad/kernels.h - inner loops of the operations, compiled once per instruction set (isa/x_fast.c).
 *
 * All work on the calling thread and on contiguous f32 rows. `fresh`: the gradient is assigned, not added to. */
#ifndef GRAD_KERNELS_H
#define GRAD_KERNELS_H

#include "base/isa.h"
#include "grad/unary.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum binary_kind { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_KINDS } binary_kind;

/* Element-wise functions; isa/unary_fast.c */
typedef struct unary_kernels {
    void (*forward)(unary_kind kind, float p, float q, int64_t n, const float *x, float *y);
    /* dx (+)= dy * f'(x); y = f(x) */
    void (*backward)(unary_kind kind, float p, float q, int64_t n, const float *x, const float *y, const float *dy,
                     float *dx, bool fresh);
    /* y = f(x) and d = d * f'(x) */
    void (*through)(unary_kind kind, float p, float q, int64_t n, const float *x, float *y, float *d);
} unary_kernels;

/* Element-wise functions of two rows; isa/binary_fast.c */
typedef struct binary_kernels {
    /* a and b have n values (step 1) or one (step 0) */
    void (*forward)(binary_kind kind, int64_t n, const float *a, int step_a, const float *b, int step_b, float *y);
    /* da and db are shaped as a and b; either may be NULL */
    void (*backward)(binary_kind kind, int64_t n, const float *a, int step_a, const float *b, int step_b,
                     const float *dy, float *da, float *db, bool fresh_a, bool fresh_b);
    void (*swiglu)(int64_t n, const float *gate, const float *up, float *y);
    void (*swiglu_backward)(int64_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup,
                            bool fresh_gate, bool fresh_up);
    /* y (+)= x with its first `pairs` pairs turned: halves: (p, pairs + p), else (2 p, 2 p + 1) */
    void (*turn)(int64_t pairs, int64_t n, bool halves, const float *cosine, const float *sine, float sign,
                 const float *x, float *y, bool add);
    /* y = x and which = place where x is higher */
    void (*higher)(int64_t n, const float *x, int32_t place, float *y, int32_t *which);
    /* sum[j] (+)= sum over rows of x[row * ldx + j], n columns, in order of the rows unless n and ldx are 1 */
    void (*sum_rows)(int64_t rows, int64_t n, const float *x, int64_t ldx, float *sum, bool add);
} binary_kernels;

/* Norms of one row; isa/norm_fast.c */
typedef struct norm_kernels {
    /* y = x r w with r = 1 / sqrt(mean x^2 + epsilon), returned; w may be NULL */
    float (*rms)(int64_t n, const float *x, const float *w, float epsilon, float *y);
    /* dx may be NULL; dw (added to) may be NULL */
    void (*rms_backward)(int64_t n, const float *x, const float *w, float r, const float *dy, float *dx, bool fresh,
                         float *dw);
    /* y = (x - mean) r w + b; w, b may be NULL; stats[0] = mean, stats[1] = r */
    void (*layer)(int64_t n, const float *x, const float *w, const float *b, float epsilon, float *y, float *stats);
    /* dx, dw, db may be NULL; dw and db are added to */
    void (*layer_backward)(int64_t n, const float *x, const float *w, const float *stats, const float *dy, float *dx,
                           bool fresh, float *dw, float *db);
    /* By channel: y = x scale + shift */
    void (*channels)(int64_t n, const float *x, const float *scale, const float *shift, float *y);
    /* By channel: sum += x - center, squares += (x - center)^2 */
    void (*channel_sums)(int64_t n, const float *x, const float *center, float *sum, float *squares);
    /* By channel: sum += dy, dot += dy (x - mean) */
    void (*channel_dots)(int64_t n, const float *x, const float *mean, const float *dy, float *sum, float *dot);
    /* By channel: dx (+)= a dy + b (x - mean) + c */
    void (*channels_backward)(int64_t n, const float *x, const float *mean, const float *dy, const float *a,
                              const float *b, const float *c, float *dx, bool fresh);
} norm_kernels;

/* Exponentials of one row; isa/softmax_fast.c */
typedef struct softmax_kernels {
    /* y[i] = softmax(scale x) over the first `own` values, 0 for the others up to n; may be in place. Returns the log
     * of the sum of exp(scale x). 1 <= own <= n < 2^31; x is read up to n */
    float (*forward)(int64_t own, int64_t n, float scale, const float *x, float *y);
    /* x = exp(scale x - log_sum) for the first `own` values, 0 for the others up to n, in place */
    void (*exp_minus)(int64_t own, int64_t n, float scale, float log_sum, float *x);
    /* log sum exp(x) - (1 - smoothing) x[label] - smoothing mean(x); *log_sum for backward */
    float (*cross_entropy)(int64_t n, const float *x, int label, float smoothing, float *log_sum);
    void (*cross_entropy_backward)(int64_t n, const float *x, int label, float smoothing, float log_sum, float scale,
                                   float *dx, bool fresh);
    void (*scores_backward)(int64_t n, const float *p, float d, float scale, float *dp); /* dp = p (dp - d) scale */
    float (*dot)(int64_t n, const float *a, const float *b);
} softmax_kernels;

const unary_kernels *unary_kernel(void);
const binary_kernels *binary_kernel(void);
const norm_kernels *norm_kernel(void);
const softmax_kernels *softmax_kernel(void);

#endif
