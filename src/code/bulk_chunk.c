/* code/bulk_chunk.c - a chunk of bytes in interleaved rANS; docs/format.md, "Bulk streams".
 *
 * A chunk: one byte of kind; the kinds of rANS go on with the table bits and lanes (one byte), the bytes of the tables'
 * stream (u16), that stream (binary.h: for each block a flag and, where set, a table), the lanes' states, and words.
 *
 * States lie above a bound that they start from, which costs 16 or 24 bits each: little for text, a third of what 15
 * bits lose on a source of one bit a byte. So fine states start from more than their bound, from the bytes of the last
 * symbols of the chunk, which the decoder thus finds in its states when all others are done. */
#include "code/bulk_chunk.h"

#include "base/bytes.h"
#include "base/isa.h"
#include "code/bulk_kernels.h"
#include "code/rans.h"
#include "code/table.h"

#include <assert.h>
#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);
ISA_DECLARE(bulk_fine_kernels, bulk_fine_kernels);

enum { RAW, ONE_VALUE, RANS, RANS_LONG, RANS_FINE }; /* RANS_LONG is read, but no longer written */
enum { HEAD = 4, BLOCKS = BULK_CHUNK / BULK_BLOCK, LONG_LANES = 32, CARRIED = 3 /* bytes, by a fine state */ };

/* States cost half a byte (fine ones) or three a lane: few lanes for few symbols, and where size is all. Code of their
 * number in a chunk. */
static int lanes_for(size_t n, int bits) {
    if (n >= 1 << 17 && bits < BULK_MOST_PRECISE) return 3;
    return n >= 1 << 15 ? 2 : n >= 1 << 11 ? 1 : 0;
}

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

static bool write_tables(const plan *p, bool adaptive, binary_encoder *e) {
    binary_bit own;
    binary_start(&own, 1);
    binary_encode_open(e);
    for (size_t b = 0; b < p->blocks; b++) {
        if (b && adaptive) binary_put(e, &own, p->fresh[b]);
        else if (b) binary_put_at(e, 32768, p->fresh[b]);
        if (p->fresh[b]) table_write(e, &p->table[b], b ? &p->table[b - 1] : NULL);
    }
    return binary_encode_close(e);
}

typedef struct states {    /* of a chunk of one of the three kinds */
    int kind, code, lanes; /* code: as it stands in the chunk */
    uint32_t narrow[BULK_LANES];
    uint64_t large[LONG_LANES];
} states;

static void states_open(states *x, int kind, int code) {
    static const int lanes[2][4] = {{2, 8, 32, BULK_LANES}, {1, 4, 16, LONG_LANES}};
    x->kind = kind;
    x->code = code;
    x->lanes = lanes[kind == RANS_LONG][code];
    for (int l = 0; l < BULK_LANES; l++) x->narrow[l] = kind == RANS ? RANS32_LOW : RANS_FINE_LOW;
}

static size_t states_bytes(const states *x) { return (x->kind == RANS_LONG ? 8 : 4) * (size_t)x->lanes; }
static void *states_data(states *x) { return x->kind == RANS_LONG ? (void *)x->large : x->narrow; }

/* Where the decoder must end; fine ones: but for what they carry. */
static bool states_at_start(const states *x) {
    bool yes = true;
    for (int l = 0; l < x->lanes; l++)
        yes = yes && (x->kind == RANS_LONG   ? x->large[l] == RANS64_LOW
                      : x->kind == RANS_FINE ? x->narrow[l] >> 24 == 1
                                             : x->narrow[l] == RANS32_LOW);
    return yes;
}

/* ---- what fine states carry: a state of the last symbols and its bytes, then zeros ---- */

/* As many of the last symbols as fit; returns how many. */
static size_t carry_tail(states *x, const bulk_bank *bank, pith_bytes block) {
    const bulk_fine_kernels *k = ISA_SELECT(bulk_fine_kernels);
    uint8_t room[CARRIED * BULK_LANES], *end = room + CARRIED * x->lanes, *p = end;
    uint32_t state = RANS_FINE_LOW;
    size_t count = 0, most = block.size < UINT16_MAX ? block.size : UINT16_MAX;
    for (; count < most && p - room >= 4 + 2; count++)
        p = k->encode(bank, &state, 1, p, block.data + block.size - 1 - count, 1);
    if (count == 0) return 0;
    p -= 4;
    put32(p, state);
    for (int i = 0; i < CARRIED * x->lanes; i++)
        x->narrow[i / CARRIED] |= (p + i < end ? (uint32_t)p[i] : 0) << 8 * (i % CARRIED);
    return count;
}

/* False where no encoder made them carry that. */
static bool take_tail(const states *x, const bulk_bank *bank, pith_bytes out) {
    const bulk_fine_kernels *k = ISA_SELECT(bulk_fine_kernels);
    uint8_t room[CARRIED * BULK_LANES];
    const uint8_t *p = room, *end = room + CARRIED * x->lanes;
    uint32_t state = RANS_FINE_LOW;
    for (int i = 0; i < CARRIED * x->lanes; i++) room[i] = (uint8_t)(x->narrow[i / CARRIED] >> 8 * (i % CARRIED));
    if (out.size) state = get32(p);
    if (out.size) p = k->decode(bank, &state, 1, p + 4, end, out.data, out.size);
    while (p < end && *p == 0) p++;
    return p == end && state == RANS_FINE_LOW;
}

/* ---- chunks ---- */

/* Codes all blocks backward; the chunk's words end at `end`. Returns their front, or NULL without memory. *tail: how
 * many symbols the states carry. */
static uint8_t *encode_blocks(const plan *p, pith_bytes in, states *x, uint8_t *end, size_t *tail) {
    bulk_bank bank = {0, NULL, NULL, NULL};
    *tail = 0;
    for (size_t b = p->blocks; b-- > 0;) {
        if (!bank.masses && !table_bank_new(&bank, &p->table[b], 1, false)) return NULL;
        size_t at = b * BULK_BLOCK, n = in.size - at < BULK_BLOCK ? in.size - at : BULK_BLOCK;
        if (x->kind == RANS_FINE) {
            if (b == p->blocks - 1) n -= *tail = carry_tail(x, &bank, (pith_bytes){in.data + at, n});
            end = ISA_SELECT(bulk_fine_kernels)->encode(&bank, x->narrow, x->lanes, end, in.data + at, n);
        } else end = ISA_SELECT(bulk_kernels)->encode(&bank, NULL, x->narrow, x->lanes, end, in.data + at, n);
        if (p->fresh[b]) table_bank_free(&bank);
    }
    return end;
}

static pith_status encode_rans(pith_bytes in, int bits, bulk_coded *out, pith_error *err) {
    plan *p = memory_alloc(sizeof *p);
    if (!p) return no_memory(err);
    make_plan(p, in, bits);
    binary_encoder tables;
    bool written = write_tables(p, bits > BULK_SLOT_BITS, &tables) && tables.size <= UINT16_MAX;
    states x;
    states_open(&x, bits > BULK_SLOT_BITS ? RANS_FINE : RANS, lanes_for(in.size, bits));
    size_t state = states_bytes(&x), head = HEAD + 2 + tables.size + state, room = head + 2 * in.size + 64, tail;
    uint8_t *memory = written ? memory_alloc(room) : NULL, *front = NULL;
    if (memory) front = encode_blocks(p, in, &x, memory + room, &tail);
    if (front) {
        memcpy(front -= state, states_data(&x), state);
        memcpy(front -= tables.size, tables.bytes, tables.size);
        if (x.kind == RANS_FINE) put16(front -= 2, (uint16_t)tail);
        front -= HEAD;
        front[0] = (uint8_t)x.kind;
        front[1] = (uint8_t)(bits | x.code << 4);
        put16(front + 2, (uint16_t)tables.size);
        *out = (bulk_coded){memory, front, (size_t)(memory + room - front)};
    } else memory_free(memory);
    memory_free(tables.bytes);
    memory_free(p);
    return front ? PITH_OK : no_memory(err);
}

pith_status bulk_chunk_encode(pith_bytes in, int bits, bulk_coded *out, pith_error *err) {
    *out = (bulk_coded){NULL, NULL, 0};
    bool one = in.size > 0 && (in.size == 1 || memcmp(in.data, in.data + 1, in.size - 1) == 0);
    if (!one && in.size > 32) {
        pith_status s = encode_rans(in, bits, out, err);
        if (s != PITH_OK || out->size <= in.size) return s;
        memory_free(out->memory);
        *out = (bulk_coded){0};
    }
    size_t n = one ? 1 : in.size;
    uint8_t *data = memory_alloc(1 + n);
    if (!data) return no_memory(err);
    data[0] = one ? ONE_VALUE : RAW;
    if (n) memcpy(data + 1, in.data, n);
    *out = (bulk_coded){data, data, 1 + n};
    return PITH_OK;
}

pith_status bulk_encode_chunk(pith_bytes in, int bits, pith_bytes *out, pith_error *err) {
    assert(in.size <= BULK_CHUNK && bits >= BULK_MIN_BITS && bits <= BULK_MAX_BITS);
    bulk_coded c = {NULL, NULL, 0};
    pith_status s = bulk_chunk_encode(in, bits, &c, err);
    if (s == PITH_OK) memmove(c.memory, c.data, c.size);
    *out = (pith_bytes){s == PITH_OK ? c.memory : NULL, s == PITH_OK ? c.size : 0};
    return s;
}

static pith_status wrong(pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected an entropy-coded chunk, found %s", what);
}

typedef struct chunk_reader {
    binary_decoder tables;
    binary_bit own;      /* fine kind: probability of a table of a block's own */
    pith_table table[2]; /* the block's, and the one before it */
    bulk_bank bank;
    states x;
    int bits, current;
    size_t tail; /* symbols that the states carry */
    const uint8_t *p, *end;
} chunk_reader;

static pith_status open_rans(chunk_reader *r, pith_bytes in, size_t count, pith_error *err) {
    size_t head = in.data[0] == RANS_FINE ? HEAD + 2 : HEAD;
    if (in.size < head) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a chunk's header, found its end");
    r->bits = in.data[1] & 15;
    if (r->bits < (in.data[0] == RANS ? BULK_MIN_BITS : BULK_SLOT_BITS + 1) || in.data[1] >> 6)
        return wrong(err, "impossible table bits");
    states_open(&r->x, in.data[0], in.data[1] >> 4);
    r->tail = head > HEAD ? get16(in.data + HEAD) : 0;
    if (r->tail > (count ? (count - 1) % BULK_BLOCK + 1 : 0)) return wrong(err, "more last symbols than there are");
    size_t tables = get16(in.data + 2), state = states_bytes(&r->x);
    if (in.size - head < tables + state)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %zu bytes of tables and states, found %zu",
                         tables + state, in.size - head);
    binary_start(&r->own, 1);
    binary_decode_open(&r->tables, (pith_bytes){in.data + head, tables});
    memcpy(states_data(&r->x), in.data + head + tables, state);
    r->p = in.data + head + tables + state;
    r->end = in.data + in.size;
    return PITH_OK;
}

static pith_status next_table(chunk_reader *r, bool first, pith_error *err) {
    bool adaptive = r->x.kind == RANS_FINE;
    if (!first && !(adaptive ? binary_get(&r->tables, &r->own) : binary_get_at(&r->tables, 32768))) return PITH_OK;
    int old = r->current, new = 1 - old;
    if (!table_read(&r->tables, &r->table[new], r->bits, first ? NULL : &r->table[old]))
        return wrong(err, "a table that does not sum up");
    r->current = new;
    table_bank_free(&r->bank);
    return table_bank_new(&r->bank, &r->table[new], 1, true) ? PITH_OK : no_memory(err);
}

/* One lane after another: streams of this kind are old. */
static const uint8_t *decode_long(const bulk_bank *b, states *x, const uint8_t *p, const uint8_t *end, pith_bytes out) {
    for (size_t i = 0; i < out.size; i++) {
        uint64_t *state = &x->large[i % (size_t)x->lanes];
        uint32_t m = b->masses[out.data[i] = b->symbols[rans_point(*state, b->bits)]], word = 0;
        *state = rans_take(*state, (pith_mass){m >> 16, (m & 0xffff) + 1}, b->bits);
        if (*state >= RANS64_LOW) continue;
        size_t left = (size_t)(end - p), take = left < 4 ? left : 4;
        memcpy(&word, p, take);
        *state = *state << 32 | word;
        p += take;
    }
    return p;
}

static void decode_block(chunk_reader *r, pith_bytes out) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    const bulk_fine_kernels *fine = ISA_SELECT(bulk_fine_kernels);
    states *x = &r->x;
    if (x->kind == RANS) r->p = k->decode(&r->bank, NULL, x->narrow, x->lanes, r->p, r->end, out.data, out.size);
    else if (x->kind == RANS_FINE) r->p = fine->decode(&r->bank, x->narrow, x->lanes, r->p, r->end, out.data, out.size);
    else r->p = decode_long(&r->bank, x, r->p, r->end, out);
}

static pith_status decode_rans(chunk_reader *r, pith_bytes out, pith_error *err) {
    size_t end = out.size - r->tail;
    for (size_t at = 0; at < out.size; at += BULK_BLOCK) {
        pith_status s = next_table(r, at == 0, err);
        if (s != PITH_OK) return s;
        decode_block(r, (pith_bytes){out.data + at, end - at < BULK_BLOCK ? end - at : BULK_BLOCK});
    }
    if (!states_at_start(&r->x) ||
        (r->x.kind == RANS_FINE && !take_tail(&r->x, &r->bank, (pith_bytes){out.data + end, r->tail})))
        return wrong(err, "one that does not end in its start state");
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
    case RANS_LONG:
    case RANS_FINE: {
        chunk_reader r = {.current = 0};
        pith_status s = open_rans(&r, in, out.size, err);
        if (s == PITH_OK) s = decode_rans(&r, out, err);
        table_bank_free(&r.bank);
        return s;
    }
    default: return wrong(err, "an unknown kind");
    }
}
