/* tensor/isa/depthwise_fast.c - depthwise convolution of NHWC rows, a vector of channels at a time.
 *
 * Weights come as (kh, kw, channels). Pixels whose taps all lie inside a row go by blocks, their sums in registers;
 * those at the borders one by one. */
#include "base/isa.h"
#include "tensor/depthwise.h"

#if PITH_ISA_LEVEL == 2
enum { VEC = 16 };
#elif PITH_ISA_LEVEL == 1
enum { VEC = 8 };
#else
enum { VEC = 4 };
#endif
enum { BLOCK = 8, TAPS = 16 };

typedef float vec __attribute__((vector_size(VEC * sizeof(float)), aligned(4), may_alias));

static const vec zero;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Sum of the taps of one output pixel, one channel. */
static float one(const depthwise_row *r, int64_t xo, int64_t ch) {
    float sum = r->bias ? r->bias[ch] : 0;
    for (int64_t ky = r->ky0; ky < r->ky1; ky++)
        for (int64_t kx = 0; kx < r->kw; kx++) {
            int64_t ix = xo * r->stride + kx - r->pad;
            if (ix < 0 || ix >= r->w) continue;
            sum += r->x[(ky - r->ky0) * r->line + ix * r->c + ch] * r->k[(ky * r->kw + kx) * r->c + ch];
        }
    return sum;
}

static vec one_vector(const depthwise_row *r, int64_t xo, int64_t ch) {
    vec sum = r->bias ? *(const vec *)(r->bias + ch) : (vec){0};
    int64_t first = most(0, r->pad - xo * r->stride), last = least(r->kw, r->w + r->pad - xo * r->stride);
    for (int64_t ky = r->ky0; ky < r->ky1; ky++)
        for (int64_t kx = first; kx < last; kx++) {
            const float *x = r->x + (ky - r->ky0) * r->line + (xo * r->stride + kx - r->pad) * r->c + ch;
            sum += *(const vec *)x * *(const vec *)(r->k + (ky * r->kw + kx) * r->c + ch);
        }
    return sum;
}

static inline __attribute__((always_inline)) void block(const depthwise_row *r, int64_t xo, int64_t ch, int64_t step) {
    vec sum[BLOCK];
    vec start = r->bias ? *(const vec *)(r->bias + ch) : (vec){0};
    for (int i = 0; i < BLOCK; i++) sum[i] = start;
    for (int64_t ky = r->ky0; ky < r->ky1; ky++) {
        const float *x = r->x + (ky - r->ky0) * r->line + (xo * r->stride - r->pad) * r->c + ch;
        const float *k = r->k + ky * r->kw * r->c + ch;
        for (int64_t kx = 0; kx < r->kw; kx++, x += r->c, k += r->c) {
            vec w = *(const vec *)k;
#pragma GCC unroll 8
            for (int i = 0; i < BLOCK; i++) sum[i] += *(const vec *)(x + i * step) * w;
        }
    }
    for (int i = 0; i < BLOCK; i++) {
        vec *y = (vec *)(r->y + (xo + i) * r->c + ch);
        *y = sum[i] + (r->add ? *y : zero);
    }
}

static void row(const depthwise_row *r) {
    int64_t inner = (r->pad + r->stride - 1) / r->stride; /* first pixel with all taps inside */
    int64_t outer = r->w + r->pad >= r->kw ? (r->w + r->pad - r->kw) / r->stride + 1 : 0; /* first one after them */
    inner = least(inner, r->ow), outer = least(outer, r->ow);
    int64_t ch = 0;
    for (; ch + VEC <= r->c; ch += VEC) {
        int64_t xo = 0;
        while (xo < r->ow) {
            if (xo >= inner && xo + BLOCK <= outer) {
                block(r, xo, ch, r->stride * r->c);
                xo += BLOCK;
                continue;
            }
            vec *y = (vec *)(r->y + xo * r->c + ch), sum = one_vector(r, xo, ch);
            *y = sum + (r->add ? *y : zero);
            xo++;
        }
    }
    for (; ch < r->c; ch++)
        for (int64_t xo = 0; xo < r->ow; xo++) {
            float *y = r->y + xo * r->c + ch, sum = one(r, xo, ch);
            *y = r->add ? *y + sum : sum;
        }
}

/* dk[kx][ch] += sum over pixels of dy x, for one row of taps; W taps side by side in registers. */
static inline __attribute__((always_inline)) void tap_row(const depthwise_row *r, const float *dy, float *dk,
                                                          int64_t ch, int64_t kx, int W) {
    vec sum[TAPS];
    for (int i = 0; i < W; i++) sum[i] = *(const vec *)(dk + (kx + i) * r->c + ch);
    int64_t first = most(0, r->pad - kx), from = (first + r->stride - 1) / r->stride;
    int64_t end = r->w + r->pad - kx - W + 1, to = end > 0 ? least(r->ow, (end + r->stride - 1) / r->stride) : 0;
    for (int64_t xo = from; xo < to; xo++) {
        vec d = *(const vec *)(dy + xo * r->c + ch);
        const float *x = r->x + (xo * r->stride + kx - r->pad) * r->c + ch;
#pragma GCC unroll 8
        for (int i = 0; i < W; i++) sum[i] += d * *(const vec *)(x + i * r->c);
    }
    /* pixels some of whose taps lie outside */
    for (int64_t xo = 0; xo < r->ow; xo++) {
        if (xo == from && to > from) xo = to;
        if (xo >= r->ow) break;
        vec d = *(const vec *)(dy + xo * r->c + ch);
        for (int i = 0; i < W; i++) {
            int64_t ix = xo * r->stride + kx + i - r->pad;
            if (ix >= 0 && ix < r->w) sum[i] += d * *(const vec *)(r->x + ix * r->c + ch);
        }
    }
    for (int i = 0; i < W; i++) *(vec *)(dk + (kx + i) * r->c + ch) = sum[i];
}

static void taps(const depthwise_row *r, const float *dy, float *dk) {
    int64_t ch = 0;
    for (; ch + VEC <= r->c; ch += VEC) {
        int64_t kx = 0;
        for (; kx + 7 <= r->kw; kx += 7) tap_row(r, dy, dk, ch, kx, 7);
        for (; kx + 5 <= r->kw; kx += 5) tap_row(r, dy, dk, ch, kx, 5);
        for (; kx + 3 <= r->kw; kx += 3) tap_row(r, dy, dk, ch, kx, 3);
        for (; kx < r->kw; kx++) tap_row(r, dy, dk, ch, kx, 1);
    }
    for (; ch < r->c; ch++)
        for (int64_t kx = 0; kx < r->kw; kx++)
            for (int64_t xo = 0; xo < r->ow; xo++) {
                int64_t ix = xo * r->stride + kx - r->pad;
                if (ix >= 0 && ix < r->w) dk[kx * r->c + ch] += dy[xo * r->c + ch] * r->x[ix * r->c + ch];
            }
}

const depthwise_kernels ISA_TABLE(depthwise_table) = {row, taps};
