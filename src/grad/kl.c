/* grad/kl.c - distillation: T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over rows (Hinton, Vinyals,
 * Dean: arXiv 1503.02531). The teacher is a constant. Backward makes both distributions again from the kept log-sums.
 */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct kl_attr {
    float temperature;
} kl_attr;

/* saved: for each row the log-sums of student and teacher, and the divergence */
static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    op_expect(in[0]->rank >= 1 && pith_tensor_cols(in[0]) > 0 && in[0]->rank == in[1]->rank &&
                  !memcmp(in[0]->shape, in[1]->shape, sizeof(int64_t) * in[0]->rank),
              "kl", "student and teacher (..., classes)", in[0], in[1]);
    *saved = (size_t)pith_tensor_row_count(in[0]) * 3 * sizeof(float);
    op_output(out, in[0]->type, 0, NULL);
}

typedef struct job {
    const grad_call *c;
    float *rows; /* two rows a worker */
    float scale;
} job;

static job start(const grad_call *c) {
    size_t n = (size_t)pith_tensor_cols(c->in[0]);
    return (job){.c = c, .rows = op_scratch(c, (size_t)parallel_threads() * 2 * n * sizeof(float))};
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    const grad_call *c = j->c;
    float inverse = 1 / ((const kl_attr *)c->attr)->temperature;
    int64_t n = pith_tensor_cols(c->in[0]);
    float *q = j->rows + worker * 2 * n, *p = q + n;
    for (int64_t r = begin; r < end; r++) {
        const float *x = f32(c->in[0]) + r * n, *y = f32(c->in[1]) + r * n;
        float *kept = (float *)c->saved + 3 * r, sum = 0;
        kept[0] = softmax_kernel()->forward(n, n, inverse, x, q);
        kept[1] = softmax_kernel()->forward(n, n, inverse, y, p);
        for (int64_t i = 0; i < n; i++) sum += p[i] * ((y[i] - x[i]) * inverse - kept[1] + kept[0]);
        kept[2] = sum;
    }
}

static void forward(const grad_call *c) {
    job j = start(c);
    float t = ((const kl_attr *)c->attr)->temperature;
    int64_t rows = pith_tensor_row_count(c->in[0]);
    parallel_for(rows, row_grain(pith_tensor_cols(c->in[0])), forward_part, &j);
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += (double)((float *)c->saved)[3 * r + 2];
    *f32(c->out[0]) = rows ? (float)(sum * (double)(t * t) / (double)rows) : 0;
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    const grad_call *c = j->c;
    float inverse = 1 / ((const kl_attr *)c->attr)->temperature;
    int64_t n = pith_tensor_cols(c->in[0]);
    float *q = j->rows + worker * 2 * n, *p = q + n;
    for (int64_t r = begin; r < end; r++) {
        const float *kept = (float *)c->saved + 3 * r;
        float *dx = f32(c->din[0]) + r * n;
        memcpy(q, f32(c->in[0]) + r * n, (size_t)n * sizeof *q);
        memcpy(p, f32(c->in[1]) + r * n, (size_t)n * sizeof *p);
        softmax_kernel()->exp_minus(n, n, inverse, kept[0], q);
        softmax_kernel()->exp_minus(n, n, inverse, kept[1], p);
        for (int64_t i = 0; i < n; i++) dx[i] += j->scale * (q[i] - p[i]);
    }
}

static void backward(const grad_call *c) {
    if (!c->din[0]) return;
    job j = start(c);
    int64_t rows = pith_tensor_row_count(c->in[0]);
    j.scale = rows ? *f32(c->dout[0]) * ((const kl_attr *)c->attr)->temperature / (float)rows : 0;
    parallel_for(rows, row_grain(pith_tensor_cols(c->in[0])), backward_part, &j);
}

static void forward_f64(const grad_call *c) {
    double t = (double)((const kl_attr *)c->attr)->temperature, total = 0;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = f64(c->in[0]) + r * n, *y = f64(c->in[1]) + r * n;
        double a = 0, b = 0;
        for (int64_t i = 0; i < n; i++) a += exp(x[i] / t), b += exp(y[i] / t);
        for (int64_t i = 0; i < n; i++) total += exp(y[i] / t) / b * ((y[i] - x[i]) / t - log(b) + log(a));
    }
    *f64(c->out[0]) = rows ? total * t * t / (double)rows : 0;
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    for (int i = 0; i < 2; i++) case_input(c, -3, 3, CASE_SHAPE(k == 2 ? 0 : 4, 7))->fixed = i == 1;
    case_attr(c, &(kl_attr){k == 0 ? 1 : 2.5f}, sizeof(kl_attr));
}

const grad_op grad_op_kl = {.name = "kl",
                            .keep_in = 3,
                            .deterministic = true,
                            .cases = 3,
                            .shape = shape,
                            .forward = forward,
                            .backward = backward,
                            .forward_f64 = forward_f64,
                            .sample = sample};

var grad_kl(tape *t, var student, var teacher, float temperature) {
    return grad_apply(t, &grad_op_kl, &(kl_attr){temperature}, sizeof(kl_attr), (var[]){student, grad_stop(t, teacher)},
                      2);
}
