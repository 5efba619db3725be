/* grad/rms_norm.c - x / sqrt(mean x^2 + epsilon) * w over the last dimension (Zhang, Sennrich: arXiv 1910.07467).
 *
 * The gradient of w is summed over fixed runs of rows, then over the runs: the same for any number of threads. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct rms_attr {
    float epsilon;
} rms_attr;

enum { RUN = 64 }; /* rows whose gradients of w are summed together */

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *x = in[0], *w = in[1];
    op_expect(x->rank >= 1 && (!w || (w->rank == 1 && w->shape[0] == x->shape[x->rank - 1])), "rms_norm",
              "x (..., n), w (n)", x, w);
    *saved = (size_t)pith_tensor_row_count(x) * sizeof(float);
    op_output(out, x->type, x->rank, x->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const rms_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = begin; i < end; i++)
        ((float *)c->saved)[i] =
            norm_kernel()->rms(n, f32(c->in[0]) + i * n, f32(c->in[1]), a->epsilon, f32(c->out[0]) + i * n);
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_row_count(c->in[0]), row_grain(pith_tensor_cols(c->in[0])), forward_part, (void *)c);
}

typedef struct part {
    const grad_call *c;
    float *dw; /* one row a run */
} part;

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const part *p = user;
    const grad_call *c = p->c;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]);
    for (int64_t run = begin; run < end; run++) {
        float *dw = p->dw ? p->dw + run * n : NULL, *dx = f32(c->din[0]);
        if (dw) memset(dw, 0, (size_t)n * sizeof *dw);
        for (int64_t i = run * RUN; i < rows && i < (run + 1) * RUN; i++)
            norm_kernel()->rms_backward(n, f32(c->in[0]) + i * n, f32(c->in[1]), ((float *)c->saved)[i],
                                        f32(c->dout[0]) + i * n, dx ? dx + i * n : NULL, c->fresh[0], dw);
    }
}

static void backward(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[0]), runs = (pith_tensor_row_count(c->in[0]) + RUN - 1) / RUN;
    part p = {c, c->din[1] ? op_scratch(c, (size_t)(runs * n) * sizeof(float)) : NULL};
    parallel_for(runs, 1, backward_part, &p);
    float *dw = f32(c->din[1]);
    for (int64_t run = 0; dw && run < runs; run++)
        for (int64_t j = 0; j < n; j++) dw[j] = (run || !c->fresh[1] ? dw[j] : 0) + p.dw[run * n + j];
    if (dw && runs == 0 && c->fresh[1]) memset(dw, 0, (size_t)n * sizeof *dw);
}

static void forward_f64(const grad_call *c) {
    const rms_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[0]); i++) {
        const double *x = f64(c->in[0]) + i * n;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += x[j] * x[j];
        for (int64_t j = 0; j < n; j++)
            f64(c->out[0])[i * n + j] = x[j] / sqrt(sum / (double)n + a->epsilon) * (c->in[1] ? f64(c->in[1])[j] : 1);
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t rows[] = {3, 131, 0, 2};
    case_input(c, -1, 1, CASE_SHAPE(rows[k], k == 3 ? 1 : 7));
    if (k == 1) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(k == 3 ? 1 : 7));
    case_attr(c, &(rms_attr){k == 3 ? 0.5f : 1e-5f}, sizeof(rms_attr));
}

const grad_op grad_op_rms_norm = {.name = "rms_norm",
                                  .keep_in = 3,
                                  .deterministic = true,
                                  .fresh_ok = true,
                                  .cases = 4,
                                  .shape = shape,
                                  .forward = forward,
                                  .backward = backward,
                                  .forward_f64 = forward_f64,
                                  .sample = sample};

var grad_rms_norm(tape *t, var x, var w, float epsilon) {
    return grad_apply(t, &grad_op_rms_norm, &(rms_attr){epsilon}, sizeof(rms_attr), (var[]){x, w}, 2);
}
