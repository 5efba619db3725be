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

static void q8(uint16_t type, const float *x, int tile, int64_t cols, uint8_t *out) {
    const int64_t span = type == ACTIVATION_Q8 ? ACTIVATION_GROUP : ACTIVATION_BLOCK;
    int8_t *codes = (int8_t *)out;
    float *numbers = (float *)(out + (int64_t)tile * cols), scale = 0, inverse = 0;
    for (int t = 0; t < tile; t++, x += cols)
        for (int64_t g = 0; g < cols / ACTIVATION_GROUP; g++) {
            if (g * ACTIVATION_GROUP % span == 0) {
                scale = scale_of(magnitude(x + g * ACTIVATION_GROUP, span), &inverse);
                if (span == ACTIVATION_GROUP) scale = eleven_bits(scale);
            }
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
