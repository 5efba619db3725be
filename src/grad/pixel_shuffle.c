/* grad/pixel_shuffle.c - channels to pixels and back (Shi et al.: arXiv 1609.05158). Channel (o, dy, dx) of pixel (y,
 * x) becomes channel o of pixel (y f + dy, x f + dx). */
#include "grad/each.h"
#include "grad/ops.h"

typedef struct shuffle_attr {
    int64_t factor;
    bool back; /* pixels to channels */
} shuffle_attr;

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const shuffle_attr *a = attr;
    const int64_t *x = in[0]->shape, f = a->factor;
    bool ok = in[0]->rank == 4 && f > 0 && (a->back ? x[1] % f == 0 && x[2] % f == 0 : x[3] % (f * f) == 0);
    op_expect(ok, "pixel_shuffle", "sizes (n, h, w, c) that the factor divides", in[0], NULL);
    int64_t small[4] = {x[0], x[1] * f, x[2] * f, x[3] / (f * f)}, deep[4] = {x[0], x[1] / f, x[2] / f, x[3] * f * f};
    op_output(out, in[0]->type, 4, a->back ? deep : small);
}

/* Where element i of the wide picture (n, h f, w f, c) lies in the deep one. */
static int64_t deep_index(const int64_t *wide, int64_t f, int64_t i) {
    int64_t o = i % wide[3], x = i / wide[3] % wide[2], y = i / wide[3] / wide[2] % wide[1],
            n = i / wide[3] / wide[2] / wide[1];
    int64_t pixel = (n * (wide[1] / f) + y / f) * (wide[2] / f) + x / f;
    return pixel * wide[3] * f * f + (o * f + y % f) * f + x % f;
}

typedef struct job {
    const grad_call *c;
    const int64_t *wide;
} job;

static const int64_t *wide_shape(const grad_call *c, const pith_tensor *out) {
    return ((const shuffle_attr *)c->attr)->back ? c->in[0]->shape : out->shape;
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const shuffle_attr *a = j->c->attr;
    for (int64_t i = begin; i < end; i++) {
        int64_t d = deep_index(j->wide, a->factor, i);
        if (a->back) f32(j->c->out[0])[d] = f32(j->c->in[0])[i];
        else f32(j->c->out[0])[i] = f32(j->c->in[0])[d];
    }
}

static void forward(const grad_call *c) {
    job j = {c, wide_shape(c, c->out[0])};
    parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, forward_part, &j);
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const shuffle_attr *a = j->c->attr;
    for (int64_t i = begin; i < end; i++) {
        int64_t d = deep_index(j->wide, a->factor, i);
        f32(j->c->din[0])[a->back ? i : d] += f32(j->c->dout[0])[a->back ? d : i];
    }
}

static void backward(const grad_call *c) {
    job j = {c, wide_shape(c, c->dout[0])};
    if (c->din[0]) parallel_for(pith_tensor_elements(c->in[0]), EACH_GRAIN, backward_part, &j);
}

static void forward_f64(const grad_call *c) {
    const shuffle_attr *a = c->attr;
    const int64_t *in = c->in[0]->shape, *out = c->out[0]->shape, f = a->factor;
    const int64_t *deep = a->back ? out : in, *wide = a->back ? in : out;
    for (int64_t p = 0; p < deep[0] * deep[1] * deep[2]; p++)
        for (int64_t k = 0; k < deep[3]; k++) {
            int64_t n = p / deep[2] / deep[1], y = p / deep[2] % deep[1] * f + k / f % f, x = p % deep[2] * f + k % f;
            int64_t w = ((n * wide[1] + y) * wide[2] + x) * wide[3] + k / (f * f), d = p * deep[3] + k;
            f64(c->out[0])[a->back ? d : w] = f64(c->in[0])[a->back ? w : d];
        }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    shuffle_attr a = {k / 2 == 0 ? 2 : 3, k & 1};
    if (a.back) case_input(c, -1, 1, CASE_SHAPE(2, a.factor, 2 * a.factor, 2));
    else case_input(c, -1, 1, CASE_SHAPE(k == 4 ? 0 : 2, 1, 2, 2 * a.factor * a.factor));
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_pixel_shuffle = {.name = "pixel_shuffle",
                                       .deterministic = true,
                                       .cases = 5,
                                       .shape = shape,
                                       .forward = forward,
                                       .backward = backward,
                                       .forward_f64 = forward_f64,
                                       .sample = sample};

static var apply(tape *t, var x, int64_t factor, bool back) {
    shuffle_attr a = {factor, back};
    return grad_apply(t, &grad_op_pixel_shuffle, &a, sizeof a, &x, 1);
}

var grad_pixel_shuffle(tape *t, var x, int64_t factor) { return apply(t, x, factor, false); }
var grad_pixel_unshuffle(tape *t, var x, int64_t factor) { return apply(t, x, factor, true); }
