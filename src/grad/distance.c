/* grad/distance.c - mean of squared or absolute differences over all elements. */
#include "grad/each.h"
#include "grad/ops.h"

#include <math.h>

typedef struct distance_attr {
    bool absolute;
} distance_attr;

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(in[0]->rank == in[1]->rank && !memcmp(in[0]->shape, in[1]->shape, sizeof(int64_t) * in[0]->rank),
              "distance", "equal shapes", in[0], in[1]);
    op_output(out, in[0]->type, 0, NULL);
}

typedef struct job {
    const grad_call *c;
    double *sums; /* one a chunk */
    float scale;
} job;

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const distance_attr *attr = j->c->attr;
    const float *a = f32(j->c->in[0]), *b = f32(j->c->in[1]);
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += attr->absolute ? fabs(d) : d * d;
    }
    j->sums[begin / EACH_GRAIN] = sum;
}

static void forward(const grad_call *c) {
    int64_t n = pith_tensor_elements(c->in[0]), chunks = (n + EACH_GRAIN - 1) / EACH_GRAIN;
    job j = {c, op_scratch(c, (size_t)(chunks + 1) * sizeof(double)), 0};
    parallel_for(n, EACH_GRAIN, forward_part, &j);
    double sum = 0;
    for (int64_t i = 0; i < chunks; i++) sum += j.sums[i];
    *f32(c->out[0]) = n ? (float)(sum / (double)n) : 0;
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const distance_attr *attr = j->c->attr;
    const float *a = f32(j->c->in[0]), *b = f32(j->c->in[1]);
    float *da = f32(j->c->din[0]), *db = f32(j->c->din[1]);
    for (int64_t i = begin; i < end; i++) {
        float d = a[i] - b[i], slope = j->scale * (attr->absolute ? (float)((d > 0) - (d < 0)) : 2 * d);
        if (da) da[i] += slope;
        if (db) db[i] -= slope;
    }
}

static void backward(const grad_call *c) {
    int64_t n = pith_tensor_elements(c->in[0]);
    job j = {c, NULL, n ? *f32(c->dout[0]) / (float)n : 0};
    parallel_for(n, EACH_GRAIN, backward_part, &j);
}

static void forward_f64(const grad_call *c) {
    const distance_attr *attr = c->attr;
    int64_t n = pith_tensor_elements(c->in[0]);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = f64(c->in[0])[i] - f64(c->in[1])[i];
        sum += attr->absolute ? fabs(d) : d * d;
    }
    *f64(c->out[0]) = n ? sum / (double)n : 0;
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    distance_attr a = {k & 1};
    int64_t rows = k / 2 ? 0 : 5;
    case_input(c, -1, 0, CASE_SHAPE(rows, 3))->distance = 0.01; /* apart from the other, where |d| has its kink */
    case_input(c, 0, 1, CASE_SHAPE(rows, 3));
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_distance = {.name = "distance",
                                  .keep_in = 3,
                                  .deterministic = true,
                                  .cases = 4,
                                  .shape = shape,
                                  .forward = forward,
                                  .backward = backward,
                                  .forward_f64 = forward_f64,
                                  .sample = sample};

static var apply(tape *t, var a, var b, bool absolute) {
    distance_attr attr = {absolute};
    return grad_apply(t, &grad_op_distance, &attr, sizeof attr, (var[]){a, b}, 2);
}

var grad_mse(tape *t, var a, var b) { return apply(t, a, b, false); }
var grad_l1(tape *t, var a, var b) { return apply(t, a, b, true); }
