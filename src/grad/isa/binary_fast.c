/* grad/isa/binary_fast.c - element-wise functions of two rows; either may be one number repeated. */
#include "grad/isa/exponential.h"
#include "grad/kernels.h"

#include <math.h>
#include <string.h>

#define LOOP(value)                       \
    if (sa && sb)                         \
        for (int64_t i = 0; i < n; i++) { \
            float u = a[i], v = b[i];     \
            y[i] = value;                 \
        }                                 \
    else if (sa)                          \
        for (int64_t i = 0; i < n; i++) { \
            float u = a[i], v = *b;       \
            y[i] = value;                 \
        }                                 \
    else                                  \
        for (int64_t i = 0; i < n; i++) { \
            float u = *a, v = b[sb * i];  \
            y[i] = value;                 \
        }

static void forward(binary_kind kind, int64_t n, const float *a, int sa, const float *b, int sb, float *restrict y) {
    switch (kind) {
    case BINARY_ADD: LOOP(u + v) break;
    case BINARY_SUB: LOOP(u - v) break;
    case BINARY_MUL: LOOP(u * v) break;
    case BINARY_DIV: LOOP(u / v) break;
    case BINARY_KINDS: break;
    }
}

/* d (+)= slope for each i; d is one number when its step is 0. */
#define SPREAD(d, step, fresh, slope)                  \
    if (step && fresh)                                 \
        for (int64_t i = 0; i < n; i++) d[i] = slope;  \
    else if (step)                                     \
        for (int64_t i = 0; i < n; i++) d[i] += slope; \
    else {                                             \
        float sum = 0;                                 \
        for (int64_t i = 0; i < n; i++) sum += slope;  \
        *d = (fresh ? 0 : *d) + sum;                   \
    }

static void backward_a(binary_kind kind, int64_t n, const float *b, int sb, const float *dy, float *restrict da, int sa,
                       bool fresh) {
    switch (kind) {
    case BINARY_ADD:
    case BINARY_SUB: SPREAD(da, sa, fresh, dy[i]) break;
    case BINARY_MUL: SPREAD(da, sa, fresh, dy[i] * b[sb * i]) break;
    case BINARY_DIV: SPREAD(da, sa, fresh, dy[i] / b[sb * i]) break;
    case BINARY_KINDS: break;
    }
}

static void backward(binary_kind kind, int64_t n, const float *a, int sa, const float *b, int sb, const float *dy,
                     float *da, float *db, bool fresh_a, bool fresh_b) {
    if (da) backward_a(kind, n, b, sb, dy, da, sa, fresh_a);
    if (!db) return;
    switch (kind) {
    case BINARY_ADD: SPREAD(db, sb, fresh_b, dy[i]) break;
    case BINARY_SUB: SPREAD(db, sb, fresh_b, -dy[i]) break;
    case BINARY_MUL: SPREAD(db, sb, fresh_b, dy[i] * a[sa * i]) break;
    case BINARY_DIV: SPREAD(db, sb, fresh_b, -dy[i] * a[sa * i] / (b[sb * i] * b[sb * i])) break;
    case BINARY_KINDS: break;
    }
}

static void swiglu(int64_t n, const float *restrict gate, const float *restrict up, float *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = gate[i] * logistic(gate[i]) * up[i];
}

static void swiglu_backward(int64_t n, const float *restrict gate, const float *restrict up, const float *restrict dy,
                            float *restrict dgate, float *restrict dup, bool fresh_gate, bool fresh_up) {
    if (fresh_gate && dgate)
        for (int64_t i = 0; i < n; i++) dgate[i] = 0;
    if (fresh_up && dup)
        for (int64_t i = 0; i < n; i++) dup[i] = 0;
    for (int64_t i = 0; i < n; i++) {
        float s = logistic(gate[i]);
        if (dgate) dgate[i] += dy[i] * up[i] * (s + gate[i] * s * (1 - s));
        if (dup) dup[i] += dy[i] * gate[i] * s;
    }
}

#define TURN(step, other, set)                                      \
    for (int64_t p = 0; p < pairs; p++) {                           \
        float u = x[p * step], v = x[p * step + other];             \
        y[p * step] set u *cosine[p] - v *(sign * sine[p]);         \
        y[p * step + other] set u *(sign * sine[p]) + v *cosine[p]; \
    }

static void turn(int64_t pairs, int64_t n, bool halves, const float *restrict cosine, const float *restrict sine,
                 float sign, const float *restrict x, float *restrict y, bool add) {
    if (halves && add) TURN(1, pairs, +=)
    else if (halves) TURN(1, pairs, =)
    else if (add) TURN(2, 1, +=)
    else TURN(2, 1, =)
    for (int64_t i = 2 * pairs; i < n; i++) y[i] = add ? y[i] + x[i] : x[i];
}

static void higher(int64_t n, const float *restrict x, int32_t place, float *restrict y, int32_t *restrict which) {
    for (int64_t i = 0; i < n; i++) {
        float most = y[i]; /* read and written whatever is higher, so that it becomes vectors */
        int32_t before = which[i];
        y[i] = x[i] > most ? x[i] : most;
        which[i] = x[i] > most ? place : before;
    }
}

enum { WIDTH = 64 }; /* columns whose sums stay in registers */

static void sum_rows(int64_t rows, int64_t n, const float *restrict x, int64_t ldx, float *restrict sum, bool add) {
    if (!add) memset(sum, 0, (size_t)n * sizeof *sum);
    if (n == 1 && ldx == 1) {
        float all = 0;
        for (int64_t i = 0; i < rows; i++) all += x[i];
        *sum += all;
        return;
    }
    int64_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH) {
        float part[WIDTH];
        for (int k = 0; k < WIDTH; k++) part[k] = sum[j + k];
        for (int64_t i = 0; i < rows; i++)
            for (int k = 0; k < WIDTH; k++) part[k] += x[i * ldx + j + k];
        for (int k = 0; k < WIDTH; k++) sum[j + k] = part[k];
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = j; k < n; k++) sum[k] += x[i * ldx + k];
}

const binary_kernels ISA_TABLE(binary_table) = {forward, backward, swiglu, swiglu_backward, turn, higher, sum_rows};
