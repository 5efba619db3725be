/* tensor/convert.c - plain element types to and from f32: IEEE, nearest even, NaN stays NaN.
 *
 * Portable bit arithmetic: these decide bytes that are written, so no instruction set may round differently. */
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t b;
    memcpy(&b, &f, 4);
    return b;
}

float pith_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    float f = (float)fraction * 0x1p-24f; /* zero and subnormals: exact */
    return sign ? -f : f;
}

uint16_t pith_f32_to_f16(float f) {
    uint32_t b = bits_of(f), sign = b >> 16 & 0x8000, magnitude = b & 0x7fffffff;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (magnitude < 0x38800000u) {                                  /* below the smallest normal half */
        float scaled = float_of(magnitude) * 0x1p24f;               /* exact: a count of subnormal steps */
        return (uint16_t)(sign | (uint32_t)rintf(scaled));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

float pith_bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

uint16_t pith_f32_to_bf16(float f) {
    uint32_t b = bits_of(f);
    if ((b & 0x7fffffff) > 0x7f800000u) return (uint16_t)(b >> 16 | 0x40);
    return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

static float f8_to_f32(uint8_t v, int exponent_bits, bool has_infinity) {
    int fraction_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = v >> fraction_bits & ((1 << exponent_bits) - 1), fraction = v & ((1 << fraction_bits) - 1);
    float sign = v & 0x80 ? -1.0f : 1.0f;
    if (has_infinity && exponent == (1 << exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
    if (!has_infinity && (v & 0x7f) == 0x7f) return NAN;
    if (!exponent) return sign * ldexpf((float)fraction, 1 - bias - fraction_bits);
    return sign * ldexpf((float)(fraction | 1 << fraction_bits), exponent - bias - fraction_bits);
}

#define EACH(T, expression)                                    \
    {                                                          \
        const T *x = in;                                       \
        for (int64_t i = 0; i < n; i++) out[i] = (expression); \
        return true;                                           \
    }

bool pith_to_f32(uint16_t type, const void *in, int64_t n, float *out) {
    switch (type) {
    case PITH_F32: memcpy(out, in, (size_t)n * 4); return true;
    case PITH_F16: EACH(uint16_t, pith_f16_to_f32(x[i]))
    case PITH_BF16: EACH(uint16_t, pith_bf16_to_f32(x[i]))
    case PITH_F64: EACH(double, (float)x[i])
    case PITH_I8: EACH(int8_t, (float)x[i])
    case PITH_I16: EACH(int16_t, (float)x[i])
    case PITH_I32: EACH(int32_t, (float)x[i])
    case PITH_I64: EACH(int64_t, (float)x[i])
    case PITH_U8: EACH(uint8_t, (float)x[i])
    case PITH_U16: EACH(uint16_t, (float)x[i])
    case PITH_U32: EACH(uint32_t, (float)x[i])
    case PITH_U64: EACH(uint64_t, (float)x[i])
    case PITH_BOOL: EACH(uint8_t, x[i] ? 1.0f : 0.0f)
    case PITH_F8_E4M3: EACH(uint8_t, f8_to_f32(x[i], 4, false))
    case PITH_F8_E5M2: EACH(uint8_t, f8_to_f32(x[i], 5, true))
    default: return false;
    }
}

bool pith_from_f32(uint16_t type, const float *in, int64_t n, void *out) {
    switch (type) {
    case PITH_F32: memcpy(out, in, (size_t)n * 4); return true;
    case PITH_F16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)out)[i] = pith_f32_to_f16(in[i]);
        return true;
    case PITH_BF16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)out)[i] = pith_f32_to_bf16(in[i]);
        return true;
    case PITH_F64:
        for (int64_t i = 0; i < n; i++) ((double *)out)[i] = in[i];
        return true;
    default: return false;
    }
}
