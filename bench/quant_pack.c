/* bench/quant_pack.c - packing speed and error of every format: quant_pack [ROWS COLS] (default 2048 x 2048).
 *
 * Gaussian weights, on all threads. Error: mean square of the difference over mean square of the weights; bits: what
 * the best possible code of that size could not go below is 4^-bits. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"
#include "quant/format.h"

#include <stdio.h>
#include <stdlib.h>

static double relative_error(const pith_packed *p, const float *w, float *row) {
    double error = 0, square = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        p->format->to_f32(p, r, 1, row);
        for (int64_t c = 0; c < p->cols; c++) {
            double x = w[r * p->cols + c], d = row[c] - x;
            error += d * d, square += x * x;
        }
    }
    return error / square;
}

static double seconds_to_pack(const pith_format *f, const pith_pack_input *in, pith_packed *p) {
    double best = 0;
    for (int i = 0; i < 3; i++) {
        pith_error err = {0};
        pith_packed_release(p);
        double start = clock_seconds();
        if (f->pack(NULL, in, p, &err) != PITH_OK) {
            fprintf(stderr, "%s: %s\n", f->name, err.text);
            exit(1);
        }
        double took = clock_seconds() - start;
        if (i == 0 || took < best) best = took;
    }
    return best;
}

int main(int argc, char **argv) {
    int64_t rows = argc > 2 ? atoll(argv[1]) : 2048, cols = argc > 2 ? atoll(argv[2]) : 2048;
    if (rows < 1 || cols < 256 || cols % 256 || rows > (1 << 30) / cols) {
        fprintf(stderr, "usage: quant_pack [ROWS COLS], COLS a multiple of 256\n");
        return 2;
    }
    float *w = memory_alloc((size_t)(rows * cols) * sizeof *w), *row = memory_alloc((size_t)cols * sizeof *row);
    if (!w || !row) return 1;
    rng r = rng_new(1, 0);
    for (int64_t i = 0; i < rows * cols; i++) w[i] = 0.02f * (float)rng_normal(&r);
    printf("%d threads\n%-8s %6s %10s %12s %14s\n", parallel_threads(), "format", "bits", "error", "4^-bits/error",
           "Mweights/s");
    for (const pith_format *const *f = pith_formats; *f; f++) {
        pith_packed p = {0};
        pith_pack_input in = {.w = w, .rows = rows, .cols = cols};
        double took = seconds_to_pack(*f, &in, &p), error = relative_error(&p, w, row);
        double bits = 8.0 * (double)pith_packed_bytes(&p) / (double)(rows * cols), bound = 1;
        for (double b = bits; b > 0; b -= 0.0625) bound *= 0.917004043; /* 4^-(1/16) */
        printf("%-8s %6.3f %10.4g %12.3f %14.1f\n", (*f)->name, bits, error, error > 0 ? bound / error : 0,
               (double)(rows * cols) / took * 1e-6);
        pith_packed_release(&p);
    }
    memory_free(w);
    memory_free(row);
    return 0;
}
