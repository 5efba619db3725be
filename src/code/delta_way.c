/* code/delta_way.c - differences to a base, in chunks of 2^20 words (each after its bytes, u32).
 *
 * A chunk: bytes of the tables' stream (u32), bytes of the words (u32), the tables (for each context a flag and, where
 * set, a table), the lanes' states, the words, then the raw bits: of each difference what its level leaves open, and
 * its sign. Levels are those of classes.h. */
#include "code/delta_way.h"

#include "base/bytes.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "code/bits.h"
#include "code/bulk_kernels.h"
#include "code/classes.h"
#include "code/rans.h"
#include "code/table.h"

#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);

enum { LANES = 32, CHUNK = 1 << 20, CONTEXTS = 24, HEAD = 8, BITS = 12 };

typedef struct format {
    int width, mantissa;
} format;

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }
static pith_status wrong(pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected coded differences, found damaged ones");
}

static uint32_t load(const uint8_t *p, int width) { return width == 4 ? get32(p) : get16(p); }

static uint32_t top_bit(format f) { return 1u << (8 * f.width - 1); }
static uint32_t all_bits(format f) { return f.width == 4 ? 0xffffffffu : 0xffffu; }

/* Bit patterns to integers in the order of the numbers, and back. */
static uint32_t ordered(uint32_t v, format f) { return (v & top_bit(f) ? ~v : v | top_bit(f)) & all_bits(f); }
static uint32_t unordered(uint32_t v, format f) { return (v & top_bit(f) ? v & ~top_bit(f) : ~v) & all_bits(f); }

static int exponent_of(uint32_t v, format f) { return (int)((v & ~top_bit(f) & all_bits(f)) >> f.mantissa); }

/* Octaves below the largest exponent of the chunk's base. */
static void contexts(const uint8_t *base, size_t n, format f, uint8_t *context) {
    int top = 0;
    for (size_t i = 0; i < n; i++) {
        int e = exponent_of(load(base + i * (size_t)f.width, f.width), f);
        top = e > top ? e : top;
    }
    for (size_t i = 0; i < n; i++) {
        int below = top - exponent_of(load(base + i * (size_t)f.width, f.width), f);
        context[i] = (uint8_t)(below < CONTEXTS ? below : CONTEXTS - 1);
    }
}

/* Bits a level leaves open, sign included. */
static int open_bits(int level) { return level == 0 ? 0 : class_bits(level) + 1; }

typedef struct work { /* of one chunk */
    uint8_t *symbol, *context;
    uint32_t *size; /* of the difference; its sign lies in `minus` */
    uint8_t *minus;
    bulk_bank bank;
} work;

static bool work_new(work *w, size_t n) {
    memset(w, 0, sizeof *w);
    w->size = memory_alloc(n * 7);
    w->symbol = (uint8_t *)(w->size + n);
    w->context = w->symbol + n;
    w->minus = w->context + n;
    return w->size != NULL;
}

static void work_free(work *w) {
    table_bank_free(&w->bank);
    memory_free(w->size);
}

static void differences(work *w, const uint8_t *in, const uint8_t *base, size_t n, format f) {
    for (size_t i = 0; i < n; i++) {
        uint32_t a = ordered(load(in + i * (size_t)f.width, f.width), f);
        uint32_t b = ordered(load(base + i * (size_t)f.width, f.width), f);
        w->minus[i] = a < b;
        w->size[i] = a < b ? b - a : a - b;
        w->symbol[i] = (uint8_t)class_of(w->size[i]);
    }
    contexts(base, n, f, w->context);
}

static bool make_tables(work *w, size_t n, binary_encoder *e) {
    static const pith_table unused = {.bits = BITS, .width = {1 << BITS}};
    uint32_t(*counts)[256] = memory_zero(CONTEXTS, sizeof *counts);
    pith_table *t = memory_zero(CONTEXTS, sizeof *t);
    if (counts && t) {
        const pith_table *hint = NULL;
        for (size_t i = 0; i < n; i++) counts[w->context[i]][w->symbol[i]]++;
        for (int k = 0; k < CONTEXTS; k++) {
            bool present = false;
            for (int s = 0; s < 256; s++) present |= counts[k][s] > 0;
            binary_put_at(e, 32768, present);
            t[k] = unused;
            if (!present) continue;
            table_fit(&t[k], counts[k], BITS);
            table_write(e, &t[k], hint);
            hint = &t[k];
        }
    }
    bool ok = counts && t && table_bank_new(&w->bank, t, CONTEXTS, false);
    memory_free(counts);
    memory_free(t);
    return ok;
}

static uint8_t *put_open(uint8_t *out, const work *w, size_t n) {
    bit_writer b = {.p = out};
    for (size_t i = 0; i < n; i++) {
        int bits = open_bits(w->symbol[i]);
        if (bits) bits_put(&b, (uint64_t)(w->size[i] & ((1u << (bits - 1)) - 1)) << 1 | w->minus[i], bits);
    }
    return bits_end(&b);
}

static pith_status encode_chunk(const uint8_t *in, const uint8_t *base, size_t n, format f, pith_bytes *out,
                                pith_error *err) {
    work w;
    binary_encoder tables;
    binary_encode_open(&tables);
    bool ok = work_new(&w, n);
    if (ok) {
        differences(&w, in, base, n, f);
        ok = make_tables(&w, n, &tables) && binary_encode_close(&tables);
    }
    size_t states = 4 * LANES, head = HEAD + tables.size + states;
    uint8_t *data = ok ? memory_alloc(head + 2 * n + 64 + 4 * n + 8) : NULL;
    if (data) {
        uint32_t state[LANES];
        for (int l = 0; l < LANES; l++) state[l] = RANS32_LOW;
        uint8_t *end = data + head + 2 * n + 64;
        uint8_t *front = ISA_SELECT(bulk_kernels)->encode(&w.bank, w.context, state, LANES, end, w.symbol, n);
        uint32_t sizes[2] = {(uint32_t)tables.size, (uint32_t)(end - front)};
        memcpy(data, sizes, HEAD);
        memcpy(data + HEAD, tables.bytes, tables.size);
        memcpy(data + HEAD + tables.size, state, states);
        memmove(data + head, front, sizes[1]);
        *out = (pith_bytes){data, (size_t)(put_open(data + head + sizes[1], &w, n) - data)};
    }
    memory_free(tables.bytes);
    work_free(&w);
    return data ? PITH_OK : no_memory(err);
}

static bool read_tables(pith_bytes in, work *w, pith_table *t) {
    static const pith_table unused = {.bits = BITS, .width = {1 << BITS}};
    const pith_table *hint = NULL;
    binary_decoder d;
    binary_decode_open(&d, in);
    for (int k = 0; k < CONTEXTS; k++) {
        t[k] = unused;
        if (!binary_get_at(&d, 32768)) continue;
        if (!table_read(&d, &t[k], BITS, hint)) return false;
        for (int s = CLASSES; s < 256; s++)
            if (t[k].width[s]) return false; /* no such level */
        hint = &t[k];
    }
    return binary_decode_close(&d) == in.size && table_bank_new(&w->bank, t, CONTEXTS, true);
}

/* False where the open bits are fewer or more than the levels ask for. */
static bool get_words(const work *w, pith_bytes open, const uint8_t *base, size_t n, format f, uint8_t *out) {
    bit_reader r = {.p = open.data, .end = open.data + open.size};
    for (size_t i = 0; i < n; i++) {
        int level = w->symbol[i], bits = open_bits(level);
        uint32_t v = bits ? (uint32_t)bits_get(&r, bits) : 0, b = ordered(load(base + i * (size_t)f.width, f.width), f);
        uint32_t size = class_value(level, v >> 1), word = unordered((v & 1 ? b - size : b + size) & all_bits(f), f);
        memcpy(out + i * (size_t)f.width, &word, f.width == 4 ? 4 : 2);
    }
    return bits_used_up(&r, open.size);
}

static pith_status decode_chunk(pith_bytes in, const uint8_t *base, size_t n, format f, uint8_t *out, pith_error *err) {
    uint32_t sizes[2], state[LANES];
    if (in.size < HEAD + sizeof state)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected differences, found the end");
    memcpy(sizes, in.data, HEAD);
    size_t left = in.size - HEAD - sizeof state;
    if (left < sizes[0] || left - sizes[0] < sizes[1]) return wrong(err);
    const uint8_t *p = in.data + HEAD + sizes[0];
    memcpy(state, p, sizeof state);
    p += sizeof state;
    work w;
    pith_table *t = memory_alloc(CONTEXTS * sizeof *t);
    bool memory = work_new(&w, n) && t, ok = memory && read_tables((pith_bytes){in.data + HEAD, sizes[0]}, &w, t);
    if (ok) {
        const uint8_t *end = p + sizes[1];
        contexts(base, n, f, w.context);
        ok = ISA_SELECT(bulk_kernels)->decode(&w.bank, w.context, state, LANES, p, end, w.symbol, n) == end;
        for (int l = 0; l < LANES; l++) ok = ok && state[l] == RANS32_LOW;
        if (ok)
            ok = get_words(&w, (pith_bytes){(uint8_t *)(uintptr_t)end, left - sizes[0] - sizes[1]}, base, n, f, out);
    }
    work_free(&w);
    memory_free(t);
    return ok ? PITH_OK : memory ? wrong(err) : no_memory(err);
}

typedef struct job {
    format f;
    size_t words;
    pith_bytes *chunk;
    const uint8_t *in, *base;
    uint8_t *out;
    pith_error *error;
} job;

static void run(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    job *j = user;
    for (int64_t i = begin; i < end; i++) {
        size_t at = (size_t)i * CHUNK, n = j->words - at < CHUNK ? j->words - at : CHUNK, w = (size_t)j->f.width;
        if (j->in) encode_chunk(j->in + at * w, j->base + at * w, n, j->f, &j->chunk[i], &j->error[i]);
        else decode_chunk(j->chunk[i], j->base + at * w, n, j->f, j->out + at * w, &j->error[i]);
    }
}

static pith_status run_job(job *j, size_t chunks, pith_error *err) {
    parallel_for((int64_t)chunks, 1, run, j);
    for (size_t i = 0; i < chunks; i++)
        if (j->error[i].status != PITH_OK) return pith_fail(err, j->error[i].status, NULL, -1, "%s", j->error[i].text);
    return PITH_OK;
}

static size_t chunks_of(size_t words) { return (words + CHUNK - 1) / CHUNK; }

pith_status delta_encode(pith_bytes in, const uint8_t *base, int width, int mantissa, pith_bytes *out,
                         pith_error *err) {
    size_t words = in.size / (size_t)width, chunks = chunks_of(words), total = 0;
    *out = (pith_bytes){NULL, 0};
    job j = {{width, mantissa},
             words,
             memory_zero(chunks, sizeof(pith_bytes)),
             in.data,
             base,
             NULL,
             memory_zero(chunks, sizeof(pith_error))};
    pith_status s = j.chunk && j.error ? run_job(&j, chunks, err) : no_memory(err);
    for (size_t i = 0; s == PITH_OK && i < chunks; i++) total += 4 + j.chunk[i].size;
    uint8_t *p = s == PITH_OK ? memory_alloc(total) : NULL;
    if (s == PITH_OK && !p) s = no_memory(err);
    if (p) *out = (pith_bytes){p, total};
    for (size_t i = 0; j.chunk && i < chunks; i++) {
        if (p) {
            uint32_t size = (uint32_t)j.chunk[i].size;
            put32(p, size);
            memcpy(p + 4, j.chunk[i].data, size);
            p += 4 + size;
        }
        memory_free(j.chunk[i].data);
    }
    memory_free(j.chunk);
    memory_free(j.error);
    return s;
}

pith_status delta_decode(pith_bytes in, const uint8_t *base, int width, int mantissa, pith_bytes out, pith_error *err) {
    size_t words = out.size / (size_t)width, chunks = chunks_of(words), at = 0;
    job j = {{width, mantissa},
             words,
             memory_zero(chunks, sizeof(pith_bytes)),
             NULL,
             base,
             out.data,
             memory_zero(chunks, sizeof(pith_error))};
    pith_status s = j.chunk && j.error ? PITH_OK : no_memory(err);
    for (size_t i = 0; s == PITH_OK && i < chunks; i++) {
        uint32_t size = 0;
        if (in.size - at >= 4) size = get32(in.data + at);
        if (in.size - at < 4 || in.size - at - 4 < size) {
            s = pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)at, "expected %zu chunks of differences", chunks);
            break;
        }
        j.chunk[i] = (pith_bytes){in.data + at + 4, size};
        at += 4 + (size_t)size;
    }
    if (s == PITH_OK && at != in.size) s = wrong(err);
    if (s == PITH_OK) s = run_job(&j, chunks, err);
    memory_free(j.chunk);
    memory_free(j.error);
    return s;
}
