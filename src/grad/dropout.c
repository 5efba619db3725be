/* grad/dropout.c - zeroes values with probability p and scales the rest (Srivastava et al., JMLR 2014). Element i draws
 * from a counter of its own, so the mask does not depend on threads, and backward makes it again instead of keeping it.
 */
#include "grad/each.h"
#include "grad/ops.h"

typedef struct dropout_attr {
    float p;
} dropout_attr;

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const dropout_attr *a = attr;
    op_expect(a->p >= 0 && a->p < 1, "dropout", "a probability in [0, 1)", in[0], NULL);
    op_output(out, in[0]->type, in[0]->rank, in[0]->shape);
}

/* What each of the four elements of block b is multiplied with. */
static void mask(const grad_call *c, int64_t b, float *m) {
    const dropout_attr *a = c->attr;
    uint32_t words[4], limit = (uint32_t)((double)a->p * 4294967296.0);
    rng_block(c->random->key, c->random->stream, (uint64_t)b, words);
    for (int i = 0; i < 4; i++) m[i] = !c->training ? 1 : words[i] < limit ? 0 : 1 / (1 - a->p);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    int64_t n = pith_tensor_elements(c->in[0]);
    float m[4];
    for (int64_t b = begin; b < end; b++) {
        mask(c, b, m);
        for (int64_t i = 4 * b; i < n && i < 4 * b + 4; i++) f32(c->out[0])[i] = f32(c->in[0])[i] * m[i - 4 * b];
    }
}

static void forward(const grad_call *c) {
    parallel_for((pith_tensor_elements(c->in[0]) + 3) / 4, EACH_GRAIN / 4, forward_part, (void *)c);
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    int64_t n = pith_tensor_elements(c->in[0]);
    float m[4];
    for (int64_t b = begin; b < end; b++) {
        mask(c, b, m);
        for (int64_t i = 4 * b; i < n && i < 4 * b + 4; i++) f32(c->din[0])[i] += f32(c->dout[0])[i] * m[i - 4 * b];
    }
}

static void backward(const grad_call *c) {
    if (c->din[0]) parallel_for((pith_tensor_elements(c->in[0]) + 3) / 4, EACH_GRAIN / 4, backward_part, (void *)c);
}

static void forward_f64(const grad_call *c) {
    float m[4];
    for (int64_t i = 0; i < pith_tensor_elements(c->in[0]); i++) {
        mask(c, i / 4, m);
        f64(c->out[0])[i] = f64(c->in[0])[i] * (double)m[i % 4];
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(k == 2 ? 0 : 7, 5));
    case_attr(c, &(dropout_attr){k == 0 ? 0.3f : 0}, sizeof(dropout_attr));
}

const grad_op grad_op_dropout = {.name = "dropout",
                                 .cases = 3,
                                 .shape = shape,
                                 .forward = forward,
                                 .backward = backward,
                                 .forward_f64 = forward_f64,
                                 .sample = sample};

var grad_dropout(tape *t, var x, float p) {
    if (p == 0 || !tape_is_training(t)) return x;
    return grad_apply(t, &grad_op_dropout, &(dropout_attr){p}, sizeof(dropout_attr), &x, 1);
}
