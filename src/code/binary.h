/* code/binary.h - adaptive binary decisions on the range coder, for tables and other side information.
 *
 * A bit's probability is 16 bits of integer mass with a counter that makes it learn fast at first (as in M. Mahoney's
 * lpaq). The bytes are those of PITH_CODER_RANGE with masses of 16 bits, without its call and division a symbol. */
#ifndef CODE_BINARY_H
#define CODE_BINARY_H

#include "base/memory.h"
#include "code/range.h"

typedef struct binary_bit { /* zeroed is not a valid start: binary_start */
    uint16_t one;           /* probability of a set bit, 1/65536 */
    uint16_t seen;          /* up to the limit given to binary_learn */
} binary_bit;

static inline void binary_start(binary_bit *b, size_t n) {
    for (size_t i = 0; i < n; i++) b[i] = (binary_bit){32768, 0};
}

enum { BINARY_LIMIT = 60 }; /* the slowest learning: 1/(BINARY_LIMIT + 1.5) a bit */

static inline void binary_learn(binary_bit *b, int bit) {
    static const uint16_t rate[BINARY_LIMIT + 1] = {
        /* 65536 / (n + 1.5) */
        43690, 26214, 18724, 14563, 11915, 10082, 8738, 7710, 6898, 6241, 5698, 5242, 4854, 4519, 4228, 3971,
        3744,  3542,  3360,  3196,  3048,  2912,  2788, 2674, 2570, 2473, 2383, 2299, 2221, 2148, 2080, 2016,
        1956,  1899,  1846,  1795,  1747,  1702,  1659, 1618, 1579, 1542, 1506, 1472, 1440, 1409, 1379, 1351,
        1323,  1297,  1272,  1248,  1224,  1202,  1180, 1159, 1139, 1120, 1101, 1083, 1065};
    int32_t to = bit ? 65535 : 0;
    int32_t p = b->one + (int32_t)(((int64_t)(to - b->one) * rate[b->seen]) >> 16);
    b->one = (uint16_t)(p < 64 ? 64 : p > 65472 ? 65472 : p);
    if (b->seen < BINARY_LIMIT) b->seen++;
}

typedef struct binary_encoder {
    range_encoder range;
    uint8_t *bytes;
    size_t size, capacity;
    bool failed; /* out of memory */
} binary_encoder;

static inline void binary_encode_open(binary_encoder *e) { *e = (binary_encoder){{0, RANGE_FULL}, NULL, 0, 0, false}; }

static inline bool binary_room(binary_encoder *e) {
    if (e->failed) return false;
    if (e->capacity - e->size >= RANGE_MAX_BYTES) return true;
    e->failed = memory_reserve((void **)&e->bytes, &e->capacity, e->size + RANGE_MAX_BYTES, 1) != 0;
    return !e->failed;
}

/* `one` of 65536 for a set bit, 0 < one < 65536. */
static inline void binary_put_at(binary_encoder *e, uint32_t one, int bit) {
    if (!binary_room(e)) return;
    pith_mass m = bit ? (pith_mass){0, one} : (pith_mass){one, 65536 - one};
    e->size = (size_t)(range_encode(&e->range, m, 16, e->bytes + e->size) - e->bytes);
}

static inline void binary_put(binary_encoder *e, binary_bit *b, int bit) {
    binary_put_at(e, b->one, bit);
    binary_learn(b, bit);
}

/* Ends the item; the bytes are the encoder's until memory_free(e->bytes). False: out of memory. */
static inline bool binary_encode_close(binary_encoder *e) {
    if (binary_room(e)) e->size = (size_t)(range_flush(&e->range, e->bytes + e->size) - e->bytes);
    return !e->failed;
}

typedef struct binary_decoder {
    range_decoder range;
    pith_bytes in;
    size_t at; /* next byte; beyond the end zeros are read */
} binary_decoder;

static inline uint8_t binary_next(binary_decoder *d) {
    size_t at = d->at++;
    return at < d->in.size ? d->in.data[at] : 0;
}

static inline void binary_decode_open(binary_decoder *d, pith_bytes in) {
    *d = (binary_decoder){{0, RANGE_FULL, 0, false}, in, 0};
    for (int i = 0; i < 7; i++) d->range.ahead = d->range.ahead << 8 | binary_next(d);
}

static inline int binary_get_at(binary_decoder *d, uint32_t one) {
    uint64_t step = d->range.range >> 16;
    int bit = d->range.ahead < step * one;
    range_take(&d->range, bit ? (pith_mass){0, one} : (pith_mass){one, 65536 - one}, 16);
    while (range_wants(&d->range)) range_shift(&d->range, binary_next(d));
    return bit;
}

static inline int binary_get(binary_decoder *d, binary_bit *b) {
    int bit = binary_get_at(d, b->one);
    binary_learn(b, bit);
    return bit;
}

typedef struct binary_coder { /* either direction: one loop of a model serves both */
    bool decoding;
    binary_encoder out;
    binary_decoder in;
} binary_coder;

/* As binary_put_at or binary_get_at; `bit` is looked at when encoding only, and returned. */
static inline int binary_code_at(binary_coder *c, uint32_t one, int bit) {
    if (c->decoding) return binary_get_at(&c->in, one);
    binary_put_at(&c->out, one, bit);
    return bit;
}

/* Bytes the item took; more than there were where it was cut short. SIZE_MAX: no encoder wrote this. */
static inline size_t binary_decode_close(binary_decoder *d) {
    uint64_t value, full = RANGE_FULL - 1, low = d->range.low & full;
    size_t count = (size_t)range_last(low, d->range.range, &value);
    if (d->range.wrong || (((low + d->range.ahead) ^ value) & full & ~(full >> (8 * count)))) return SIZE_MAX;
    return d->at - 7 + count;
}

#endif
