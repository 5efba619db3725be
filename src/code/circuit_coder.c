/* code/circuit_coder.c - pictures to bytes and back with a circuit: segments in chunks, chunks in parallel.
 *
 * The segments of a chunk go through the tree together (circuit_walk.c), their first pictures first; each is a stream
 * of its own. */
#include "code/circuit.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "code/circuit_walk.h"

#include <stdatomic.h>
#include <string.h>

typedef struct coder_job {
    circuit_walk walk;
    const pith_context *context;
    int64_t count; /* pictures in all */
    circuit_segment *segment;
    atomic_int failed; /* a pith_status */
    atomic_llong done;
} coder_job;

/* The next picture of each segment from `first` on that has one; returns how many do. Only the last may be short. */
static int32_t code_round(coder_job *j, circuit_batch *b, int64_t first, int64_t end, int64_t round, pith_status *s) {
    const int32_t nodes = j->walk.c->tree.nodes;
    circuit_segment *row = j->segment + first;
    int32_t rows = 0;
    while (first + rows < end && (first + rows) * CIRCUIT_SEGMENT + round < j->count) rows++;
    for (int32_t r = 0; r < rows && !j->walk.decode && !*s; r++)
        if (!segment_reserve(&row[r], nodes)) *s = PITH_NO_MEMORY;
    if (*s || rows == 0) return 0;
    circuit_walk_pictures(&j->walk, b, row, rows);
    for (int32_t r = 0; r < rows; r++) {
        row[r].pictures += nodes;
        if (row[r].bits) row[r].bits++;
    }
    return rows;
}

static pith_status code_chunk(coder_job *j, int64_t first, int64_t end, int worker) {
    circuit_batch *b = circuit_batch_new(&j->walk);
    pith_status s = b ? PITH_OK : PITH_NO_MEMORY;
    for (int64_t k = first; k < end; k++) segment_begin(&j->segment[k], j->walk.decode);
    for (int64_t round = 0; round < CIRCUIT_SEGMENT && !s && !atomic_load(&j->failed); round++) {
        int32_t rows = code_round(j, b, first, end, round, &s);
        if (rows == 0) break;
        long long done = atomic_fetch_add(&j->done, rows) + rows;
        if (worker == 0) s = pith_progress(j->context, (double)done, (double)j->count, "pictures", NULL);
    }
    for (int64_t k = first; k < end && !s && !atomic_load(&j->failed); k++)
        s = segment_end(&j->segment[k], j->walk.decode);
    circuit_batch_free(b);
    return s;
}

static void code_chunks(void *user, int64_t begin, int64_t end, int worker) {
    coder_job *j = user;
    int none = PITH_OK;
    pith_status s = atomic_load(&j->failed) ? PITH_OK : code_chunk(j, begin, end, worker);
    if (s) atomic_compare_exchange_strong(&j->failed, &none, s);
}

static pith_status open_job(coder_job *j, const circuit *c, const pith_context *context, int64_t count, bool decode,
                            pith_error *err) {
    int64_t segments = circuit_segments(count);
    *j = (coder_job){.context = context, .count = count};
    bool ok = circuit_walk_open(&j->walk, c, decode);
    j->segment = memory_zero((size_t)segments, sizeof *j->segment);
    if (ok && j->segment) return PITH_OK;
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld segments", (long long)segments);
}

static void close_job(coder_job *j) {
    memory_free(j->segment);
    circuit_walk_close(&j->walk);
}

static pith_status run_job(coder_job *j, pith_error *err) {
    int64_t segments = circuit_segments(j->count), share = (segments + parallel_threads() - 1) / parallel_threads();
    parallel_for(segments, share > CIRCUIT_ROWS ? CIRCUIT_ROWS : share, code_chunks, j);
    pith_status s = (pith_status)atomic_load(&j->failed);
    if (s == PITH_NO_MEMORY) return pith_fail(err, s, NULL, -1, "no memory to code pictures");
    if (s == PITH_INTERRUPTED) return pith_fail(err, s, NULL, -1, "interrupted");
    if (s) return pith_fail(err, s, NULL, -1, "expected whole segments of pictures, found a damaged stream");
    return PITH_OK;
}

pith_status circuit_encode(const circuit *c, const pith_context *context, const uint8_t *pictures, int64_t count,
                           pith_bytes *out, uint32_t **sizes, pith_error *err) {
    coder_job j;
    *out = (pith_bytes){0};
    *sizes = NULL;
    int64_t segments = circuit_segments(count);
    pith_status s = open_job(&j, c, context, count, false, err);
    for (int64_t k = 0; k < segments && !s; k++) /* read only when encoding */
        j.segment[k].pictures = (uint8_t *)pictures + k * CIRCUIT_SEGMENT * c->tree.nodes;
    if (!s) s = run_job(&j, err);
    size_t total = 0;
    for (int64_t k = 0; k < segments && !s; k++) total += j.segment[k].size;
    if (!s) {
        out->data = memory_alloc(total);
        *sizes = memory_alloc((size_t)segments * sizeof **sizes);
        if (!out->data || !*sizes) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %zu bytes", total);
    }
    for (int64_t k = 0; k < segments && !s; k++) {
        memcpy(out->data + out->size, j.segment[k].bytes, j.segment[k].size);
        out->size += j.segment[k].size;
        (*sizes)[k] = (uint32_t)j.segment[k].size;
    }
    for (int64_t k = 0; k < segments && j.segment; k++) memory_free(j.segment[k].bytes);
    close_job(&j);
    if (s) {
        memory_free(out->data);
        memory_free(*sizes);
        *out = (pith_bytes){0};
        *sizes = NULL;
    }
    return s;
}

pith_status circuit_decode(const circuit *c, const pith_context *context, pith_bytes in, const uint32_t *sizes,
                           int64_t count, uint8_t *pictures, float *bits, pith_error *err) {
    coder_job j;
    int64_t segments = circuit_segments(count);
    pith_status s = open_job(&j, c, context, count, true, err);
    size_t at = 0;
    for (int64_t k = 0; k < segments && !s; k++) {
        circuit_segment *e = &j.segment[k];
        if (sizes[k] > in.size - at)
            s = pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %u bytes of a segment, found %zu", sizes[k],
                          in.size - at);
        else *e = (circuit_segment){.bytes = in.data + at, .size = sizes[k]};
        e->pictures = pictures + k * CIRCUIT_SEGMENT * c->tree.nodes;
        e->bits = bits ? bits + k * CIRCUIT_SEGMENT : NULL;
        at += sizes[k];
    }
    if (!s && at != in.size)
        s = pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %zu bytes of pictures, found %zu", at, in.size);
    for (int64_t k = 0; k < count && bits; k++) bits[k] = 0;
    if (!s) s = run_job(&j, err);
    close_job(&j);
    return s;
}
