/* tensor/conv.c - choosing who convolves; 1x1 as a matrix product; copies and products as the fallback. */
#include "tensor/conv.h"

#include "base/parallel.h"
#include "tensor/dnnl.h"
#include "tensor/gemm.h"
#include "tensor/windows.h"
#include "tensor/winograd.h"

#include <assert.h>
#include <string.h>

static bool is_product(const conv *v) {
    return v->kh == 1 && v->kw == 1 && v->stride == 1 && v->pad == 0 && v->groups == 1 && v->oh == v->h &&
           v->ow == v->w;
}

static bool is_empty(const conv *v) { return v->n * v->oh * v->ow * v->o == 0 || v->h * v->w * v->c == 0; }

bool conv_is_depthwise(const conv *v) { return v->groups > 1 && v->groups == v->c && v->groups == v->o; }

static void *scratch_or_die(arena *scratch, size_t bytes) {
    void *p = arena_alloc(scratch, bytes);
    assert(p && "scratch arena is full");
    return p;
}

typedef struct sum {
    const float *from;
    float *to;
} sum;

static void add_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const sum *s = user;
    for (int64_t i = begin; i < end; i++) s->to[i] += s->from[i];
}

/* --- copies and products ----------------------------------------------------------------------------------------- */

/* One picture's patches of group g: rows of kh kw I values, one for each output pixel. */
static void gather_patches(const conv *v, const float *x, int64_t g, float *to) {
    int64_t in = v->c / v->groups;
    for (int64_t y = 0; y < v->oh; y++)
        for (int64_t xo = 0; xo < v->ow; xo++)
            for (int64_t ky = 0; ky < v->kh; ky++)
                for (int64_t kx = 0; kx < v->kw; kx++, to += in) {
                    int64_t iy = y * v->stride + ky - v->pad, ix = xo * v->stride + kx - v->pad;
                    if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w) memset(to, 0, (size_t)in * sizeof *to);
                    else memcpy(to, x + (iy * v->w + ix) * v->c + g * in, (size_t)in * sizeof *to);
                }
}

static void scatter_patches(const conv *v, const float *from, int64_t g, float *dx) {
    int64_t in = v->c / v->groups;
    for (int64_t y = 0; y < v->oh; y++)
        for (int64_t xo = 0; xo < v->ow; xo++)
            for (int64_t ky = 0; ky < v->kh; ky++)
                for (int64_t kx = 0; kx < v->kw; kx++, from += in) {
                    int64_t iy = y * v->stride + ky - v->pad, ix = xo * v->stride + kx - v->pad;
                    if (iy < 0 || iy >= v->h || ix < 0 || ix >= v->w) continue;
                    float *to = dx + (iy * v->w + ix) * v->c + g * in;
                    for (int64_t i = 0; i < in; i++) to[i] += from[i];
                }
}

void conv_plain_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    int64_t in = v->c / v->groups, out = v->o / v->groups, pixels = v->oh * v->ow, patch = v->kh * v->kw * in;
    size_t mark = arena_mark(scratch);
    float *patches = scratch_or_die(scratch, (size_t)(pixels * patch) * sizeof *patches);
    for (int64_t i = 0; i < v->n; i++)
        for (int64_t g = 0; g < v->groups; g++) {
            gather_patches(v, x + i * v->h * v->w * v->c, g, patches);
            gemm m = {.m = pixels, .n = out, .k = patch, .a = patches, .lda = patch, .ldb = patch, .tb = true};
            m.b = w + g * out * patch, m.c = y + i * pixels * v->o + g * out, m.ldc = v->o;
            m.bias = bias ? bias + g * out : NULL;
            gemm_own(&m, scratch);
        }
    arena_release(scratch, mark);
}

void conv_plain_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch) {
    int64_t in = v->c / v->groups, out = v->o / v->groups, pixels = v->oh * v->ow, patch = v->kh * v->kw * in;
    size_t mark = arena_mark(scratch);
    float *patches = scratch_or_die(scratch, (size_t)(pixels * patch) * sizeof *patches);
    if (!add) memset(dx, 0, (size_t)(v->n * v->h * v->w * v->c) * sizeof *dx);
    for (int64_t i = 0; i < v->n; i++)
        for (int64_t g = 0; g < v->groups; g++) {
            gemm m = {.m = pixels, .n = patch, .k = out, .lda = v->o, .ldb = patch, .c = patches, .ldc = patch};
            m.a = dy + i * pixels * v->o + g * out, m.b = w + g * out * patch;
            gemm_own(&m, scratch);
            scatter_patches(v, patches, g, dx + i * v->h * v->w * v->c);
        }
    arena_release(scratch, mark);
}

void conv_plain_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch) {
    int64_t in = v->c / v->groups, out = v->o / v->groups, pixels = v->oh * v->ow, patch = v->kh * v->kw * in;
    size_t mark = arena_mark(scratch);
    float *patches = scratch_or_die(scratch, (size_t)(pixels * patch) * sizeof *patches);
    for (int64_t i = 0; i < v->n; i++)
        for (int64_t g = 0; g < v->groups; g++) {
            gather_patches(v, x + i * v->h * v->w * v->c, g, patches);
            gemm m = {.m = out, .n = patch, .k = pixels, .lda = v->o, .ta = true, .b = patches, .ldb = patch};
            m.a = dy + i * pixels * v->o + g * out, m.c = dw + g * out * patch, m.ldc = patch, m.add = add || i > 0;
            gemm_own(&m, scratch);
        }
    arena_release(scratch, mark);
}

/* --- the choice -------------------------------------------------------------------------------------------------- */

void conv_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    if (v->n * v->oh * v->ow * v->o == 0) return;
    if (is_product(v)) {
        gemm m = {.m = v->n * v->h * v->w, .n = v->o, .k = v->c, .a = x, .lda = v->c, .b = w, .ldb = v->c, .tb = true};
        m.c = y, m.ldc = v->o, m.bias = bias, m.bf16 = v->bf16;
        gemm_run(&m, scratch);
        return;
    }
    if (conv_is_depthwise(v)) depthwise_forward(v, x, w, bias, y, scratch);
    else if (!is_empty(v) && winograd_fits(v)) winograd_forward(v, x, w, bias, y, scratch);
    else if (is_empty(v) || !(windows_forward(v, x, w, bias, y, scratch) ||
                              (onednn_usable() && onednn_conv_forward(v, x, w, bias, y, scratch))))
        conv_plain_forward(v, x, w, bias, y, scratch);
}

/* oneDNN's gradients assign: where d (n values) is to be added to, they go through scratch. False: it has none. */
static bool onednn_gradient(bool (*gradient)(const conv *v, const float *a, const float *b, float *d, arena *scratch),
                            const conv *v, const float *a, const float *b, float *d, int64_t n, bool add,
                            arena *scratch) {
    if (is_empty(v) || !onednn_usable()) return false;
    size_t mark = arena_mark(scratch);
    float *to = add ? scratch_or_die(scratch, (size_t)n * sizeof *d) : d;
    bool done = gradient(v, a, b, to, scratch);
    if (done && add) parallel_for(n, 1 << 14, add_part, &(sum){to, d});
    arena_release(scratch, mark);
    return done;
}

void conv_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch) {
    if (is_product(v)) {
        gemm m = {.m = v->n * v->h * v->w, .n = v->c, .k = v->o, .a = dy, .lda = v->o, .b = w, .ldb = v->c, .add = add};
        m.c = dx, m.ldc = v->c, m.bf16 = v->bf16;
        gemm_run(&m, scratch);
        return;
    }
    if (conv_is_depthwise(v)) depthwise_backward_data(v, dy, w, dx, add, scratch);
    else if (!is_empty(v) && winograd_fits(v)) winograd_backward_data(v, dy, w, dx, add, scratch);
    else if (!windows_backward_data(v, dy, w, dx, add, scratch) &&
             !onednn_gradient(onednn_conv_backward_data, v, dy, w, dx, v->n * v->h * v->w * v->c, add, scratch))
        conv_plain_backward_data(v, dy, w, dx, add, scratch);
}

void conv_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch) {
    int64_t n = v->o * v->kh * v->kw * (v->c / v->groups);
    if (v->n * v->oh * v->ow == 0) {
        if (!add) memset(dw, 0, (size_t)n * sizeof *dw);
        return;
    }
    if (is_product(v)) {
        gemm m = {.m = v->o, .n = v->c, .k = v->n * v->h * v->w, .a = dy, .lda = v->o, .ta = true, .b = x, .ldb = v->c};
        m.c = dw, m.ldc = v->c, m.add = add, m.bf16 = v->bf16;
        gemm_run(&m, scratch);
        return;
    }
    if (conv_is_depthwise(v)) depthwise_backward_weights(v, x, dy, dw, add, scratch);
    else if (!is_empty(v) && winograd_fits(v)) winograd_backward_weights(v, x, dy, dw, add, scratch);
    else if (!windows_backward_weights(v, x, dy, dw, add, scratch) &&
             !onednn_gradient(onednn_conv_backward_weights, v, x, dy, dw, n, add, scratch))
        conv_plain_backward_weights(v, x, dy, dw, add, scratch);
}
