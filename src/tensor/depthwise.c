/* tensor/depthwise.c - depthwise convolution: cutting it into rows.
 *
 * oneDNN has no fast gradient of depthwise weights beyond 3x3 (it is 10 to 19 times slower than this). The gradient of
 * the input of stride 1 is a convolution with the kernel turned round; of other strides it is gathered tap by tap. The
 * gradient of the weights sums pictures apart, then together in order: the same for any number of threads. */
#include "tensor/depthwise.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "tensor/conv.h"

#include <assert.h>
#include <string.h>

ISA_DECLARE(depthwise_kernels, depthwise_table);

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct job {
    conv v;
    const float *x, *bias, *dy;
    float *k, *y; /* weights as (kh, kw, c); output, or per-picture gradients of them */
    bool add;
} job;

static float *turned_weights(const conv *v, const float *w, bool round, arena *scratch) {
    int64_t taps = v->kh * v->kw;
    float *k = arena_alloc(scratch, (size_t)(taps * v->c) * sizeof *k);
    assert(k && "scratch arena is full");
    for (int64_t t = 0; t < taps; t++)
        for (int64_t ch = 0; ch < v->c; ch++) k[(round ? taps - 1 - t : t) * v->c + ch] = w[ch * taps + t];
    return k;
}

static void rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const conv *v = &j->v;
    for (int64_t i = begin; i < end; i++) {
        int64_t picture = i / v->oh, y = i % v->oh, top = y * v->stride - v->pad;
        depthwise_row r = {.k = j->k, .bias = j->bias, .line = v->w * v->c, .w = v->w, .ow = v->ow, .c = v->c};
        r.kw = v->kw, r.stride = v->stride, r.pad = v->pad, r.add = j->add;
        r.ky0 = least(most(0, -top), v->kh), r.ky1 = most(r.ky0, least(v->kh, v->h - top));
        r.x = j->x + (picture * v->h + top + r.ky0) * r.line;
        r.y = j->y + i * v->ow * v->c;
        ISA_SELECT(depthwise_table)->row(&r);
    }
}

void depthwise_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    size_t mark = arena_mark(scratch);
    job j = {.v = *v, .x = x, .bias = bias, .k = turned_weights(v, w, false, scratch), .y = y};
    parallel_for(v->n * v->oh, 1 + (1 << 12) / (v->ow * v->c + 1), rows, &j);
    arena_release(scratch, mark);
}

static void gather_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const conv *v = &j->v;
    for (int64_t i = begin; i < end; i++) {
        int64_t picture = i / v->h, y = i % v->h;
        float *to = j->y + i * v->w * v->c;
        if (!j->add) memset(to, 0, (size_t)(v->w * v->c) * sizeof *to);
        for (int64_t ky = 0; ky < v->kh; ky++) {
            int64_t oy = y + v->pad - ky;
            if (oy < 0 || oy % v->stride || oy / v->stride >= v->oh) continue;
            const float *dy = j->dy + (picture * v->oh + oy / v->stride) * v->ow * v->c;
            for (int64_t kx = 0; kx < v->kw; kx++)
                for (int64_t xo = 0; xo < v->ow; xo++) {
                    int64_t ix = xo * v->stride + kx - v->pad;
                    if (ix < 0 || ix >= v->w) continue;
                    const float *k = j->k + (ky * v->kw + kx) * v->c;
                    for (int64_t ch = 0; ch < v->c; ch++) to[ix * v->c + ch] += dy[xo * v->c + ch] * k[ch];
                }
        }
    }
}

void depthwise_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch) {
    size_t mark = arena_mark(scratch);
    int64_t grain = 1 + (1 << 12) / (v->w * v->c + 1);
    if (v->stride == 1 && v->kh == v->kw && v->pad < v->kh) {
        job j = {.v = *v, .x = dy, .k = turned_weights(v, w, true, scratch), .y = dx, .add = add};
        j.v.h = v->oh, j.v.w = v->ow, j.v.oh = v->h, j.v.ow = v->w, j.v.pad = v->kh - 1 - v->pad;
        parallel_for(v->n * v->h, grain, rows, &j);
    } else {
        job j = {.v = *v, .dy = dy, .k = turned_weights(v, w, false, scratch), .y = dx, .add = add};
        parallel_for(v->n * v->h, grain, gather_rows, &j);
    }
    arena_release(scratch, mark);
}

/* One picture's share of one row of taps. */
static void weight_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    const conv *v = &j->v;
    for (int64_t i = begin; i < end; i++) {
        int64_t picture = i / v->kh, ky = i % v->kh;
        float *dk = j->y + i * v->kw * v->c;
        memset(dk, 0, (size_t)(v->kw * v->c) * sizeof *dk);
        for (int64_t y = 0; y < v->oh; y++) {
            int64_t iy = y * v->stride + ky - v->pad;
            if (iy < 0 || iy >= v->h) continue;
            depthwise_row r = {.w = v->w, .ow = v->ow, .c = v->c, .kw = v->kw, .stride = v->stride, .pad = v->pad};
            r.x = j->x + (picture * v->h + iy) * v->w * v->c;
            ISA_SELECT(depthwise_table)->taps(&r, j->dy + (picture * v->oh + y) * v->ow * v->c, dk);
        }
    }
}

void depthwise_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch) {
    size_t mark = arena_mark(scratch);
    int64_t taps = v->kh * v->kw;
    float *parts = arena_alloc(scratch, (size_t)(v->n * taps * v->c) * sizeof *parts);
    assert(parts && "scratch arena is full");
    job j = {.v = *v, .x = x, .dy = dy, .y = parts};
    parallel_for(v->n * v->kh, 1, weight_rows, &j);
    for (int64_t ch = 0; ch < v->c; ch++)
        for (int64_t t = 0; t < taps; t++) {
            float all = add ? dw[ch * taps + t] : 0;
            for (int64_t i = 0; i < v->n; i++) all += parts[(i * taps + t) * v->c + ch];
            dw[ch * taps + t] = all;
        }
    arena_release(scratch, mark);
}
