/* quant/isa/strip_other.c - strips of the types with a table of values (IQ4_NL, IQ4_XS, MXFP4) and of the ternary ones
 * (TQ1_0, TQ2_0). */
#include "base/isa.h"
#include "quant/strip.h"

extern const struct strip_kernels ISA_TABLE(strip_other);

#if PITH_ISA_LEVEL > 0
#include "quant/isa/strip_kernel.h"

/* Values of the lower (k = 0) or upper nibbles. A permutation of 64 bytes sees six bits of each index: with the table
 * four times over, what is left of the other nibble need not be cleared. */
INLINE vec table16(const uint8_t *values) {
    __m128i v = _mm_loadu_si128((const __m128i *)values);
#if PITH_ISA_LEVEL == 2
    return _mm512_broadcast_i32x4(v);
#else
    return _mm256_broadcastsi128_si256(v);
#endif
}

INLINE vec in_table16(vec table, vec v, int k) {
    v = k ? right(v, 4) : v;
#if PITH_ISA_LEVEL == 2
    return _mm512_permutexvar_epi8(v, table);
#else
    return _mm256_shuffle_epi8(table, v & all8(15));
#endif
}

INLINE void looked_up(const uint8_t *code, int first, const uint8_t *values, vec out[WORDS]) {
    vec table = table16(values);
    for (int w = 0; w < 4; w++) {
        out[w] = in_table16(table, word(code, first + w), 0);
        out[w + 4] = in_table16(table, word(code, first + w), 1);
    }
}

/* The values of quant/iq4.c plus 127, those of quant/mxfp4.c plus 12. */
static const uint8_t iq4_values[16] = {0, 23, 44, 62, 78, 92, 105, 117, 128, 140, 152, 165, 180, 196, 216, 240};
static const uint8_t mxfp4_values[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

INLINE void iq4_codes(const uint8_t *code, int group, vec out[WORDS]) { looked_up(code, 4 * group, iq4_values, out); }
INLINE void mxfp4_codes(const uint8_t *code, int group, vec out[WORDS]) {
    looked_up(code, 4 * group, mxfp4_values, out);
}

INLINE void with_bias(vecf d, float bias, vecf scale[2], vecf minimum[2]) {
    scale[0] = d;
    minimum[0] = V(mul_ps)(d, V(set1_ps)(-bias));
}

INLINE void iq4_nl_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    with_bias(halves_at(head, lane, 0), 127, scale, minimum);
}

/* Scale k, bias 32: low nibbles by pairs in bytes 4-7, upper pairs in bits 2k of the 16-bit number at byte 2. */
INLINE vec iq4_xs_scale(const uint8_t *head, int lane, int group) {
    __m128i low = low_bits(bytes_at(head, lane, 4 + group / 2), group % 2 * 4, 15);
#if PITH_ISA_LEVEL == 2
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(head + 2 * STRIP_ROWS + 2 * lane)));
#else
    __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(head + 2 * STRIP_ROWS + 2 * lane)));
#endif
    vec upper = VS(and)(V(srli_epi32)(high, 2 * group), V(set1_epi32)(3));
    vec six = V(add_epi32)(V(cvtepu8_epi32)(low), V(slli_epi32)(upper, 4));
    return V(sub_epi32)(six, V(set1_epi32)(32));
}

INLINE void iq4_xs_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    vecf k = V(cvtepi32_ps)(iq4_xs_scale(head, lane, group));
    with_bias(V(mul_ps)(halves_at(head, lane, 0), k), 127, scale, minimum);
}

/* Half of 2^(e - 127): exponents 0 and 1 give subnormal numbers. */
INLINE void mxfp4_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    vec e = V(cvtepu8_epi32)(bytes_at(head, lane, 0));
    vec normal = V(slli_epi32)(V(sub_epi32)(e, V(set1_epi32)(1)), 23);
    vec small = V(sllv_epi32)(V(set1_epi32)(0x00200000), e); /* e > 31 gives 0 */
#if PITH_ISA_LEVEL == 2
    vec bits = _mm512_mask_mov_epi32(normal, _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), small);
    with_bias(_mm512_castsi512_ps(bits), 12, scale, minimum);
#else
    vec bits = _mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e));
    with_bias(_mm256_castsi256_ps(bits), 12, scale, minimum);
#endif
}

INLINE void tq2_codes(const uint8_t *code, int group, vec out[WORDS]) {
    for (int w = 0; w < WORDS; w++) out[w] = pairs(word(code, group / 4 * 8 + w), group % 4, place_of(group % 4, 3));
}

INLINE void tq2_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    with_bias(halves_at(head, lane, 0), 1, scale, minimum);
    scale[0] = make_up(scale[0], place_of(group % 4, 3));
}

#if PITH_ISA_LEVEL == 2
/* No scale within a block: products stay whole numbers, by the place their codes have. */
INLINE vecf tq2_block(const uint8_t *head, const uint8_t *code, const int8_t *x, const float *number,
                      const uint8_t *ahead) {
    vec sum[4][2], total = VS(setzero)();
    vecf offset = V(setzero_ps)(), scale = spread(number + ACTIVATION_SCALE);
    for (int k = 0; k < 4; k++) sum[k][0] = sum[k][1] = VS(setzero)();
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++, x += 32, number += ACTIVATION_NUMBERS) {
        vec c[WORDS];
        fetch(ahead, (2 + 64) * STRIP_ROWS, g, 8);
        tq2_codes(code, g, c);
        for (int w = 0; w < WORDS; w++) sum[g % 4][w % 2] = dot4(sum[g % 4][w % 2], c[w], x + 4 * w, false);
        offset = V(add_ps)(offset, spread(number + ACTIVATION_SUM));
    }
    for (int k = 0; k < 4; k++) total = V(add_epi32)(total, V(srai_epi32)(V(add_epi32)(sum[k][0], sum[k][1]), 2 * k));
    return V(mul_ps)(halves_at(head, 0, 0), V(fmsub_ps)(V(cvtepi32_ps)(total), scale, offset));
}
#define TQ2_BLOCK .block = tq2_block
#else
#define TQ2_BLOCK .block = NULL
#endif

/* Digit k of a byte in base 3, times 64: the whole part of 3 * fraction(3^k byte / 256). Two roundings up of averages
 * make (3 v + 3) / 4 of v = byte - 1, whose two upper bits are the digit for every byte. */
INLINE vec thrice(vec v) { return (vec)((bytes)v + (bytes)v + (bytes)v); }
enum { DIGIT_UNIT = 64 };
INLINE vec digit(vec v, int k) {
    if (k > 0) v = thrice(v);
    if (k > 1) v = thrice(v);
    if (k > 2) v = thrice(v);
    if (k > 3) v = thrice(v);
    v = V(subs_epu8)(v, all8(1));
    return V(avg_epu8)(v, V(avg_epu8)(v, VS(setzero)())) & all8(0xc0);
}

/* Only for matrices that are not kept as TQ2_0. Digit k of byte l: weight 32 k + l for l < 32, 160 + 16 k + l - 32 for
 * l < 48, 240 + 4 k + l - 48 above. */
INLINE void tq1_codes(const uint8_t *code, int group, vec out[WORDS]) {
    if (group < 5) {
        for (int w = 0; w < WORDS; w++) out[w] = digit(word(code, w), group);
        return;
    }
    for (int w = 0; w < 4; w++) out[w] = digit(word(code, 8 + w), 2 * group - 10);
    for (int w = 0; w < 4; w++)
        out[w + 4] = group < 7 ? digit(word(code, 8 + w), 2 * group - 9) : digit(word(code, 12), w);
}

INLINE void tq1_scales(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]) {
    (void)group;
    vecf d = halves_at(head, lane, 0);
    scale[0] = V(mul_ps)(d, V(set1_ps)(1.0f / DIGIT_UNIT));
    minimum[0] = V(sub_ps)(V(setzero_ps)(), d);
}

#if PITH_ISA_LEVEL == 2
INLINE void iq4_xs_numbers(const uint8_t *head, block_numbers *out) {
    for (int g = 0; g < 8; g++)
        _mm_store_si128((__m128i *)(out->scale + g * STRIP_ROWS), _mm512_cvtepi32_epi8(iq4_xs_scale(head, 0, g)));
}

INLINE void tq_numbers(const uint8_t *head, block_numbers *out) {
    (void)head;
    memset(out->scale, 1, sizeof out->scale);
}
#define NUMBERS(planes_, name, ...) .planes = planes_, .numbers = name, .place = {__VA_ARGS__}
#else
#define NUMBERS(...) .numbers = NULL
#endif

STRIP_MUL(iq4_nl, .groups = 1, .head = 2, .code = 16, .bias = 127, .wide = true, .codes = iq4_codes,
          .scales = iq4_nl_scales)
STRIP_MUL(iq4_xs, .groups = 8, .head = 8, .code = 128, .bias = 127, .wide = true, .codes = iq4_codes,
          .scales = iq4_xs_scales, NUMBERS(2, iq4_xs_numbers, 0))
STRIP_MUL(mxfp4, .groups = 1, .head = 1, .code = 16, .bias = 12, .codes = mxfp4_codes, .scales = mxfp4_scales)
STRIP_MUL(tq1_0, .groups = 8, .head = 2, .code = 52, .bias = 1, .codes = tq1_codes, .scales = tq1_scales,
          NUMBERS(1, tq_numbers, 0))
STRIP_MUL(tq2_0, .groups = 8, .head = 2, .code = 64, .bias = 1, .codes = tq2_codes, .scales = tq2_scales, TQ2_BLOCK,
          NUMBERS(1, tq_numbers, 0, 1, 2, 3, 0, 1, 2, 3))

const struct strip_kernels ISA_TABLE(strip_other) = {{[PITH_IQ4_NL] = iq4_nl_mul,
                                                      [PITH_IQ4_XS] = iq4_xs_mul,
                                                      [PITH_MXFP4] = mxfp4_mul,
                                                      [PITH_TQ1_0] = tq1_0_mul,
                                                      [PITH_TQ2_0] = tq2_0_mul}};
#else
const struct strip_kernels ISA_TABLE(strip_other) = {0};
#endif
