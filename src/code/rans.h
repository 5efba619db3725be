/* code/rans.h - asymmetric numeral systems: one state, in three sizes.
 *
 * J. Duda, "Asymmetric numeral systems" (arXiv 1311.2540); the range variant as F. Giesen, "Interleaved entropy
 * coders" (arXiv 1402.3392), lays it out. A state of the small kind lies in [2^16, 2^32) and exchanges 16-bit words,
 * one of the large kind in [2^31, 2^63) and exchanges 32-bit words, one of the fine kind in [2^24, 2^32) and exchanges
 * a byte or, from below 2^16, a 16-bit word: it loses next to nothing by rounding. Encoding runs backward over the
 * symbols, decoding forward; the encoder starts from the lowest state, so a decoder that does not end there has met a
 * damaged stream. */
#ifndef CODE_RANS_H
#define CODE_RANS_H

#include "code/code.h"

#define RANS32_LOW ((uint32_t)1 << 16)
#define RANS64_LOW ((uint64_t)1 << 31)
#define RANS_FINE_LOW ((uint32_t)1 << 24)

/* The point under a state, and the state after the symbol whose mass holds that point. */
static inline uint32_t rans_point(uint64_t state, int bits) { return (uint32_t)(state & (((uint64_t)1 << bits) - 1)); }

static inline uint64_t rans_take(uint64_t state, pith_mass m, int bits) {
    return m.width * (state >> bits) + rans_point(state, bits) - m.start;
}

/* The inverse; the state must have been made small enough by rans32_full / rans64_full before. */
static inline uint64_t rans_put(uint64_t state, pith_mass m, int bits) {
    return (state / m.width << bits) + state % m.width + m.start;
}

static inline bool rans32_full(uint64_t state, pith_mass m, int bits) { return state >> (32 - bits) >= m.width; }
static inline bool rans64_full(uint64_t state, pith_mass m, int bits) { return state >> (63 - bits) >= m.width; }

#endif
