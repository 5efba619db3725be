/* grad/rope.c - rotary position embedding (Su et al.: RoFormer, arXiv 2104.09864): pairs of each head turn by an angle
 * proportional to the position. Its own inverse up to the sign of the angle, so backward turns back. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct rope_attr {
    double base;
    int64_t first, turned;
    bool halves;
} rope_attr;

static int64_t pairs_of(const pith_tensor *x, const rope_attr *a) { return (a->turned ? a->turned : x->shape[3]) / 2; }

/* cosines then sines of every position and pair, kept for backward */
static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    const rope_attr *a = attr;
    const pith_tensor *x = in[0];
    op_expect(x->rank == 4 && a->turned <= x->shape[3] && (a->turned ? a->turned : x->shape[3]) % 2 == 0, "rope",
              "x (batch, time, heads, even size)", x, NULL);
    *saved = (size_t)(2 * x->shape[1] * pairs_of(x, a)) * sizeof(float);
    op_output(out, x->type, x->rank, x->shape);
}

static double angle(const rope_attr *a, int64_t time, int64_t pair, int64_t pairs) {
    return (double)(a->first + time) * pow(a->base, -(double)pair / (double)pairs);
}

/* Each pair's angle grows evenly, so its point on the circle is turned on in double: no sine a position. */
static void fill_table(const grad_call *c) {
    const rope_attr *a = c->attr;
    int64_t pairs = pairs_of(c->in[0], a), times = c->in[0]->shape[1];
    float *cosine = c->saved, *sine = cosine + times * pairs;
    for (int64_t p = 0; p < pairs; p++) {
        double w = angle(a, 1 - a->first, p, pairs), x = cos(angle(a, 0, p, pairs)), y = sin(angle(a, 0, p, pairs));
        double turn_x = cos(w), turn_y = sin(w);
        for (int64_t t = 0; t < times; t++) {
            cosine[t * pairs + p] = (float)x, sine[t * pairs + p] = (float)y;
            double next = x * turn_x - y * turn_y;
            y = x * turn_y + y * turn_x, x = next;
        }
    }
}

typedef struct job {
    const grad_call *c;
    const float *x;
    float *y, sign;
    bool add;
} job;

static void turn_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const rope_attr *a = j->c->attr;
    const pith_tensor *x = j->c->in[0];
    int64_t pairs = pairs_of(x, a), times = x->shape[1], heads = x->shape[2], size = x->shape[3];
    const float *cosine = j->c->saved, *sine = cosine + times * pairs;
    for (int64_t row = begin; row < end; row++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (row * heads + h) * size, t = row % times * pairs;
            binary_kernel()->turn(pairs, size, a->halves, cosine + t, sine + t, j->sign, j->x + at, j->y + at, j->add);
        }
}

static void run(const grad_call *c, const float *x, float *y, float sign, bool add) {
    const int64_t *s = c->in[0]->shape;
    job j = {c, x, y, sign, add};
    parallel_for(s[0] * s[1], row_grain(s[2] * s[3]), turn_rows, &j);
}

static void forward(const grad_call *c) {
    fill_table(c);
    run(c, f32(c->in[0]), f32(c->out[0]), 1, false);
}

static void backward(const grad_call *c) {
    if (c->din[0]) run(c, f32(c->dout[0]), f32(c->din[0]), -1, !c->fresh[0]);
}

static void forward_f64(const grad_call *c) {
    const rope_attr *a = c->attr;
    const int64_t *s = c->in[0]->shape;
    int64_t pairs = pairs_of(c->in[0], a), step = a->halves ? 1 : 2, other = a->halves ? pairs : 1;
    memcpy(c->out[0]->data, c->in[0]->data, pith_tensor_bytes(c->in[0]));
    for (int64_t row = 0; row < s[0] * s[1] * s[2]; row++)
        for (int64_t p = 0; p < pairs; p++) {
            double w = angle(a, row / s[2] % s[1], p, pairs);
            const double *x = f64(c->in[0]) + row * s[3];
            double u = x[p * step], v = x[p * step + other];
            f64(c->out[0])[row * s[3] + p * step] = u * cos(w) - v * sin(w);
            f64(c->out[0])[row * s[3] + p * step + other] = u * sin(w) + v * cos(w);
        }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(2, k == 3 ? 0 : 3, 2, 6));
    rope_attr a = {.base = 100, .first = k == 2 ? 5 : 0, .turned = k == 2 ? 4 : 0, .halves = k & 1};
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_rope = {.name = "rope",
                              .deterministic = true,
                              .fresh_ok = true,
                              .cases = 4,
                              .shape = shape,
                              .forward = forward,
                              .backward = backward,
                              .forward_f64 = forward_f64,
                              .sample = sample};

var grad_rope(tape *t, var x, float base, int64_t first, int64_t turned, bool halves) {
    rope_attr a = {base, first, turned, halves};
    return grad_apply(t, &grad_op_rope, &a, sizeof a, &x, 1);
}
