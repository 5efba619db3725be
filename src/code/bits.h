/* code/bits.h - bits one after another, lowest first: raw fields, and numbers in Elias' gamma code.
 *
 * P. Elias, "Universal codeword sets and representations of the integers" (1975): a number of n + 1 bits as n zeros and
 * a one, then the n bits below its leading one. For what is too small or too flat to be worth a model. */
#ifndef CODE_BITS_H
#define CODE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BITS_MOST = 56 }; /* of one field */

typedef struct bit_writer { /* start: {p}; the memory at p must hold what is written, rounded up to bytes */
    uint8_t *p;
    uint64_t word;
    int fill; /* bits in word, fewer than 8 between calls */
} bit_writer;

/* value < 1 << bits */
static inline void bits_put(bit_writer *w, uint64_t value, int bits) {
    w->word |= value << w->fill;
    for (w->fill += bits; w->fill >= 8; w->fill -= 8, w->word >>= 8) *w->p++ = (uint8_t)w->word;
}

/* Zeros up to a whole byte; returns the end. */
static inline uint8_t *bits_end(bit_writer *w) {
    if (w->fill) *w->p++ = (uint8_t)w->word;
    *w = (bit_writer){w->p, 0, 0};
    return w->p;
}

typedef struct bit_reader { /* start: {first, end}; past the end it reads zeros */
    const uint8_t *p, *end;
    uint64_t word, taken; /* taken: bits in all */
    int fill;
} bit_reader;

static inline uint64_t bits_get(bit_reader *r, int bits) {
    for (; r->fill < bits; r->fill += 8) r->word |= (uint64_t)(r->p < r->end ? *r->p++ : 0) << r->fill;
    uint64_t v = r->word & (((uint64_t)1 << bits) - 1);
    r->word >>= bits;
    r->fill -= bits;
    r->taken += (uint64_t)bits;
    return v;
}

/* Whether exactly `size` bytes were needed, and what is left of the last one is zero. */
static inline bool bits_used_up(const bit_reader *r, size_t size) {
    return (r->taken + 7) / 8 == size && r->p == r->end && r->word == 0;
}

/* 1 <= value < 2^55; 2 n + 1 bits for a value of n + 1 */
static inline void bits_put_gamma(bit_writer *w, uint64_t value) {
    int n = 63 - __builtin_clzll(value);
    bits_put(w, (uint64_t)1 << n, n + 1);
    bits_put(w, value - ((uint64_t)1 << n), n);
}

/* 0: no number, or the end. */
static inline uint64_t bits_get_gamma(bit_reader *r) {
    int n = 0;
    while (n < BITS_MOST - 1 && !bits_get(r, 1)) n++;
    return n < BITS_MOST - 1 ? (uint64_t)1 << n | bits_get(r, n) : 0;
}

#endif
