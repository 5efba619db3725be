/* code/circuit_segment.h - the pictures that share a range coder, and the three kinds of things that are coded there.
 *
 * `decode` tells the direction; what is to be coded only counts when encoding, and is returned in both. */
#ifndef CODE_CIRCUIT_SEGMENT_H
#define CODE_CIRCUIT_SEGMENT_H

#include "base/memory.h"
#include "code/circuit.h"
#include "code/circuit_kernels.h"
#include "code/range.h"

#include <math.h>

enum { CIRCUIT_GROUP = 16 };

typedef struct circuit_segment { /* one row of a chunk */
    range_encoder encoder;
    range_decoder decoder;
    uint8_t *bytes; /* encoding: grown; decoding: the segment's, borrowed */
    size_t size, capacity, next;
    uint8_t *pictures;
    float *bits;
    /* Some value before node `until` is not common, though none was so far (0: nothing of that kind known); the
     * probability that the values up to there are common were `rest`, were that not known. */
    int32_t until;
    float rest;
} circuit_segment;

static inline void segment_feed(circuit_segment *s) {
    while (range_wants(&s->decoder)) {
        range_shift(&s->decoder, s->next < s->size ? s->bytes[s->next] : 0);
        s->next++;
    }
}

static inline void segment_mass(circuit_segment *s, bool decode, pith_mass mass) {
    if (s->bits) *s->bits += (float)CIRCUIT_BITS - log2f((float)mass.width);
    if (decode) {
        range_take(&s->decoder, mass, CIRCUIT_BITS);
        segment_feed(s);
    } else {
        s->size = (size_t)(range_encode(&s->encoder, mass, CIRCUIT_BITS, s->bytes + s->size) - s->bytes);
    }
}

/* Codes one of CIRCUIT_GROUP with the masses that begin at start. */
static inline uint32_t segment_symbol(circuit_segment *s, bool decode, const uint32_t *start, uint32_t symbol) {
    if (decode) {
        uint32_t point = range_point(&s->decoder, CIRCUIT_BITS);
        symbol = 0;
        for (int k = 1; k < CIRCUIT_GROUP; k++) symbol += start[k] <= point;
    }
    uint32_t end = symbol + 1 < CIRCUIT_GROUP ? start[symbol + 1] : 1u << CIRCUIT_BITS;
    segment_mass(s, decode, (pith_mass){start[symbol], end - start[symbol]});
    return symbol;
}

/* Codes whether all values up to node `end` are common, which has the probability `chance` but for what is known of
 * the rest. */
static inline bool segment_common(circuit_segment *s, bool decode, float chance, int32_t end, bool common) {
    const uint32_t one = 1u << CIRCUIT_BITS;
    if (s->until == end) { /* then they cannot be */
        s->until = 0;
        return false;
    }
    float no = 1 - chance, yes = s->until ? chance - s->rest : chance;
    if (!(yes > 0)) yes = 0;
    if (!(no > 0)) no = 0;
    float share = yes + no > 0x1p-20f ? yes / (yes + no) : 0.5f;
    uint32_t width = (uint32_t)(share * (float)one);
    width = width < 1 ? 1 : width > one - 1 ? one - 1 : width;
    if (decode) common = range_point(&s->decoder, CIRCUIT_BITS) < width;
    segment_mass(s, decode, common ? (pith_mass){0, width} : (pith_mass){width, one - width});
    if (!common) s->until = 0;
    else if (s->until) s->rest = s->rest < chance ? s->rest / chance : 1;
    return common;
}

/* Room for one more picture: a symbol of 24 bits adds three bytes, four of them code a value, and one may be pending.
 */
static inline bool segment_reserve(circuit_segment *s, int32_t nodes) {
    size_t need = s->size + (size_t)nodes * 4 * 3 + 2 * RANGE_MAX_BYTES;
    return need <= s->capacity || memory_reserve((void **)&s->bytes, &s->capacity, need, 1) == 0;
}

static inline void segment_begin(circuit_segment *s, bool decode) {
    s->encoder = (range_encoder){0, RANGE_FULL};
    s->decoder = (range_decoder){.range = RANGE_FULL};
    for (s->next = 0; decode && s->next < 7; s->next++)
        s->decoder.ahead = s->decoder.ahead << 8 | (s->next < s->size ? s->bytes[s->next] : 0);
}

/* PITH_OK when the decoder stands exactly where an encoder would have ended the segment. */
static inline pith_status segment_ends(const circuit_segment *s) {
    uint64_t value, low = s->decoder.low & (RANGE_FULL - 1);
    size_t size = s->next - 7 + (size_t)range_last(low, s->decoder.range, &value);
    if (s->size < size) return PITH_TRUNCATED;
    return s->size == size && !s->decoder.wrong && low + s->decoder.ahead == value ? PITH_OK : PITH_CORRUPT;
}

static inline pith_status segment_end(circuit_segment *s, bool decode) {
    if (decode) return segment_ends(s);
    s->size = (size_t)(range_flush(&s->encoder, s->bytes + s->size) - s->bytes);
    return PITH_OK;
}

#endif
