/* grad/layer_norm.c - (x - mean) / deviation * w + b over the last dimension (Ba, Kiros, Hinton: arXiv 1607.06450).
 *
 * Gradients of w and b are summed over fixed runs of rows, then over the runs: the same for any number of threads. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct layer_attr {
    float epsilon;
} layer_attr;

enum { RUN = 64 }; /* rows whose gradients of w and b are summed together */

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *x = in[0];
    for (int i = 1; i < 3; i++)
        op_expect(x->rank >= 1 && (!in[i] || (in[i]->rank == 1 && in[i]->shape[0] == x->shape[x->rank - 1])),
                  "layer_norm", "x (..., n), w and b (n)", x, in[i]);
    *saved = (size_t)pith_tensor_row_count(x) * 2 * sizeof(float);
    op_output(out, x->type, x->rank, x->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const layer_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = begin; i < end; i++)
        norm_kernel()->layer(n, f32(c->in[0]) + i * n, f32(c->in[1]), f32(c->in[2]), a->epsilon, f32(c->out[0]) + i * n,
                             (float *)c->saved + 2 * i);
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_row_count(c->in[0]), row_grain(pith_tensor_cols(c->in[0])), forward_part, (void *)c);
}

typedef struct part {
    const grad_call *c;
    float *sums; /* gradients of w, then of b, for each run */
} part;

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const part *p = user;
    const grad_call *c = p->c;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]);
    for (int64_t run = begin; run < end; run++) {
        float *dw = p->sums + run * 2 * n, *db = dw + n, *dx = f32(c->din[0]);
        memset(dw, 0, (size_t)n * 2 * sizeof *dw);
        for (int64_t i = run * RUN; i < rows && i < (run + 1) * RUN; i++)
            norm_kernel()->layer_backward(n, f32(c->in[0]) + i * n, f32(c->in[1]), (float *)c->saved + 2 * i,
                                          f32(c->dout[0]) + i * n, dx ? dx + i * n : NULL, c->fresh[0],
                                          c->din[1] ? dw : NULL, c->din[2] ? db : NULL);
    }
}

static void backward(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[0]), runs = (pith_tensor_row_count(c->in[0]) + RUN - 1) / RUN;
    part p = {c, op_scratch(c, (size_t)(runs * 2 * n) * sizeof(float))};
    parallel_for(runs, 1, backward_part, &p);
    for (int i = 1; i < 3; i++) {
        float *d = f32(c->din[i]);
        if (d && c->fresh[i]) memset(d, 0, (size_t)n * sizeof *d);
        for (int64_t run = 0; d && run < runs; run++)
            for (int64_t j = 0; j < n; j++) d[j] += p.sums[(run * 2 + i - 1) * n + j];
    }
}

static void forward_f64(const grad_call *c) {
    const layer_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[0]); i++) {
        const double *x = f64(c->in[0]) + i * n;
        double mean = 0, sum = 0;
        for (int64_t j = 0; j < n; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) sum += (x[j] - mean) * (x[j] - mean);
        for (int64_t j = 0; j < n; j++)
            f64(c->out[0])[i * n + j] =
                (x[j] - mean) / sqrt(sum / (double)n + a->epsilon) * (c->in[1] ? f64(c->in[1])[j] : 1) +
                (c->in[2] ? f64(c->in[2])[j] : 0);
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t rows[] = {3, 131, 0, 2, 4};
    case_input(c, -1, 1, CASE_SHAPE(rows[k], 7));
    for (int i = 1; i < 3; i++)
        if (k == 1 || k == 2 + i) case_absent(c);
        else case_input(c, -1, 1, CASE_SHAPE(7));
    case_attr(c, &(layer_attr){1e-5f}, sizeof(layer_attr));
}

const grad_op grad_op_layer_norm = {.name = "layer_norm",
                                    .keep_in = 3,
                                    .deterministic = true,
                                    .fresh_ok = true,
                                    .cases = 5,
                                    .shape = shape,
                                    .forward = forward,
                                    .backward = backward,
                                    .forward_f64 = forward_f64,
                                    .sample = sample};

var grad_layer_norm(tape *t, var x, var w, var b, float epsilon) {
    return grad_apply(t, &grad_op_layer_norm, &(layer_attr){epsilon}, sizeof(layer_attr), (var[]){x, w, b}, 3);
}
