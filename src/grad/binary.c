/* grad/binary.c - + - * / of two tensors, the second repeated along sizes of 1 and missing leading sizes.
 *
 * Work goes row by row (the last dimension); a fast path treats equal shapes as one row. Where b is repeated, its
 * gradient is summed by one thread in order of the rows. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

typedef struct binary_attr {
    binary_kind kind;
} binary_attr;

typedef struct plan { /* b seen with a's rank: its step along each dimension, 0 where repeated */
    int64_t rows, cols, step[PITH_MAX_RANK];
    int step_b; /* along the row */
    bool same;  /* equal shapes */
} plan;

static bool fits(const pith_tensor *a, const pith_tensor *b) {
    if (b->rank > a->rank) return false;
    for (int i = 0; i < b->rank; i++) {
        int64_t size = a->shape[a->rank - b->rank + i];
        if (b->shape[i] != size && b->shape[i] != 1) return false;
    }
    return true;
}

static plan plan_of(const pith_tensor *a, const pith_tensor *b) {
    plan p = {.rows = pith_tensor_row_count(a), .cols = pith_tensor_cols(a)};
    p.same = pith_tensor_elements(a) == pith_tensor_elements(b);
    int64_t stride = 1;
    for (int i = a->rank - 1, j = b->rank - 1; j >= 0; i--, j--) {
        p.step[i] = b->shape[j] == 1 ? 0 : stride;
        stride *= b->shape[j];
    }
    p.step_b = a->rank && p.step[a->rank - 1] ? 1 : 0;
    return p;
}

static int64_t row_of_b(const plan *p, const pith_tensor *a, int64_t row) {
    int64_t at = 0;
    for (int i = a->rank - 2; i >= 0; i--) {
        at += row % a->shape[i] * p->step[i];
        row /= a->shape[i];
    }
    return at;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(fits(in[0], in[1]), "binary", "b of a's shape, or with sizes of 1, or fewer in front", in[0], in[1]);
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

static void forward_same(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const binary_attr *attr = c->attr;
    binary_kernel()->forward(attr->kind, end - begin, f32(c->in[0]) + begin, 1, f32(c->in[1]) + begin, 1,
                             f32(c->out[0]) + begin);
}

static void forward_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const binary_attr *attr = c->attr;
    plan p = plan_of(c->in[0], c->in[1]);
    for (int64_t r = begin; r < end; r++)
        binary_kernel()->forward(attr->kind, p.cols, f32(c->in[0]) + r * p.cols, 1,
                                 f32(c->in[1]) + row_of_b(&p, c->in[0], r), p.step_b, f32(c->out[0]) + r * p.cols);
}

static void forward(const grad_call *c) {
    plan p = plan_of(c->in[0], c->in[1]);
    if (p.same) parallel_for(p.rows * p.cols, EACH_GRAIN, forward_same, (void *)c);
    else parallel_for(p.rows, row_grain(p.cols), forward_rows, (void *)c);
}

static void backward_same(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const binary_attr *attr = c->attr;
    float *da = f32(c->din[0]), *db = f32(c->din[1]);
    binary_kernel()->backward(attr->kind, end - begin, f32(c->in[0]) + begin, 1, f32(c->in[1]) + begin, 1,
                              f32(c->dout[0]) + begin, da ? da + begin : NULL, db ? db + begin : NULL, c->fresh[0],
                              c->fresh[1]);
}

static void backward_rows(const grad_call *c, int64_t begin, int64_t end, float *da, float *db) {
    const binary_attr *attr = c->attr;
    plan p = plan_of(c->in[0], c->in[1]);
    for (int64_t r = begin; r < end; r++) {
        int64_t at = row_of_b(&p, c->in[0], r);
        binary_kernel()->backward(attr->kind, p.cols, f32(c->in[0]) + r * p.cols, 1, f32(c->in[1]) + at, p.step_b,
                                  f32(c->dout[0]) + r * p.cols, da ? da + r * p.cols : NULL, db ? db + at : NULL,
                                  c->fresh[0], false);
    }
}

static void backward_rows_a(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    backward_rows(c, begin, end, f32(c->din[0]), NULL);
}

static void backward(const grad_call *c) {
    plan p = plan_of(c->in[0], c->in[1]);
    const binary_attr *attr = c->attr;
    if (p.same) {
        parallel_for(p.rows * p.cols, EACH_GRAIN, backward_same, (void *)c);
        return;
    }
    if (c->din[0]) parallel_for(p.rows, row_grain(p.cols), backward_rows_a, (void *)c);
    if (!c->din[1]) return;
    bool one_row = pith_tensor_elements(c->in[1]) == p.cols && p.step_b; /* a bias: the frequent case */
    if (one_row && attr->kind == BINARY_ADD)
        sum_rows(f32(c->dout[0]), p.rows, p.cols, f32(c->din[1]), !c->fresh[1], c->scratch);
    else {
        if (c->fresh[1]) memset(c->din[1]->data, 0, pith_tensor_bytes(c->din[1]));
        backward_rows(c, 0, p.rows, NULL, f32(c->din[1]));
    }
}

static void forward_f64(const grad_call *c) {
    const binary_attr *attr = c->attr;
    plan p = plan_of(c->in[0], c->in[1]);
    for (int64_t r = 0; r < p.rows; r++)
        for (int64_t j = 0; j < p.cols; j++) {
            double u = f64(c->in[0])[r * p.cols + j];
            double v = f64(c->in[1])[row_of_b(&p, c->in[0], r) + j * p.step_b];
            double y = attr->kind == BINARY_ADD ? u + v : attr->kind == BINARY_SUB ? u - v : u * v;
            f64(c->out[0])[r * p.cols + j] = attr->kind == BINARY_DIV ? u / v : y;
        }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    binary_attr attr = {(binary_kind)(k % BINARY_KINDS)};
    case_attr(c, &attr, sizeof attr);
    double low = attr.kind == BINARY_DIV ? 0.5 : -1;
    switch (k / BINARY_KINDS) {
    case 0: case_input(c, -1, 1, CASE_SHAPE(3, 7)), case_input(c, low, 2, CASE_SHAPE(3, 7)); break;
    case 1: case_input(c, -1, 1, CASE_SHAPE(2, 3, 5)), case_input(c, low, 2, CASE_SHAPE(5)); break;
    case 2: case_input(c, -1, 1, CASE_SHAPE(2, 3, 5)), case_input(c, low, 2, CASE_SHAPE(2, 1, 1)); break;
    case 3: case_input(c, -1, 1, CASE_SHAPE(2, 3, 4, 2)), case_input(c, low, 2, CASE_SHAPE(3, 1, 2)); break;
    case 4: case_input(c, -1, 1, CASE_SHAPE(4, 3)), case_input(c, low, 2, 0, NULL); break;
    default: case_input(c, -1, 1, CASE_SHAPE(0, 3)), case_input(c, low, 2, CASE_SHAPE(3)); break;
    }
}

const grad_op grad_op_binary = {.name = "binary",
                                .keep_in = 3,
                                .deterministic = true,
                                .fresh_ok = true,
                                .cases = 6 * BINARY_KINDS,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

static var apply(tape *t, var a, var b, binary_kind kind) {
    return grad_apply(t, &grad_op_binary, &(binary_attr){kind}, sizeof(binary_attr), (var[]){a, b}, 2);
}

var grad_add(tape *t, var a, var b) { return apply(t, a, b, BINARY_ADD); }
var grad_sub(tape *t, var a, var b) { return apply(t, a, b, BINARY_SUB); }
var grad_mul(tape *t, var a, var b) { return apply(t, a, b, BINARY_MUL); }
var grad_div(tape *t, var a, var b) { return apply(t, a, b, BINARY_DIV); }
