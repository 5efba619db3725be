/* grad/swiglu.c - silu(gate) * up in one pass (Shazeer: GLU variants improve transformer, arXiv 2002.05202). */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    op_expect(in[0]->rank == in[1]->rank && !memcmp(in[0]->shape, in[1]->shape, sizeof(int64_t) * in[0]->rank),
              "swiglu", "equal shapes", in[0], in[1]);
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    binary_kernel()->swiglu(end - begin, f32(c->in[0]) + begin, f32(c->in[1]) + begin, f32(c->out[0]) + begin);
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, forward_part, (void *)c);
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    float *dgate = f32(c->din[0]), *dup = f32(c->din[1]);
    binary_kernel()->swiglu_backward(end - begin, f32(c->in[0]) + begin, f32(c->in[1]) + begin, f32(c->dout[0]) + begin,
                                     dgate ? dgate + begin : NULL, dup ? dup + begin : NULL, c->fresh[0], c->fresh[1]);
}

static void backward(const grad_call *c) {
    parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, backward_part, (void *)c);
}

static void forward_f64(const grad_call *c) {
    for (int64_t i = 0; i < pith_tensor_elements(c->in[0]); i++) {
        double g = f64(c->in[0])[i];
        f64(c->out[0])[i] = g / (1 + exp(-g)) * f64(c->in[1])[i];
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    for (int i = 0; i < 2; i++) case_input(c, -3, 3, CASE_SHAPE(k == 2 ? 0 : 3, k == 0 ? 13 : 1));
}

const grad_op grad_op_swiglu = {.name = "swiglu",
                                .keep_in = 3,
                                .deterministic = true,
                                .fresh_ok = true,
                                .cases = 3,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_swiglu(tape *t, var gate, var up) { return grad_apply(t, &grad_op_swiglu, NULL, 0, (var[]){gate, up}, 2); }
