/* grad/batch_norm.c - normalization of each channel over all else (Ioffe, Szegedy: arXiv 1502.03167).
 *
 * In training by the mean and variance of the batch, which also move the running averages; in a no-gradient scope by
 * those averages. Sums go over fixed runs of rows, around the running mean (so that squares do not cancel), then over
 * the runs in double: the same for any number of threads. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct batch_attr {
    float momentum, epsilon;
} batch_attr;

enum { RUN = 256, X = 0, W, B, MEAN, VARIANCE };

/* saved: mean and 1 / deviation of each channel */
static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *x = in[X];
    for (int i = 1; i < 5; i++)
        op_expect(x->rank >= 1 && in[i]->rank == 1 && in[i]->shape[0] == x->shape[x->rank - 1], "batch_norm",
                  "x (..., channels), w, b, mean, variance (channels)", x, in[i]);
    *saved = (size_t)pith_tensor_cols(x) * 2 * sizeof(float);
    op_output(out, x->type, x->rank, x->shape);
}

typedef struct job {
    const grad_call *c;
    int64_t rows, n, runs;
    float *sums;                /* two of each channel, for each run */
    const float *a, *b, *shift; /* by channel */
} job;

static job start(const grad_call *c) {
    job j = {.c = c, .rows = pith_tensor_row_count(c->in[X]), .n = pith_tensor_cols(c->in[X])};
    j.runs = (j.rows + RUN - 1) / RUN;
    j.sums = op_scratch(c, (size_t)(j.runs * 2 * j.n) * sizeof(float));
    memset(j.sums, 0, (size_t)(j.runs * 2 * j.n) * sizeof(float));
    return j;
}

static double total(const job *j, int which, int64_t channel) {
    double sum = 0;
    for (int64_t run = 0; run < j->runs; run++) sum += (double)j->sums[(run * 2 + which) * j->n + channel];
    return sum;
}

static void sum_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t i = begin * RUN; i < j->rows && i < end * RUN; i++) {
        float *sum = j->sums + i / RUN * 2 * j->n;
        norm_kernel()->channel_sums(j->n, f32(j->c->in[X]) + i * j->n, f32(j->c->in[MEAN]), sum, sum + j->n);
    }
}

static void batch_statistics(const grad_call *c, job *j) {
    const batch_attr *a = c->attr;
    float *mean = c->saved, *r = mean + j->n, *running = f32(c->in[MEAN]), *spread = f32(c->in[VARIANCE]);
    parallel_for(j->runs, 1, sum_runs, j);
    for (int64_t k = 0; k < j->n; k++) {
        double m = total(j, 0, k) / (double)j->rows, v = total(j, 1, k) / (double)j->rows - m * m;
        v = v > 0 ? v : 0;
        mean[k] = (float)(m + (double)running[k]);
        r[k] = (float)(1 / sqrt(v + (double)a->epsilon));
        if (c->again) continue;
        running[k] += a->momentum * (float)m;
        double unbiased = j->rows > 1 ? v * (double)j->rows / (double)(j->rows - 1) : v;
        spread[k] += a->momentum * ((float)unbiased - spread[k]);
    }
}

static void apply_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t i = begin * RUN; i < j->rows && i < end * RUN; i++)
        norm_kernel()->channels(j->n, f32(j->c->in[X]) + i * j->n, j->a, j->b, f32(j->c->out[0]) + i * j->n);
}

static void forward(const grad_call *c) {
    const batch_attr *a = c->attr;
    job j = start(c);
    float *mean = c->saved, *r = mean + j.n;
    if (c->training && j.rows) batch_statistics(c, &j);
    else
        for (int64_t k = 0; k < j.n; k++)
            mean[k] = f32(c->in[MEAN])[k], r[k] = 1 / sqrtf(f32(c->in[VARIANCE])[k] + a->epsilon);
    float *scale = op_scratch(c, (size_t)j.n * sizeof *scale), *shift = op_scratch(c, (size_t)j.n * sizeof *shift);
    for (int64_t k = 0; k < j.n; k++) {
        scale[k] = r[k] * f32(c->in[W])[k];
        shift[k] = f32(c->in[B])[k] - mean[k] * scale[k];
    }
    j.a = scale, j.b = shift;
    parallel_for(j.runs, 1, apply_runs, &j);
}

static void dot_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t i = begin * RUN; i < j->rows && i < end * RUN; i++) {
        float *sum = j->sums + i / RUN * 2 * j->n;
        norm_kernel()->channel_dots(j->n, f32(j->c->in[X]) + i * j->n, j->c->saved, f32(j->c->dout[0]) + i * j->n, sum,
                                    sum + j->n);
    }
}

static void backward_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t i = begin * RUN; i < j->rows && i < end * RUN; i++)
        norm_kernel()->channels_backward(j->n, f32(j->c->in[X]) + i * j->n, j->c->saved, f32(j->c->dout[0]) + i * j->n,
                                         j->a, j->b, j->shift, f32(j->c->din[X]) + i * j->n, j->c->fresh[X]);
}

/* With h = (x - mean) r: dx = w r (dy - mean(dy) - h mean(dy h)) */
static void backward(const grad_call *c) {
    job j = start(c);
    size_t bytes = (size_t)j.n * sizeof(float);
    float *r = (float *)c->saved + j.n, *a = op_scratch(c, bytes), *b = op_scratch(c, bytes),
          *shift = op_scratch(c, bytes), *dw = f32(c->din[W]), *db = f32(c->din[B]);
    parallel_for(j.runs, 1, dot_runs, &j);
    if (dw && c->fresh[W]) memset(dw, 0, bytes);
    if (db && c->fresh[B]) memset(db, 0, bytes);
    for (int64_t k = 0; k < j.n; k++) {
        float sum = (float)total(&j, 0, k), dot = (float)total(&j, 1, k), count = (float)j.rows;
        if (dw) dw[k] += dot * r[k];
        if (db) db[k] += sum;
        a[k] = f32(c->in[W])[k] * r[k];
        b[k] = -a[k] * r[k] * r[k] * dot / count, shift[k] = -a[k] * sum / count;
    }
    j.a = a, j.b = b, j.shift = shift;
    if (c->din[X]) parallel_for(j.runs, 1, backward_runs, &j);
}

static void forward_f64(const grad_call *c) {
    const batch_attr *a = c->attr;
    int64_t rows = pith_tensor_row_count(c->in[X]), n = pith_tensor_cols(c->in[X]);
    const double *x = f64(c->in[X]);
    for (int64_t k = 0; k < n; k++) {
        double mean = 0, v = 0;
        for (int64_t i = 0; i < rows; i++) mean += x[i * n + k] / (double)rows;
        for (int64_t i = 0; i < rows; i++) v += (x[i * n + k] - mean) * (x[i * n + k] - mean) / (double)rows;
        for (int64_t i = 0; i < rows; i++)
            f64(c->out[0])[i * n + k] =
                (x[i * n + k] - mean) / sqrt(v + (double)a->epsilon) * f64(c->in[W])[k] + f64(c->in[B])[k];
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t rows[] = {5, 300, 0};
    case_input(c, 0, 2, CASE_SHAPE(rows[k], 1, 3));
    for (int i = 1; i < 5; i++) case_input(c, 0.5, 1, CASE_SHAPE(3))->fixed = i >= MEAN;
    case_attr(c, &(batch_attr){0.1f, 1e-5f}, sizeof(batch_attr));
}

const grad_op grad_op_batch_norm = {.name = "batch_norm",
                                    .keep_in = 3,
                                    .deterministic = true,
                                    .fresh_ok = true,
                                    .cases = 3,
                                    .shape = shape,
                                    .forward = forward,
                                    .backward = backward,
                                    .forward_f64 = forward_f64,
                                    .sample = sample};

var grad_batch_norm(tape *t, var x, var w, var b, var mean, var variance, float momentum, float epsilon) {
    batch_attr a = {momentum, epsilon};
    return grad_apply(t, &grad_op_batch_norm, &a, sizeof a,
                      (var[]){x, w, b, grad_stop(t, mean), grad_stop(t, variance)}, 5);
}
