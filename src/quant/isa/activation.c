/* quant/isa/activation.c - inputs to 8-bit codes, 32 or 256 to a scale. Same bits at every level: a maximum, one
 * product and one rounding an element, and whole-number sums. */
#include "quant/activation.h"

#include "base/isa.h"

#include <math.h>
#include <string.h>
#if PITH_ISA_LEVEL > 0
#include <immintrin.h>
#endif

/* The largest magnitude is found among the bit patterns, where NaN and infinity rank above all numbers. */
static float scale_of(uint32_t high, float *inverse) {
    float largest;
    memcpy(&largest, &high, 4);
    *inverse = high && high < 0x7f800000u ? 127.0f / largest : 0;
    if (!isfinite(*inverse)) *inverse = 0; /* too small to matter */
    return high < 0x7f800000u ? (*inverse > 0 ? largest / 127.0f : 0) : NAN;
}

/* To the eleven bits of a half float, but with the range of a float. */
static float eleven_bits(float scale) {
    uint32_t bits;
    memcpy(&bits, &scale, 4);
    bits = (bits + 0x0fff + (bits >> 13 & 1)) & ~0x1fffu;
    float rounded;
    memcpy(&rounded, &bits, 4);
    return isfinite(scale) && isfinite(rounded) ? rounded : scale;
}

typedef struct sums {
    int low, high; /* of the codes of each half of a group */
} sums;

#if PITH_ISA_LEVEL == 2
static uint32_t magnitude(const float *x, int64_t n) {
    __m512i high = _mm512_setzero_si512(), mask = _mm512_set1_epi32(0x7fffffff);
    for (int64_t i = 0; i < n; i += 16)
        high = _mm512_max_epu32(high, _mm512_and_si512(_mm512_loadu_si512(x + i), mask));
    return _mm512_reduce_max_epu32(high);
}

static sums quantize(const float *x, float inverse, int8_t *code) {
    __m512 by = _mm512_set1_ps(inverse);
    __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), by)),
            q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), by));
    if (inverse == 0) p = q = _mm512_setzero_si512();
    __m256i codes = _mm256_set_m128i(_mm512_cvtepi32_epi8(q), _mm512_cvtepi32_epi8(p));
    _mm256_storeu_si256((__m256i *)code, codes);
    __m256i fours = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), codes);
    __m256i pairs = _mm256_hadd_epi32(fours, fours), each = _mm256_hadd_epi32(pairs, pairs);
    return (sums){_mm256_cvtsi256_si32(each), _mm256_extract_epi32(each, 4)};
}
#else
static uint32_t magnitude(const float *x, int64_t n) {
    uint32_t high = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        high = (bits & 0x7fffffff) > high ? bits & 0x7fffffff : high;
    }
    return high;
}

static sums quantize(const float *x, float inverse, int8_t *code) {
    sums s = {0};
    for (int i = 0; i < 32; i++) code[i] = inverse > 0 ? (int8_t)rintf(x[i] * inverse) : 0;
    for (int i = 0; i < 16; i++) s.low += code[i], s.high += code[i + 16];
    return s;
}
#endif

static float scale_for(const float *x, int64_t span, float *inverse) {
    float scale = scale_of(magnitude(x, span), inverse);
    return span == ACTIVATION_GROUP ? eleven_bits(scale) : scale;
}

#if PITH_ISA_LEVEL == 2
/* Two groups of a tile of one row. */
static void two_groups(const float *x, const float inverse[2], const float scale[2], int8_t *code, float *number) {
    const __m512i by_vector = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i v[4];
    for (int i = 0; i < 4; i++) {
        __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), _mm512_set1_ps(inverse[i / 2]));
        v[i] = _mm512_maskz_cvtps_epi32(inverse[i / 2] > 0 ? 0xffff : 0, scaled);
    }
    __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    __m512i codes = _mm512_permutexvar_epi32(by_vector, packed);
    _mm512_storeu_si512(code, codes);
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
    sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_BADC)); /* of 16 codes, in four lanes each */
    __m256i low = _mm512_castsi512_si256(
        _mm512_permutexvar_epi32(_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 8, 12, 8, 8, 0, 4, 0, 0), sum));
    __m256i high = _mm512_castsi512_si256(
        _mm512_maskz_permutexvar_epi32(0x88, _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 4, 0, 0, 0), sum));
    __m256 scales = _mm256_set_m128(_mm_set1_ps(scale[1]), _mm_set1_ps(scale[0]));
    __m256 numbers = _mm256_mul_ps(scales, _mm256_cvtepi32_ps(_mm256_add_epi32(low, high)));
    _mm256_storeu_ps(number, _mm256_blend_ps(numbers, scales, 0x11)); /* as ACTIVATION_SCALE .. _SUM */
}

/* A tile of one row, but for a last odd group; returns the columns done. */
static int64_t one_row(int64_t span, const float *x, int64_t cols, uint8_t *out) {
    int8_t *codes = (int8_t *)out;
    float *number = (float *)(out + cols), scale[2] = {0}, inverse[2] = {0};
    int64_t at = 0;
    for (; at + 2 * ACTIVATION_GROUP <= cols; at += 2 * ACTIVATION_GROUP, number += 2 * ACTIVATION_NUMBERS) {
        if (at % span == 0) scale[0] = scale_for(x + at, span, inverse);
        if (span == ACTIVATION_GROUP) scale[1] = scale_for(x + at + ACTIVATION_GROUP, span, inverse + 1);
        else scale[1] = scale[0], inverse[1] = inverse[0];
        two_groups(x + at, inverse, scale, codes + at, number);
    }
    return at;
}
#else
static int64_t one_row(int64_t span, const float *x, int64_t cols, uint8_t *out) {
    (void)span, (void)x, (void)cols, (void)out;
    return 0;
}
#endif

static void q8(uint16_t type, const float *x, int tile, int64_t cols, uint8_t *out) {
    const int64_t span = type == ACTIVATION_Q8 ? ACTIVATION_GROUP : ACTIVATION_BLOCK;
    int8_t *codes = (int8_t *)out;
    float *numbers = (float *)(out + (int64_t)tile * cols), scale = 0, inverse = 0;
    int64_t first = tile == 1 ? one_row(span, x, cols, out) / ACTIVATION_GROUP : 0;
    for (int t = 0; t < tile; t++, x += cols)
        for (int64_t g = first; g < cols / ACTIVATION_GROUP; g++) {
            if (g * ACTIVATION_GROUP % span == 0) scale = scale_for(x + g * ACTIVATION_GROUP, span, &inverse);
            sums s =
                quantize(x + g * ACTIVATION_GROUP, inverse, codes + activation_at(type, tile, t, g * ACTIVATION_GROUP));
            float *n = numbers + g * ACTIVATION_NUMBERS * tile + t;
            n[ACTIVATION_SCALE * tile] = scale;
            n[ACTIVATION_LOW * tile] = scale * (float)s.low;
            n[ACTIVATION_HIGH * tile] = scale * (float)s.high;
            n[ACTIVATION_SUM * tile] = scale * (float)(s.low + s.high);
        }
}

extern const struct activation_kernels ISA_TABLE(activation);
const struct activation_kernels ISA_TABLE(activation) = {q8};
