/* quant/isa/strip_k.c - strips of Q2_K, Q3_K, Q4_K, Q5_K, Q6_K (layouts: quant/q_k.c). */
#include "base/isa.h"
#include "quant/strip.h"

extern const struct strip_kernels ISA_TABLE(strip_k);

#if PITH_ISA_LEVEL > 0
#include "quant/isa/strip_kernel.h"

/* Weights 128 h + 32 k + l lie in bits 2k of byte 32 h + l. */
INLINE void q2_codes(const uint8_t *code, int group, vec out[WORDS]) {
    for (int w = 0; w < WORDS; w++) out[w] = pairs(word(code, group / 4 * 8 + w), group % 4, place_of(group % 4, 3));
}

INLINE vec moved(vec v, int from, int to) { return from > to ? right(v, from - to) : left(v, to - from); }

/* The third bit of weight e in bit e / 32 of byte e % 32, before the pairs. */
INLINE void q3_codes(const uint8_t *code, int group, vec out[WORDS]) {
    int place = place_of(group % 4, 2);
    for (int w = 0; w < WORDS; w++) {
        vec low = pairs(word(code + 32 * STRIP_ROWS, group / 4 * 8 + w), group % 4, place);
        out[w] = low | (moved(word(code, w), group, 2 * place + 2) & all8(4 << 2 * place));
    }
}

/* Weights 64 c + l below, 64 c + 32 + l above in byte 32 c + l. */
INLINE void q4_codes(const uint8_t *code, int group, vec out[WORDS]) {
    for (int w = 0; w < WORDS; w++) out[w] = nibble(word(code, group / 2 * 8 + w), group % 2);
}

/* The fifth bit of weight e in bit e / 32 of byte e % 32, before the nibbles. */
INLINE void q5_codes(const uint8_t *code, int group, vec out[WORDS]) {
    for (int w = 0; w < WORDS; w++) {
        vec low = right(word(code + 32 * STRIP_ROWS, group / 2 * 8 + w), group % 2 * 4);
        out[w] = (low & all8(15)) | (moved(word(code, w), group, 4) & all8(16));
    }
}

/* Nibbles: half h, weight 128 h + t below in byte 64 h + t for t < 64, above for the rest; then pairs as in Q2_K. */
INLINE void q6_codes(const uint8_t *code, int group, vec out[WORDS]) {
    for (int w = 0; w < WORDS; w++) {
        vec low = right(word(code, group / 4 * 16 + group % 2 * 8 + w), group % 4 / 2 * 4);
        vec high = word(code + 128 * STRIP_ROWS, group / 4 * 8 + w);
        out[w] = (low & all8(15)) | (moved(high, group % 4 * 2, 4) & all8(48));
    }
}

INLINE void q2_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    vecf d = make_up(halves_at(head, lane, 0), place_of(group % 4, 3)),
         dmin = V(sub_ps)(V(setzero_ps)(), halves_at(head, lane, 2));
    for (int h = 0; h < 2; h++) {
        __m128i both = bytes_at(head, lane, 4 + 2 * group + h);
        scale[h] = V(mul_ps)(d, from_unsigned(low_bits(both, 0, 15)));
        minimum[h] = V(mul_ps)(dmin, from_unsigned(low_bits(both, 4, 15)));
    }
}

/* Scale k: low nibble in byte k % 8, upper pair in byte 8 + k % 4. */
INLINE void q3_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    int place = place_of(group % 4, 2);
    vecf d = make_up(halves_at(head, lane, 0), place);
    for (int h = 0; h < 2; h++) {
        int k = 2 * group + h;
        __m128i low = low_bits(bytes_at(head, lane, 2 + k % 8), k / 8 * 4, 15);
        __m128i high = low_bits(bytes_at(head, lane, 10 + k % 4), k / 4 * 2, 3);
        __m128i six = _mm_or_si128(low, _mm_slli_epi16(high, 4));
        scale[h] = V(mul_ps)(d, from_signed(_mm_sub_epi8(six, _mm_set1_epi8(32))));
        minimum[h] = V(mul_ps)(scale[h], V(set1_ps)((float)(-4 * (1 << 2 * place))));
    }
}

/* Eight 6-bit scales and minima in twelve bytes. */
INLINE void q5_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    __m128i s, m;
    if (group < 4) {
        s = low_bits(bytes_at(head, lane, 4 + group), 0, 63);
        m = low_bits(bytes_at(head, lane, 8 + group), 0, 63);
    } else {
        __m128i both = bytes_at(head, lane, 8 + group);
        s = _mm_or_si128(low_bits(both, 0, 15), _mm_slli_epi16(low_bits(bytes_at(head, lane, group), 6, 3), 4));
        m = _mm_or_si128(low_bits(both, 4, 15), _mm_slli_epi16(low_bits(bytes_at(head, lane, 4 + group), 6, 3), 4));
    }
    scale[0] = V(mul_ps)(halves_at(head, lane, 0), from_unsigned(s));
    minimum[0] = V(mul_ps)(V(sub_ps)(V(setzero_ps)(), halves_at(head, lane, 2)), from_unsigned(m));
}

INLINE void q4_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    q5_scales(head, lane, group, scale, minimum);
    scale[0] = make_up(scale[0], group % 2 * LIFTED / 2);
}

INLINE void q6_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    vecf d = halves_at(head, lane, 0);
    for (int h = 0; h < 2; h++) {
        scale[h] = V(mul_ps)(d, from_signed(bytes_at(head, lane, 2 + 2 * group + h)));
        minimum[h] = V(mul_ps)(scale[h], V(set1_ps)(-32));
    }
}

#if PITH_ISA_LEVEL == 2
/* All scales of a block: four times sixteen bytes a vector. */
INLINE vec head_at(const uint8_t *head, int at) { return _mm512_loadu_si512(head + at * STRIP_ROWS); }
INLINE void keep(uint8_t *to, int at, vec v) { _mm512_store_si512(to + at * STRIP_ROWS, v); }
INLINE vec bits(vec v, int shift, int mask) { return right(v, shift) & all8(mask); }
INLINE vec six_bits(vec low, vec high, int from) { return low | left(bits(high, from, 3), 4); }

INLINE void q2_numbers(const uint8_t *head, block_numbers *out) {
    for (int k = 0; k < 16; k += 4) {
        vec both = head_at(head, 4 + k);
        keep(out->scale, k, both & all8(15));
        keep(out->minimum, k, bits(both, 4, 15));
    }
}

INLINE void q3_numbers(const uint8_t *head, block_numbers *out) {
    vec high = head_at(head, 10);
    for (int k = 0; k < 16; k += 4) {
        vec six = six_bits(bits(head_at(head, 2 + k % 8), k / 8 * 4, 15), high, k / 2);
        keep(out->scale, k, _mm512_sub_epi8(six, all8(32)));
    }
}

INLINE void q4_numbers(const uint8_t *head, block_numbers *out) {
    vec scale = head_at(head, 4), minimum = head_at(head, 8), both = head_at(head, 12);
    keep(out->scale, 0, scale & all8(63));
    keep(out->minimum, 0, minimum & all8(63));
    keep(out->scale, 4, six_bits(both & all8(15), scale, 6));
    keep(out->minimum, 4, six_bits(bits(both, 4, 15), minimum, 6));
}

INLINE void q6_numbers(const uint8_t *head, block_numbers *out) {
    for (int k = 0; k < 16; k += 4) keep(out->scale, k, head_at(head, 2 + k));
}
#define NUMBERS(planes_, name, ...) .planes = planes_, .by_block = true, .numbers = name, .place = {__VA_ARGS__}
#else
#define NUMBERS(...) .numbers = NULL
#endif

STRIP_MUL(q2_k, .groups = 8, .head = 20, .code = 64, .by_half = true, .codes = q2_codes, .scales = q2_scales,
          NUMBERS(1, q2_numbers, 0, 1, 2, 3, 0, 1, 2, 3))
STRIP_MUL(q3_k, .groups = 8, .head = 14, .code = 96, .by_half = true, .codes = q3_codes, .scales = q3_scales, .bias = 4,
          NUMBERS(1, q3_numbers, 0, 1, 2, 2, 0, 1, 2, 2))
STRIP_MUL(q4_k, .groups = 8, .head = 16, .code = 128, .codes = q4_codes, .scales = q4_scales,
          NUMBERS(2, q4_numbers, 0, 2, 0, 2, 0, 2, 0, 2))
STRIP_MUL(q5_k, .groups = 8, .head = 16, .code = 160, .codes = q5_codes, .scales = q5_scales, NUMBERS(2, q4_numbers, 0))
STRIP_MUL(q6_k, .groups = 8, .head = 18, .code = 192, .by_half = true, .codes = q6_codes, .scales = q6_scales,
          .bias = 32, NUMBERS(2, q6_numbers, 0))

const struct strip_kernels ISA_TABLE(strip_k) = {{[PITH_Q2_K] = q2_k_mul,
                                                  [PITH_Q3_K] = q3_k_mul,
                                                  [PITH_Q4_K] = q4_k_mul,
                                                  [PITH_Q5_K] = q5_k_mul,
                                                  [PITH_Q6_K] = q6_k_mul}};
#else
const struct strip_kernels ISA_TABLE(strip_k) = {0};
#endif
