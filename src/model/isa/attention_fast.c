/* model/isa/attention_fast.c - products of queries with cached rows, and the exponentials between them.
 *
 * Cached rows are widened to f32 once per tile of a few rows and used for all queries of the unit. Sums may be
 * reordered: logits are not part of any stream. */
#include "base/isa.h"
#include "model/attention.h"
#include "tensor/isa/turn.h"

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

enum { SIDE = 16, CHUNK = 64, EIGHT = 8 }; /* products under way hide how long one takes */

/* Sixteen keys side by side: key j of `out` is column j. */
static int64_t widen_across(uint16_t type, const uint8_t *k, int64_t n, int64_t dim, float *out) {
    float wide[SIDE * MAX_DIM];
    int64_t bytes = 0, i = 0;
    for (int64_t j = 0; j < n; j++) bytes += widen(type, k + bytes, dim, wide + j * dim);
    memset(wide + n * dim, 0, (size_t)((SIDE - n) * dim) * sizeof *wide);
    for (; i + SIDE <= dim; i += SIDE) turn16(wide + i, dim, out + i * SIDE);
    for (; i < dim; i++)
        for (int64_t j = 0; j < SIDE; j++) out[i * SIDE + j] = wide[j * dim + i];
    return bytes;
}

typedef float across __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));

static void put_scores(across sum, float scale, float *s, int64_t n) {
    across scaled = sum * scale;
    memcpy(s, &scaled, (size_t)n * sizeof *s);
}

/* Some queries with sixteen keys: sums stay in registers, none goes across lanes. */
static inline __attribute__((always_inline)) void score_some(const int queries, const float *q, int64_t q_stride,
                                                             const float *keys, int64_t dim, float scale, float *s,
                                                             int64_t stride, int64_t n) {
    across sum[EIGHT];
    for (int r = 0; r < queries; r++) sum[r] = (across){0};
    for (int64_t i = 0; i < dim; i++) {
        across key = *(const across *)(keys + i * SIDE);
        for (int r = 0; r < queries; r++) sum[r] += q[r * q_stride + i] * key;
    }
    for (int r = 0; r < queries; r++) put_scores(sum[r], scale, s + r * stride, n);
}

static void scores_across(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                          int64_t dim, float scale, float *s, int64_t stride) {
    float keys[MAX_DIM * SIDE];
    for (int64_t j = 0; j < n; j += SIDE) {
        int64_t count = n - j < SIDE ? n - j : SIDE, r = 0;
        k += widen_across(type, k, count, dim, keys);
        for (; r + EIGHT <= rows; r += EIGHT)
            score_some(EIGHT, q + r * q_stride, q_stride, keys, dim, scale, s + r * stride + j, stride, count);
        for (; r < rows; r++)
            score_some(1, q + r * q_stride, q_stride, keys, dim, scale, s + r * stride + j, stride, count);
    }
}

/* A query or a few, as in decoding, go straight from half floats to sums: nothing is widened into memory, sixteen keys
 * or values are under way at a time. False: not for these shapes. */
enum { FEW = 4 };

#if PITH_ISA_LEVEL == 2
static inline __m512 widened(const uint8_t *row, int64_t i) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * i)));
}

/* The sum across each of sixteen vectors: lanes 8, 4, 2 and 1 apart. */
static inline __m512 sums_across(const __m512 v[SIDE]) {
    __m512 half[8], quarter[4], two[2];
    for (int i = 0; i < 8; i++) {
        __m512 a = v[i % 4 + i / 4 * 8], b = v[i % 4 + i / 4 * 8 + 4];
        half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    for (int i = 0; i < 4; i++)
        quarter[i] = _mm512_add_ps(_mm512_shuffle_f32x4(half[i], half[i + 4], 0x88),
                                   _mm512_shuffle_f32x4(half[i], half[i + 4], 0xdd));
    for (int i = 0; i < 2; i++)
        two[i] = _mm512_add_ps(_mm512_shuffle_ps(quarter[2 * i], quarter[2 * i + 1], 0x44),
                               _mm512_shuffle_ps(quarter[2 * i], quarter[2 * i + 1], 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88), _mm512_shuffle_ps(two[0], two[1], 0xdd));
}

/* One query with at most sixteen keys. */
static inline void score_few(const float *q, const uint8_t *k, int64_t n, int64_t dim, float scale, float *s) {
    __m512 sum[SIDE];
#pragma GCC unroll 16
    for (int64_t t = 0; t < SIDE; t++) {
        const uint8_t *key = k + (t < n ? t : n - 1) * 2 * dim;
        sum[t] = _mm512_setzero_ps();
        for (int64_t i = 0; i < dim; i += SIDE)
            sum[t] = _mm512_fmadd_ps(_mm512_loadu_ps(q + i), widened(key, i), sum[t]);
    }
    _mm512_mask_storeu_ps(s, (__mmask16)((1u << n) - 1), _mm512_mul_ps(sums_across(sum), _mm512_set1_ps(scale)));
}

static bool scores_few(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                       int64_t dim, float scale, float *s, int64_t stride) {
    if (rows >= FEW || type != PITH_F16 || dim % SIDE) return false;
    for (int64_t j = 0; j < n; j += SIDE)
        for (int64_t r = 0; r < rows; r++)
            score_few(q + r * q_stride, k + j * 2 * dim, n - j < SIDE ? n - j : SIDE, dim, scale, s + r * stride + j);
    return true;
}

/* CHUNK features of one row over at most sixteen values. */
static inline void mix_few_values(const float *p, const uint8_t *v, int64_t n, int64_t dim, float *out) {
    __m512 sum[CHUNK / SIDE];
    for (int i = 0; i < CHUNK / SIDE; i++) sum[i] = _mm512_setzero_ps();
    for (int64_t j = 0; j < n; j++)
        for (int i = 0; i < CHUNK / SIDE; i++)
            sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(p[j]), widened(v + j * 2 * dim, i * SIDE), sum[i]);
    for (int i = 0; i < CHUNK / SIDE; i++)
        _mm512_storeu_ps(out + i * SIDE, _mm512_add_ps(_mm512_loadu_ps(out + i * SIDE), sum[i]));
}

static bool mix_few(uint16_t type, const float *p, int64_t stride, int64_t rows, const uint8_t *v, int64_t n,
                    int64_t dim, float *out, int64_t out_stride) {
    if (rows >= FEW || type != PITH_F16 || dim % CHUNK) return false;
    for (int64_t j = 0; j < n; j += SIDE)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < dim; i += CHUNK)
                mix_few_values(p + r * stride + j, v + 2 * (j * dim + i), n - j < SIDE ? n - j : SIDE, dim,
                               out + r * out_stride + i);
    return true;
}
#else
static bool scores_few(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                       int64_t dim, float scale, float *s, int64_t stride) {
    (void)type, (void)q, (void)q_stride, (void)rows, (void)k, (void)n, (void)dim, (void)scale, (void)s, (void)stride;
    return false;
}

static bool mix_few(uint16_t type, const float *p, int64_t stride, int64_t rows, const uint8_t *v, int64_t n,
                    int64_t dim, float *out, int64_t out_stride) {
    (void)type, (void)p, (void)stride, (void)rows, (void)v, (void)n, (void)dim, (void)out, (void)out_stride;
    return false;
}
#endif

static void scores(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                   int64_t dim, float scale, float *s, int64_t stride) {
    if (scores_few(type, q, q_stride, rows, k, n, dim, scale, s, stride)) return;
    if (rows >= FEW) {
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
    if (mix_few(type, p, stride, rows, v, n, dim, out, out_stride)) return;
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

static float largest(const float *s, int64_t n, float m) {
    for (int64_t i = 0; i < n; i++) m = s[i] > m ? s[i] : m;
    return m;
}

/* x <= 0, but -60 at least: e^-60 is nothing beside the largest, e^0, and numbers without all their bits, or out of the
 * range of expf, take ten times as long. Not so NaN, which must be seen: bits tell it, here where comparisons may not.
 * Nor is it a choice of two numbers, which the compiler would make after expf. */
static float not_far(float x) {
    const uint32_t sixty = 0x42700000, infinite = 0x7f800000, sign = 0x80000000;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t far = (uint32_t)((bits & ~sign) > sixty) & (uint32_t)((bits & ~sign) <= infinite);
    bits ^= (bits ^ (sixty | sign)) & (0 - far);
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float exponentials(float *s, int64_t n, float m) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        s[i] = expf(not_far(s[i] - m));
        sum += s[i];
    }
    return sum;
}

extern const struct attention_kernels ISA_TABLE(attention);
const struct attention_kernels ISA_TABLE(attention) = {scores, mix, largest, exponentials, narrow};
