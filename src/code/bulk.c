/* code/bulk.c - interleaved rANS over chunks of bytes; the format stands in docs/format.md, "Entropy-coded streams".
 *
 * A chunk: one byte of kind; the kinds RANS and RANS_LONG (states of 64 bits) go on with the table bits and lanes (one
 * byte), the bytes of the tables' stream (u16), that stream (binary.h: for each block a flag and, where set, a table),
 * the lanes' states, and words. */
#include "code/bulk.h"

#include "base/bytes.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "code/bulk_kernels.h"
#include "code/rans.h"
#include "code/table.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);

enum { RAW, ONE_VALUE, RANS, RANS_LONG };
enum { HEAD = 4, BLOCKS = BULK_CHUNK / BULK_BLOCK };

/* States cost about 3 bytes a lane (large ones 7): few lanes for few symbols. Code of their number in a chunk. */
static int lanes_for(size_t n) { return n >= 1 << 17 ? 3 : n >= 1 << 15 ? 2 : n >= 1 << 11 ? 1 : 0; }

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

typedef struct plan { /* of one chunk: which blocks bring a table of their own */
    pith_table table[BLOCKS];
    bool fresh[BLOCKS];
    size_t blocks;
} plan;

/* What a table costs, in bits, before it is known: enough to decide by. */
static double table_guess(const uint32_t counts[256], int bits) {
    double cost = 40;
    for (int s = 0; s < 256; s++) cost += counts[s] ? bits - 5 : 0.2;
    return cost;
}

static void add_counts(uint32_t a[256], const uint32_t b[256]) {
    for (int s = 0; s < 256; s++) a[s] += b[s];
}

/* Cuts the blocks into runs of one table each: greedily joins the next block while that is cheaper than a new table. */
static void make_plan(plan *p, pith_bytes in, int bits) {
    uint32_t counts[BLOCKS][256];
    p->blocks = (in.size + BULK_BLOCK - 1) / BULK_BLOCK;
    for (size_t b = 0; b < p->blocks; b++) {
        size_t at = b * BULK_BLOCK, n = in.size - at < BULK_BLOCK ? in.size - at : BULK_BLOCK;
        memset(counts[b], 0, sizeof counts[b]);
        table_count(counts[b], in.data + at, n);
    }
    for (size_t first = 0, next; first < p->blocks; first = next) {
        uint32_t run[256], joint[256];
        memcpy(run, counts[first], sizeof run);
        double run_cost = table_cost(NULL, run);
        for (next = first + 1; next < p->blocks; next++) {
            memcpy(joint, run, sizeof joint);
            add_counts(joint, counts[next]);
            double cost = table_cost(NULL, joint), alone = table_cost(NULL, counts[next]);
            if (cost > run_cost + alone + table_guess(counts[next], bits)) break;
            memcpy(run, joint, sizeof run);
            run_cost = cost;
        }
        table_fit(&p->table[first], run, bits);
        for (size_t b = first; b < next; b++) p->fresh[b] = b == first;
        for (size_t b = first + 1; b < next; b++) p->table[b] = p->table[first];
    }
}

static bool write_tables(const plan *p, binary_encoder *e) {
    binary_encode_open(e);
    for (size_t b = 0; b < p->blocks; b++) {
        if (b) binary_put_at(e, 32768, p->fresh[b]);
        if (p->fresh[b]) table_write(e, &p->table[b], b ? &p->table[b - 1] : NULL);
    }
    return binary_encode_close(e);
}

typedef struct states { /* of one of the two kinds of a chunk */
    bool wide;          /* 64 bits each */
    int code, lanes;    /* code: as it stands in the chunk */
    uint32_t narrow[BULK_LANES];
    uint64_t large[BULK_LONG_LANES];
} states;

static void states_open(states *x, bool wide, int code) {
    static const int lanes[2][4] = {{2, 8, 32, 64}, {1, 4, 16, BULK_LONG_LANES}};
    x->wide = wide;
    x->code = code;
    x->lanes = lanes[wide][code];
    for (int l = 0; l < BULK_LANES; l++) x->narrow[l] = RANS32_LOW;
    for (int l = 0; l < BULK_LONG_LANES; l++) x->large[l] = RANS64_LOW;
}

static size_t states_bytes(const states *x) { return (x->wide ? 8 : 4) * (size_t)x->lanes; }
static void *states_data(states *x) { return x->wide ? (void *)x->large : x->narrow; }

static bool states_at_start(const states *x) {
    bool yes = true;
    for (int l = 0; l < x->lanes; l++) yes = yes && (x->wide ? x->large[l] == RANS64_LOW : x->narrow[l] == RANS32_LOW);
    return yes;
}

/* Codes all blocks backward; the chunk's words end at `end`. Returns their front, or NULL without memory. */
static uint8_t *encode_blocks(const plan *p, pith_bytes in, states *x, uint8_t *end) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    bulk_bank bank = {0, NULL, NULL, NULL};
    for (size_t b = p->blocks; b-- > 0;) {
        if (!bank.masses && !table_bank_new(&bank, &p->table[b], 1, false)) return NULL;
        size_t at = b * BULK_BLOCK, n = in.size - at < BULK_BLOCK ? in.size - at : BULK_BLOCK;
        end = x->wide ? k->encode_long(&bank, x->large, x->lanes, end, in.data + at, n)
                      : k->encode(&bank, NULL, x->narrow, x->lanes, end, in.data + at, n);
        if (p->fresh[b]) table_bank_free(&bank);
    }
    return end;
}

typedef struct coded { /* a chunk somewhere in the memory that holds it */
    uint8_t *memory, *data;
    size_t size;
} coded;

static pith_status encode_rans(pith_bytes in, int bits, coded *out, pith_error *err) {
    plan *p = memory_alloc(sizeof *p);
    if (!p) return no_memory(err);
    make_plan(p, in, bits);
    binary_encoder tables;
    bool written = write_tables(p, &tables) && tables.size <= UINT16_MAX;
    states x;
    states_open(&x, bits == BULK_MOST_PRECISE, lanes_for(in.size));
    size_t state = states_bytes(&x), head = HEAD + tables.size + state, room = head + 2 * in.size + 64;
    uint8_t *memory = written ? memory_alloc(room) : NULL, *front = NULL;
    if (memory) front = encode_blocks(p, in, &x, memory + room);
    if (front) {
        memcpy(front -= state, states_data(&x), state);
        memcpy(front -= tables.size, tables.bytes, tables.size);
        front -= HEAD;
        front[0] = x.wide ? RANS_LONG : RANS;
        front[1] = (uint8_t)(bits | x.code << 4);
        front[2] = (uint8_t)tables.size;
        front[3] = (uint8_t)(tables.size >> 8);
        *out = (coded){memory, front, (size_t)(memory + room - front)};
    } else memory_free(memory);
    memory_free(tables.bytes);
    memory_free(p);
    return front ? PITH_OK : no_memory(err);
}

static pith_status encode_chunk(pith_bytes in, int bits, coded *out, pith_error *err) {
    *out = (coded){NULL, NULL, 0};
    bool one = in.size > 0 && (in.size == 1 || memcmp(in.data, in.data + 1, in.size - 1) == 0);
    if (!one && in.size > 32) {
        pith_status s = encode_rans(in, bits, out, err);
        if (s != PITH_OK || out->size <= in.size) return s;
        memory_free(out->memory);
        *out = (coded){0};
    }
    size_t n = one ? 1 : in.size;
    uint8_t *data = memory_alloc(1 + n);
    if (!data) return no_memory(err);
    data[0] = one ? ONE_VALUE : RAW;
    if (n) memcpy(data + 1, in.data, n);
    *out = (coded){data, data, 1 + n};
    return PITH_OK;
}

pith_status bulk_encode_chunk(pith_bytes in, int bits, pith_bytes *out, pith_error *err) {
    assert(in.size <= BULK_CHUNK && bits >= BULK_MIN_BITS && bits <= BULK_MAX_BITS);
    coded c = {NULL, NULL, 0};
    pith_status s = encode_chunk(in, bits, &c, err);
    if (s == PITH_OK) memmove(c.memory, c.data, c.size);
    *out = (pith_bytes){s == PITH_OK ? c.memory : NULL, s == PITH_OK ? c.size : 0};
    return s;
}

static pith_status wrong(pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected an entropy-coded chunk, found %s", what);
}

typedef struct chunk_reader {
    binary_decoder tables;
    pith_table table[2]; /* the block's, and the one before it */
    bulk_bank bank;
    states x;
    int bits, current;
    const uint8_t *p, *end;
} chunk_reader;

static pith_status open_rans(chunk_reader *r, pith_bytes in, pith_error *err) {
    bool wide = in.data[0] == RANS_LONG;
    if (in.size < HEAD) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a chunk's header, found its end");
    r->bits = in.data[1] & 15;
    if (r->bits < (wide ? BULK_SLOT_BITS + 1 : BULK_MIN_BITS) || in.data[1] >> 6)
        return wrong(err, "impossible table bits");
    states_open(&r->x, wide, in.data[1] >> 4);
    size_t tables = in.data[2] | (size_t)in.data[3] << 8, state = states_bytes(&r->x);
    if (in.size - HEAD < tables + state)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %zu bytes of tables and states, found %zu",
                         tables + state, in.size - HEAD);
    binary_decode_open(&r->tables, (pith_bytes){in.data + HEAD, tables});
    memcpy(states_data(&r->x), in.data + HEAD + tables, state);
    r->p = in.data + HEAD + tables + state;
    r->end = in.data + in.size;
    return PITH_OK;
}

static pith_status next_table(chunk_reader *r, bool first, pith_error *err) {
    if (!first && !binary_get_at(&r->tables, 32768)) return PITH_OK;
    int old = r->current, new = 1 - old;
    if (!table_read(&r->tables, &r->table[new], r->bits, first ? NULL : &r->table[old]))
        return wrong(err, "a table that does not sum up");
    r->current = new;
    table_bank_free(&r->bank);
    return table_bank_new(&r->bank, &r->table[new], 1, true) ? PITH_OK : no_memory(err);
}

static pith_status decode_rans(chunk_reader *r, pith_bytes out, pith_error *err) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    for (size_t at = 0; at < out.size; at += BULK_BLOCK) {
        size_t n = out.size - at < BULK_BLOCK ? out.size - at : BULK_BLOCK;
        pith_status s = next_table(r, at == 0, err);
        if (s != PITH_OK) return s;
        r->p = r->x.wide ? k->decode_long(&r->bank, r->x.large, r->x.lanes, r->p, r->end, out.data + at, n)
                         : k->decode(&r->bank, NULL, r->x.narrow, r->x.lanes, r->p, r->end, out.data + at, n);
    }
    if (!states_at_start(&r->x)) return wrong(err, "one that does not end in its start state");
    if (r->p != r->end || binary_decode_close(&r->tables) != r->tables.in.size) return wrong(err, "bytes left over");
    return PITH_OK;
}

pith_status bulk_decode_chunk(pith_bytes in, pith_bytes out, pith_error *err) {
    assert(out.size <= BULK_CHUNK);
    if (in.size < 1) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a chunk, found its end");
    switch (in.data[0]) {
    case RAW:
        if (in.size - 1 != out.size) return wrong(err, "raw bytes of another number");
        if (out.size) memcpy(out.data, in.data + 1, out.size);
        return PITH_OK;
    case ONE_VALUE:
        if (in.size != 2) return wrong(err, "a single value of another size");
        memset(out.data, in.data[1], out.size);
        return PITH_OK;
    case RANS:
    case RANS_LONG: {
        chunk_reader r = {.current = 0};
        pith_status s = open_rans(&r, in, err);
        if (s == PITH_OK) s = decode_rans(&r, out, err);
        table_bank_free(&r.bank);
        return s;
    }
    default: return wrong(err, "an unknown kind");
    }
}

/* ---- streams of chunks, each after its bytes (u32) ---- */

enum { WAVE = 16 }; /* chunks coded at once: their memory serves the next ones, too */

typedef struct encode_job {
    pith_bytes in;
    size_t first; /* chunk that chunk[0] is */
    coded chunk[WAVE];
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
        if (encode_chunk(chunk_at(j->in, j->first + (size_t)i), j->bits, &j->chunk[i], NULL) != PITH_OK)
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
    return no_memory(err);
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
    if (p != in.size) return wrong(err, "bytes after the last one");
    return PITH_OK;
}

pith_status bulk_decode(pith_bytes in, pith_bytes out, pith_error *err) {
    size_t n = chunks_of(out.size);
    size_t *at = memory_zero(n + 1, sizeof *at);
    pith_error *error = memory_zero(n, sizeof *error);
    pith_status s = at && error ? find_chunks(in, n, at, err) : no_memory(err);
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
