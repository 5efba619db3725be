/* bench/products.c - whole matrix products by who does them: products [SECONDS].
 *
 * The products of a transformer's training step; the ways take turns, so a machine that slows down slows all of them.
 * GFLOP/s of all threads, best and median, and the error against sums in double relative to the norm. */
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"
#include "tensor/dnnl.h"
#include "tensor/gemm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 256, ROWS_JUDGED = 16 };

typedef struct way {
    const char *name;
    isa_level level;
    bool onednn, bf16;
} way;

static const way ways[] = {{"oneDNN f32", ISA_AMX, true, false},
                           {"vectors f32", ISA_AVX512, false, false},
                           {"digits f32", ISA_AMX, false, false},
                           {"oneDNN bf16", ISA_AMX, true, true},
                           {"tiles bf16", ISA_AMX, false, true}};
enum { WAYS = sizeof ways / sizeof *ways };

static bool multiply(const way *w, gemm g, arena *scratch) {
    g.bf16 = w->bf16;
    isa_force(w->level);
    if (w->onednn) return onednn_usable() && onednn_gemm(&g, scratch);
    gemm_own(&g, scratch);
    return true;
}

static double error_of(const gemm *g) {
    double error = 0, norm = 0;
    for (int64_t i = 0; i < ROWS_JUDGED; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0;
            for (int64_t p = 0; p < g->k; p++)
                sum += (double)g->a[g->ta ? p * g->lda + i : i * g->lda + p] *
                       g->b[g->tb ? j * g->ldb + p : p * g->ldb + j];
            double off = g->c[i * g->ldc + j] - sum;
            error += off * off, norm += sum * sum;
        }
    return sqrt(error / norm);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(const char *name, gemm g, double seconds, arena *scratch) {
    static double took[WAYS][ROUNDS];
    double error[WAYS], flops = 2.0 * (double)g.m * (double)g.n * (double)g.k * 1e-9;
    bool able[WAYS];
    for (int w = 0; w < WAYS; w++) able[w] = multiply(&ways[w], g, scratch), error[w] = able[w] ? error_of(&g) : 0;
    int rounds = 0;
    for (double end = clock_seconds() + seconds; rounds < ROUNDS && (rounds < 3 || clock_seconds() < end); rounds++)
        for (int w = 0; w < WAYS; w++) {
            double begin = clock_seconds();
            if (able[w]) multiply(&ways[w], g, scratch);
            took[w][rounds] = clock_seconds() - begin;
        }
    printf("%s: %lld x %lld, sums of %lld\n", name, (long long)g.m, (long long)g.n, (long long)g.k);
    for (int w = 0; w < WAYS; w++) {
        if (!able[w]) continue;
        qsort(took[w], (size_t)rounds, sizeof **took, ascending);
        printf("  %-12s %7.0f  %7.0f   %.1e\n", ways[w].name, flops / took[w][0], flops / took[w][rounds / 2],
               error[w]);
    }
    fflush(stdout);
}

static float *values(rng *r, int64_t n) {
    float *x = memory_aligned((size_t)n * sizeof *x);
    if (!x) exit(1);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_normal(r);
    return x;
}

int main(int argc, char **argv) {
    static const int64_t sizes[][3] = {{8192, 256, 256}, {8192, 768, 256}, {2048, 1536, 512}, {6272, 128, 128}};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    arena scratch;
    rng r = rng_new(1, 1);
    if (isa_detected() < ISA_AMX) fprintf(stderr, "no AMX here: its rows are what takes its place\n");
    if (arena_open(&scratch, (size_t)1 << 32)) return 1;
    printf("%d threads; GFLOP/s best, median; error\n", parallel_threads());
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t rows = sizes[i][0], out = sizes[i][1], in = sizes[i][2];
        float *x = values(&r, rows * in), *w = values(&r, out * in), *y = values(&r, rows * out);
        bench(
            "outputs",
            (gemm){.m = rows, .n = out, .k = in, .a = x, .lda = in, .b = w, .ldb = in, .tb = true, .c = y, .ldc = out},
            seconds, &scratch);
        bench("gradient of inputs",
              (gemm){.m = rows, .n = in, .k = out, .a = y, .lda = out, .b = w, .ldb = in, .c = x, .ldc = in}, seconds,
              &scratch);
        bench(
            "gradient of weights",
            (gemm){.m = out, .n = in, .k = rows, .a = y, .lda = out, .ta = true, .b = x, .ldb = in, .c = w, .ldc = in},
            seconds, &scratch);
        memory_free(x), memory_free(w), memory_free(y);
    }
    arena_close(&scratch);
    return 0;
}
