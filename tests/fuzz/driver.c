/* driver.c - runs a fuzz target without libFuzzer: seeds, then random mutations of them.
 *
 *     fuzz_X [--seconds N] [--seed S]     seeds, every cut of small ones, mutations for N seconds
 *     fuzz_X --write-seeds FOLDER         seeds as files, for libFuzzer to begin with
 *     fuzz_X FILE...                      these inputs alone, as libFuzzer does
 *
 * Same --seed, same inputs in the same order. An input that crashes is left in fuzz-crash-TARGET in the working folder,
 * together with the words of the signal. */
#include "fuzz.h"

#include "base/rng.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS = 64, GROWTH = 256, CUTS_BELOW = 4096, HANG_SECONDS = 20 };

static struct {
    uint8_t *data;
    size_t size;
} seeds[SEEDS];
static int seed_count;

static const uint8_t *current;
static size_t current_size;
static char crash_path[256];

/* A sanitizer's finding must reach on_crash too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void on_crash(int signal_number) {
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size) {
        static const char text[] = "the input stands in ";
        if (write(2, text, sizeof text - 1) > 0 && write(2, crash_path, strlen(crash_path)) > 0 &&
            write(2, "\n", 1) > 0)
            close(fd);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Of processor time, 0: none any more. A machine that is busy or paused is no hang; a deadlock is CTest's to find. */
static void allow(int seconds) {
    struct itimerval t = {.it_value.tv_sec = seconds};
    setitimer(ITIMER_PROF, &t, NULL);
}

/* From an allocation of exactly its size, so that a sanitizer sees the first byte read past it. */
static void run_one(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(1);
    if (size) memcpy(copy, data, size);
    current = copy, current_size = size;
    allow(HANG_SECONDS);
    LLVMFuzzerTestOneInput(copy, size);
    allow(0);
    free(copy);
}

static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s: cannot read\n", path);
        return 1;
    }
    long size = ftell(f);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    rewind(f);
    bool whole = data && size >= 0 && fread(data, 1, (size_t)size, f) == (size_t)size;
    fclose(f);
    if (whole) run_one(data, (size_t)size);
    free(data);
    return whole ? 0 : 1;
}

static size_t place(rng *r, size_t size) { return size ? rng_below(r, (uint32_t)size) : 0; }

/* Integers at which checks tend to be off by one, as 1, 2, 4 or 8 bytes. */
static void put_interesting(rng *r, uint8_t *data, size_t size) {
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      7,
                                      8,
                                      63,
                                      64,
                                      65,
                                      127,
                                      128,
                                      255,
                                      256,
                                      4096,
                                      65535,
                                      65536,
                                      INT32_MAX,
                                      0x80000000u,
                                      UINT32_MAX,
                                      1ull << 32,
                                      INT64_MAX,
                                      1ull << 63,
                                      UINT64_MAX,
                                      UINT64_MAX - 63};
    size_t width = (size_t)1 << rng_below(r, 4);
    uint64_t v = values[rng_below(r, sizeof values / sizeof values[0])];
    if (width > size) return;
    memcpy(data + place(r, size - width + 1), &v, width);
}

/* Moves or copies a run inside the input; grows it when `insert`. */
static size_t move_run(rng *r, uint8_t *data, size_t size, size_t room, bool insert) {
    size_t from = place(r, size), n = 1 + rng_below(r, 32), to = place(r, size);
    if (n > size - from) n = size - from;
    uint8_t run[32];
    memcpy(run, data + from, n);
    if (insert) {
        if (size + n > room) return size;
        memmove(data + to + n, data + to, size - to);
        size += n;
    } else if (n > size - to) n = size - to;
    memcpy(data + to, run, n);
    return size;
}

static size_t erase_run(rng *r, uint8_t *data, size_t size) {
    size_t from = place(r, size), n = 1 + rng_below(r, 64);
    if (n > size - from) n = size - from;
    memmove(data + from, data + from + n, size - from - n);
    return size - n;
}

/* The head of this input, the tail of another seed. */
static size_t join_tail(rng *r, uint8_t *data, size_t size, size_t room) {
    int k = (int)rng_below(r, (uint32_t)seed_count);
    size_t at = place(r, size), from = place(r, seeds[k].size), n = seeds[k].size - from;
    if (n > room - at) n = room - at;
    memcpy(data + at, seeds[k].data + from, n);
    return at + n;
}

static size_t mutate(rng *r, uint8_t *data, size_t size, size_t room) {
    for (uint32_t steps = 1 + rng_below(r, 6); steps && size; steps--) switch (rng_below(r, 9)) {
        case 0: data[place(r, size)] ^= (uint8_t)(1u << rng_below(r, 8)); break;
        case 1: data[place(r, size)] = (uint8_t)rng_u32(r); break;
        case 2: data[place(r, size)] += (uint8_t)(rng_below(r, 9) - 4); break;
        case 3: put_interesting(r, data, size); break;
        case 4: size = move_run(r, data, size, room, false); break;
        case 5: size = move_run(r, data, size, room, true); break;
        case 6: size = erase_run(r, data, size); break;
        case 7: size = place(r, size); break;
        default: size = join_tail(r, data, size, room); break;
        }
    return size;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_seeds(void) {
    for (int k = 0; k < seed_count; k++) {
        run_one(seeds[k].data, seeds[k].size);
        for (size_t cut = 0; cut < seeds[k].size && seeds[k].size <= CUTS_BELOW; cut++) run_one(seeds[k].data, cut);
    }
}

static uint64_t run_mutations(uint64_t key, double until) {
    size_t room = GROWTH;
    for (int k = 0; k < seed_count; k++) room = seeds[k].size + GROWTH > room ? seeds[k].size + GROWTH : room;
    uint8_t *data = malloc(room);
    if (!data) exit(1);
    uint64_t n = 0;
    for (; n % 16 || now() < until; n++) {
        rng r = rng_new(key, n);
        int k = (int)rng_below(&r, (uint32_t)seed_count);
        memcpy(data, seeds[k].data, seeds[k].size);
        run_one(data, mutate(&r, data, seeds[k].size, room));
    }
    free(data);
    return n;
}

static int write_seeds(const char *folder) {
    for (int k = 0; k < seed_count; k++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%02d", folder, k);
        FILE *f = fopen(path, "wb");
        bool whole = f && fwrite(seeds[k].data, 1, seeds[k].size, f) == seeds[k].size;
        if (f && fclose(f) != 0) whole = false;
        if (!whole) {
            fprintf(stderr, "%s: cannot write\n", path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    double seconds = 2;
    uint64_t key = 1;
    const char *folder = NULL;
    int i = 1, failed = 0;
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0) seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0) key = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--write-seeds") == 0) folder = argv[i + 1];
        else break;
    }
    const char *name = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof crash_path, "fuzz-crash-%s", name ? name + 1 : argv[0]);
    for (int s = 0; s < 5; s++) signal((int[]){SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGPROF}[s], on_crash);
    if (i < argc) {
        for (; i < argc; i++) failed |= run_file(argv[i]);
        return failed;
    }
    while (seed_count < SEEDS && (seeds[seed_count].size = fuzz_seed(seed_count, &seeds[seed_count].data)))
        seed_count++;
    if (!seed_count) return 1;
    if (folder) return write_seeds(folder);
    double start = now();
    run_seeds();
    uint64_t n = run_mutations(key, start + seconds);
    printf("%d seeds, %llu mutations in %.1f s: no crash\n", seed_count, (unsigned long long)n, now() - start);
    for (int k = 0; k < seed_count; k++) free(seeds[k].data);
    return 0;
}
