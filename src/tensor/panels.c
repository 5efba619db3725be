/* tensor/panels.c - blocks of packed rows, one after the other. */
#include "tensor/panels.h"

#include "tensor/gemm.h"

#include <assert.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t whole_columns(int64_t n) {
    int64_t cols = gemm_tiles()->cols;
    return (n + cols - 1) / cols * cols;
}

int64_t panels_floats(int64_t k, int64_t n) { return k * whole_columns(n); }

void panels_pack(const panels *p, int64_t first, int64_t last, const float *b, int64_t ldb, bool transposed) {
    assert(first % PANEL_ROWS == 0);
    int64_t lane = transposed ? ldb : 1, step = transposed ? 1 : ldb;
    for (int64_t i = first; i < last; i += PANEL_ROWS) {
        int64_t k = least(PANEL_ROWS, p->k - i);
        gemm_tiles()->pack_b(p->n, k, b + i * step, lane, step, p->data + i * whole_columns(p->n));
    }
}

void panels_multiply(const panels *p, int64_t k0, int64_t k1, int64_t n0, int64_t n1, panel_product x) {
    const gemm_kernels *kernels = gemm_tiles();
    assert(k0 % PANEL_ROWS == 0 && n0 % kernels->cols == 0);
    gemm_block b = {
        .m = x.m, .n = n1 - n0, .ars = x.ars, .acs = x.acs, .from = x.from, .ldf = x.ldf, .c = x.c, .ldc = x.ldc};
    b.a_next = kernels->rows * x.ars;
    int64_t k = k0;
    do { /* even when there is no row: C is then what it begins with */
        int64_t block = least(PANEL_ROWS, p->k - k);
        b.k = least(block, k1 - k);
        b.a = x.a + (k - k0) * x.acs;
        b.b = p->data + k * whole_columns(p->n) + n0 * block, b.b_next = kernels->cols * block;
        kernels->block(&b);
        b.from = x.c, b.ldf = x.ldc;
        k += PANEL_ROWS;
    } while (k < k1);
}
