/* tensor/gemm.c - choosing who multiplies. */
#include "tensor/gemm.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "tensor/dnnl.h"

#include <assert.h>
#include <string.h>

ISA_DECLARE(gemm_kernels, gemm_kernel_table);
ISA_DECLARE(panel_kernels, gemm_amx_table);
ISA_DECLARE(panel_kernels, gemm_digits_table);

const gemm_kernels *gemm_tiles(void) { return ISA_SELECT(gemm_kernel_table); }
const panel_kernels *gemm_digit_tiles(void) { return isa_active() < ISA_AMX ? NULL : ISA_SELECT(gemm_digits_table); }
const panel_kernels *gemm_amx_tiles(int64_t m, int64_t n, int64_t k, bool bf16) {
    /* fewer leave tiles half empty; numbers are cut into digits in the time of their products with some ten others */
    int64_t enough = bf16 ? 32 : 128;
    if (isa_active() < ISA_AMX || m < enough || n < enough || k < enough) return NULL;
    return bf16 ? ISA_SELECT(gemm_amx_table) : gemm_digit_tiles();
}

enum { SMALL = 16 * 1024 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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
    /* oneDNN cuts a product in as many pieces as there are threads: where one thread is held up, all wait. Narrow ones
     * and long sums it still does faster than we do */
    bool ours = small || gemm_amx_tiles(g->m, g->n, g->k, g->bf16) ||
                (!g->bf16 && !g->ta && g->m >= 256 && g->n >= 128 && g->k >= 128);
    if (!ours && onednn_usable() && onednn_gemm(g, scratch)) return;
    gemm_own(g, scratch);
}
