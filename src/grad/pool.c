/* grad/pool.c - average and maximum over windows of a picture (N, H, W, C); padding counts for neither. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

typedef struct pool_attr {
    int64_t size, stride, pad;
    bool max;
} pool_attr;

typedef struct window { /* one output pixel: the input rows and columns it covers */
    int64_t y0, y1, x0, x1;
} window;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static window window_of(const grad_call *c, int64_t oy, int64_t ox) {
    const pool_attr *a = c->attr;
    const int64_t *s = c->in[0]->shape;
    int64_t y = oy * a->stride - a->pad, x = ox * a->stride - a->pad;
    return (window){most(0, y), least(s[1], y + a->size), most(0, x), least(s[2], x + a->size)};
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    const pool_attr *a = attr;
    const pith_tensor *x = in[0];
    op_expect(x->rank == 4 && a->pad < a->size && x->shape[1] + 2 * a->pad >= a->size &&
                  x->shape[2] + 2 * a->pad >= a->size,
              "pool", "a picture (n, h, w, c) no smaller than the window", x, NULL);
    int64_t s[4] = {x->shape[0], (x->shape[1] + 2 * a->pad - a->size) / a->stride + 1,
                    (x->shape[2] + 2 * a->pad - a->size) / a->stride + 1, x->shape[3]};
    op_output(out, x->type, 4, s);
    /* of a maximum: which pixel of the picture it was */
    if (a->max) *saved = (size_t)pith_tensor_elements(out) * sizeof(int32_t);
}

static void max_pixel(const grad_call *c, window w, const float *restrict x, float *restrict y,
                      int32_t *restrict which) {
    int64_t width = c->in[0]->shape[2], channels = c->in[0]->shape[3];
    for (int64_t k = 0; k < channels; k++) y[k] = x[(w.y0 * width + w.x0) * channels + k];
    for (int64_t k = 0; k < channels; k++) which[k] = (int32_t)(w.y0 * width + w.x0);
    for (int64_t i = w.y0; i < w.y1; i++)
        for (int64_t j = w.x0; j < w.x1; j++)
            binary_kernel()->higher(channels, x + (i * width + j) * channels, (int32_t)(i * width + j), y, which);
}

static void average_pixel(const grad_call *c, window w, const float *x, float *y) {
    int64_t width = c->in[0]->shape[2], channels = c->in[0]->shape[3];
    float share = 1.0f / (float)((w.y1 - w.y0) * (w.x1 - w.x0));
    memset(y, 0, (size_t)channels * sizeof *y);
    for (int64_t i = w.y0; i < w.y1; i++)
        for (int64_t j = w.x0; j < w.x1; j++)
            for (int64_t k = 0; k < channels; k++) y[k] += x[(i * width + j) * channels + k] * share;
}

static void forward_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const pool_attr *a = c->attr;
    const int64_t *s = c->in[0]->shape, *o = c->out[0]->shape;
    for (int64_t row = begin; row < end; row++)
        for (int64_t ox = 0; ox < o[2]; ox++) {
            int64_t at = (row * o[2] + ox) * o[3];
            const float *x = f32(c->in[0]) + row / o[1] * s[1] * s[2] * s[3];
            window w = window_of(c, row % o[1], ox);
            if (a->max) max_pixel(c, w, x, f32(c->out[0]) + at, (int32_t *)c->saved + at);
            else average_pixel(c, w, x, f32(c->out[0]) + at);
        }
}

static void forward(const grad_call *c) {
    const int64_t *o = c->out[0]->shape;
    parallel_for(o[0] * o[1], row_grain(o[2] * o[3]), forward_rows, (void *)c);
}

/* One picture; windows may overlap, so a picture has one owner. */
static void backward_pictures(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const pool_attr *a = c->attr;
    const int64_t *s = c->in[0]->shape, *o = c->dout[0]->shape;
    for (int64_t n = begin; n < end; n++) {
        float *dx = f32(c->din[0]) + n * s[1] * s[2] * s[3];
        for (int64_t p = 0; p < o[1] * o[2]; p++) {
            int64_t at = (n * o[1] * o[2] + p) * o[3];
            const float *dy = f32(c->dout[0]) + at;
            const int32_t *which = (const int32_t *)c->saved + at;
            if (a->max) {
                for (int64_t k = 0; k < o[3]; k++) dx[which[k] * s[3] + k] += dy[k];
                continue;
            }
            window w = window_of(c, p / o[2], p % o[2]);
            float share = 1.0f / (float)((w.y1 - w.y0) * (w.x1 - w.x0));
            for (int64_t i = w.y0; i < w.y1; i++)
                for (int64_t j = w.x0; j < w.x1; j++)
                    for (int64_t k = 0; k < o[3]; k++) dx[(i * s[2] + j) * s[3] + k] += dy[k] * share;
        }
    }
}

static void backward(const grad_call *c) {
    if (c->din[0]) parallel_for(c->in[0]->shape[0], 1, backward_pictures, (void *)c);
}

static double pixel_f64(const grad_call *c, window w, const double *x) {
    const pool_attr *a = c->attr;
    int64_t width = c->in[0]->shape[2], channels = c->in[0]->shape[3];
    double top = x[(w.y0 * width + w.x0) * channels], sum = 0;
    for (int64_t i = w.y0; i < w.y1; i++)
        for (int64_t j = w.x0; j < w.x1; j++) {
            double v = x[(i * width + j) * channels];
            top = v > top ? v : top;
            sum += v;
        }
    return a->max ? top : sum / (double)((w.y1 - w.y0) * (w.x1 - w.x0));
}

static void forward_f64(const grad_call *c) {
    const int64_t *s = c->in[0]->shape, *o = c->out[0]->shape;
    for (int64_t i = 0; i < pith_tensor_elements(c->out[0]); i++) {
        int64_t pixel = i / o[3];
        window w = window_of(c, pixel / o[2] % o[1], pixel % o[2]);
        f64(c->out[0])[i] = pixel_f64(c, w, f64(c->in[0]) + pixel / o[2] / o[1] * s[1] * s[2] * s[3] + i % o[3]);
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t v[][7] = {{2, 4, 6, 3, 2, 2, 0},
                                   {1, 5, 7, 2, 3, 2, 1},
                                   {1, 4, 4, 5, 3, 1, 1},
                                   {0, 2, 2, 3, 2, 2, 0},
                                   {1, 3, 3, 1, 3, 3, 0}}; /* n, h, w, c, size, stride, pad */
    const int64_t *s = v[k / 2];
    pool_attr a = {s[4], s[5], s[6], k & 1};
    case_input(c, -1, 1, CASE_SHAPE(s[0], s[1], s[2], s[3]))->spacing = a.max ? 0.02 : 0;
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_pool = {.name = "pool",
                              .deterministic = true,
                              .cases = 10,
                              .shape = shape,
                              .forward = forward,
                              .backward = backward,
                              .forward_f64 = forward_f64,
                              .sample = sample};

static var apply(tape *t, var x, pool_attr a) { return grad_apply(t, &grad_op_pool, &a, sizeof a, &x, 1); }

var grad_max_pool(tape *t, var x, int64_t size, int64_t stride, int64_t pad) {
    return apply(t, x, (pool_attr){size, stride, pad, true});
}
var grad_average_pool(tape *t, var x, int64_t size, int64_t stride, int64_t pad) {
    return apply(t, x, (pool_attr){size, stride, pad, false});
}
