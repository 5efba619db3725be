/* model/isa/attention_fast.c - products of queries with cached rows, and the exponentials between them.
 *
 * Cached rows are widened to f32 once per tile of a few rows and used for all queries of the unit. Sums may be
 * reordered: logits are not part of any stream. */
#include "base/isa.h"
#include "model/attention.h"

#include <math.h>
#include <string.h>
#if PITH_ISA_LEVEL > 0
#include <immintrin.h>
#endif

enum { MAX_DIM = 512 };

static void widen_f16(const uint8_t *row, int64_t dim, float *out) {
    int64_t i = 0;
#if PITH_ISA_LEVEL == 2
    for (; i + 16 <= dim; i += 16)
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(row + 2 * i))));
#elif PITH_ISA_LEVEL == 1
    for (; i + 8 <= dim; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * i))));
#endif
    for (; i < dim; i++) {
        uint16_t h;
        memcpy(&h, row + 2 * i, 2);
        out[i] = pith_f16_to_f32(h);
    }
}

static void widen_q8(const uint8_t *row, int64_t dim, float *out) {
    for (int64_t b = 0; b < dim / 32; b++, row += 34, out += 32) {
        uint16_t half;
        memcpy(&half, row, 2);
        float scale = pith_f16_to_f32(half);
        for (int i = 0; i < 32; i++) out[i] = scale * (float)((const int8_t *)row)[2 + i];
    }
}

static int64_t widen(uint16_t type, const uint8_t *row, int64_t dim, float *out) {
    if (type == PITH_F16) {
        widen_f16(row, dim, out);
        return dim * 2;
    }
    widen_q8(row, dim, out);
    return dim / 32 * 34;
}

static float dot(const float *a, const float *b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void scores(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                   int64_t dim, float scale, float *s, int64_t stride) {
    float wide[MAX_DIM];
    for (int64_t j = 0; j < n; j++) {
        k += widen(type, k, dim, wide);
        for (int64_t r = 0; r < rows; r++) s[r * stride + j] = scale * dot(q + r * q_stride, wide, dim);
    }
}

static void mix(uint16_t type, const float *p, int64_t stride, int64_t rows, const uint8_t *v, int64_t n, int64_t dim,
                float *out, int64_t out_stride) {
    float wide[MAX_DIM];
    for (int64_t j = 0; j < n; j++) {
        v += widen(type, v, dim, wide);
        for (int64_t r = 0; r < rows; r++) {
            float weight = p[r * stride + j], *o = out + r * out_stride;
            for (int64_t i = 0; i < dim; i++) o[i] += weight * wide[i];
        }
    }
}

static float exponentials(float *s, int64_t n, float m) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        s[i] = expf(s[i] - m);
        sum += s[i];
    }
    return sum;
}

extern const struct attention_kernels ISA_TABLE(attention);
const struct attention_kernels ISA_TABLE(attention) = {scores, mix, exponentials};
