/* bench/mul_kernels.c - speed of matrix products by format and instruction set: mul_kernels [TYPE [ISA]].
 *
 * One row of inputs over a matrix larger than the caches (GB/s of the file's bytes, all threads), over one that stays
 * in the caches of a core (GB/s a thread: what unpacking alone allows), and 512 rows (GOP/s a thread). */
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "model/linear.h"
#include "quant/activation.h"
#include "quant/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double best(const linear *l, const float *x, int64_t n, float *y, void *scratch, double seconds) {
    double low = 1e9, end = clock_seconds() + seconds;
    while (clock_seconds() < end) {
        double begin = clock_seconds();
        linear_apply(&l, 1, x, n, &y, scratch);
        double took = clock_seconds() - begin;
        low = took < low ? took : low;
    }
    return low;
}

static void bench(const pith_format *format, isa_level level) {
    enum { COLS = 1024, ROWS = 98304, FEW = 4096, CACHED = 256, TOKENS = 512 };
    isa_force(level);
    pith_error err = {0};
    rng random = rng_new(1, 2);
    linear l = {0}, few, cached;
    if (quant_random(format, ROWS, COLS, 0.02f, &random, &l.w, &err) != PITH_OK) exit(1);
    if (format->prepare && format->prepare(&l.w, &l.fast, &err) != PITH_OK) exit(1);
    few = cached = l, few.w.rows = FEW, cached.w.rows = CACHED;
    float *x = memory_aligned(TOKENS * COLS * sizeof *x), *y = memory_aligned((size_t)ROWS * TOKENS / 4 * sizeof *y);
    void *scratch = memory_aligned(linear_scratch(TOKENS, COLS));
    if (!x || !y || !scratch) exit(1);
    for (int i = 0; i < TOKENS * COLS; i++) x[i] = (float)rng_normal(&random);
    double one = best(&l, x, 1, y, scratch, 0.5), many = best(&few, x, TOKENS, y, scratch, 0.5);
    int threads = parallel_threads();
    parallel_set_threads(1);
    double bytes = (double)pith_packed_bytes(&l.w), inner = best(&cached, x, 1, y, scratch, 0.2);
    parallel_set_threads(threads);
    printf("%-8s %-7s %6.1f GB/s   %6.1f GB/s a thread from cache   %6.1f GOP/s a thread\n", format->name,
           isa_name(level), bytes / one * 1e-9, bytes * CACHED / ROWS / inner * 1e-9,
           2.0 * FEW * COLS * TOKENS / many * 1e-9 / threads);
    fflush(stdout);
    linear_free(&l);
    memory_free(x), memory_free(y), memory_free(scratch);
}

int main(int argc, char **argv) {
    for (const pith_format *const *f = pith_formats; *f; f++)
        for (int level = isa_detected(); level > 0; level--) {
            if (argc > 1 && strcmp(argv[1], (*f)->name) != 0) continue;
            if (argc > 2 && strcmp(argv[2], isa_name((isa_level)level)) != 0) continue;
            bench(*f, (isa_level)level);
        }
    return 0;
}
