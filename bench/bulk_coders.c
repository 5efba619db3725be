/* bench/bulk_coders.c - size and speed of the bulk coder: bulk_coders [FILE...] (without files: made-up sources).
 *
 * One thread; each figure is the best of the passes of about a second. Bytes of a file are taken as they are; the size
 * is given against the order-0 entropy of the whole. */
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"
#include "code/bulk.h"
#include "code/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 64 << 20 };

static double entropy_bytes(pith_bytes in) {
    double cost = 0, total = (double)in.size;
    uint64_t sum[256] = {0};
    for (size_t at = 0; at < in.size; at += 1 << 30) {
        uint32_t counts[256] = {0};
        table_count(counts, in.data + at, in.size - at < 1 << 30 ? in.size - at : 1 << 30);
        for (int s = 0; s < 256; s++) sum[s] += counts[s];
    }
    for (int s = 0; s < 256; s++)
        if (sum[s]) cost += (double)sum[s] * log2(total / (double)sum[s]);
    return cost / 8;
}

static void bench(const char *name, pith_bytes in, uint8_t *back) {
    double ideal = entropy_bytes(in);
    for (int bits = BULK_FAST; bits <= BULK_MOST_PRECISE; bits++) {
        double encode = 1e9, decode = 1e9;
        pith_bytes out = {NULL, 0};
        for (double start = clock_seconds(); clock_seconds() < start + 1;) {
            memory_free(out.data);
            double t = clock_seconds();
            if (bulk_encode(in, bits, &out, NULL) != PITH_OK) return;
            t = clock_seconds() - t;
            encode = t < encode ? t : encode;
        }
        for (double start = clock_seconds(); clock_seconds() < start + 1;) {
            double t = clock_seconds();
            pith_status s = bulk_decode(out, (pith_bytes){back, in.size}, NULL);
            t = clock_seconds() - t;
            if (s != PITH_OK || memcmp(in.data, back, in.size) != 0) printf("WRONG\n");
            decode = t < decode ? t : decode;
        }
        printf("%-20s %2d bits %11zu bytes %+8.4f %%  encode %6.0f  decode %6.0f MB/s\n", name, bits, out.size,
               100 * ((double)out.size / ideal - 1), (double)in.size / 1e6 / encode, (double)in.size / 1e6 / decode);
        fflush(stdout);
        memory_free(out.data);
    }
}

static void bench_made_up(uint8_t *p, uint8_t *back) {
    static const double widths[] = {7.75, 0.35, 26};
    static const char *const names[] = {"gaussian, 5 bits", "gaussian, 0.9 bit", "gaussian, 6.7 bits"};
    for (int k = 0; k < 3; k++) {
        rng r = rng_new(1, (uint64_t)k);
        uint8_t some[65536]; /* drawing each would take longer than coding it */
        for (size_t i = 0; i < sizeof some; i++) some[i] = (uint8_t)(int)lrint(rng_normal(&r) * widths[k]);
        for (size_t i = 0; i < SIZE; i++) p[i] = some[rng_u32(&r) & 0xffff];
        bench(names[k], (pith_bytes){p, SIZE}, back);
    }
}

static void bench_file(const char *path, uint8_t *p, uint8_t *back) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return;
    }
    bench(strrchr(path, '/') ? strrchr(path, '/') + 1 : path, (pith_bytes){p, fread(p, 1, SIZE, f)}, back);
    fclose(f);
}

int main(int count, char **arg) {
    parallel_set_threads(1);
    uint8_t *p = memory_zero(SIZE, 1), *back = memory_zero(SIZE, 1);
    if (!p || !back) return 1;
    printf("%s, the first 64 MiB of each\n", isa_name(isa_active()));
    if (count < 2) bench_made_up(p, back);
    for (int i = 1; i < count; i++) bench_file(arg[i], p, back);
    memory_free(p);
    memory_free(back);
    return 0;
}
