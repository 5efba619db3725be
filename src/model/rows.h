/* model/rows.h - what happens to rows of activations between the matrices. */
#ifndef MODEL_ROWS_H
#define MODEL_ROWS_H

#include <stdint.h>

struct rows_kernels {
    void (*rms_norm)(const float *x, const float *weight, int64_t n, float epsilon, float *out);
    void (*layer_norm)(const float *x, const float *weight, const float *bias, int64_t n, float epsilon,
                       float *out);                              /* bias may be NULL */
    void (*silu_times)(float *gate, const float *up, int64_t n); /* gate = silu(gate) * up */
    void (*gelu)(float *x, int64_t n);                           /* tanh form */
    void (*add)(float *x, const float *y, int64_t n);
};

const struct rows_kernels *rows_active(void); /* for the active instruction set */

#endif
