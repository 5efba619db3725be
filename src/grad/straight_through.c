/* grad/straight_through.c - the value of a rounded copy with the gradient of the identity (Bengio, Leonard, Courville:
 * Estimating or propagating gradients through stochastic neurons, arXiv 1308.3432). */
#include "grad/each.h"
#include "grad/ops.h"

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(in[0]->rank == in[1]->rank && !memcmp(in[0]->shape, in[1]->shape, sizeof(int64_t) * in[0]->rank),
              "straight_through", "equal shapes", in[0], in[1]);
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

static void forward(const grad_call *c) { memcpy(c->out[0]->data, c->in[1]->data, pith_tensor_bytes(c->out[0])); }

static void backward(const grad_call *c) {
    if (!c->din[0]) return;
    float *dx = f32(c->din[0]);
    const float *dy = f32(c->dout[0]);
    int64_t n = pith_tensor_elements(c->dout[0]);
    for (int64_t i = 0; i < n; i++) dx[i] += dy[i];
}

/* What its gradient is the gradient of: the identity in x, nothing in `hard`; values are those of `hard`. */
static void forward_f64(const grad_call *c) { memcpy(c->out[0]->data, c->in[1]->data, pith_tensor_bytes(c->out[0])); }

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(3, 4 + k));
    case_input(c, -1, 1, CASE_SHAPE(3, 4 + k))->fixed = true;
}

const grad_op grad_op_straight_through = {.name = "straight_through",
                                          .deterministic = true,
                                          .straight_through = true,
                                          .cases = 2,
                                          .shape = shape,
                                          .forward = forward,
                                          .backward = backward,
                                          .forward_f64 = forward_f64,
                                          .sample = sample};

var grad_straight_through(tape *t, var x, var hard) {
    return grad_apply(t, &grad_op_straight_through, NULL, 0, (var[]){x, grad_stop(t, hard)}, 2);
}
