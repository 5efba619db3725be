/* grad/reduce.c - sums and means over a run of dimensions: x seen as (outer, middle, inner), the middle summed away. */
#include "grad/each.h"
#include "grad/ops.h"

typedef struct reduce_attr {
    int first, count; /* dimensions summed over */
    bool mean;
} reduce_attr;

typedef struct extent {
    int64_t outer, middle, inner;
    double scale;
} extent;

static extent extent_of(const pith_tensor *x, const reduce_attr *a) {
    extent e = {1, 1, 1, 1};
    for (int i = 0; i < x->rank; i++)
        *(i < a->first ? &e.outer : i < a->first + a->count ? &e.middle : &e.inner) *= x->shape[i];
    if (a->mean && e.middle) e.scale = 1 / (double)e.middle;
    return e;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const reduce_attr *a = attr;
    const pith_tensor *x = in[0];
    op_expect(a->first >= 0 && a->count >= 0 && a->first + a->count <= x->rank, "reduce", "dimensions of x", x, NULL);
    int64_t s[PITH_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (i < a->first || i >= a->first + a->count) s[rank++] = x->shape[i];
    op_output(out, x->type, rank, s);
}

enum { RUN = 1024 }; /* rows summed in f32 before the sum goes to double */

/* Sums of the columns of one outer block. */
static void sum_block(const float *x, extent e, float *y, double *sum, float *part) {
    memset(sum, 0, (size_t)e.inner * sizeof *sum);
    for (int64_t m = 0; m < e.middle; m += RUN) {
        memset(part, 0, (size_t)e.inner * sizeof *part);
        for (int64_t i = m; i < e.middle && i < m + RUN; i++)
            for (int64_t k = 0; k < e.inner; k++) part[k] += x[i * e.inner + k];
        for (int64_t k = 0; k < e.inner; k++) sum[k] += (double)part[k];
    }
    for (int64_t k = 0; k < e.inner; k++) y[k] = (float)(sum[k] * e.scale);
}

static void forward(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    double *sum = op_scratch(c, (size_t)e.inner * sizeof *sum);
    float *part = op_scratch(c, (size_t)e.inner * sizeof *part);
    for (int64_t o = 0; o < e.outer; o++)
        sum_block(f32(c->in[0]) + o * e.middle * e.inner, e, f32(c->out[0]) + o * e.inner, sum, part);
}

static void backward_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    extent e = extent_of(c->in[0], c->attr);
    float scale = (float)e.scale;
    for (int64_t row = begin; row < end; row++) {
        float *dx = f32(c->din[0]) + row * e.inner;
        const float *dy = f32(c->dout[0]) + row / e.middle * e.inner;
        for (int64_t k = 0; k < e.inner; k++) dx[k] += dy[k] * scale;
    }
}

static void backward(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    if (c->din[0]) parallel_for(e.outer * e.middle, row_grain(e.inner), backward_rows, (void *)c);
}

static void forward_f64(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    for (int64_t o = 0; o < e.outer; o++)
        for (int64_t k = 0; k < e.inner; k++) {
            double sum = 0;
            for (int64_t m = 0; m < e.middle; m++) sum += f64(c->in[0])[(o * e.middle + m) * e.inner + k];
            f64(c->out[0])[o * e.inner + k] = sum * e.scale;
        }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const reduce_attr v[] = {{0, 3, true}, {1, 1, false}, {0, 1, true}, {2, 1, false}, {1, 0, true}};
    case_input(c, -1, 1, CASE_SHAPE(3, k == 3 ? 0 : 5, 7));
    case_attr(c, &v[k], sizeof v[k]);
}

const grad_op grad_op_reduce = {.name = "reduce",
                                .deterministic = true,
                                .cases = 5,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

static var apply(tape *t, var x, reduce_attr a) {
    if (a.count < 0) a.count = grad_value(t, x)->rank - a.first;
    return grad_apply(t, &grad_op_reduce, &a, sizeof a, &x, 1);
}

var grad_sum(tape *t, var x, int first, int count) { return apply(t, x, (reduce_attr){first, count, false}); }
var grad_mean(tape *t, var x, int first, int count) { return apply(t, x, (reduce_attr){first, count, true}); }
