/* quant/isa/strip_legacy.c - strips of Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Byte j of the nibbles holds weight j below and
 * weight j + 16 above. */
#include "base/isa.h"
#include "quant/strip.h"

extern const struct strip_kernels ISA_TABLE(strip_legacy);

#if PITH_ISA_LEVEL > 0
#include "quant/isa/strip_kernel.h"

INLINE void nibbles(const uint8_t *code, vec out[WORDS]) {
    for (int w = 0; w < 4; w++) {
        vec v = word(code, w);
        out[w] = nibble(v, 0);
        out[w + 4] = nibble(v, 1);
    }
}

INLINE void q4_codes(const uint8_t *code, int group, vec out[WORDS]) {
    (void)group;
    nibbles(code, out);
}

/* A lane of `high` holds the fifth bits of 32 weights; bit 4 of byte i becomes that of weight 4 w + i. */
INLINE vec fifth(vec high, int w) {
#if PITH_ISA_LEVEL == 2
    uint64_t at = 0;
    for (int i = 0; i < 8; i++) at |= (uint64_t)((4 * w + i % 4 + i / 4 * 32 + 60) & 63) << (8 * i);
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64((long long)at), high);
#else
    const __m256i spread_byte = _mm256_add_epi8(
        _mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0, 0x0c0c0c0c, 0x08080808, 0x04040404, 0), all8(w / 2));
    vec bit = _mm256_set1_epi32(w % 2 ? (int)0x80402010 : 0x08040201);
    return _mm256_cmpeq_epi8(_mm256_shuffle_epi8(high, spread_byte) & bit, bit);
#endif
}

INLINE void q5_codes(const uint8_t *code, int group, vec out[WORDS]) {
    (void)group;
    vec high = word(code, 0);
    nibbles(code + 64, out);
    for (int w = 4; w < WORDS; w++) out[w] = right(out[w], LIFTED);
    for (int w = 0; w < WORDS; w++) out[w] |= fifth(high, w) & all8(16);
}

INLINE void q8_codes(const uint8_t *code, int group, vec out[WORDS]) {
    (void)group;
    for (int w = 0; w < WORDS; w++) out[w] = word(code, w) ^ all8(0x80);
}

INLINE void biased(const uint8_t *head, int lane, float bias, vecf scale[2], vecf minimum[2]) {
    scale[0] = halves_at(head, lane, 0);
    minimum[0] = V(mul_ps)(scale[0], V(set1_ps)(-bias));
}

INLINE void by_8(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    biased(head, lane, 8, scale, minimum);
}

INLINE void by_16(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    biased(head, lane, 16, scale, minimum);
}

INLINE void by_128(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    biased(head, lane, 128, scale, minimum);
}

INLINE void affine(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    scale[0] = halves_at(head, lane, 0);
    minimum[0] = halves_at(head, lane, 2);
}

STRIP_MUL(q4_0, .groups = 1, .head = 2, .code = 16, .bias = 8, .lifted = true, .codes = q4_codes, .scales = by_8)
STRIP_MUL(q4_1, .groups = 1, .head = 4, .code = 16, .lifted = true, .codes = q4_codes, .scales = affine)
STRIP_MUL(q5_0, .groups = 1, .head = 2, .code = 20, .bias = 16, .codes = q5_codes, .scales = by_16)
STRIP_MUL(q5_1, .groups = 1, .head = 4, .code = 20, .codes = q5_codes, .scales = affine)
STRIP_MUL(q8_0, .groups = 1, .head = 2, .code = 32, .bias = 128, .wide = true, .codes = q8_codes, .scales = by_128)

const struct strip_kernels ISA_TABLE(strip_legacy) = {{[PITH_Q4_0] = q4_0_mul,
                                                       [PITH_Q4_1] = q4_1_mul,
                                                       [PITH_Q5_0] = q5_0_mul,
                                                       [PITH_Q5_1] = q5_1_mul,
                                                       [PITH_Q8_0] = q8_0_mul}};
#else
const struct strip_kernels ISA_TABLE(strip_legacy) = {0};
#endif
