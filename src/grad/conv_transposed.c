/* grad/conv_transposed.c - transposed convolution: the gradient of a convolution's input, run forward.
 *
 * Weights are (in, kh, kw, out / groups): those of the convolution that leads from the output back to the input. */
#include "tensor/conv.h"
#include "grad/each.h"
#include "grad/ops.h"

typedef struct transposed_attr {
    int64_t stride, pad, extra, groups; /* extra: rows and columns added below and right */
} transposed_attr;

/* The convolution from y (here the larger picture) to x. */
static conv conv_of(const grad_call *c, const pith_tensor *y) {
    const transposed_attr *a = c->attr;
    const int64_t *x = c->in[0]->shape, *w = c->in[1]->shape, *o = y->shape;
    conv v = {.n = x[0], .oh = x[1], .ow = x[2], .o = x[3], .h = o[1], .w = o[2], .c = o[3], .kh = w[1], .kw = w[2]};
    v.stride = a->stride, v.pad = a->pad, v.groups = a->groups, v.bf16 = c->bf16;
    return v;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const transposed_attr *a = attr;
    const pith_tensor *x = in[0], *w = in[1], *b = in[2];
    op_expect(x->rank == 4 && w->rank == 4 && w->shape[0] == x->shape[3] && x->shape[3] % a->groups == 0,
              "conv_transposed", "x (n, h, w, c), w (c, kh, kw, o / groups)", x, w);
    op_expect(!b || (b->rank == 1 && b->shape[0] == w->shape[3] * a->groups), "conv_transposed", "b (o)", w, b);
    op_expect(a->extra < a->stride, "conv_transposed", "extra below stride", x, w);
    int64_t s[4] = {x->shape[0], (x->shape[1] - 1) * a->stride - 2 * a->pad + w->shape[1] + a->extra,
                    (x->shape[2] - 1) * a->stride - 2 * a->pad + w->shape[2] + a->extra, w->shape[3] * a->groups};
    op_expect(s[1] > 0 && s[2] > 0, "conv_transposed", "less padding", x, w);
    op_output(out, x->type, 4, s);
}

typedef struct bias_job {
    const float *b;
    float *y;
    int64_t o;
} bias_job;

static void add_bias(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const bias_job *j = user;
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < j->o; k++) j->y[i * j->o + k] += j->b[k];
}

static void forward(const grad_call *c) {
    conv v = conv_of(c, c->out[0]);
    conv_backward_data(&v, f32(c->in[0]), f32(c->in[1]), f32(c->out[0]), false, c->scratch);
    bias_job j = {f32(c->in[2]), f32(c->out[0]), v.c};
    if (c->in[2]) parallel_for(v.n * v.h * v.w, row_grain(v.c), add_bias, &j);
}

static void input_backward(const grad_call *c, const conv *v) {
    float *dx = f32(c->din[0]);
    int64_t n = pith_tensor_elements(c->din[0]);
    float *part = c->fresh[0] ? dx : op_scratch(c, (size_t)n * sizeof *part);
    conv_forward(v, f32(c->dout[0]), f32(c->in[1]), NULL, part, c->scratch);
    for (int64_t i = 0; part != dx && i < n; i++) dx[i] += part[i];
}

static void backward(const grad_call *c) {
    conv v = conv_of(c, c->dout[0]);
    const float *dy = f32(c->dout[0]);
    if (c->din[0]) input_backward(c, &v);
    if (c->din[1]) conv_backward_weights(&v, dy, f32(c->in[0]), f32(c->din[1]), !c->fresh[1], c->scratch);
    if (c->din[2]) sum_rows(dy, v.n * v.h * v.w, v.c, f32(c->din[2]), !c->fresh[2], c->scratch);
}

/* Adds input pixel (n, y, x) times the kernel to the output. */
static void spread(const grad_call *c, const conv *v, int64_t n, int64_t y, int64_t x) {
    int64_t out = v->c / v->groups, in = v->o / v->groups;
    const double *p = f64(c->in[0]) + ((n * v->oh + y) * v->ow + x) * v->o;
    for (int64_t ky = 0; ky < v->kh; ky++)
        for (int64_t kx = 0; kx < v->kw; kx++) {
            int64_t iy = y * v->stride + ky - v->pad, ix = x * v->stride + kx - v->pad;
            if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w) continue;
            double *to = f64(c->out[0]) + ((n * v->h + iy) * v->w + ix) * v->c;
            for (int64_t i = 0; i < v->o; i++)
                for (int64_t k = 0; k < out; k++)
                    to[i / in * out + k] += p[i] * f64(c->in[1])[((i * v->kh + ky) * v->kw + kx) * out + k];
        }
}

static void forward_f64(const grad_call *c) {
    conv v = conv_of(c, c->out[0]);
    for (int64_t i = 0; i < v.n * v.h * v.w * v.c; i++) f64(c->out[0])[i] = c->in[2] ? f64(c->in[2])[i % v.c] : 0;
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t y = 0; y < v.oh; y++)
            for (int64_t x = 0; x < v.ow; x++) spread(c, &v, n, y, x);
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    /* n, h, w, c, o, kh, kw, stride, pad, extra, groups */
    static const int64_t v[][11] = {{2, 3, 4, 3, 5, 5, 5, 2, 2, 1, 1}, {1, 3, 3, 4, 6, 3, 3, 1, 1, 0, 2},
                                    {1, 2, 3, 2, 3, 4, 2, 3, 1, 2, 1}, {0, 3, 3, 2, 2, 3, 3, 2, 1, 1, 1},
                                    {1, 4, 4, 3, 3, 3, 3, 2, 1, 1, 3}, {1, 3, 3, 4, 2, 1, 1, 1, 0, 0, 1}};
    const int64_t *s = v[k];
    case_input(c, -1, 1, CASE_SHAPE(s[0], s[1], s[2], s[3]));
    case_input(c, -1, 1, CASE_SHAPE(s[3], s[5], s[6], s[4] / s[10]));
    if (k == 2) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(s[4]));
    transposed_attr a = {s[7], s[8], s[9], s[10]};
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_conv_transposed = {.name = "conv_transposed",
                                         .keep_in = 3,
                                         .deterministic = true,
                                         .bf16_ok = true,
                                         .fresh_ok = true,
                                         .cases = 6,
                                         .shape = shape,
                                         .forward = forward,
                                         .backward = backward,
                                         .forward_f64 = forward_f64,
                                         .sample = sample};

var grad_conv_transposed(tape *t, var x, var w, var b, int64_t stride, int64_t pad, int64_t extra, int64_t groups) {
    transposed_attr a = {stride, pad, extra, groups};
    return grad_apply(t, &grad_op_conv_transposed, &a, sizeof a, (var[]){x, w, b}, 3);
}
