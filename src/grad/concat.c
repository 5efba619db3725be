/* grad/concat.c - tensors side by side along one dimension, and its inverse, a slice. */
#include "grad/each.h"
#include "grad/ops.h"

typedef struct concat_attr {
    int axis, count;
} concat_attr;

static int64_t outer_of(const pith_tensor *x, int axis) {
    int64_t n = 1;
    for (int i = 0; i < axis; i++) n *= x->shape[i];
    return n;
}

/* Elements from one step of the dimension before `axis` to the next. */
static int64_t run_of(const pith_tensor *x, int axis) {
    int64_t n = 1;
    for (int i = axis; i < x->rank; i++) n *= x->shape[i];
    return n;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const concat_attr *a = attr;
    int64_t s[PITH_MAX_RANK];
    memcpy(s, in[0]->shape, sizeof s);
    for (int k = 1; k < a->count; k++) {
        bool same = in[k]->rank == in[0]->rank && a->axis >= 0 && a->axis < in[0]->rank;
        for (int i = 0; same && i < in[0]->rank; i++) same = i == a->axis || in[k]->shape[i] == in[0]->shape[i];
        op_expect(same, "concat", "equal sizes but along the axis", in[0], in[k]);
        s[a->axis] += in[k]->shape[a->axis];
    }
    op_output(out, in[0]->type, in[0]->rank, s);
}

static void copy_in(const grad_call *c, size_t element) {
    const concat_attr *a = c->attr;
    int64_t outer = outer_of(c->in[0], a->axis), width = run_of(c->out[0], a->axis), at = 0;
    for (int k = 0; k < a->count; k++) {
        int64_t run = run_of(c->in[k], a->axis);
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)c->out[0]->data + (size_t)(o * width + at) * element,
                   (const char *)c->in[k]->data + (size_t)(o * run) * element, (size_t)run * element);
        at += run;
    }
}

static void forward(const grad_call *c) { copy_in(c, sizeof(float)); }
static void forward_f64(const grad_call *c) { copy_in(c, sizeof(double)); }

static void backward(const grad_call *c) {
    const concat_attr *a = c->attr;
    int64_t outer = outer_of(c->dout[0], a->axis), width = run_of(c->dout[0], a->axis), at = 0;
    for (int k = 0; k < a->count; k++) {
        int64_t run = run_of(c->in[k], a->axis);
        for (int64_t o = 0; c->din[k] && o < outer; o++) {
            const float *dy = f32(c->dout[0]) + o * width + at;
            float *dx = f32(c->din[k]) + o * run;
            for (int64_t i = 0; i < run; i++) dx[i] += dy[i];
        }
        at += run;
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    concat_attr a = {k % 3, k == 3 ? 1 : 3};
    for (int i = 0; i < a.count; i++) {
        int64_t s[3] = {2, 3, 5};
        s[a.axis] = i == 1 ? 0 : i + 1;
        case_input(c, -1, 1, 3, s);
    }
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_concat = {.name = "concat",
                                .deterministic = true,
                                .cases = 4,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_concat(tape *t, const var *x, int count, int axis) {
    concat_attr a = {axis, count};
    return grad_apply(t, &grad_op_concat, &a, sizeof a, x, count);
}
