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

/* Scales and minima of a block as 16-bit numbers: a lane has those of both halves of a group. */
typedef struct pairs_of_numbers {
    vec scale[8], minimum[8];
} pairs_of_numbers;

/* Four times sixteen bytes to four bytes a lane: the first, third, second and fourth, so that the even ones are the
 * numbers of a group, and the odd ones those of the next. */
INLINE vec turned(vec v) {
    const vec row = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const vec from =
        _mm512_or_si512(_mm512_mullo_epi32(row, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x30102000));
    return _mm512_permutexvar_epi8(from, v);
}

INLINE void q2_pairs(const uint8_t *head, pairs_of_numbers *out) {
    const vec low = _mm512_set1_epi16(15);
    for (int k = 0; k < 4; k++) {
        vec both = turned(head_at(head, 4 + 4 * k));
        for (int i = 0; i < 2; i++) {
            out->scale[2 * k + i] = right(both, 8 * i) & low;
            out->minimum[2 * k + i] = right(both, 8 * i + 4) & low;
        }
    }
}

/* The sums of codes behind sixteen of a block's numbers; where the scale is 0, anything. */
INLINE void whole_sums(const float *number, const vec from, int16_t out[16]) {
    vecf both = _mm512_permutex2var_ps(_mm512_loadu_ps(number), from, _mm512_loadu_ps(number + 16));
    vec whole = _mm512_cvtps_epi32(_mm512_mul_ps(both, _mm512_set1_ps(1 / number[ACTIVATION_SCALE])));
    _mm256_store_si256((__m256i *)out, _mm512_cvtepi32_epi16(whole));
}

/* Products of both halves of a group as 16-bit numbers side by side; `place` bits too many are dropped, which are 0. */
INLINE vec dots_beside(const vec c[WORDS], const int8_t *x, int place) {
    vec low = _mm512_srli_epi32(half_dot(c, x, false), place);
    vec high = _mm512_slli_epi32(half_dot(c + WORDS / 2, x + 16, false), 16 - place);
    return high | (low & _mm512_set1_epi32(0xffff));
}

INLINE vec pair_of(const int16_t *sums) {
    int32_t pair;
    memcpy(&pair, sums, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* (d dot - dmin offset) times the scale of the inputs */
INLINE vecf scaled(vecf d, vec dot, vecf dmin, vec offset, const float *number) {
    vecf low = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(offset));
    return _mm512_mul_ps(_mm512_fmsub_ps(d, _mm512_cvtepi32_ps(dot), low), spread(number + ACTIVATION_SCALE));
}

typedef struct whole {
    vec dot, offset; /* products times scales, sums of inputs times minima */
} whole;

/* All in whole numbers: the products of half a group have 14 bits besides those of the place of their codes (`most`: as
 * in place_of), so that one step multiplies both with their scales. `size`: bytes of a block. */
INLINE whole by_halves(codes_fn codes, int most, int size, const uint8_t *code, const int8_t *x, const float *number,
                       const uint8_t *ahead, const vec scale[8], const vec minimum[8]) {
    _Alignas(32) int16_t sums[16]; /* of both halves of each group */
    whole k = {VS(setzero)(), VS(setzero)()};
    whole_sums(number, _mm512_set_epi32(30, 29, 26, 25, 22, 21, 18, 17, 14, 13, 10, 9, 6, 5, 2, 1), sums);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++, x += 32) {
        vec c[WORDS];
        fetch(ahead, size * STRIP_ROWS, g, 8);
        codes(code, g, c);
        k.dot = _mm512_dpwssd_epi32(k.dot, dots_beside(c, x, 2 * place_of(g % 4, most)), scale[g]);
        k.offset = _mm512_dpwssd_epi32(k.offset, minimum[g], pair_of(sums + 2 * g));
    }
    return k;
}

INLINE vecf q2_block(const uint8_t *head, const uint8_t *code, const int8_t *x, const float *number,
                     const uint8_t *ahead) {
    pairs_of_numbers n;
    q2_pairs(head, &n);
    whole k = by_halves(q2_codes, 3, 20 + 64, code, x, number, ahead, n.scale, n.minimum);
    return scaled(halves_at(head, 0, 0), k.dot, halves_at(head, 0, 2), k.offset, number);
}

/* Scales are signed, codes by 4 too large. */
INLINE vecf q3_block(const uint8_t *head, const uint8_t *code, const int8_t *x, const float *number,
                     const uint8_t *ahead) {
    block_numbers n;
    vec scale[8];
    q3_numbers(head, &n);
    for (int g = 0; g < 8; g += 2) {
        vec four = turned(head_at(n.scale, 2 * g));
        scale[g] = _mm512_srai_epi16(_mm512_slli_epi16(four, 8), 8);
        scale[g + 1] = _mm512_srai_epi16(four, 8);
    }
    whole k = by_halves(q3_codes, 2, 14 + 96, code, x, number, ahead, scale, scale);
    vec dot = _mm512_sub_epi32(k.dot, _mm512_slli_epi32(k.offset, 2));
    return _mm512_mul_ps(_mm512_mul_ps(halves_at(head, 0, 0), spread(number + ACTIVATION_SCALE)),
                         _mm512_cvtepi32_ps(dot));
}

/* Sixteen bytes of the k-th and of the l-th quarter of v, as 16-bit numbers side by side. */
INLINE vec side_by_side(vec v, int k, int l) {
    const vec row = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const vec from = _mm512_add_epi32(_mm512_or_si512(row, _mm512_slli_epi32(row, 16)),
                                      _mm512_set1_epi32(STRIP_ROWS * (k | l << 16)));
    return _mm512_maskz_permutexvar_epi8(0x5555555555555555, from, v);
}

/* In whole numbers too: half a group has 15 bits, and one scale for both. */
INLINE vecf q4_block(const uint8_t *head, const uint8_t *code, const int8_t *x, const float *number,
                     const uint8_t *ahead) {
    _Alignas(32) int16_t sums[16]; /* of groups */
    vec both = head_at(head, 12), low = head_at(head, 4), high = head_at(head, 8);
    vec scale[2] = {low & all8(63), six_bits(both & all8(15), low, 6)};
    vec minimum[2] = {high & all8(63), six_bits(bits(both, 4, 15), high, 6)};
    vec dot = VS(setzero)(), offset = VS(setzero)();
    whole_sums(number, _mm512_set_epi32(31, 27, 23, 19, 15, 11, 7, 3, 31, 27, 23, 19, 15, 11, 7, 3), sums);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++, x += 32) {
        vec c[WORDS];
        fetch(ahead, (16 + 128) * STRIP_ROWS, g, 8);
        q4_codes(code, g, c);
        dot = _mm512_dpwssd_epi32(dot, dots_beside(c, x, g % 2 * LIFTED), side_by_side(scale[g / 4], g % 4, g % 4));
        if (g % 2) continue;
        vec two = side_by_side(minimum[g / 4], g % 4, g % 4 + 1);
        offset = _mm512_dpwssd_epi32(offset, two, pair_of(sums + g));
    }
    return scaled(halves_at(head, 0, 0), dot, halves_at(head, 0, 2), offset, number);
}

#define NUMBERS(planes_, name, ...) .planes = planes_, .by_block = true, .numbers = name, .place = {__VA_ARGS__}
#define BLOCK(name) .block = name
#else
#define NUMBERS(...) .numbers = NULL
#define BLOCK(name) .block = NULL
#endif

STRIP_MUL(q2_k, .groups = 8, .head = 20, .code = 64, .by_half = true, .codes = q2_codes, .scales = q2_scales,
          NUMBERS(1, q2_numbers, 0, 1, 2, 3, 0, 1, 2, 3), BLOCK(q2_block))
STRIP_MUL(q3_k, .groups = 8, .head = 14, .code = 96, .by_half = true, .codes = q3_codes, .scales = q3_scales, .bias = 4,
          NUMBERS(1, q3_numbers, 0, 1, 2, 2, 0, 1, 2, 2), BLOCK(q3_block))
STRIP_MUL(q4_k, .groups = 8, .head = 16, .code = 128, .codes = q4_codes, .scales = q4_scales,
          NUMBERS(2, q4_numbers, 0, 2, 0, 2, 0, 2, 0, 2), BLOCK(q4_block))
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
