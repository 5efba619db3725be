/* code/range.h - a range coder with carries and a minimal flush, one byte at a time.
 *
 * After G. N. N. Martin, "Range encoding" (1979), with M. Schindler's byte-wise carries. The interval is [low, low +
 * range) of a 56-bit window, 2^48 < range <= 2^56, so that masses of 24 bits lose less than 2^-24 of a bit each. A
 * carry runs back into the bytes already written: the encoder holds them all, so nothing needs to be held back.
 *
 * Ending a segment writes the fewest bytes whose every continuation lies inside the interval: about half a byte over
 * the information on average. The decoder follows `low` too and so computes the same last bytes: it knows where the
 * segment ends without being told, and notices bytes that no encoder would have written. */
#ifndef CODE_RANGE_H
#define CODE_RANGE_H

#include "code/code.h"

#define RANGE_FULL ((uint64_t)1 << 56)
#define RANGE_LOW ((uint64_t)1 << 48)

typedef struct range_encoder {
    uint64_t low, range; /* low < 2^56 */
} range_encoder;

typedef struct range_decoder {
    uint64_t low, range, ahead; /* ahead: the window's value minus low, < range in a sound stream */
    bool wrong;                 /* a point beyond every mass was met */
} range_decoder;

/* How many bytes at most one symbol or one flush adds; the caller has room for them at `end`. */
enum { RANGE_MAX_BYTES = 8 };

static inline void range_carry(uint8_t *end) {
    while (++*--end == 0) continue; /* stops inside the segment: the value of a segment is below 1 */
}

/* Appends to the bytes ending at `end` and returns the new end. */
static inline uint8_t *range_encode(range_encoder *e, pith_mass m, int bits, uint8_t *end) {
    uint64_t step = e->range >> bits;
    e->low += step * m.start;
    e->range = step * m.width;
    if (e->low >= RANGE_FULL) {
        e->low -= RANGE_FULL;
        range_carry(end);
    }
    while (e->range <= RANGE_LOW) {
        *end++ = (uint8_t)(e->low >> 48);
        e->low = (e->low << 8) & (RANGE_FULL - 1);
        e->range <<= 8;
    }
    return end;
}

/* The fewest leading bytes, and their value in the window (which may carry to 2^56), that pin the interval. */
static inline int range_last(uint64_t low, uint64_t range, uint64_t *value) {
    int count = 0;
    for (;; count++) {
        uint64_t rest = (RANGE_FULL >> (8 * count)) - 1;
        *value = (low + rest) & ~rest;
        if (*value + rest <= low + range - 1) return count; /* at the latest with all seven bytes */
    }
}

static inline uint8_t *range_flush(range_encoder *e, uint8_t *end) {
    uint64_t value;
    int count = range_last(e->low, e->range, &value);
    if (value >= RANGE_FULL) range_carry(end);
    for (int i = 0; i < count; i++) *end++ = (uint8_t)(value >> (48 - 8 * i));
    *e = (range_encoder){0, RANGE_FULL};
    return end;
}

static inline uint32_t range_point(const range_decoder *d, int bits) {
    uint64_t point = d->ahead / (d->range >> bits), top = ((uint64_t)1 << bits) - 1;
    return (uint32_t)(point < top ? point : top);
}

/* Returns how many bytes are to be shifted in by range_shift. */
static inline void range_take(range_decoder *d, pith_mass m, int bits) {
    uint64_t step = d->range >> bits;
    d->low += step * m.start; /* carries out of the window are of no interest here */
    d->ahead -= step * m.start;
    d->range = step * m.width;
    if (d->ahead >= d->range) {
        d->ahead = d->range - 1;
        d->wrong = true;
    }
}

static inline bool range_wants(const range_decoder *d) { return d->range <= RANGE_LOW; }

static inline void range_shift(range_decoder *d, uint8_t byte) {
    d->range <<= 8;
    d->low <<= 8;
    d->ahead = d->ahead << 8 | byte;
}

#endif
