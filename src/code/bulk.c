/* code/bulk.c - streams of chunks, each after its bytes (u32), coded in parallel. */
#include "code/bulk.h"

#include "base/bytes.h"
#include "base/parallel.h"
#include "code/bulk_chunk.h"

#include <stdatomic.h>
#include <string.h>

enum { WAVE = 16 }; /* chunks coded at once: their memory serves the next ones, too */

typedef struct encode_job {
    pith_bytes in;
    size_t first; /* chunk that chunk[0] is */
    bulk_coded chunk[WAVE];
    int bits;
    atomic_int failed;
} encode_job;

static size_t chunks_of(size_t size) { return (size + BULK_CHUNK - 1) / BULK_CHUNK; }

static pith_bytes chunk_at(pith_bytes all, size_t i) {
    size_t at = i * BULK_CHUNK, left = all.size - at;
    return (pith_bytes){all.data + at, left < BULK_CHUNK ? left : BULK_CHUNK};
}

static void encode_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    encode_job *j = user;
    for (int64_t i = begin; i < end; i++)
        if (bulk_chunk_encode(chunk_at(j->in, j->first + (size_t)i), j->bits, &j->chunk[i], NULL) != PITH_OK)
            atomic_store(&j->failed, 1);
}

/* Chunks [first, first + n) behind p, where there is room for them even if none shrinks. */
static uint8_t *encode_wave(encode_job *j, size_t n, uint8_t *p) {
    memset(j->chunk, 0, sizeof j->chunk);
    parallel_for((int64_t)n, 1, encode_range, j);
    for (size_t i = 0; i < n; i++) {
        uint32_t size = (uint32_t)j->chunk[i].size;
        put32(p, size);
        if (size) memcpy(p + 4, j->chunk[i].data, size);
        p += 4 + size;
        memory_free(j->chunk[i].memory);
    }
    return p;
}

pith_status bulk_encode(pith_bytes in, int bits, pith_bytes *out, pith_error *err) {
    size_t chunks = chunks_of(in.size), wave = (size_t)parallel_threads() < WAVE ? (size_t)parallel_threads() : WAVE;
    uint8_t *memory = memory_alloc(in.size + 5 * chunks), *p = memory;
    encode_job job = {.in = in, .bits = bits};
    for (; memory && job.first < chunks && !atomic_load(&job.failed); job.first += wave)
        p = encode_wave(&job, chunks - job.first < wave ? chunks - job.first : wave, p);
    if (memory && !atomic_load(&job.failed)) {
        uint8_t *fit = memory_grow(memory, (size_t)(p - memory) + 1, 1);
        *out = (pith_bytes){fit ? fit : memory, (size_t)(p - memory)};
        return PITH_OK;
    }
    memory_free(memory);
    *out = (pith_bytes){NULL, 0};
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

typedef struct decode_job {
    pith_bytes in, out;
    const size_t *at; /* of each chunk's first byte, and the end + 4 */
    pith_error *error;
} decode_job;

static void decode_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    decode_job *j = user;
    for (int64_t i = begin; i < end; i++)
        bulk_decode_chunk((pith_bytes){j->in.data + j->at[i], j->at[i + 1] - 4 - j->at[i]}, chunk_at(j->out, (size_t)i),
                          &j->error[i]);
}

static pith_status find_chunks(pith_bytes in, size_t n, size_t *at, pith_error *err) {
    size_t p = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t size = 0;
        if (in.size - p >= 4) size = get32(in.data + p);
        if (in.size - p < 4 || in.size - p - 4 < size)
            return pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)p, "expected chunk %zu of %zu, found the end", i, n);
        at[i] = p + 4;
        p += 4 + (size_t)size;
    }
    at[n] = p + 4;
    if (p != in.size)
        return pith_fail(err, PITH_CORRUPT, NULL, (int64_t)p, "expected the end of the last chunk, found more bytes");
    return PITH_OK;
}

pith_status bulk_decode(pith_bytes in, pith_bytes out, pith_error *err) {
    size_t n = chunks_of(out.size);
    size_t *at = memory_zero(n + 1, sizeof *at);
    pith_error *error = memory_zero(n, sizeof *error);
    pith_status s =
        at && error ? find_chunks(in, n, at, err) : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s == PITH_OK) {
        decode_job job = {in, out, at, error};
        parallel_for((int64_t)n, 1, decode_range, &job);
        for (size_t i = 0; i < n && s == PITH_OK; i++)
            if (error[i].status != PITH_OK)
                s = pith_fail(err, error[i].status, NULL, (int64_t)at[i], "%s", error[i].text);
    }
    memory_free(at);
    memory_free(error);
    return s;
}
