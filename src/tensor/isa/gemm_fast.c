/* tensor/isa/gemm_fast.c - the product of two small matrices in registers.
 *
 * MR rows of two vectors are accumulated at a time: 12 x 32 floats with AVX-512, 6 x 16 with AVX2, 4 x 8 with SSE. A is
 * read through two strides (so a transposed A costs nothing), B must have contiguous rows. B's panel of two vectors
 * stays in L1 while A streams. */
#include "base/isa.h"
#include "tensor/gemm.h"

#include <string.h>

#if PITH_ISA_LEVEL == 2
enum { VEC = 16, MR = 12 };
#elif PITH_ISA_LEVEL == 1
enum { VEC = 8, MR = 6 };
#else
enum { VEC = 4, MR = 4 };
#endif
enum { NR = 2 * VEC, KMAX = 512 };

typedef float vec __attribute__((vector_size(VEC * sizeof(float)), aligned(4), may_alias));

typedef struct panel {
    int64_t k, ars, acs, ldb, ldc;
    const float *a, *b;
    float *c;
    bool add;
} panel;

/* R rows by W vectors; R and W are constants at every call, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void rows(const panel *p, int R, int W) {
    vec sum[MR][2];
    for (int r = 0; r < R; r++)
        for (int w = 0; w < W; w++) sum[r][w] = p->add ? *(const vec *)(p->c + r * p->ldc + w * VEC) : (vec){0};
    const float *a = p->a, *b = p->b;
    for (int64_t i = 0; i < p->k; i++, a += p->acs, b += p->ldb) {
        vec b0 = *(const vec *)b, b1 = W > 1 ? *(const vec *)(b + VEC) : (vec){0};
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            float x = a[r * p->ars];
            sum[r][0] += x * b0;
            if (W > 1) sum[r][1] += x * b1;
        }
    }
    for (int r = 0; r < R; r++)
        for (int w = 0; w < W; w++) *(vec *)(p->c + r * p->ldc + w * VEC) = sum[r][w];
}

static inline __attribute__((always_inline)) void all_rows(panel p, int64_t m, int W) {
    int64_t i = 0;
    for (; i + MR <= m; i += MR, p.a += MR * p.ars, p.c += MR * p.ldc) rows(&p, MR, W);
    for (; i + 4 <= m; i += 4, p.a += 4 * p.ars, p.c += 4 * p.ldc) rows(&p, 4, W);
    for (; i + 2 <= m; i += 2, p.a += 2 * p.ars, p.c += 2 * p.ldc) rows(&p, 2, W);
    for (; i < m; i++, p.a += p.ars, p.c += p.ldc) rows(&p, 1, W);
}

/* Fewer columns than a vector: B and C pass through padded copies. */
static void narrow(panel p, int64_t m, int64_t n) {
    float b[KMAX * VEC], c[MR * VEC];
    for (int64_t start = 0; start < p.k || start == 0; start += KMAX) {
        int64_t k = p.k - start < KMAX ? p.k - start : KMAX;
        memset(b, 0, (size_t)k * VEC * sizeof *b);
        for (int64_t i = 0; i < k; i++) memcpy(b + i * VEC, p.b + (start + i) * p.ldb, (size_t)n * sizeof *b);
        for (int64_t i = 0; i < m; i += MR) {
            int64_t count = m - i < MR ? m - i : MR;
            panel q = {.k = k,
                       .ars = p.ars,
                       .acs = p.acs,
                       .ldb = VEC,
                       .ldc = VEC,
                       .b = b,
                       .c = c,
                       .a = p.a + i * p.ars + start * p.acs};
            all_rows(q, count, 1);
            for (int64_t r = 0; r < count; r++)
                for (int64_t j = 0; j < n; j++) {
                    float *to = p.c + (i + r) * p.ldc + j;
                    *to = (p.add || start ? *to : 0) + c[r * VEC + j];
                }
        }
    }
}

static void tile(int64_t m, int64_t n, int64_t k, const float *a, int64_t ars, int64_t acs, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add) {
    panel p = {.k = k, .ars = ars, .acs = acs, .ldb = ldb, .ldc = ldc, .a = a, .b = b, .c = c, .add = add};
    int64_t j = 0;
    for (; j + NR <= n; j += NR, p.b += NR, p.c += NR) all_rows(p, m, 2);
    for (; j + VEC <= n; j += VEC, p.b += VEC, p.c += VEC) all_rows(p, m, 1);
    if (j < n) narrow(p, m, n - j);
}

static void transpose(int64_t rows_, int64_t cols, const float *from, int64_t ldf, float *to, int64_t ldt) {
    enum { SIDE = 16 };
    for (int64_t i = 0; i < rows_; i += SIDE)
        for (int64_t j = 0; j < cols; j += SIDE) {
            int64_t r = rows_ - i < SIDE ? rows_ - i : SIDE, s = cols - j < SIDE ? cols - j : SIDE;
            for (int64_t y = 0; y < s; y++)
                for (int64_t x = 0; x < r; x++) to[(j + y) * ldt + i + x] = from[(i + x) * ldf + j + y];
        }
}

const gemm_kernels ISA_TABLE(gemm_kernel_table) = {tile, transpose};
