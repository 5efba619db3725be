/* grad/unary.c - element-wise functions of one tensor: shape, reference and wrappers; loops in isa/unary_fast.c. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct unary_attr {
    unary_kind kind;
    float p, q;
} unary_attr;

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const unary_attr *a = c->attr;
    unary_kernel()->forward(a->kind, a->p, a->q, end - begin, f32(c->in[0]) + begin, f32(c->out[0]) + begin);
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, forward_part, (void *)c);
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const unary_attr *a = c->attr;
    unary_kernel()->backward(a->kind, a->p, a->q, end - begin, f32(c->in[0]) + begin, f32(c->out[0]) + begin,
                             f32(c->dout[0]) + begin, f32(c->din[0]) + begin, c->fresh[0]);
}

static void backward(const grad_call *c) {
    if (c->din[0]) parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, backward_part, (void *)c);
}

double unary_f64(unary_kind kind, double p, double q, double x) {
    double root = 0.7978845608028654; /* sqrt(2 / pi) */
    switch (kind) {
    case UNARY_AFFINE: return p * x + q;
    case UNARY_EXP: return exp(x);
    case UNARY_LOG: return log(x);
    case UNARY_SQRT: return sqrt(x);
    case UNARY_ABS: return fabs(x);
    case UNARY_SQUARE: return x * x;
    case UNARY_POW: return pow(x, p);
    case UNARY_CLAMP: return x < p ? p : x > q ? q : x;
    case UNARY_SIN: return sin(p * x);
    case UNARY_TANH: return tanh(x);
    case UNARY_SIGMOID: return 1 / (1 + exp(-x));
    case UNARY_LEAKY_RELU: return x < 0 ? p * x : x;
    case UNARY_GELU: return 0.5 * x * (1 + erf(x * sqrt(0.5)));
    case UNARY_GELU_TANH: return 0.5 * x * (1 + tanh(root * (x + 0.044715 * x * x * x)));
    case UNARY_SILU: return x / (1 + exp(-x));
    case UNARY_SOFTPLUS: return fmax(x, 0) + log1p(exp(-fabs(x)));
    case UNARY_KINDS: break;
    }
    return 0;
}

static void forward_f64(const grad_call *c) {
    const unary_attr *a = c->attr;
    for (int64_t i = 0; i < pith_tensor_elements(c->in[0]); i++)
        f64(c->out[0])[i] = unary_f64(a->kind, a->p, a->q, f64(c->in[0])[i]);
}

static void sample(rng *r, int k, grad_case *c) {
    unary_attr a = {(unary_kind)(k / 3), (float)(0.5 + rng_double(r)), 0.3f};
    bool positive = a.kind == UNARY_LOG || a.kind == UNARY_SQRT || a.kind == UNARY_POW;
    if (a.kind == UNARY_LEAKY_RELU) a.p = k % 3 ? 0.1f : 0.0f;
    if (a.kind == UNARY_CLAMP) a.p = -100, a.q = 0.7f;
    double low = positive ? 0.3 : -3;
    grad_case_input *x = k % 3 == 0   ? case_input(c, low, 3, CASE_SHAPE(37))
                         : k % 3 == 1 ? case_input(c, low, 3, CASE_SHAPE(2, 0, 3))
                                      : case_input(c, 3 * low, 9, CASE_SHAPE(2, 3, 3));
    x->kink = a.kind == UNARY_CLAMP ? a.q : 0;
    x->distance = a.kind == UNARY_ABS || a.kind == UNARY_LEAKY_RELU || a.kind == UNARY_CLAMP ? 0.01 : 0;
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_unary = {.name = "unary",
                               .keep_in = 1,
                               .keep_out = 1,
                               .deterministic = true,
                               .fresh_ok = true,
                               .cases = 3 * UNARY_KINDS,
                               .shape = shape,
                               .forward = forward,
                               .backward = backward,
                               .forward_f64 = forward_f64,
                               .sample = sample};

var grad_unary(tape *t, var x, unary_kind kind, float p, float q) {
    return grad_apply(t, &grad_op_unary, &(unary_attr){kind, p, q}, sizeof(unary_attr), &x, 1);
}

var grad_affine(tape *t, var x, float scale, float shift) { return grad_unary(t, x, UNARY_AFFINE, scale, shift); }
var grad_exp(tape *t, var x) { return grad_unary(t, x, UNARY_EXP, 0, 0); }
var grad_log(tape *t, var x) { return grad_unary(t, x, UNARY_LOG, 0, 0); }
var grad_sqrt(tape *t, var x) { return grad_unary(t, x, UNARY_SQRT, 0, 0); }
var grad_abs(tape *t, var x) { return grad_unary(t, x, UNARY_ABS, 0, 0); }
var grad_square(tape *t, var x) { return grad_unary(t, x, UNARY_SQUARE, 0, 0); }
var grad_pow(tape *t, var x, float power) { return grad_unary(t, x, UNARY_POW, power, 0); }
var grad_clamp(tape *t, var x, float low, float high) { return grad_unary(t, x, UNARY_CLAMP, low, high); }
var grad_sin(tape *t, var x, float frequency) { return grad_unary(t, x, UNARY_SIN, frequency, 0); }
var grad_tanh(tape *t, var x) { return grad_unary(t, x, UNARY_TANH, 0, 0); }
var grad_sigmoid(tape *t, var x) { return grad_unary(t, x, UNARY_SIGMOID, 0, 0); }
var grad_relu(tape *t, var x) { return grad_unary(t, x, UNARY_LEAKY_RELU, 0, 0); }
var grad_leaky_relu(tape *t, var x, float slope) { return grad_unary(t, x, UNARY_LEAKY_RELU, slope, 0); }
var grad_gelu(tape *t, var x) { return grad_unary(t, x, UNARY_GELU, 0, 0); }
var grad_gelu_tanh(tape *t, var x) { return grad_unary(t, x, UNARY_GELU_TANH, 0, 0); }
var grad_silu(tape *t, var x) { return grad_unary(t, x, UNARY_SILU, 0, 0); }
var grad_softplus(tape *t, var x) { return grad_unary(t, x, UNARY_SOFTPLUS, 0, 0); }
