/* tensor/isa/winograd_fast.c - the transforms of F(4x4, 3x3) (Lavin, Gray: arXiv 1509.09308), points 0, 1, -1, 2, -2.
 *
 * A vector of channels at a time, each transform first along rows, then along columns. */
#include "base/isa.h"
#include "tensor/winograd.h"

#include <string.h>

#if PITH_ISA_LEVEL == 2
enum { VEC = 16 };
#elif PITH_ISA_LEVEL == 1
enum { VEC = 8 };
#else
enum { VEC = 4 };
#endif
enum { GRAIN = 16 }; /* channels are written up to a multiple of this */

typedef float vec __attribute__((vector_size(VEC * sizeof(float)), aligned(4), may_alias));
typedef void line(vec *x, int step); /* one row or column, in place */
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p, int64_t n) {
    vec v = {0};
    if (n >= VEC) return *(const vec *)p;
    memcpy(&v, p, (size_t)(n > 0 ? n : 0) * sizeof *p);
    return v;
}

INLINE void store(float *p, vec v, int64_t n) {
    if (n >= VEC) *(vec *)p = v;
    else memcpy(p, &v, (size_t)(n > 0 ? n : 0) * sizeof *p);
}

#define X(i) x[(i)*step]

INLINE void input_line(vec *x, int step) { /* 6 pixels to 6 */
    vec a = X(0), b = X(1), c = X(2), d = X(3), e = X(4), f = X(5);
    vec p = e - 4 * c, q = d - 4 * b, r = e - c, s = 2 * (d - b);
    X(0) = 4 * a - 5 * c + e;
    X(1) = p + q, X(2) = p - q;
    X(3) = r + s, X(4) = r - s;
    X(5) = 4 * b - 5 * d + f;
}

INLINE void gradient_line(vec *x, int step) { /* 4 to 6 */
    vec a = X(0), b = X(1), c = X(2), d = X(3);
    X(1) = (a + c) + (b + d), X(2) = (a + c) - (b + d);
    X(3) = (a + 4 * c) + (2 * b + 8 * d), X(4) = (a + 4 * c) - (2 * b + 8 * d);
    X(5) = d;
}

INLINE void output_line(vec *x, int step) { /* 6 to 4 */
    vec p = X(1) + X(2), q = X(1) - X(2), r = X(3) + X(4), s = X(3) - X(4);
    X(0) += p + r;
    X(1) = q + 2 * s;
    X(2) = p + 4 * r;
    X(3) = q + 8 * s + X(5);
}

INLINE void weight_line(vec *x, int step) { /* 3 to 6 */
    vec a = X(0), b = X(1), c = X(2), even = (a + c) * (1.0f / 6), odd = b * (1.0f / 6);
    vec far = a * (1.0f / 24) + c * (1.0f / 6), side = b * (1.0f / 12);
    X(0) = a * 0.25f;
    X(1) = -even - odd, X(2) = odd - even;
    X(3) = far + side, X(4) = far - side;
    X(5) = c;
}

INLINE void tap_line(vec *x, int step) { /* 6 to 3 */
    vec near = (X(1) + X(2)) * (1.0f / 6), far = X(3) + X(4), f = X(5);
    vec b = (X(2) - X(1)) * (1.0f / 6) + (X(3) - X(4)) * (1.0f / 12);
    X(0) = X(0) * 0.25f - near + far * (1.0f / 24);
    X(1) = b;
    X(2) = far * (1.0f / 6) - near + f;
}

/* `from` rows become `to` values long, then as many columns. */
INLINE void both(vec m[WINOGRAD], line *f, int from, int to) {
#pragma GCC unroll 6
    for (int i = 0; i < from; i++) f(m + 6 * i, 1);
#pragma GCC unroll 6
    for (int j = 0; j < to; j++) f(m + j, 6);
}

/* size x size pixels, zeros outside the picture. */
INLINE void gather(const winograd_window *w, int size, int64_t ch, vec m[WINOGRAD]) {
    bool whole = w->y >= 0 && w->x >= 0 && w->y + size <= w->h && w->x + size <= w->w && ch + VEC <= w->c;
    const float *first = w->picture + (w->y * w->w + w->x) * w->c + ch;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            bool inside = whole || (w->y + i >= 0 && w->x + j >= 0 && w->y + i < w->h && w->x + j < w->w);
            const float *p = first + (i * w->w + j) * w->c;
            m[6 * i + j] = whole ? *(const vec *)p : inside ? load(p, w->c - ch) : (vec){0};
        }
}

INLINE void spread(const winograd_window *w, int size, line *f, float *to, int64_t plane) {
    for (int64_t ch = 0; ch < (w->c + GRAIN - 1) / GRAIN * GRAIN; ch += VEC) {
        vec m[WINOGRAD];
        gather(w, size, ch, m);
        both(m, f, size, 6);
        for (int k = 0; k < WINOGRAD; k++) *(vec *)(to + k * plane + ch) = m[k];
    }
}

static void input(const winograd_window *from, float *to, int64_t plane) { spread(from, 6, input_line, to, plane); }
static void gradient(const winograd_window *from, float *to, int64_t plane) {
    spread(from, 4, gradient_line, to, plane);
}

static void output(const float *from, int64_t plane, const float *bias, const winograd_window *to, bool add) {
    for (int64_t ch = 0; ch < to->c; ch += VEC) {
        vec m[WINOGRAD], b = bias ? load(bias + ch, to->c - ch) : (vec){0};
        for (int k = 0; k < WINOGRAD; k++) m[k] = *(const vec *)(from + k * plane + ch);
        both(m, output_line, 6, 4);
        float *first = (float *)to->picture + (to->y * to->w + to->x) * to->c + ch;
        for (int i = 0; i < 4 && to->y + i < to->h; i++)
            for (int j = 0; j < 4 && to->x + j < to->w; j++) {
                float *p = first + (i * to->w + j) * to->c;
                vec y = m[6 * i + j] + b;
                if (add) y += load(p, to->c - ch);
                store(p, y, to->c - ch);
            }
    }
}

static void weights(const float *taps, int64_t c, bool turned, float *to, int64_t plane) {
    for (int64_t ch = 0; ch < (c + GRAIN - 1) / GRAIN * GRAIN; ch += VEC) {
        vec m[WINOGRAD];
        for (int i = 0; i < 9; i++) m[i / 3 * 6 + i % 3] = load(taps + (turned ? 8 - i : i) * c + ch, c - ch);
        both(m, weight_line, 3, 6);
        for (int k = 0; k < WINOGRAD; k++) *(vec *)(to + k * plane + ch) = m[k];
    }
}

static void taps_back(const float *from, int64_t plane, int64_t parts, int64_t part, float *taps, int64_t c, bool add) {
    for (int64_t ch = 0; ch < c; ch += VEC) {
        vec m[WINOGRAD];
        for (int k = 0; k < WINOGRAD; k++) {
            m[k] = *(const vec *)(from + k * plane + ch);
            for (int64_t i = 1; i < parts; i++) m[k] += *(const vec *)(from + i * part + k * plane + ch);
        }
        both(m, tap_line, 6, 3);
        for (int i = 0; i < 9; i++) {
            float *p = taps + i * c + ch;
            vec d = m[i / 3 * 6 + i % 3];
            if (add) d += load(p, c - ch);
            store(p, d, c - ch);
        }
    }
}

const winograd_kernels ISA_TABLE(winograd_table) = {input, gradient, output, weights, taps_back};
