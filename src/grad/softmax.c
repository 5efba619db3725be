/* grad/softmax.c - softmax and its logarithm over the last dimension. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct softmax_attr {
    bool log;
} softmax_attr;

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(in[0]->rank >= 1 && pith_tensor_cols(in[0]) > 0, "softmax", "x (..., n), n > 0", in[0], NULL);
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const softmax_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t r = begin; r < end; r++) {
        const float *x = f32(c->in[0]) + r * n;
        float *y = f32(c->out[0]) + r * n, log_sum = softmax_kernel()->forward(n, n, 1, x, y);
        for (int64_t i = 0; a->log && i < n; i++) y[i] = x[i] - log_sum;
    }
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_row_count(c->in[0]), row_grain(pith_tensor_cols(c->in[0])), forward_part, (void *)c);
}

/* y = softmax: dx = y (dy - sum(y dy)); of the logarithm: dx = dy - exp(y) sum(dy) */
static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const softmax_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t r = begin; r < end; r++) {
        const float *y = f32(c->out[0]) + r * n, *dy = f32(c->dout[0]) + r * n;
        float *dx = f32(c->din[0]) + r * n, sum = 0;
        for (int64_t i = 0; i < n; i++) sum += a->log ? dy[i] : y[i] * dy[i];
        for (int64_t i = 0; i < n; i++) dx[i] += a->log ? dy[i] - expf(y[i]) * sum : y[i] * (dy[i] - sum);
    }
}

static void backward(const grad_call *c) {
    if (c->din[0])
        parallel_for(pith_tensor_row_count(c->in[0]), row_grain(pith_tensor_cols(c->in[0])), backward_part, (void *)c);
}

static void forward_f64(const grad_call *c) {
    const softmax_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t r = 0; r < pith_tensor_row_count(c->in[0]); r++) {
        const double *x = f64(c->in[0]) + r * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += exp(x[i]);
        for (int64_t i = 0; i < n; i++) f64(c->out[0])[r * n + i] = a->log ? x[i] - log(sum) : exp(x[i]) / sum;
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    softmax_attr a = {k & 1};
    case_input(c, -3, 3, CASE_SHAPE(k / 2 == 1 ? 0 : 3, k / 2 == 2 ? 1 : 7));
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_softmax = {.name = "softmax",
                                 .keep_out = 1,
                                 .deterministic = true,
                                 .cases = 5,
                                 .shape = shape,
                                 .forward = forward,
                                 .backward = backward,
                                 .forward_f64 = forward_f64,
                                 .sample = sample};

static var apply(tape *t, var x, bool log) {
    softmax_attr a = {log};
    return grad_apply(t, &grad_op_softmax, &a, sizeof a, &x, 1);
}

var grad_softmax(tape *t, var x) { return apply(t, x, false); }
var grad_log_softmax(tape *t, var x) { return apply(t, x, true); }
