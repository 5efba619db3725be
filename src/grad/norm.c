/* grad/norm.c - over the last dimension: layer_norm (x - mean) / deviation * w + b (Ba, Kiros, Hinton: arXiv
 * 1607.06450) and rms_norm x / sqrt(mean x^2 + epsilon) * w (Zhang, Sennrich: arXiv 1910.07467).
 *
 * Gradients of w and b are summed over fixed runs of rows, then over the runs: the same for any number of threads. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct norm_attr {
    bool centered; /* layer_norm */
    float epsilon;
} norm_attr;

enum { X, W, B };
enum { RUN = 64 }; /* rows whose gradients of w and b are summed together */

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    const norm_attr *a = attr;
    const pith_tensor *x = in[X];
    for (int i = W; i <= (a->centered ? B : W); i++)
        op_expect(x->rank >= 1 && (!in[i] || (in[i]->rank == 1 && in[i]->shape[0] == x->shape[x->rank - 1])),
                  a->centered ? "layer_norm" : "rms_norm", "x (..., n), w and b (n)", x, in[i]);
    *saved = (size_t)pith_tensor_row_count(x) * 2 * sizeof(float); /* mean and 1 / deviation */
    op_output(out, x->type, x->rank, x->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const norm_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[X]);
    const float *w = f32(c->in[W]), *b = f32(c->in[B]);
    for (int64_t i = begin; i < end; i++) {
        const float *x = f32(c->in[X]) + i * n;
        float *y = f32(c->out[0]) + i * n, *stats = (float *)c->saved + 2 * i;
        if (a->centered) norm_kernel()->layer(n, x, w, b, a->epsilon, y, stats);
        else stats[1] = norm_kernel()->rms(n, x, w, a->epsilon, y);
    }
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_row_count(c->in[X]), row_grain(pith_tensor_cols(c->in[X])), forward_part, (void *)c);
}

typedef struct job {
    const grad_call *c;
    float *dw, *db; /* n for each run; NULL: not wanted */
} job;

static void backward_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const grad_call *c = j->c;
    const norm_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[X]), rows = pith_tensor_row_count(c->in[X]);
    const float *w = f32(c->in[W]);
    for (int64_t run = begin; run < end; run++) {
        float *dw = j->dw ? j->dw + run * n : NULL, *db = j->db ? j->db + run * n : NULL;
        if (dw) memset(dw, 0, (size_t)n * sizeof *dw);
        if (db) memset(db, 0, (size_t)n * sizeof *db);
        for (int64_t i = run * RUN; i < rows && i < (run + 1) * RUN; i++) {
            const float *x = f32(c->in[X]) + i * n, *dy = f32(c->dout[0]) + i * n, *stats = (float *)c->saved + 2 * i;
            float *dx = c->din[X] ? f32(c->din[X]) + i * n : NULL;
            if (a->centered) norm_kernel()->layer_backward(n, x, w, stats, dy, dx, c->fresh[X], dw, db);
            else norm_kernel()->rms_backward(n, x, w, stats[1], dy, dx, c->fresh[X], dw);
        }
    }
}

static void backward(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[X]), runs = (pith_tensor_row_count(c->in[X]) + RUN - 1) / RUN;
    job j = {.c = c};
    if (c->din[W]) j.dw = op_scratch(c, (size_t)(runs * n) * sizeof(float));
    if (c->din[B]) j.db = op_scratch(c, (size_t)(runs * n) * sizeof(float));
    parallel_for(runs, 1, backward_runs, &j);
    if (j.dw) add_parts(j.dw, runs, n, f32(c->din[W]), !c->fresh[W]);
    if (j.db) add_parts(j.db, runs, n, f32(c->din[B]), !c->fresh[B]);
}

static void forward_f64(const grad_call *c) {
    const norm_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[X]);
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[X]); i++) {
        const double *x = f64(c->in[X]) + i * n;
        double mean = 0, sum = 0;
        for (int64_t j = 0; j < n && a->centered; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) sum += (x[j] - mean) * (x[j] - mean);
        for (int64_t j = 0; j < n; j++)
            f64(c->out[0])[i * n + j] =
                (x[j] - mean) / sqrt(sum / (double)n + a->epsilon) * (c->in[W] ? f64(c->in[W])[j] : 1) +
                (c->in[B] ? f64(c->in[B])[j] : 0);
    }
}

static const int64_t case_rows[] = {3, 131, 0, 2, 4};

static void sample_layer(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(case_rows[k], 7));
    for (int i = W; i <= B; i++)
        if (k == 1 || k == 2 + i) case_absent(c);
        else case_input(c, -1, 1, CASE_SHAPE(7));
    case_attr(c, &(norm_attr){true, 1e-5f}, sizeof(norm_attr));
}

static void sample_rms(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(case_rows[k], k == 3 ? 1 : 7));
    if (k == 1) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(k == 3 ? 1 : 7));
    case_attr(c, &(norm_attr){false, k == 3 ? 0.5f : 1e-5f}, sizeof(norm_attr));
}

const grad_op grad_op_layer_norm = {.name = "layer_norm",
                                    .keep_in = 1 << X | 1 << W,
                                    .deterministic = true,
                                    .fresh_ok = true,
                                    .cases = 5,
                                    .shape = shape,
                                    .forward = forward,
                                    .backward = backward,
                                    .forward_f64 = forward_f64,
                                    .sample = sample_layer};

const grad_op grad_op_rms_norm = {.name = "rms_norm",
                                  .keep_in = 1 << X | 1 << W,
                                  .deterministic = true,
                                  .fresh_ok = true,
                                  .cases = 4,
                                  .shape = shape,
                                  .forward = forward,
                                  .backward = backward,
                                  .forward_f64 = forward_f64,
                                  .sample = sample_rms};

var grad_layer_norm(tape *t, var x, var w, var b, float epsilon) {
    return grad_apply(t, &grad_op_layer_norm, &(norm_attr){true, epsilon}, sizeof(norm_attr), (var[]){x, w, b}, 3);
}

var grad_rms_norm(tape *t, var x, var w, float epsilon) {
    return grad_apply(t, &grad_op_rms_norm, &(norm_attr){false, epsilon}, sizeof(norm_attr), (var[]){x, w}, 2);
}
