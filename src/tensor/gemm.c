/* tensor/gemm.c - choosing who multiplies, and the own blocked product.
 *
 * Own product: C is cut into tiles, one worker computes a tile whole, in blocks of the inner dimension; a transposed B
 * is copied straight block by block. The cut does not depend on the number of threads, so neither does the result. */
#include "tensor/gemm.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "tensor/dnnl.h"

#include <assert.h>
#include <string.h>

ISA_DECLARE(gemm_kernels, gemm_kernel_table);
const gemm_kernels *gemm_tiles(void) { return ISA_SELECT(gemm_kernel_table); }

enum { TILE_M = 96, TILE_N = 128, TILE_K = 256, SMALL = 16 * 1024 };

typedef struct own {
    const gemm *g;
    const gemm_kernels *kernels;
    int64_t tiles_m, tiles_n;
    float *copies; /* TILE_K x TILE_N per worker, where B is transposed */
} own;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void start_tile(const gemm *g, float *c, int64_t m, int64_t n, int64_t column) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            c[i * g->ldc + j] = (g->add ? c[i * g->ldc + j] : 0) + (g->bias ? g->bias[column + j] : 0);
}

static void own_tile(const own *o, int64_t index, float *copy) {
    const gemm *g = o->g;
    int64_t batch = index / (o->tiles_m * o->tiles_n), at = index % (o->tiles_m * o->tiles_n);
    int64_t i = at / o->tiles_n * TILE_M, j = at % o->tiles_n * TILE_N;
    int64_t m = least(TILE_M, g->m - i), n = least(TILE_N, g->n - j);
    const float *a = g->a + batch * g->sa + (g->ta ? i : i * g->lda);
    const float *b = g->b + batch * g->sb + (g->tb ? j * g->ldb : j);
    float *c = g->c + batch * g->sc + i * g->ldc + j;
    bool add = g->add || g->bias || g->k == 0;
    if (g->bias || g->k == 0) start_tile(g, c, m, n, j);
    for (int64_t p = 0; p < g->k; p += TILE_K, add = true) {
        int64_t k = least(TILE_K, g->k - p), ldb = g->ldb;
        const float *block = b + (g->tb ? p : p * ldb);
        if (g->tb) {
            o->kernels->transpose(n, k, block, ldb, copy, TILE_N);
            block = copy, ldb = TILE_N;
        }
        o->kernels->tile(m, n, k, a + (g->ta ? p * g->lda : p), g->ta ? 1 : g->lda, g->ta ? g->lda : 1, block, ldb, c,
                         g->ldc, add);
    }
}

static void own_tiles(void *user, int64_t begin, int64_t end, int worker) {
    const own *o = user;
    for (int64_t i = begin; i < end; i++)
        own_tile(o, i, o->copies ? o->copies + (size_t)worker * TILE_K * TILE_N : NULL);
}

void gemm_own(const gemm *g, arena *scratch) {
    own o = {.g = g, .kernels = gemm_tiles()};
    o.tiles_m = (g->m + TILE_M - 1) / TILE_M, o.tiles_n = (g->n + TILE_N - 1) / TILE_N;
    int64_t batch = g->batch ? g->batch : 1, count = batch * o.tiles_m * o.tiles_n;
    size_t mark = arena_mark(scratch);
    if (g->tb && g->k) {
        o.copies = arena_alloc(scratch, (size_t)parallel_threads() * TILE_K * TILE_N * sizeof(float));
        assert(o.copies && "scratch arena is full");
    }
    /* below some thousand multiplications waking threads costs more than it saves */
    bool small = (double)batch * (double)g->m * (double)g->n * (double)g->k < 1 << 18;
    parallel_for(count, small ? count : 1, own_tiles, &o);
    arena_release(scratch, mark);
}

/* --- long sums into a thin C (gradients of weights of few inputs), where oneDNN is slow --------------------------- */

enum { THIN = 16, PARTS = 16, STRETCH = 256 };

/* C^T = B^T A, whose rows are long enough for vectors. Each part of the inner dimension is summed apart, the parts then
 * in order. */
typedef struct thin {
    const gemm *g;
    int64_t length; /* of a part */
    float *sums;    /* n x m for each part */
} thin;

static bool is_thin(const gemm *g) {
    return g->ta && !g->tb && !g->bias && g->batch <= 1 && g->n < THIN && g->m >= THIN && g->k >= PARTS * STRETCH;
}

static void sum_parts(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const thin *t = user;
    const gemm *g = t->g;
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i * t->length, last = least(g->k, first + t->length);
        for (int64_t k = first; k < last; k += STRETCH)
            gemm_tiles()->tile(g->n, g->m, least(STRETCH, last - k), g->b + k * g->ldb, 1, g->ldb, g->a + k * g->lda,
                               g->lda, t->sums + i * g->m * g->n, g->m, k > first);
    }
}

static void gemm_thin(const gemm *g, arena *scratch) {
    size_t mark = arena_mark(scratch);
    thin t = {.g = g, .length = ((g->k + PARTS - 1) / PARTS + STRETCH - 1) / STRETCH * STRETCH};
    int64_t count = (g->k + t.length - 1) / t.length;
    t.sums = arena_alloc(scratch, (size_t)(count * g->m * g->n) * sizeof(float));
    assert(t.sums && "scratch arena is full");
    parallel_for(count, 1, sum_parts, &t);
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            float *c = g->c + i * g->ldc + j, sum = g->add ? *c : 0;
            for (int64_t k = 0; k < count; k++) sum += t.sums[(k * g->n + j) * g->m + i];
            *c = sum;
        }
    arena_release(scratch, mark);
}

void gemm_run(const gemm *g, arena *scratch) {
    if (g->m == 0 || g->n == 0) return;
    if (is_thin(g)) {
        gemm_thin(g, scratch);
        return;
    }
    int64_t batch = g->batch ? g->batch : 1;
    bool small = (double)batch * (double)g->m * (double)g->n * (double)g->k < SMALL;
    if (!small && onednn_usable() && onednn_gemm(g, scratch)) return;
    gemm_own(g, scratch);
}
