/* quant/isa/plain_fast.c - products with f32, f16 and bf16 weights.
 *
 * One row of inputs is bound by memory: four rows of weights at a time, widened on the way, with sums in f32. For many,
 * a panel of rows is widened once, side by side for sixteen (AVX2: eight) lanes, and meets tiles of tokens in
 * registers; products and sums are f32 throughout. With AMX that is done in tiles of bf16 pairs (plain_amx.c). */
#include "base/isa.h"
#include "quant/plain.h"
#include "tensor/tensor.h"

#include <string.h>
#if PITH_ISA_LEVEL > 0
#include <immintrin.h>
#endif

enum { SOME = 64, SOME_FOR_TILES = 16 }; /* rows of inputs from which on panels pay; tiles of AMX */

static float one_float(uint16_t type, const void *w, int64_t i) {
    if (type == PITH_F32) return ((const float *)w)[i];
    return type == PITH_F16 ? pith_f16_to_f32(((const uint16_t *)w)[i]) : pith_bf16_to_f32(((const uint16_t *)w)[i]);
}

#if PITH_ISA_LEVEL > 0
#if PITH_ISA_LEVEL == 2
enum { LANES = 16 };
typedef __m512 vecf;
#define V(name) _mm512_##name
static inline vecf widen(uint16_t type, const void *w, int64_t i) {
    if (type == PITH_F32) return _mm512_loadu_ps((const float *)w + i);
    __m256i h = _mm256_loadu_si256((const __m256i *)((const uint16_t *)w + i));
    if (type == PITH_F16) return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline float total(vecf v) { return _mm512_reduce_add_ps(v); }
#else
enum { LANES = 8 };
typedef __m256 vecf;
#define V(name) _mm256_##name
static inline vecf widen(uint16_t type, const void *w, int64_t i) {
    if (type == PITH_F32) return _mm256_loadu_ps((const float *)w + i);
    __m128i h = _mm_loadu_si128((const __m128i *)((const uint16_t *)w + i));
    if (type == PITH_F16) return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline float total(vecf v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#endif
#define INLINE static inline __attribute__((always_inline))
enum { ROWS = 4, AHEAD = 2048, NEAR = 32 << 10 };

/* `rows` rows times `tokens` rows of inputs. */
INLINE void dots(const uint16_t type, const uint8_t *w, int64_t stride, const int rows, int64_t cols, const float *x,
                 const int tokens, float *y, int64_t ldy) {
    /* Short rows: where the next rows are at this column. Far ones would not stay in the first cache. */
    const int64_t width = type == PITH_F32 ? 4 : 2, ahead = rows * stride < NEAR ? rows * stride : AHEAD;
    vecf sum[ROWS * 4];
    for (int k = 0; k < rows * tokens; k++) sum[k] = V(setzero_ps)();
    int64_t i = 0;
    for (; i + LANES <= cols; i += LANES) {
        vecf in[4];
        for (int t = 0; t < tokens; t++) in[t] = V(loadu_ps)(x + t * cols + i);
        for (int r = 0; r < rows; r++) {
            _mm_prefetch((const char *)(w + r * stride) + i * width + ahead, _MM_HINT_T0);
            vecf v = widen(type, w + r * stride, i);
            for (int t = 0; t < tokens; t++) sum[r * tokens + t] = V(fmadd_ps)(v, in[t], sum[r * tokens + t]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < tokens; t++) {
            float s = total(sum[r * tokens + t]);
            for (int64_t k = i; k < cols; k++) s += one_float(type, w + r * stride, k) * x[t * cols + k];
            y[t * ldy + r] = s;
        }
}

INLINE void few(const uint16_t type, const uint8_t *w, int64_t stride, int64_t rows, int64_t cols, const float *x,
                int64_t n, float *y, int64_t ldy) {
    for (int64_t r = 0; r < rows;) {
        int64_t i = 0;
        bool four = r + ROWS <= rows;
        for (; i + 4 <= n; i += 4) {
            if (four) dots(type, w + r * stride, stride, ROWS, cols, x + i * cols, 4, y + i * ldy + r, ldy);
            else dots(type, w + r * stride, stride, 1, cols, x + i * cols, 4, y + i * ldy + r, ldy);
        }
        for (; i < n; i++) {
            if (four) dots(type, w + r * stride, stride, ROWS, cols, x + i * cols, 1, y + i * ldy + r, ldy);
            else dots(type, w + r * stride, stride, 1, cols, x + i * cols, 1, y + i * ldy + r, ldy);
        }
        r += four ? ROWS : 1;
    }
}

/* A panel: 2 * LANES rows, column after column. */
enum { PANEL = 2 * LANES, DEPTH = 512, TILE = 12 };

static void fill_panel(uint16_t type, const uint8_t *w, int64_t stride, int64_t rows, int64_t first, int64_t depth,
                       float *panel) {
    for (int64_t r = 0; r < PANEL; r++) {
        float row[DEPTH];
        int64_t k = 0;
        if (r >= rows) {
            for (k = 0; k < depth; k++) panel[k * PANEL + r] = 0;
            continue;
        }
        for (; k + LANES <= depth; k += LANES) V(storeu_ps)(row + k, widen(type, w + r * stride, first + k));
        for (; k < depth; k++) row[k] = one_float(type, w + r * stride, first + k);
        for (k = 0; k < depth; k++) panel[k * PANEL + r] = row[k];
    }
}

INLINE void panel_tile(const float *panel, int64_t depth, const float *x, int64_t cols, const int tokens, bool add,
                       float *y, int64_t ldy, int64_t rows) {
    vecf sum[TILE][2];
    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = V(setzero_ps)();
    for (int64_t k = 0; k < depth; k++) {
        vecf a = V(loadu_ps)(panel + k * PANEL), b = V(loadu_ps)(panel + k * PANEL + LANES);
#pragma GCC unroll 12
        for (int t = 0; t < tokens; t++) {
            vecf in = V(set1_ps)(x[t * cols + k]);
            sum[t][0] = V(fmadd_ps)(a, in, sum[t][0]);
            sum[t][1] = V(fmadd_ps)(b, in, sum[t][1]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        float all[PANEL];
        V(storeu_ps)(all, sum[t][0]);
        V(storeu_ps)(all + LANES, sum[t][1]);
        for (int64_t r = 0; r < rows && r < PANEL; r++) y[t * ldy + r] = (add ? y[t * ldy + r] : 0) + all[r];
    }
}

static void many(uint16_t type, const uint8_t *w, int64_t stride, int64_t rows, int64_t cols, const float *x, int64_t n,
                 float *y, int64_t ldy) {
    enum { STEP = PITH_ISA_LEVEL == 2 ? 12 : 6 };
    float panel[DEPTH * PANEL];
    for (int64_t r = 0; r < rows; r += PANEL)
        for (int64_t first = 0; first < cols; first += DEPTH) {
            int64_t depth = cols - first < DEPTH ? cols - first : DEPTH, i = 0;
            fill_panel(type, w + r * stride, stride, rows - r, first, depth, panel);
            for (; i + STEP <= n; i += STEP)
                panel_tile(panel, depth, x + i * cols + first, cols, STEP, first > 0, y + i * ldy + r, ldy, rows - r);
            for (; i < n; i++)
                panel_tile(panel, depth, x + i * cols + first, cols, 1, first > 0, y + i * ldy + r, ldy, rows - r);
        }
}

static void mul(uint16_t type, const void *w, int64_t rows, int64_t cols, const float *x, int64_t n, float *y,
                int64_t ldy) {
    int64_t stride = cols * pith_types[type].block_bytes;
#if PITH_ISA_LEVEL == 2
    if (n >= SOME_FOR_TILES && type != PITH_F32 && isa_active() >= ISA_AMX) {
        plain_amx_mul(type, w, rows, cols, x, n, y, ldy);
        return;
    }
#endif
    if (n >= SOME) many(type, w, stride, rows, cols, x, n, y, ldy);
    else if (type == PITH_F32) few(PITH_F32, w, stride, rows, cols, x, n, y, ldy);
    else if (type == PITH_F16) few(PITH_F16, w, stride, rows, cols, x, n, y, ldy);
    else few(PITH_BF16, w, stride, rows, cols, x, n, y, ldy);
}
#else
static void mul(uint16_t type, const void *w, int64_t rows, int64_t cols, const float *x, int64_t n, float *y,
                int64_t ldy) {
    enum { CHUNK = 256 };
    float wide[CHUNK];
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *row = (const uint8_t *)w + r * cols * pith_types[type].block_bytes;
        for (int64_t i = 0; i < n; i++) y[i * ldy + r] = 0;
        for (int64_t first = 0; first < cols; first += CHUNK) {
            int64_t count = cols - first < CHUNK ? cols - first : CHUNK;
            for (int64_t k = 0; k < count; k++) wide[k] = one_float(type, row, first + k);
            for (int64_t i = 0; i < n; i++) {
                float sum = 0;
                for (int64_t k = 0; k < count; k++) sum += wide[k] * x[i * cols + first + k];
                y[i * ldy + r] += sum;
            }
        }
    }
}
#endif

extern const struct plain_kernels ISA_TABLE(plain);
const struct plain_kernels ISA_TABLE(plain) = {mul};
