/* tensor/panels.c - blocks of packed rows, one after the other. */
#include "tensor/panels.h"

#include "tensor/gemm.h"

#include <assert.h>

enum { LEAST = 64, ENOUGH = 1 << 14 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t whole(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* Where few numbers meet each other, cutting them into digits takes longer than it saves. */
static const panel_kernels *kernels_for(int64_t k, int64_t n) {
    bool worth = gemm_digit_tiles() && k >= LEAST && n >= LEAST && k * n >= ENOUGH;
    return worth ? gemm_digit_tiles() : &gemm_tiles()->panels;
}

panels panels_of(int64_t k, int64_t n, float *data) { return (panels){kernels_for(k, n), k, n, data}; }

int64_t panels_floats_by(const panel_kernels *kernels, int64_t k, int64_t n) {
    return whole(k, kernels->depth) * whole(n, kernels->cols) * kernels->halves / 2;
}

int64_t panels_floats(int64_t k, int64_t n) { return panels_floats_by(kernels_for(k, n), k, n); }

void panels_pack(const panels *p, int64_t first, int64_t last, const float *b, int64_t ldb, bool transposed) {
    assert(first % PANEL_ROWS == 0);
    int64_t lane = transposed ? ldb : 1, step = transposed ? 1 : ldb;
    for (int64_t i = first; i < last; i += PANEL_ROWS) {
        int64_t k = least(PANEL_ROWS, p->k - i);
        p->kernels->pack(p->n, k, b + i * step, lane, step, p->data + panels_floats_by(p->kernels, i, p->n));
    }
}

void panels_multiply(const panels *p, int64_t k0, int64_t k1, int64_t n0, int64_t n1, panel_product x) {
    assert(k0 % PANEL_ROWS == 0 && n0 % p->kernels->cols == 0 && (k1 % PANEL_ROWS == 0 || k1 == p->k));
    gemm_block b = {
        .m = x.m, .n = n1 - n0, .ars = x.ars, .acs = x.acs, .from = x.from, .ldf = x.ldf, .c = x.c, .ldc = x.ldc};
    int64_t k = k0;
    do { /* even when there is no row: C is then what it begins with */
        b.k = least(PANEL_ROWS, k1 - k);
        b.a = x.a + (k - k0) * x.acs;
        b.b = p->data + panels_floats_by(p->kernels, k, p->n) + panels_floats_by(p->kernels, b.k, n0);
        b.b_next = panels_floats_by(p->kernels, b.k, p->kernels->cols);
        p->kernels->block(&b);
        b.from = x.c, b.ldf = x.ldc;
        k += PANEL_ROWS;
    } while (k < k1);
}
