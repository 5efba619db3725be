/* bench/bulk_coders.c - size and speed of the bulk coder: bulk_coders [FILE...] (files besides the made-up sources).
 *
 * One thread, 64 MiB of each source. Sizes are given against the order-0 entropy of the whole. Built where pkg-config
 * knows htscodecs, its 32-way coder of order 0 goes by turns with pith's in each round, each of its instruction sets:
 * "x rival" is the median over the rounds of pith's speed against the fastest of those. Else only pith's stand there.
 */
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/rng.h"
#include "code/bulk.h"
#include "code/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if PITH_HTSCODECS
#include <htscodecs/rANS_static4x16.h>
#endif

enum { SIZE = 64 << 20, ROUNDS = 15, BITS = BULK_MOST_PRECISE - BULK_FAST + 1 };

typedef struct timing { /* seconds of each round */
    double encode[ROUNDS], decode[ROUNDS];
    size_t bytes;
} timing;

static double entropy_bytes(pith_bytes in) {
    double cost = 0, total = (double)in.size;
    uint32_t counts[256] = {0};
    table_count(counts, in.data, in.size);
    for (int s = 0; s < 256; s++)
        if (counts[s]) cost += (double)counts[s] * log2(total / (double)counts[s]);
    return cost / 8;
}

static void wrong(const char *who) {
    fprintf(stderr, "%s: what came back differs\n", who);
    exit(1);
}

static void pith_round(pith_bytes in, uint8_t *back, int bits, timing *t, int round) {
    pith_bytes out;
    double start = clock_seconds();
    if (bulk_encode(in, bits, &out, NULL) != PITH_OK) wrong("pith");
    t->encode[round] = clock_seconds() - start;
    t->bytes = out.size;
    memset(back, 0, in.size);
    start = clock_seconds();
    pith_status s = bulk_decode(out, (pith_bytes){back, in.size}, NULL);
    t->decode[round] = clock_seconds() - start;
    if (s != PITH_OK || memcmp(in.data, back, in.size) != 0) wrong("pith");
    memory_free(out.data);
}

#if PITH_HTSCODECS
enum { RIVALS = 2 };
static const char *const rival_name[RIVALS] = {"htscodecs AVX2", "htscodecs AVX-512"};

static void rival_round(pith_bytes in, uint8_t *back, timing *t, int round) {
    static const int set[RIVALS] = {RANS_CPU_ENC_AVX2 | RANS_CPU_DEC_AVX2, RANS_CPU_ENC_AVX512 | RANS_CPU_DEC_AVX512};
    unsigned size, whole = (unsigned)in.size;
    for (int k = 0; k < RIVALS; k++) {
        rans_set_cpu(set[k]);
        double start = clock_seconds();
        uint8_t *coded = rans_compress_to_4x16(in.data, (unsigned)in.size, NULL, &size, RANS_ORDER_X32);
        if (!coded) wrong(rival_name[k]);
        t[k].encode[round] = clock_seconds() - start;
        t[k].bytes = size;
        memset(back, 0, in.size);
        start = clock_seconds();
        if (!rans_uncompress_to_4x16(coded, size, back, &whole)) wrong(rival_name[k]);
        t[k].decode[round] = clock_seconds() - start;
        if (memcmp(in.data, back, in.size) != 0) wrong(rival_name[k]);
        memory_free(coded);
    }
}
#else
enum { RIVALS = 0 };
static const char *const rival_name[1] = {NULL};
static void rival_round(pith_bytes in, uint8_t *back, timing *t, int round) {
    (void)in, (void)back, (void)t, (void)round;
}
#endif

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *v) {
    double sorted[ROUNDS];
    memcpy(sorted, v, sizeof sorted);
    qsort(sorted, ROUNDS, sizeof *sorted, ascending);
    return sorted[ROUNDS / 2];
}

static double against(const timing *t, const timing *rival, bool decode) {
    double ratio[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double best = 1e9;
        for (int k = 0; k < RIVALS; k++) best = fmin(best, decode ? rival[k].decode[r] : rival[k].encode[r]);
        ratio[r] = best / (decode ? t->decode[r] : t->encode[r]);
    }
    return median(ratio);
}

static void print_row(const char *source, const char *coder, const timing *t, const timing *rival, double size,
                      double ideal) {
    printf("%-20s %-18s %11zu %+8.4f %%  %6.0f %6.0f", source, coder, t->bytes, 100 * ((double)t->bytes / ideal - 1),
           size / 1e6 / median(t->encode), size / 1e6 / median(t->decode));
    if (RIVALS && rival) printf("   %5.2f %5.2f", against(t, rival, false), against(t, rival, true));
    printf("\n");
    fflush(stdout);
}

static void bench(const char *name, pith_bytes in, uint8_t *back) {
    static timing t[BITS], rival[RIVALS + 1];
    double ideal = entropy_bytes(in), size = (double)in.size;
    for (int round = 0; round < ROUNDS; round++) {
        for (int b = 0; b < BITS; b++) pith_round(in, back, BULK_FAST + b, &t[b], round);
        rival_round(in, back, rival, round);
    }
    for (int b = 0; b < BITS; b++) {
        char coder[24];
        snprintf(coder, sizeof coder, "pith %d bits", BULK_FAST + b);
        print_row(name, coder, &t[b], rival, size, ideal);
    }
    for (int k = 0; k < RIVALS; k++) print_row(name, rival_name[k], &rival[k], NULL, size, ideal);
}

/* Codes of 8 bits: normal weights over the largest of each 32. */
static void fill_codes(uint8_t *out, size_t n, rng *r) {
    for (size_t i = 0; i < n; i += 32) {
        double w[32], most = 0;
        for (int k = 0; k < 32; k++) {
            w[k] = rng_normal(r);
            most = fmax(most, fabs(w[k]));
        }
        for (int k = 0; k < 32; k++) out[i + (size_t)k] = (uint8_t)(int)lrint(w[k] / most * 127);
    }
}

static void bench_made_up(uint8_t *p, uint8_t *back) {
    static const double widths[] = {7.75, 0.35, 0};
    static const char *const names[] = {"gaussian, 5 bits", "gaussian, 0.9 bit", "int8 codes"};
    for (int k = 0; k < 3; k++) {
        rng r = rng_new(1, (uint64_t)k);
        static uint8_t some[1 << 20]; /* drawing each would take longer than coding it */
        for (size_t i = 0; i < sizeof some; i++) some[i] = (uint8_t)(int)lrint(rng_normal(&r) * widths[k]);
        if (widths[k] == 0) fill_codes(some, sizeof some, &r);
        for (size_t i = 0; i < SIZE; i++) p[i] = some[rng_u32(&r) % sizeof some];
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
    printf("%s, one thread, the first 64 MiB of each, medians of %d rounds\n", isa_name(isa_active()), ROUNDS);
    printf("%-20s %-18s %11s %10s  %6s %6s   %s\n", "source", "coder", "bytes", "to order 0", "encode", "decode",
           RIVALS ? "x rival: encode, decode" : "MB/s");
    bench_made_up(p, back);
    for (int i = 1; i < count; i++) bench_file(arg[i], p, back);
    memory_free(p);
    memory_free(back);
    return 0;
}
