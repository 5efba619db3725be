/* tensor/gemm.h - matrix products C (+)= op(A) op(B), batched, f32 or with inputs rounded to bf16.
 *
 * Own kernels do what they are fastest at: with AMX nearly all, where f32 goes through whole numbers
 * (isa/gemm_digits.c: as exact by the norms of row and column; from 2^122 on numbers count as infinite). The rest is
 * oneDNN's where it is built in and all of the machine's instruction sets are allowed. Results of own kernels do not
 * depend on the number of threads. Call from the compute thread (it parallelizes). */
#ifndef TENSOR_GEMM_H
#define TENSOR_GEMM_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct gemm {
    int64_t m, n, k; /* C is m x n, the sum runs over k; any may be 0 */
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc;     /* floats from row to row, as stored */
    bool ta, tb;               /* A is stored k x m, B is stored n x k */
    bool add;                  /* C += instead of C = */
    const float *bias;         /* n, added to every row; NULL: none */
    int64_t batch;             /* that many products; 0 counts as 1 */
    int64_t sa, sb, sc;        /* floats from one matrix of the batch to the next; sa or sb may be 0 */
    bool bf16;                 /* may round A and B to bf16 (sums stay f32) */
    const uint16_t *a16, *b16; /* A, B in bf16, same layout, where the caller has them; NULL: converted in scratch */
} gemm;

void gemm_run(const gemm *g, arena *scratch);
void gemm_own(const gemm *g, arena *scratch); /* never oneDNN; bf16 where tiles of AMX multiply */

/* A block of C from panels of packed B: C = from + A B, or A B where `from` is NULL. */
typedef struct gemm_block {
    int64_t m, n, k;
    const float *a;
    int64_t ars, acs; /* A(i,p) = a[i * ars + p * acs]; one of them is 1 */
    const float *b;
    int64_t b_next; /* from one panel of `cols` columns to the next */
    const float *from;
    float *c;
    int64_t ldf, ldc; /* ldf 0: one row for all */
} gemm_block;

/* A way to copy B into panels and to multiply with it, on the calling thread. */
typedef struct panel_kernels {
    void (*block)(const gemm_block *b);
    /* n columns, k rows of B: from[lane * lane_step + p * step], one of the steps is 1; columns beyond n are 0 */
    void (*pack)(int64_t n, int64_t k, const float *from, int64_t lane_step, int64_t step, float *to);
    int cols;   /* of a panel */
    int depth;  /* the rows of a panel are a multiple of it, zeros beyond k */
    int halves; /* 16-bit numbers that hold a value */
} panel_kernels;
const panel_kernels *gemm_digit_tiles(void); /* f32 in tiles of AMX; NULL where there is none */
/* In tiles of AMX, f32 or with factors rounded to bf16; NULL: there are none, or whole products of this size are faster
 * otherwise. */
const panel_kernels *gemm_amx_tiles(int64_t m, int64_t n, int64_t k, bool bf16);

/* On the calling thread. */
typedef struct gemm_kernels {
    /* C[m x n] (+)= A B, for small matrices: A(i,p) = a[i * ars + p * acs], B(p,j) = b[p * ldb + j] */
    void (*tile)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ars, int64_t acs, const float *b, int64_t ldb,
                 float *c, int64_t ldc, bool add);
    /* to[j][i] = from[i][j], rows x cols */
    void (*transpose)(int64_t rows, int64_t cols, const float *from, int64_t ldf, float *to, int64_t ldt);
    panel_kernels panels;
} gemm_kernels;
const gemm_kernels *gemm_tiles(void);

#endif
