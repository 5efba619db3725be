/* code/coder.c - the three coders behind code.h: streams of segments, each closed by a mark.
 *
 * A segment is what lies between two marks (or a mark and an end of the stream); it is coded from a fresh start, so
 * that decoding may begin at any mark. A segment without symbols takes no bytes. The range coder's segments cost half
 * a byte over the information, those of rANS a few bytes a lane. Masses handed to rANS are recorded until the mark
 * (8 bytes a symbol) and coded backward there; symbol i of a segment belongs to lane i mod lanes. Layout of a rANS
 * segment: the decoder's first state of each lane (4 or 8 bytes), then words of 2 or 4 bytes in the order in which
 * the decoder wants them, all little-endian. */
#include "base/memory.h"
#include "code/code.h"
#include "code/range.h"
#include "code/rans.h"

#include <assert.h>
#include <string.h>

enum { MAX_LANES = 64 };

struct pith_encoder {
    int coder, lanes;
    bool failed; /* out of memory: everything from then on is dropped, close reports it */
    uint8_t *bytes;
    size_t size, capacity;
    range_encoder range;
    uint64_t *record; /* rANS: start, width - 1 and bits of each symbol of the open segment */
    size_t recorded, record_capacity;
};

struct pith_decoder {
    int coder, lanes, lane;
    bool begun;
    pith_bytes in;
    size_t at; /* next byte to shift in; may run past the end, where zeros are read */
    size_t segment;
    range_decoder range;
    uint64_t state[MAX_LANES];
};

static pith_status check_kind(int coder, int lanes, pith_error *err) {
    int most = coder == PITH_CODER_RANGE ? 1 : MAX_LANES;
    if (coder < PITH_CODER_RANGE || coder > PITH_CODER_RANS32)
        return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected an entropy coder 0 to 2, found %d", coder);
    if (lanes < 1 || lanes > most)
        return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected 1 to %d coder lanes, found %d", most, lanes);
    return PITH_OK;
}

static int word_bytes(int coder) { return coder == PITH_CODER_RANS32 ? 2 : 4; }

pith_status pith_encoder_open(pith_encoder **out, int coder, int lanes, pith_error *err) {
    *out = NULL;
    pith_status s = check_kind(coder, lanes, err);
    if (s != PITH_OK) return s;
    pith_encoder *e = memory_zero(1, sizeof *e);
    if (!e) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    e->coder = coder;
    e->lanes = lanes;
    e->range = (range_encoder){0, RANGE_FULL};
    *out = e;
    return PITH_OK;
}

static bool reserve_bytes(pith_encoder *e, size_t more) {
    if (e->failed) return false;
    if (e->capacity - e->size >= more) return true;
    if (memory_reserve((void **)&e->bytes, &e->capacity, e->size + more, 1) != 0) e->failed = true;
    return !e->failed;
}

static void record(pith_encoder *e, pith_mass m, int bits) {
    if (e->failed) return;
    if (e->recorded == e->record_capacity &&
        memory_reserve((void **)&e->record, &e->record_capacity, e->recorded + 1, sizeof *e->record) != 0) {
        e->failed = true;
        return;
    }
    e->record[e->recorded++] = (uint64_t)m.start << 32 | (uint64_t)(m.width - 1) << 8 | (uint64_t)bits;
}

void pith_encode(pith_encoder *e, pith_mass m, int bits) {
    assert(bits >= 0 && bits <= PITH_MASS_MAX_BITS && m.width >= 1 && m.start + m.width <= 1u << bits);
    assert(e->coder != PITH_CODER_RANS32 || bits <= 16);
    if (e->coder != PITH_CODER_RANGE) record(e, m, bits);
    else if (reserve_bytes(e, RANGE_MAX_BYTES))
        e->size = (size_t)(range_encode(&e->range, m, bits, e->bytes + e->size) - e->bytes);
}

void pith_encode_raw(pith_encoder *e, uint32_t value, int bits) {
    if (e->coder == PITH_CODER_RANS32 && bits > 16) {
        pith_encode(e, (pith_mass){value & 0xffff, 1}, 16);
        value >>= 16;
        bits -= 16;
    }
    pith_encode(e, (pith_mass){value, 1}, bits);
}

/* Codes the recorded symbols backward, into the end of a buffer that surely holds them, then moves them in place. */
static void close_rans_segment(pith_encoder *e) {
    size_t n = e->recorded, lanes = (size_t)e->lanes, word = (size_t)word_bytes(e->coder), room;
    if (n == 0 || e->failed) return;
    if (__builtin_mul_overflow(n + 2 * lanes, word, &room) || !reserve_bytes(e, room)) { /* a word a symbol at most */
        e->failed = true;
        return;
    }
    bool small = e->coder == PITH_CODER_RANS32;
    uint64_t state[MAX_LANES];
    for (size_t l = 0; l < lanes; l++) state[l] = small ? RANS32_LOW : RANS64_LOW;
    uint8_t *first = e->bytes + e->size, *end = first + room, *p = end;
    for (size_t i = n; i-- > 0;) {
        uint64_t r = e->record[i], *x = &state[i % lanes];
        pith_mass m = {(uint32_t)(r >> 32), (uint32_t)(r >> 8 & 0xffffff) + 1};
        int bits = (int)(r & 0xff);
        if (small ? rans32_full(*x, m, bits) : rans64_full(*x, m, bits)) {
            p -= word;
            memcpy(p, x, word); /* little-endian hosts only, as all of pith */
            *x >>= 8 * word;
        }
        *x = rans_put(*x, m, bits);
    }
    for (size_t l = lanes; l-- > 0;) memcpy(p -= 2 * word, &state[l], 2 * word);
    memmove(first, p, (size_t)(end - p));
    e->size += (size_t)(end - p);
    e->recorded = 0;
}

uint64_t pith_encoder_mark(pith_encoder *e) {
    if (e->coder != PITH_CODER_RANGE) close_rans_segment(e);
    else if (reserve_bytes(e, RANGE_MAX_BYTES))
        e->size = (size_t)(range_flush(&e->range, e->bytes + e->size) - e->bytes);
    return (uint64_t)e->size * 8;
}

pith_status pith_encoder_close(pith_encoder *e, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    pith_encoder_mark(e);
    bool failed = e->failed;
    if (!failed) *out = (pith_bytes){e->bytes, e->size};
    else memory_free(e->bytes);
    memory_free(e->record);
    memory_free(e);
    return failed ? pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory") : PITH_OK;
}

pith_status pith_decoder_open(pith_decoder **out, int coder, int lanes, pith_bytes in, pith_error *err) {
    *out = NULL;
    pith_status s = check_kind(coder, lanes, err);
    if (s != PITH_OK) return s;
    pith_decoder *d = memory_zero(1, sizeof *d);
    if (!d) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    d->coder = coder;
    d->lanes = lanes;
    d->in = in;
    *out = d;
    return PITH_OK;
}

static uint64_t next_word(pith_decoder *d, size_t bytes) {
    uint64_t w = 0;
    if (d->at <= d->in.size && d->in.size - d->at >= bytes) memcpy(&w, d->in.data + d->at, bytes);
    else
        for (size_t i = 0; i < bytes; i++)
            if (d->at + i < d->in.size) w |= (uint64_t)d->in.data[d->at + i] << (8 * i);
    d->at += bytes;
    return w;
}

static void begin_segment(pith_decoder *d) {
    d->begun = true;
    d->segment = d->at;
    d->lane = 0;
    if (d->coder == PITH_CODER_RANGE) {
        d->range = (range_decoder){0, RANGE_FULL, 0, false};
        for (int i = 0; i < 7; i++) d->range.ahead = d->range.ahead << 8 | next_word(d, 1);
        return;
    }
    for (int l = 0; l < d->lanes; l++) d->state[l] = next_word(d, 2 * (size_t)word_bytes(d->coder));
}

uint32_t pith_decode_point(pith_decoder *d, int bits) {
    if (!d->begun) begin_segment(d);
    return d->coder == PITH_CODER_RANGE ? range_point(&d->range, bits) : rans_point(d->state[d->lane], bits);
}

void pith_decode_take(pith_decoder *d, pith_mass m, int bits) {
    if (d->coder == PITH_CODER_RANGE) {
        range_take(&d->range, m, bits);
        while (range_wants(&d->range)) range_shift(&d->range, (uint8_t)next_word(d, 1));
        return;
    }
    uint64_t x = rans_take(d->state[d->lane], m, bits);
    if (d->coder == PITH_CODER_RANS32) {
        x = (uint32_t)x; /* beyond 32 bits only in a damaged stream */
        if (x < RANS32_LOW) x = x << 16 | next_word(d, 2);
    } else if (x < RANS64_LOW) x = x << 32 | next_word(d, 4);
    d->state[d->lane] = x;
    if (++d->lane == d->lanes) d->lane = 0;
}

uint32_t pith_decode_raw(pith_decoder *d, int bits) {
    uint32_t low = 0;
    int split = d->coder == PITH_CODER_RANS32 && bits > 16 ? 16 : 0;
    if (split) {
        low = pith_decode_point(d, split);
        pith_decode_take(d, (pith_mass){low, 1}, split);
        bits -= split;
    }
    uint32_t high = pith_decode_point(d, bits);
    pith_decode_take(d, (pith_mass){high, 1}, bits);
    return high << split | low;
}

/* Moves back from what was read ahead to the segment's true end. */
static bool range_ends(pith_decoder *d) {
    uint64_t value, full = RANGE_FULL - 1, low = d->range.low & full;
    size_t count = (size_t)range_last(low, d->range.range, &value);
    uint64_t window = low + d->range.ahead, unread = full >> (8 * count);
    d->at = d->at - 7 + count;
    return !d->range.wrong && ((window ^ value) & full & ~unread) == 0;
}

static bool rans_ends(const pith_decoder *d) {
    uint64_t start = d->coder == PITH_CODER_RANS32 ? RANS32_LOW : RANS64_LOW;
    for (int l = 0; l < d->lanes; l++)
        if (d->state[l] != start) return false;
    return true;
}

pith_status pith_decoder_mark(pith_decoder *d, pith_error *err) {
    if (!d->begun) return PITH_OK;
    d->begun = false;
    bool sound = d->coder == PITH_CODER_RANGE ? range_ends(d) : rans_ends(d);
    if (d->at > d->in.size)
        return pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)d->in.size,
                         "expected a coded stream of %zu bytes, found %zu", d->at, d->in.size);
    if (!sound)
        return pith_fail(err, PITH_CORRUPT, NULL, (int64_t)d->segment,
                         "expected the coded item to end in its start state, found another");
    return PITH_OK;
}

void pith_decoder_seek(pith_decoder *d, uint64_t mark) {
    d->begun = false;
    d->at = mark / 8 > d->in.size ? d->in.size : (size_t)(mark / 8);
}

pith_status pith_decoder_close(pith_decoder *d, pith_error *err) {
    pith_status s = pith_decoder_mark(d, err);
    if (s == PITH_OK && d->at != d->in.size)
        s = pith_fail(err, PITH_CORRUPT, NULL, (int64_t)d->at,
                      "expected the end of the coded stream, found %zu more bytes", d->in.size - d->at);
    memory_free(d);
    return s;
}
