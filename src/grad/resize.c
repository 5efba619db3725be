/* grad/resize.c - resampling of pictures to another size: nearest, bilinear, bicubic (Keys 1981, a = -0.75), each with
 * pixel centers at half integers and borders repeated. One to four taps a direction, weights made once a call. */
#include "grad/each.h"
#include "grad/ops.h"

#include <math.h>

typedef struct resize_attr {
    int64_t height, width;
    int taps; /* 1 nearest, 2 bilinear, 4 bicubic */
} resize_attr;

typedef struct tap_set { /* of one output row or column */
    int64_t at[4];
    double weight[4];
} tap_set;

static double cubic(double d) {
    const double a = -0.75;
    d = fabs(d);
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

static tap_set taps_of(int taps, int64_t in, int64_t out, int64_t i) {
    tap_set t = {{0}, {0}};
    double center = ((double)i + 0.5) * (double)in / (double)out - 0.5;
    int64_t first = (int64_t)floor(center) - taps / 2 + 1;
    if (taps == 1) first = (int64_t)floor((double)i * (double)in / (double)out);
    for (int k = 0; k < taps; k++) {
        double d = center - (double)(first + k);
        t.at[k] = first + k < 0 ? 0 : first + k >= in ? in - 1 : first + k;
        t.weight[k] = taps == 1 ? 1 : taps == 2 ? 1 - fabs(d) : cubic(d);
    }
    return t;
}

static tap_set *tap_table(const grad_call *c, int64_t in, int64_t out) {
    const resize_attr *a = c->attr;
    tap_set *t = op_scratch(c, (size_t)out * sizeof *t);
    for (int64_t i = 0; i < out; i++) t[i] = taps_of(a->taps, in, out, i);
    return t;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const resize_attr *a = attr;
    const pith_tensor *x = in[0];
    op_expect(x->rank == 4 && x->shape[1] > 0 && x->shape[2] > 0 && a->height >= 0 && a->width >= 0, "resize",
              "a picture (n, h, w, c)", x, NULL);
    op_output(out, x->type, 4, (int64_t[]){x->shape[0], a->height, a->width, x->shape[3]});
}

typedef struct job {
    const grad_call *c;
    const tap_set *rows, *cols;
    const int64_t *in, *out; /* shapes */
} job;

static void forward_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    int taps = ((const resize_attr *)j->c->attr)->taps;
    int64_t channels = j->in[3];
    for (int64_t row = begin; row < end; row++)
        for (int64_t x = 0; x < j->out[2]; x++) {
            const tap_set *u = &j->rows[row % j->out[1]], *v = &j->cols[x];
            const float *from = f32(j->c->in[0]) + row / j->out[1] * j->in[1] * j->in[2] * channels;
            float *to = f32(j->c->out[0]) + (row * j->out[2] + x) * channels;
            memset(to, 0, (size_t)channels * sizeof *to);
            for (int k = 0; k < taps * taps; k++) {
                float w = (float)(u->weight[k / taps] * v->weight[k % taps]);
                const float *p = from + (u->at[k / taps] * j->in[2] + v->at[k % taps]) * channels;
                for (int64_t i = 0; i < channels; i++) to[i] += w * p[i];
            }
        }
}

static job start(const grad_call *c, const pith_tensor *out) {
    job j = {.c = c, .in = c->in[0]->shape, .out = out->shape};
    j.rows = tap_table(c, j.in[1], j.out[1]), j.cols = tap_table(c, j.in[2], j.out[2]);
    return j;
}

static void forward(const grad_call *c) {
    job j = start(c, c->out[0]);
    parallel_for(j.out[0] * j.out[1], row_grain(j.out[2] * j.out[3]), forward_rows, &j);
}

/* One picture: several output pixels may meet in one of the input, so a picture has one owner. */
static void backward_pictures(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    int taps = ((const resize_attr *)j->c->attr)->taps;
    int64_t channels = j->in[3], pixels = j->out[1] * j->out[2];
    for (int64_t p = begin * pixels; p < end * pixels; p++) {
        const tap_set *u = &j->rows[p / j->out[2] % j->out[1]], *v = &j->cols[p % j->out[2]];
        const float *dy = f32(j->c->dout[0]) + p * channels;
        float *dx = f32(j->c->din[0]) + p / pixels * j->in[1] * j->in[2] * channels;
        for (int k = 0; k < taps * taps; k++) {
            float w = (float)(u->weight[k / taps] * v->weight[k % taps]);
            float *to = dx + (u->at[k / taps] * j->in[2] + v->at[k % taps]) * channels;
            for (int64_t i = 0; i < channels; i++) to[i] += w * dy[i];
        }
    }
}

static void backward(const grad_call *c) {
    if (!c->din[0]) return;
    job j = start(c, c->dout[0]);
    parallel_for(j.out[0], 1, backward_pictures, &j);
}

static void forward_f64(const grad_call *c) {
    const resize_attr *a = c->attr;
    const int64_t *in = c->in[0]->shape, *out = c->out[0]->shape;
    for (int64_t i = 0; i < pith_tensor_elements(c->out[0]); i++) {
        int64_t ch = i % out[3], p = i / out[3];
        tap_set u = taps_of(a->taps, in[1], out[1], p / out[2] % out[1]),
                v = taps_of(a->taps, in[2], out[2], p % out[2]);
        const double *from = f64(c->in[0]) + p / out[2] / out[1] * in[1] * in[2] * in[3] + ch;
        double sum = 0;
        for (int y = 0; y < a->taps; y++)
            for (int x = 0; x < a->taps; x++)
                sum += u.weight[y] * v.weight[x] * from[(u.at[y] * in[2] + v.at[x]) * in[3]];
        f64(c->out[0])[i] = sum;
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int taps[] = {1, 2, 4};
    static const int64_t sizes[][2] = {{8, 10}, {3, 3}, {0, 4}, {1, 7}};
    resize_attr a = {sizes[k / 3][0], sizes[k / 3][1], taps[k % 3]};
    case_input(c, -1, 1, CASE_SHAPE(2, 4, 5, 2));
    case_attr(c, &a, sizeof a);
}

const grad_op grad_op_resize = {.name = "resize",
                                .deterministic = true,
                                .cases = 12,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

static var apply(tape *t, var x, int64_t height, int64_t width, int taps) {
    resize_attr a = {height, width, taps};
    return grad_apply(t, &grad_op_resize, &a, sizeof a, &x, 1);
}

var grad_resize_nearest(tape *t, var x, int64_t height, int64_t width) { return apply(t, x, height, width, 1); }
var grad_resize_bilinear(tape *t, var x, int64_t height, int64_t width) { return apply(t, x, height, width, 2); }
var grad_resize_bicubic(tape *t, var x, int64_t height, int64_t width) { return apply(t, x, height, width, 4); }
