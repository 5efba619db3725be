/* tensor/isa/gemm_fast.c - products of blocks in registers, and the copies that make them fast.
 *
 * MR rows of two vectors are accumulated at a time: 12 x 32 floats with AVX-512, 6 x 16 with AVX2, 4 x 8 with SSE. A is
 * read through two strides (so a transposed A costs nothing), B must have contiguous rows. B's panel of two vectors
 * stays in L1 while A streams. */
#include "base/isa.h"
#include "tensor/gemm.h"

#include <string.h>

#if PITH_ISA_LEVEL == 2
enum { VEC = 16, MR = 12 };
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif PITH_ISA_LEVEL == 1
enum { VEC = 8, MR = 6 };
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
enum { VEC = 4, MR = 4 };
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#endif
enum { NR = 2 * VEC, KMAX = 512 };

typedef float vec __attribute__((vector_size(VEC * sizeof(float)), aligned(4), may_alias));

typedef struct panel {
    int64_t k, ars, acs, ldb, ldc;
    const float *a, *b, *from; /* from: what the sums begin with, NULL: 0 */
    int64_t ldf;
    float *c;
} panel;

/* R rows by W vectors; R and W are constants at every call, so that the sums stay in registers. So is ars where it is
 * 1; else three rows share a pointer, as many as one stride reaches. */
static inline __attribute__((always_inline)) void rows(const panel *p, int R, int W, int64_t ars) {
    vec sum[MR][2];
    for (int r = 0; r < R; r++)
        for (int w = 0; w < W; w++) sum[r][w] = p->from ? *(const vec *)(p->from + r * p->ldf + w * VEC) : (vec){0};
    const float *a[MR / 3 + 1], *b = p->b;
    for (int r = 0; r < R; r += 3) a[r / 3] = p->a + r * ars;
    for (int64_t i = 0; i < p->k; i++, b += p->ldb) {
        vec b0 = *(const vec *)b, b1 = W > 1 ? *(const vec *)(b + VEC) : (vec){0};
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            float x = a[r / 3][r % 3 * ars];
            sum[r][0] += x * b0;
            if (W > 1) sum[r][1] += x * b1;
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; r += 3) a[r / 3] += p->acs;
    }
    for (int r = 0; r < R; r++)
        for (int w = 0; w < W; w++) *(vec *)(p->c + r * p->ldc + w * VEC) = sum[r][w];
}

static inline void down(panel *p, int64_t rows) {
    p->c += rows * p->ldc;
    if (p->from) p->from += rows * p->ldf;
}

static inline __attribute__((always_inline)) void all_rows_by(panel p, int64_t m, int W, int64_t ars) {
    int64_t i = 0;
    for (; i + MR <= m; i += MR, p.a += MR * ars, down(&p, MR)) rows(&p, MR, W, ars);
    for (; i + 4 <= m; i += 4, p.a += 4 * ars, down(&p, 4)) rows(&p, 4, W, ars);
    for (; i + 2 <= m; i += 2, p.a += 2 * ars, down(&p, 2)) rows(&p, 2, W, ars);
    for (; i < m; i++, p.a += ars, down(&p, 1)) rows(&p, 1, W, ars);
}

static inline __attribute__((always_inline)) void all_rows(panel p, int64_t m, int W) {
    if (p.ars == 1) all_rows_by(p, m, W, 1);
    else all_rows_by(p, m, W, p.ars);
}

/* Fewer columns than a panel has: C passes through a copy. */
static void last_columns(panel p, int64_t m, int64_t n, int W) {
    float sums[MR * NR];
    panel q = p;
    q.c = sums, q.ldc = W * VEC;
    for (int64_t i = 0; i < m; i += MR, q.a += MR * p.ars, down(&p, MR)) {
        int64_t count = m - i < MR ? m - i : MR;
        if (p.from) q.from = sums, q.ldf = q.ldc;
        for (int64_t r = 0; p.from && r < count; r++)
            memcpy(sums + r * q.ldc, p.from + r * p.ldf, (size_t)n * sizeof *sums);
        if (W > 1) all_rows(q, count, 2);
        else all_rows(q, count, 1);
        for (int64_t r = 0; r < count; r++) memcpy(p.c + r * p.ldc, sums + r * q.ldc, (size_t)n * sizeof *sums);
    }
}

/* Fewer columns than a vector: B passes through a padded copy too. */
static void narrow(panel p, int64_t m, int64_t n) {
    float b[KMAX * VEC];
    panel q = p;
    q.b = b, q.ldb = VEC;
    for (int64_t start = 0; start < p.k || start == 0; start += KMAX) {
        q.k = p.k - start < KMAX ? p.k - start : KMAX;
        memset(b, 0, (size_t)(q.k * VEC) * sizeof *b);
        for (int64_t i = 0; i < q.k; i++) memcpy(b + i * VEC, p.b + (start + i) * p.ldb, (size_t)n * sizeof *b);
        q.a = p.a + start * p.acs;
        last_columns(q, m, n, 1);
        q.from = p.c, q.ldf = p.ldc;
    }
}

static void tile(int64_t m, int64_t n, int64_t k, const float *a, int64_t ars, int64_t acs, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add) {
    panel p = {.k = k, .ars = ars, .acs = acs, .ldb = ldb, .ldc = ldc, .a = a, .b = b, .c = c, .ldf = ldc};
    int64_t j = 0;
    for (; j + NR <= n; j += NR, p.b += NR, p.c += NR) p.from = add ? p.c : NULL, all_rows(p, m, 2);
    for (; j + VEC <= n; j += VEC, p.b += VEC, p.c += VEC) p.from = add ? p.c : NULL, all_rows(p, m, 1);
    p.from = add ? p.c : NULL;
    if (j < n) narrow(p, m, n - j);
}

static void block(const gemm_block *b) {
    panel p = {.k = b->k, .ars = b->ars, .acs = b->acs, .ldb = NR, .a = b->a, .b = b->b};
    p.ldc = b->ldc, p.ldf = b->ldf;
    for (int64_t j = 0; j < b->n; j += NR, p.b += b->b_next) {
        p.c = b->c + j, p.from = b->from ? b->from + j : NULL;
        if (j + NR <= b->n) all_rows(p, b->m, 2);
        else last_columns(p, b->m, b->n - j, b->n - j > VEC ? 2 : 1);
    }
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

static inline vec load(const float *p, int64_t n) {
    vec v = {0};
    if (n >= VEC) return *(const vec *)p;
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void store(float *p, vec v, int64_t n) {
    if (n >= VEC) *(vec *)p = v;
    else memcpy(p, &v, (size_t)n * sizeof *p);
}

/* A square of vectors, of which `rows_` x `cols` are there: halves are interleaved as often as a row can be halved. */
static inline __attribute__((always_inline)) void turn_square(int64_t rows_, int64_t cols, const float *from,
                                                              int64_t ldf, float *to, int64_t ldt) {
    vec x[VEC], y[VEC];
    for (int i = 0; i < VEC; i++) x[i] = i < rows_ ? load(from + i * ldf, cols) : (vec){0};
    for (int step = 1; step < VEC; step *= 2) {
        for (int i = 0; i < VEC / 2; i++) {
            y[2 * i] = __builtin_shufflevector(x[i], x[i + VEC / 2], LOW);
            y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + VEC / 2], HIGH);
        }
        memcpy(x, y, sizeof x);
    }
    for (int i = 0; i < VEC && i < cols; i++) store(to + i * ldt, x[i], rows_);
}

static void transpose(int64_t rows_, int64_t cols, const float *from, int64_t ldf, float *to, int64_t ldt) {
    for (int64_t j = 0; j < cols; j += VEC)
        for (int64_t i = 0; i < rows_; i += VEC) {
            int64_t r = rows_ - i, s = cols - j;
            if (r >= VEC && s >= VEC) turn_square(VEC, VEC, from + i * ldf + j, ldf, to + j * ldt + i, ldt);
            else turn_square(r, s, from + i * ldf + j, ldf, to + j * ldt + i, ldt);
        }
}

/* Panels of NR columns, k floats of each; columns that are not there are 0. */
static void pack(int64_t n, int64_t k, const float *from, int64_t lane, int64_t step, float *to) {
    int64_t whole = n / NR, rest = n % NR, next = NR * k;
    float *last = to + whole * next;
    if (rest) memset(last, 0, (size_t)next * sizeof *to);
    if (lane > 1) {
        for (int64_t j = 0; j < whole; j++) transpose(NR, k, from + j * NR * lane, lane, to + j * next, NR);
        if (rest) transpose(rest, k, from + whole * NR * lane, lane, last, NR);
        return;
    }
    for (int64_t p = 0; p < k; p++, from += step, to += NR, last += NR) {
        for (int64_t j = 0; j < whole; j++) memcpy(to + j * next, from + j * NR, NR * sizeof *to);
        if (rest) memcpy(last, from + whole * NR, (size_t)rest * sizeof *to);
    }
}

const gemm_kernels ISA_TABLE(gemm_kernel_table) = {tile, transpose, {block, pack, NR, 1, 2}};
