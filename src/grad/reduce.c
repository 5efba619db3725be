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

static void forward(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    sum_middle(f32(c->in[0]), e.outer, e.middle, e.inner, e.scale, f32(c->out[0]), false, c->scratch);
}

static void spread(int64_t n, const float *restrict dy, float scale, float *restrict dx, bool fresh) {
    if (fresh)
        for (int64_t k = 0; k < n; k++) dx[k] = dy[k] * scale;
    else
        for (int64_t k = 0; k < n; k++) dx[k] += dy[k] * scale;
}

static void spread_one(int64_t n, float dy, float *dx, bool fresh) {
    if (fresh)
        for (int64_t k = 0; k < n; k++) dx[k] = dy;
    else
        for (int64_t k = 0; k < n; k++) dx[k] += dy;
}

/* Rows of `inner` values; those of one value as far as they belong to one sum. */
static void backward_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    extent e = extent_of(c->in[0], c->attr);
    float scale = (float)e.scale, *dx = f32(c->din[0]);
    for (int64_t row = begin, rows; row < end; row += rows) {
        int64_t outer = row / e.middle, left = (outer + 1) * e.middle - row;
        const float *dy = f32(c->dout[0]) + outer * e.inner;
        rows = e.inner > 1 ? 1 : left < end - row ? left : end - row;
        if (e.inner > 1) spread(e.inner, dy, scale, dx + row * e.inner, c->fresh[0]);
        else spread_one(rows, *dy * scale, dx + row, c->fresh[0]);
    }
}

static void backward(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    if (c->din[0] && e.inner) parallel_for(e.outer * e.middle, row_grain(e.inner), backward_rows, (void *)c);
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
    static const reduce_attr v[] = {{0, 3, true}, {1, 1, false}, {0, 1, true}, {2, 1, false},
                                    {1, 0, true}, {2, 1, true},  {0, 2, true}, {1, 1, true}};
    case_input(c, -1, 1, CASE_SHAPE(k == 6 ? 150 : 3, k == 3 ? 0 : 5, k == 7 ? 0 : 7));
    case_attr(c, &v[k], sizeof v[k]);
}

const grad_op grad_op_reduce = {.name = "reduce",
                                .deterministic = true,
                                .fresh_ok = true,
                                .cases = 8,
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
