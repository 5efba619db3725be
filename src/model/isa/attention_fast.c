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

enum { SIDE = 16, CHUNK = 64 };

/* Sixteen keys side by side: key j of `out` is column j. */
static int64_t widen_across(uint16_t type, const uint8_t *k, int64_t n, int64_t dim, float *out) {
    float wide[MAX_DIM];
    int64_t bytes = 0;
    for (int64_t j = 0; j < SIDE; j++) {
        if (j < n) bytes += widen(type, k + bytes, dim, wide);
        for (int64_t i = 0; i < dim; i++) out[i * SIDE + j] = j < n ? wide[i] : 0;
    }
    return bytes;
}

typedef float across __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));

static void put_scores(across sum, float scale, float *s, int64_t n) {
    across scaled = sum * scale;
    memcpy(s, &scaled, (size_t)n * sizeof *s);
}

/* One query with sixteen keys, and four: sums stay in registers, none goes across lanes. */
static void score_one(const float *q, const float *keys, int64_t dim, float scale, float *s, int64_t n) {
    across sum = {0};
    for (int64_t i = 0; i < dim; i++) sum += q[i] * *(const across *)(keys + i * SIDE);
    put_scores(sum, scale, s, n);
}

static void score_four(const float *q, int64_t q_stride, const float *keys, int64_t dim, float scale, float *s,
                       int64_t stride, int64_t n) {
    across a = {0}, b = {0}, c = {0}, d = {0};
    for (int64_t i = 0; i < dim; i++, q++) {
        across key = *(const across *)(keys + i * SIDE);
        a += q[0] * key, b += q[q_stride] * key, c += q[2 * q_stride] * key, d += q[3 * q_stride] * key;
    }
    put_scores(a, scale, s, n), put_scores(b, scale, s + stride, n);
    put_scores(c, scale, s + 2 * stride, n), put_scores(d, scale, s + 3 * stride, n);
}

static void scores_across(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                          int64_t dim, float scale, float *s, int64_t stride) {
    float keys[MAX_DIM * SIDE];
    for (int64_t j = 0; j < n; j += SIDE) {
        int64_t count = n - j < SIDE ? n - j : SIDE, r = 0;
        k += widen_across(type, k, count, dim, keys);
        for (; r + 4 <= rows; r += 4)
            score_four(q + r * q_stride, q_stride, keys, dim, scale, s + r * stride + j, stride, count);
        for (; r < rows; r++) score_one(q + r * q_stride, keys, dim, scale, s + r * stride + j, count);
    }
}

static void scores(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                   int64_t dim, float scale, float *s, int64_t stride) {
    if (rows >= 4) {
        scores_across(type, q, q_stride, rows, k, n, dim, scale, s, stride);
        return;
    }
    float wide[MAX_DIM];
    for (int64_t j = 0; j < n; j++) {
        k += widen(type, k, dim, wide);
        for (int64_t r = 0; r < rows; r++) s[r * stride + j] = scale * dot(q + r * q_stride, wide, dim);
    }
}

/* CHUNK features of two rows over a few widened values, sums in registers. */
static inline __attribute__((always_inline)) void mix_rows(const float *p, int64_t stride, const int rows,
                                                           const float *wide, int64_t n, int64_t dim, float *out,
                                                           int64_t out_stride) {
    float sum[2][CHUNK] = {{0}};
    for (int64_t j = 0; j < n; j++)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < CHUNK; i++) sum[r][i] += p[r * stride + j] * wide[j * dim + i];
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < CHUNK; i++) out[r * out_stride + i] += sum[r][i];
}

static void mix(uint16_t type, const float *p, int64_t stride, int64_t rows, const uint8_t *v, int64_t n, int64_t dim,
                float *out, int64_t out_stride) {
    float wide[SIDE * MAX_DIM];
    for (int64_t j = 0; j < n; j += SIDE) {
        int64_t count = n - j < SIDE ? n - j : SIDE;
        for (int64_t k = 0; k < count; k++) v += widen(type, v, dim, wide + k * dim);
        for (int64_t first = 0; first < dim; first += CHUNK) {
            int64_t r = 0;
            for (; dim - first >= CHUNK && r + 2 <= rows; r += 2)
                mix_rows(p + r * stride + j, stride, 2, wide + first, count, dim, out + r * out_stride + first,
                         out_stride);
            for (; dim - first >= CHUNK && r < rows; r++)
                mix_rows(p + r * stride + j, stride, 1, wide + first, count, dim, out + r * out_stride + first,
                         out_stride);
            for (; r < rows; r++)
                for (int64_t k = 0; k < count; k++)
                    for (int64_t i = first; i < dim; i++)
                        out[r * out_stride + i] += p[r * stride + j + k] * wide[k * dim + i];
        }
    }
}

static void narrow(const float *x, int64_t n, uint16_t *out) {
    int64_t i = 0;
#if PITH_ISA_LEVEL == 2
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#elif PITH_ISA_LEVEL == 1
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) out[i] = pith_f32_to_f16(x[i]);
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
const struct attention_kernels ISA_TABLE(attention) = {scores, mix, exponentials, narrow};
