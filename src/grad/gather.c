/* grad/gather.c - one value of each row of the last dimension, by number. */
#include "grad/each.h"
#include "grad/ops.h"

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(in[0]->rank >= 1 && in[1]->type == PITH_I32 &&
                  pith_tensor_elements(in[1]) == pith_tensor_row_count(in[0]),
              "gather", "x (..., n), ids i32 (...)", in[0], in[1]);
    op_output(out, in[0]->type, in[0]->rank - 1, in[0]->shape);
}

static void forward(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = 0; i < pith_tensor_elements(c->in[1]); i++) {
        int32_t id = i32(c->in[1])[i];
        assert(id >= 0 && id < n && "gather: id outside the row");
        f32(c->out[0])[i] = f32(c->in[0])[i * n + id];
    }
}

static void backward(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = 0; c->din[0] && i < pith_tensor_elements(c->in[1]); i++)
        f32(c->din[0])[i * n + i32(c->in[1])[i]] += f32(c->dout[0])[i];
}

static void forward_f64(const grad_call *c) {
    int64_t n = pith_tensor_cols(c->in[0]);
    for (int64_t i = 0; i < pith_tensor_elements(c->in[1]); i++)
        f64(c->out[0])[i] = f64(c->in[0])[i * n + i32(c->in[1])[i]];
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(k ? 0 : 3, 2, 5));
    case_index(c, 0, 4, CASE_SHAPE(k ? 0 : 3, 2));
}

const grad_op grad_op_gather = {.name = "gather",
                                .keep_in = 2,
                                .deterministic = true,
                                .cases = 2,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_gather(tape *t, var x, var ids) { return grad_apply(t, &grad_op_gather, NULL, 0, (var[]){x, ids}, 2); }
