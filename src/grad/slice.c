/* grad/slice.c - part of a tensor along one dimension; several slices make a split. */
#include "grad/each.h"
#include "grad/ops.h"

typedef struct slice_attr {
    int axis;
    int64_t first, count;
} slice_attr;

typedef struct extent { /* runs of `width` elements, of which `run` from `at` on are taken */
    int64_t outer, width, run, at;
} extent;

static extent extent_of(const pith_tensor *x, const slice_attr *a) {
    extent e = {1, 1, 1, 1};
    for (int i = 0; i < a->axis; i++) e.outer *= x->shape[i];
    for (int i = a->axis + 1; i < x->rank; i++) e.run *= x->shape[i];
    e.width = e.run * x->shape[a->axis], e.at = e.run * a->first, e.run *= a->count;
    return e;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const slice_attr *a = attr;
    op_expect(a->axis >= 0 && a->axis < in[0]->rank && a->first >= 0 && a->count >= 0 &&
                  a->first + a->count <= in[0]->shape[a->axis],
              "slice", "a part of x", in[0], NULL);
    int64_t s[PITH_MAX_RANK];
    memcpy(s, in[0]->shape, sizeof s);
    s[a->axis] = a->count;
    op_output(out, in[0]->type, in[0]->rank, s);
}

static void forward(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    for (int64_t o = 0; o < e.outer; o++)
        memcpy(f32(c->out[0]) + o * e.run, f32(c->in[0]) + o * e.width + e.at, (size_t)e.run * sizeof(float));
}

static void backward(const grad_call *c) {
    if (!c->din[0]) return;
    extent e = extent_of(c->in[0], c->attr);
    for (int64_t o = 0; o < e.outer; o++) {
        float *dx = f32(c->din[0]) + o * e.width + e.at;
        const float *dy = f32(c->dout[0]) + o * e.run;
        for (int64_t i = 0; i < e.run; i++) dx[i] += dy[i];
    }
}

static void forward_f64(const grad_call *c) {
    extent e = extent_of(c->in[0], c->attr);
    for (int64_t i = 0; i < e.outer * e.run; i++)
        f64(c->out[0])[i] = f64(c->in[0])[i / e.run * e.width + e.at + i % e.run];
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const slice_attr v[] = {{0, 1, 2}, {1, 0, 3}, {2, 4, 1}, {1, 2, 0}};
    case_input(c, -1, 1, CASE_SHAPE(3, 4, 5));
    case_attr(c, &v[k], sizeof v[k]);
}

const grad_op grad_op_slice = {.name = "slice",
                               .deterministic = true,
                               .cases = 4,
                               .shape = shape,
                               .forward = forward,
                               .backward = backward,
                               .forward_f64 = forward_f64,
                               .sample = sample};

var grad_slice(tape *t, var x, int axis, int64_t first, int64_t count) {
    slice_attr a = {axis, first, count};
    return grad_apply(t, &grad_op_slice, &a, sizeof a, &x, 1);
}
