/* grad/unary.h - names of the element-wise functions of one number. */
#ifndef GRAD_UNARY_H
#define GRAD_UNARY_H

typedef enum unary_kind {
    UNARY_AFFINE, /* p * x + q */
    UNARY_EXP,
    UNARY_LOG,
    UNARY_SQRT,
    UNARY_ABS,
    UNARY_SQUARE,
    UNARY_POW,   /* x^p */
    UNARY_CLAMP, /* to [p, q] */
    UNARY_SIN,   /* sin(p x) */
    UNARY_TANH,
    UNARY_SIGMOID,
    UNARY_LEAKY_RELU, /* slope p below 0 */
    UNARY_GELU,
    UNARY_GELU_TANH,
    UNARY_SILU,
    UNARY_SOFTPLUS,
    UNARY_KINDS
} unary_kind;

double unary_f64(unary_kind kind, double p, double q, double x); /* what tests take for the truth */

#endif
