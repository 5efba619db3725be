/* tensor/gemm_own.c - the own product, blocked as by Goto and van de Geijn (Anatomy of high-performance matrix
 * multiplication, 2008).
 *
 * B is copied into panels, which all workers share; C is cut into tiles, one worker computes a tile whole. A is read
 * where it lies; where it is transposed and kernels want it in rows, a worker straightens the rows of its tile. Long
 * sums are done a span at a time, so that the panels of a span are still in the cache when they are used. No cut
 * depends on the number of threads, so neither does the result. */
#include "base/parallel.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

#include <assert.h>

/* ROW: of a straightened block; not a power of two, or rows would push each other out of L1 */
enum { TILE_M = 96, AMX_TILE_M = 64, TILE_N = 256, SPAN = 4 * PANEL_ROWS, ROW = PANEL_ROWS + 16 };

typedef struct own {
    const gemm *g;
    int64_t tile_m, tiles_m, tile_n, tiles_n, copies; /* copies: of B, 1 where the batch shares it */
    int64_t copy;                                     /* floats */
    panels b;                                         /* of the first copy */
    float *a;                                         /* straightened rows of a tile, per worker; NULL: read in place */
} own;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

static void *space(arena *scratch, int64_t floats) {
    void *p = arena_alloc(scratch, (size_t)floats * sizeof(float));
    assert(p && "scratch arena is full");
    return p;
}

static panels copy_of(const own *o, int64_t batch) {
    panels p = o->b;
    p.data += batch % o->copies * o->copy;
    return p;
}

static void pack_blocks(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const own *o = user;
    int64_t blocks = pieces(o->g->k, PANEL_ROWS);
    for (int64_t i = begin; i < end; i++) {
        panels p = copy_of(o, i / blocks);
        int64_t row = i % blocks * PANEL_ROWS;
        panels_pack(&p, row, row + 1, o->g->b + i / blocks * o->g->sb, o->g->ldb, o->g->tb);
    }
}
/* A's rows lie as columns: they are turned block by block. */
static void multiply_straightened(const gemm *g, const panels *p, int64_t n0, int64_t n1, panel_product t,
                                  float *rows) {
    const float *a = t.a;
    t.a = rows, t.ars = ROW, t.acs = 1;
    int64_t k = 0;
    do {
        int64_t last = least(g->k, k + PANEL_ROWS);
        gemm_tiles()->transpose(last - k, t.m, a + k * g->lda, g->lda, rows, ROW);
        panels_multiply(p, k, last, n0, n1, t);
        t.from = t.c, t.ldf = t.ldc;
        k += PANEL_ROWS;
    } while (k < g->k);
}

static void multiply_tile(const own *o, int64_t index, float *rows) {
    const gemm *g = o->g;
    int64_t batch = index / (o->tiles_m * o->tiles_n), at = index % (o->tiles_m * o->tiles_n);
    int64_t i = at / o->tiles_n * o->tile_m, j = at % o->tiles_n * o->tile_n;
    panels p = copy_of(o, batch);
    panel_product t = {.m = least(o->tile_m, g->m - i), .ldc = g->ldc};
    t.ars = g->ta ? 1 : g->lda, t.acs = g->ta ? g->lda : 1;
    t.a = g->a + batch * g->sa + (g->ta ? i : i * g->lda);
    t.c = g->c + batch * g->sc + i * g->ldc + j;
    if (g->add) t.from = t.c, t.ldf = t.ldc;
    if (g->bias) t.from = g->bias + j, t.ldf = 0;
    int64_t n = least(o->tile_n, g->n - j);
    if (rows) multiply_straightened(g, &p, j, j + n, t, rows);
    else panels_multiply(&p, 0, g->k, j, j + n, t);
}

static void multiply_tiles(void *user, int64_t begin, int64_t end, int worker) {
    const own *o = user;
    for (int64_t i = begin; i < end; i++) multiply_tile(o, i, o->a ? o->a + worker * TILE_M * ROW : NULL);
}

/* All of the inner dimension at once; `tiles`: of AMX, NULL: in f32. */
static void multiply_span(const gemm *g, const panel_kernels *tiles, arena *scratch) {
    int64_t batch = g->batch ? g->batch : 1;
    size_t mark = arena_mark(scratch);
    own o = {.g = g, .copies = g->sb ? batch : 1, .b = {.kernels = &gemm_tiles()->panels, .k = g->k, .n = g->n}};
    if (tiles) o.b.kernels = tiles;
    o.copy = panels_floats_by(o.b.kernels, g->k, g->n), o.b.data = space(scratch, o.copies * o.copy);
    /* rows are made tiles anew for each tile_n columns */
    o.tile_m = tiles ? AMX_TILE_M : TILE_M, o.tile_n = tiles && g->m >= 8 * AMX_TILE_M ? 4 * TILE_N : TILE_N;
    o.tiles_m = pieces(g->m, o.tile_m), o.tiles_n = pieces(g->n, o.tile_n);
    if (g->ta && !tiles) o.a = space(scratch, parallel_threads() * TILE_M * ROW);
    /* below some thousand multiplications waking threads costs more than it saves */
    int64_t blocks = o.copies * pieces(g->k, PANEL_ROWS), all = batch * o.tiles_m * o.tiles_n;
    bool small = (double)batch * (double)g->m * (double)g->n * (double)g->k < 1 << 18;
    parallel_for(blocks, small ? blocks : 1, pack_blocks, &o);
    parallel_for(all, small ? all : 1, multiply_tiles, &o);
    arena_release(scratch, mark);
}

void gemm_own(const gemm *g, arena *scratch) {
    assert(!(g->add && g->bias));
    if (g->m == 0 || g->n == 0) return;
    const panel_kernels *tiles = gemm_amx_tiles(g->m, g->n, g->k, g->bf16);
    gemm span = *g;
    for (int64_t left = g->k; left > 0 || left == g->k; left -= SPAN) {
        span.k = least(SPAN, left);
        multiply_span(&span, tiles, scratch);
        span.a += SPAN * (g->ta ? g->lda : 1), span.b += SPAN * (g->tb ? 1 : g->ldb);
        span.add = true, span.bias = NULL;
    }
}
