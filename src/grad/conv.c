/* grad/conv.c - convolution of pictures (N, H, W, C) with weights (O, kh, kw, I / groups); kernels in tensor/conv.h. */
#include "tensor/conv.h"
#include "grad/each.h"
#include "grad/ops.h"

typedef struct conv_attr {
    int64_t stride, pad, groups;
} conv_attr;

static conv conv_of(const grad_call *c, const pith_tensor *y) {
    const conv_attr *a = c->attr;
    const int64_t *x = c->in[0]->shape, *w = c->in[1]->shape, *o = y->shape;
    conv v = {.n = x[0], .h = x[1], .w = x[2], .c = x[3], .oh = o[1], .ow = o[2], .o = o[3], .kh = w[1], .kw = w[2]};
    v.stride = a->stride, v.pad = a->pad, v.groups = a->groups, v.bf16 = c->bf16;
    return v;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const conv_attr *a = attr;
    const pith_tensor *x = in[0], *w = in[1], *b = in[2];
    op_expect(x->rank == 4 && w->rank == 4 && w->shape[3] * a->groups == x->shape[3] && w->shape[0] % a->groups == 0,
              "conv", "x (n, h, w, c), w (o, kh, kw, c / groups)", x, w);
    op_expect(!b || (b->rank == 1 && b->shape[0] == w->shape[0]), "conv", "w (o, ...), b (o)", w, b);
    op_expect(x->shape[1] + 2 * a->pad >= w->shape[1] && x->shape[2] + 2 * a->pad >= w->shape[2], "conv",
              "a picture no smaller than the kernel", x, w);
    int64_t s[4] = {x->shape[0], (x->shape[1] + 2 * a->pad - w->shape[1]) / a->stride + 1,
                    (x->shape[2] + 2 * a->pad - w->shape[2]) / a->stride + 1, w->shape[0]};
    op_output(out, x->type, 4, s);
}

static void forward(const grad_call *c) {
    conv v = conv_of(c, c->out[0]);
    conv_forward(&v, f32(c->in[0]), f32(c->in[1]), f32(c->in[2]), f32(c->out[0]), c->scratch);
}

static void backward(const grad_call *c) {
    conv v = conv_of(c, c->dout[0]);
    const float *dy = f32(c->dout[0]);
    if (c->din[0]) conv_backward_data(&v, dy, f32(c->in[1]), f32(c->din[0]), !c->fresh[0], c->scratch);
    if (c->din[1]) conv_backward_weights(&v, f32(c->in[0]), dy, f32(c->din[1]), !c->fresh[1], c->scratch);
    if (c->din[2]) sum_rows(dy, v.n * v.oh * v.ow, v.o, f32(c->din[2]), !c->fresh[2], c->scratch);
}

/* Sum of the taps of output pixel (n, y, x), channel o. */
static double tap_sum(const grad_call *c, const conv *v, int64_t n, int64_t y, int64_t x, int64_t o) {
    int64_t in = v->c / v->groups, first = o / (v->o / v->groups) * in;
    double sum = c->in[2] ? f64(c->in[2])[o] : 0;
    for (int64_t ky = 0; ky < v->kh; ky++)
        for (int64_t kx = 0; kx < v->kw; kx++) {
            int64_t iy = y * v->stride + ky - v->pad, ix = x * v->stride + kx - v->pad;
            if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w) continue;
            const double *p = f64(c->in[0]) + ((n * v->h + iy) * v->w + ix) * v->c + first;
            for (int64_t i = 0; i < in; i++) sum += p[i] * f64(c->in[1])[((o * v->kh + ky) * v->kw + kx) * in + i];
        }
    return sum;
}

static void forward_f64(const grad_call *c) {
    conv v = conv_of(c, c->out[0]);
    double *out = f64(c->out[0]);
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t y = 0; y < v.oh; y++)
            for (int64_t x = 0; x < v.ow; x++)
                for (int64_t o = 0; o < v.o; o++) *out++ = tap_sum(c, &v, n, y, x, o);
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    /* n, h, w, c, o, kh, kw, stride, pad, groups */
    static const int64_t v[][10] = {
        {2, 5, 6, 3, 4, 3, 3, 1, 1, 1},     {1, 7, 5, 2, 3, 5, 3, 2, 2, 1},  {2, 4, 4, 5, 7, 1, 1, 1, 0, 1},
        {1, 6, 6, 4, 6, 3, 3, 2, 1, 2},     {1, 5, 18, 5, 5, 3, 3, 1, 1, 5}, {1, 7, 8, 18, 18, 5, 5, 2, 2, 18},
        {1, 5, 5, 17, 18, 3, 3, 1, 1, 1},   {0, 5, 5, 3, 3, 3, 3, 1, 1, 1},  {1, 3, 3, 2, 2, 3, 3, 1, 0, 1},
        {1, 9, 10, 16, 16, 7, 7, 1, 3, 16}, {1, 4, 4, 3, 5, 1, 1, 2, 0, 1},  {2, 2, 2, 6, 6, 4, 4, 3, 2, 6}};
    const int64_t *s = v[k];
    case_input(c, -1, 1, CASE_SHAPE(s[0], s[1], s[2], s[3]));
    case_input(c, -1, 1, CASE_SHAPE(s[4], s[5], s[6], s[3] / s[9]));
    if (k % 3 == 1) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(s[4]));
    conv_attr a = {s[7], s[8], s[9]};
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_conv = {.name = "conv",
                              .keep_in = 3,
                              .deterministic = true,
                              .bf16_ok = true,
                              .fresh_ok = true,
                              .cases = 12,
                              .shape = shape,
                              .forward = forward,
                              .backward = backward,
                              .forward_f64 = forward_f64,
                              .sample = sample};

var grad_conv(tape *t, var x, var w, var b, int64_t stride, int64_t pad, int64_t groups) {
    conv_attr a = {stride, pad, groups};
    return grad_apply(t, &grad_op_conv, &a, sizeof a, (var[]){x, w, b}, 3);
}
