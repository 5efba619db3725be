/* quant/isa/activation.c - inputs to 8-bit codes, 32 to a scale. Same bits at every level: a maximum, one product and
 * one rounding an element, and whole-number sums. */
#include "quant/activation.h"

#include "base/isa.h"

#include <math.h>
#include <string.h>
#if PITH_ISA_LEVEL > 0
#include <immintrin.h>
#endif

typedef struct group {
    float scale;
    int low, high; /* sums of the codes of each half */
} group;

/* The largest magnitude is found among the bit patterns, where NaN and infinity rank above all numbers. */
static float scale_of(uint32_t high, float *inverse) {
    float largest;
    memcpy(&largest, &high, 4);
    *inverse = high && high < 0x7f800000u ? 127.0f / largest : 0;
    if (!isfinite(*inverse)) *inverse = 0; /* too small to matter */
    return high < 0x7f800000u ? (*inverse > 0 ? largest / 127.0f : 0) : NAN;
}

#if PITH_ISA_LEVEL == 2
static group quantize(const float *x, int8_t *code) {
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i high = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                    _mm512_and_si512(_mm512_castps_si512(b), magnitude));
    group g;
    float inverse;
    g.scale = scale_of(_mm512_reduce_max_epu32(high), &inverse);
    __m512 by = _mm512_set1_ps(inverse);
    __m512i p = _mm512_cvtps_epi32(_mm512_mul_ps(a, by)), q = _mm512_cvtps_epi32(_mm512_mul_ps(b, by));
    if (inverse == 0) p = q = _mm512_setzero_si512();
    _mm_storeu_si128((__m128i *)code, _mm512_cvtepi32_epi8(p));
    _mm_storeu_si128((__m128i *)(code + 16), _mm512_cvtepi32_epi8(q));
    g.low = _mm512_reduce_add_epi32(p), g.high = _mm512_reduce_add_epi32(q);
    return g;
}
#else
static group quantize(const float *x, int8_t *code) {
    uint32_t bits[32], high = 0;
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < 32; i++) {
        uint32_t magnitude = bits[i] & 0x7fffffff;
        high = magnitude > high ? magnitude : high;
    }
    group g = {.low = 0};
    float inverse;
    g.scale = scale_of(high, &inverse);
    for (int i = 0; i < 32; i++) code[i] = inverse > 0 ? (int8_t)rintf(x[i] * inverse) : 0;
    for (int i = 0; i < 16; i++) g.low += code[i], g.high += code[i + 16];
    return g;
}
#endif

static void q8(const float *x, int tile, int64_t cols, uint8_t *out) {
    int64_t groups = cols / ACTIVATION_GROUP;
    int8_t *codes = (int8_t *)out;
    float *numbers = (float *)(out + (int64_t)tile * cols);
    for (int t = 0; t < tile; t++)
        for (int64_t g = 0; g < groups; g++) {
            group made = quantize(x + t * cols + g * ACTIVATION_GROUP, codes + (g * tile + t) * ACTIVATION_GROUP);
            float *n = numbers + g * ACTIVATION_NUMBERS * tile + t;
            n[ACTIVATION_SCALE * tile] = made.scale;
            n[ACTIVATION_LOW * tile] = made.scale * (float)made.low;
            n[ACTIVATION_HIGH * tile] = made.scale * (float)made.high;
            n[ACTIVATION_SUM * tile] = made.scale * (float)(made.low + made.high);
        }
}

extern const struct activation_kernels ISA_TABLE(activation);
const struct activation_kernels ISA_TABLE(activation) = {q8};
