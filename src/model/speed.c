/* model/speed.c - measurements in pairs: memory and multipliers are probed right before each, since a shared machine
 * drifts by a fifth within minutes. What counts is the median of the shares, not a share of medians.
 *
 * How fast memory is depends on how much is read over and over: what fits the last cache comes faster. The memory probe
 * reads as many bytes as a pass through the model does, again and again, in large pages. */
#include "model/speed.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "model/sampler.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PROBE_CHUNK = 1 << 20, PROBE_PASSES = 32, PROBE_ROUNDS = 200000 };

ISA_DECLARE(struct probe_kernels, probe);

typedef struct probing {
    const struct probe_kernels *kernels;
    const uint8_t *memory;
    int64_t size, rounds;
    _Atomic int64_t operations;
    _Atomic uint64_t result; /* keeps the loops alive */
} probing;

static void read_chunk(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    probing *p = user;
    atomic_fetch_add(&p->result, p->kernels->read(p->memory + begin, end - begin));
}

static void multiply_chunk(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    probing *p = user;
    int32_t out;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add(&p->operations, p->kernels->multiply(p->rounds, &out));
        atomic_fetch_add(&p->result, (uint64_t)out);
    }
}

/* The first pass brings into the caches what stays there. */
static double probe_bandwidth(probing *p) {
    double began = 0;
    for (int pass = 0; pass <= PROBE_PASSES; pass++) {
        if (pass == 1) began = clock_seconds();
        parallel_for(p->size, PROBE_CHUNK, read_chunk, p);
    }
    return (double)(p->size * PROBE_PASSES) / (clock_seconds() - began);
}

static double probe_peak(probing *p) {
    p->operations = 0;
    double began = clock_seconds();
    parallel_for(4 * parallel_threads(), 1, multiply_chunk, p);
    return (double)p->operations / (clock_seconds() - began);
}

typedef struct measurement {
    const llama *m;
    llama_session *session;
    sampler *sampler;
    float *logits;
    int32_t *prompt;
    int64_t tokens;
    bool decode;
} measurement;

/* As with the memory probe, the first pass through the weights brings into the caches what stays there. */
static pith_status measure_once(measurement *w, double *seconds, pith_error *err) {
    llama_session_rewind(w->session, 0);
    pith_status s = PITH_OK;
    int32_t token = 1;
    if (w->decode) s = llama_session_append(w->session, &token, 1, 1, w->logits, err);
    if (w->decode) llama_session_rewind(w->session, 0);
    double began = clock_seconds();
    if (!w->decode) s = llama_session_append(w->session, w->prompt, w->tokens, 1, w->logits, err);
    for (int64_t i = 0; w->decode && i < w->tokens && s == PITH_OK; i++) {
        s = llama_session_append(w->session, &token, 1, 1, w->logits, err);
        token = sampler_draw(w->sampler, w->logits);
    }
    *seconds = clock_seconds() - began;
    return s;
}

static uint64_t weights_in_blocks(const llama *m) {
    uint64_t n = 0;
    for (int64_t i = 0; i < m->config.blocks; i++) {
        const llama_block *b = &m->blocks[i];
        const linear *all[] = {&b->query, &b->key, &b->value, &b->output, &b->gate, &b->up, &b->down};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) n += (uint64_t)(all[k]->w.rows * all[k]->w.cols);
    }
    return n;
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v) {
    qsort(v, SPEED_PAIRS, sizeof *v, rising);
    return v[SPEED_PAIRS / 2];
}

static pith_status measure_pairs(const pith_context *c, measurement *w, probing *p, speed_report *out,
                                 pith_error *err) {
    double speed[SPEED_PAIRS], bandwidth[SPEED_PAIRS], peak[SPEED_PAIRS], read_share[SPEED_PAIRS],
        work_share[SPEED_PAIRS], seconds;
    uint64_t head = (uint64_t)(w->m->head.w.rows * w->m->head.w.cols), blocks = weights_in_blocks(w->m);
    double work = 2.0 * ((double)blocks * (double)w->tokens + (double)head * (double)(w->decode ? w->tokens : 1));
    double bytes = (double)out->bytes_per_token * (double)(w->decode ? w->tokens : 1);
    pith_status s = measure_once(w, &seconds, err); /* caches, pages, clock */
    for (int i = 0; i < SPEED_PAIRS && s == PITH_OK; i++) {
        bandwidth[i] = probe_bandwidth(p);
        peak[i] = probe_peak(p);
        s = measure_once(w, &seconds, err);
        speed[i] = (double)w->tokens / seconds;
        read_share[i] = bytes / seconds / bandwidth[i];
        work_share[i] = work / seconds / peak[i];
        if (s == PITH_OK) s = pith_progress(c, i + 1, SPEED_PAIRS, "measurements", err);
    }
    if (s != PITH_OK) return s;
    out->tokens_per_s = median(speed);
    out->bytes_per_s = bytes / (double)w->tokens * out->tokens_per_s;
    out->ops_per_s = work / (double)w->tokens * out->tokens_per_s;
    out->bandwidth = median(bandwidth), out->bandwidth_share = median(read_share);
    out->peak = median(peak), out->peak_share = median(work_share);
    return PITH_OK;
}

static pith_status measure(const pith_context *c, measurement *w, speed_report *out, pith_error *err) {
    *out = (speed_report){.tokens = w->tokens, .pairs = SPEED_PAIRS, .bytes_per_token = llama_bytes_per_token(w->m)};
    probing p = {.kernels = ISA_SELECT(probe), .rounds = PROBE_ROUNDS};
    p.size = (int64_t)(out->bytes_per_token + PROBE_CHUNK - 1) / PROBE_CHUNK * PROBE_CHUNK;
    uint8_t *memory = mmap(NULL, (size_t)p.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    w->logits = memory_zero((size_t)w->m->config.vocab, sizeof *w->logits);
    w->prompt = memory_zero((size_t)w->tokens, sizeof *w->prompt);
    pith_status s = PITH_OK;
    if (memory == MAP_FAILED || !w->logits || !w->prompt)
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a probe of %lld MiB", (long long)p.size >> 20);
    if (s == PITH_OK) s = llama_session_new(&w->session, w->m, w->tokens, PITH_F16, err);
    sampler_settings settings = sampler_defaults();
    if (s == PITH_OK) s = sampler_new(&w->sampler, &settings, w->m->config.vocab, err);
    if (s == PITH_OK) {
        madvise(memory, (size_t)p.size, MADV_HUGEPAGE);
        memset(memory, 1, (size_t)p.size); /* pages that were never written are all one */
        p.memory = memory;
        for (int64_t i = 0; i < w->tokens; i++) w->prompt[i] = (int32_t)(i * 7919 % w->m->config.vocab);
        s = measure_pairs(c, w, &p, out, err);
    }
    if (memory != MAP_FAILED) munmap(memory, (size_t)p.size);
    llama_session_free(w->session);
    sampler_free(w->sampler);
    memory_free(w->logits);
    memory_free(w->prompt);
    return s;
}

pith_status speed_decode(const pith_context *c, const llama *m, int64_t tokens, speed_report *out, pith_error *err) {
    measurement w = {.m = m, .tokens = tokens, .decode = true};
    return measure(c, &w, out, err);
}

pith_status speed_prefill(const pith_context *c, const llama *m, int64_t tokens, speed_report *out, pith_error *err) {
    measurement w = {.m = m, .tokens = tokens};
    return measure(c, &w, out, err);
}
