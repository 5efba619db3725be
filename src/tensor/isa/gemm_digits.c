/* tensor/isa/gemm_digits.c - products of f32 matrices in whole numbers, in tiles of AMX.
 *
 * As by Ozaki, Ogita, Oishi and Rump (Error-free transformations of matrix multiplication, 2012), on 8-bit units as by
 * Ootomo, Ozaki and Yokota (DGEMM on integer matrix multiplication unit, arXiv 2306.11975). A row of A and a column of
 * B, of at most PANEL_ROWS numbers, are scaled by their largest number to 24 bits, which are three digits of -128 to
 * 127. Products of digits are summed exactly; of the nine pairs the six of highest weight are taken. What is left out
 * and what rounding to 24 bits loses is about as much as f32 loses in its sums: for each stretch of PANEL_ROWS some
 * 2^-24 times the norm of the row times that of the column. Unlike f32 it is relative to the largest number of a row,
 * not to each.
 *
 * Limit: six products of two tiles, 16 x 16 x 64 in 16 cycles each: 171 multiply-adds a cycle, where AVX-512 has 32. */
#include "base/isa.h"
#include "tensor/gemm.h"

#if PITH_ISA_LEVEL == 2
#include "base/amx.h"
#include "tensor/isa/source.h"
#include "tensor/isa/turn.h"
#include "tensor/panels.h"

#include <assert.h>

enum {
    SIDE = 16,
    STEP = 4 * SIDE,    /* numbers of the inner dimension in a tile */
    TILE = SIDE * STEP, /* digits */
    COLS = 2 * SIDE,    /* of a panel */
    ROWS = 2 * SIDE,    /* of A that meet a panel at a time */
    BAND = 4 * SIDE,    /* of indices that are scaled at a time */
    STEPS = PANEL_ROWS / STEP,
    DIGITS = 3
};

#define LARGEST 8355710.0f /* three digits reach 127 * (65536 + 256 + 1) = 8355711; one is for rounding */

/* --- scales ------------------------------------------------------------------------------------------------------- */

typedef struct scale {
    float up[BAND], down[BAND]; /* to whole numbers and back */
} scale;

static inline __m512i magnitude(__m512 x) { return _mm512_and_si512((__m512i)x, _mm512_set1_epi32(0x7fffffff)); }

/* Indices lie next to each other: all of a band are looked at together, as each is a line of memory further. */
static void largest_across(source s, uint32_t *most) {
    __m512i m[BAND / SIDE];
    __mmask16 there[BAND / SIDE];
    for (int v = 0; v < BAND / SIDE; v++) m[v] = _mm512_setzero_si512(), there[v] = amx_first(s.indices - v * SIDE);
    for (int64_t p = 0; p < s.depth; p++, s.at += s.depth_step)
#pragma GCC unroll 4
        for (int v = 0; v < BAND / SIDE; v++)
            m[v] = _mm512_max_epu32(m[v], magnitude(_mm512_maskz_loadu_ps(there[v], s.at + v * SIDE)));
    for (int v = 0; v < BAND / SIDE; v++) _mm512_storeu_si512(most + v * SIDE, m[v]);
}

static void largest_along(source s, uint32_t *most) {
    __mmask16 rest = amx_first(s.depth % SIDE);
    for (int64_t i = 0; i < BAND; i++, s.at += s.index_step) {
        most[i] = 0;
        if (i >= s.indices) continue;
        int64_t p = 0;
        __m512i m = _mm512_setzero_si512();
        for (; p + SIDE <= s.depth; p += SIDE) m = _mm512_max_epu32(m, magnitude(_mm512_loadu_ps(s.at + p)));
        m = _mm512_max_epu32(m, magnitude(_mm512_maskz_loadu_ps(rest, s.at + p)));
        most[i] = _mm512_reduce_max_epu32(m);
    }
}

/* Of a band; `share`: of what takes a product back, such that neither share overflows. An index that holds no finite
 * number, or one beyond 2^122, yields NaN; numbers below 2^-124 may count as 0. */
static void find_scales(source s, float share, scale *to) {
    const __m512 whole = _mm512_set1_ps(LARGEST);
    _Alignas(64) uint32_t most[BAND];
    if (s.index_step == 1) largest_across(s, most);
    else largest_along(s, most);
    for (int v = 0; v < BAND; v += SIDE) {
        __m512i m = _mm512_load_si512(most + v);
        __mmask16 lost = _mm512_cmpge_epu32_mask(m, (__m512i)_mm512_set1_ps(0x1p122f));
        __m512 x = _mm512_max_ps((__m512)m, _mm512_set1_ps(0x1p-100f));
        __m512 back = _mm512_mul_ps(_mm512_div_ps(x, whole), _mm512_set1_ps(share));
        _mm512_storeu_ps(to->up + v, _mm512_maskz_div_ps((__mmask16)~lost, whole, x));
        _mm512_storeu_ps(to->down + v, _mm512_mask_blend_ps(lost, back, _mm512_set1_ps(__builtin_nanf(""))));
    }
}

/* --- numbers to tiles of digits ------------------------------------------------------------------------------------
 */

/* The lower three bytes of each: its digits, the lowest first. */
static inline __m512i digits_of(__m512 x, __m512 up) {
    const __m512i half = _mm512_set1_epi32(0x808080);
    return _mm512_xor_si512(_mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x, up)), half), half);
}

/* Numbers next to each other along the depth: an index a row, [index][64 digits]; the highest digits first, the others
 * `next` bytes on. */
static void rows_of_indices(source s, const float *up, int8_t *to, int64_t next) {
    const __m512i apart =
        _mm512_set_epi8(63, 59, 55, 51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11, 7, 3, 62, 58, 54, 50, 46, 42, 38, 34,
                        30, 26, 22, 18, 14, 10, 6, 2, 61, 57, 53, 49, 45, 41, 37, 33, 29, 25, 21, 17, 13, 9, 5, 1, 60,
                        56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
    __mmask16 there[4];
    for (int k = 0; k < 4; k++) there[k] = amx_first(s.depth - k * SIDE);
    for (int i = 0; i < SIDE; i++, s.at += s.index_step, to += STEP) {
        __m512 f = _mm512_set1_ps(up[i]);
        __m512i u[4]; /* four quarters: lowest, middle, highest digits, nothing */
        for (int k = 0; k < 4; k++) {
            __m512 x = _mm512_maskz_loadu_ps(i < s.indices ? there[k] : 0, s.at + k * SIDE);
            u[k] = _mm512_permutexvar_epi8(apart, digits_of(x, f));
        }
        __m512i a = _mm512_shuffle_i32x4(u[0], u[1], 0x44), b = _mm512_shuffle_i32x4(u[2], u[3], 0x44);
        _mm512_storeu_si512(to + 2 * next, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(to + next, _mm512_shuffle_i32x4(a, b, 0xdd));
        a = _mm512_shuffle_i32x4(u[0], u[1], 0xee), b = _mm512_shuffle_i32x4(u[2], u[3], 0xee);
        _mm512_storeu_si512(to, _mm512_shuffle_i32x4(a, b, 0x88));
    }
}

static inline __m512i choose(__m512i mask, __m512i yes, __m512i no) {
    return _mm512_ternarylogic_epi32(mask, yes, no, 0xca);
}

/* Numbers next to each other along the index: four depths a row, [depth / 4][index][4]. */
static void rows_of_quads(source s, const float *up, int8_t *to, int64_t next) {
    const __m512i even = _mm512_set1_epi32(0x00ff00ff), low = _mm512_set1_epi32(0xffff);
    __mmask16 there = amx_first(s.indices);
    __m512 f = _mm512_loadu_ps(up);
    for (int i = 0; i < SIDE; i++, to += STEP) {
        __m512i u[4];
        for (int k = 0; k < 4; k++, s.at += s.depth_step)
            u[k] = digits_of(_mm512_maskz_loadu_ps(4 * i + k < s.depth ? there : 0, s.at), f);
        /* lowest and highest digits of two depths, then the middle ones */
        __m512i a = choose(even, u[0], _mm512_slli_epi32(u[1], 8)), b = choose(even, u[2], _mm512_slli_epi32(u[3], 8));
        __m512i c = choose(even, _mm512_srli_epi32(u[0], 8), u[1]), d = choose(even, _mm512_srli_epi32(u[2], 8), u[3]);
        _mm512_storeu_si512(to + 2 * next, choose(low, a, _mm512_slli_epi32(b, 16)));
        _mm512_storeu_si512(to + next, choose(low, c, _mm512_slli_epi32(d, 16)));
        _mm512_storeu_si512(to, choose(low, _mm512_srli_epi32(a, 16), b));
    }
}

/* A tile of each digit. quads: [depth / 4][index][4] instead of [index][64 digits]. */
static void fill(source s, bool quads, const float *up, int8_t *to, int64_t next) {
    bool along_depth = s.depth_step == 1;
    if (along_depth && !quads) {
        rows_of_indices(s, up, to, next);
    } else if (!along_depth && quads) {
        rows_of_quads(s, up, to, next);
    } else {
        _Alignas(64) int8_t other[DIGITS * TILE];
        if (along_depth) rows_of_indices(s, up, other, TILE);
        else rows_of_quads(s, up, other, TILE);
        for (int d = 0; d < DIGITS; d++) turn16((const float *)(other + d * TILE), SIDE, (float *)(to + d * next));
    }
}

/* Two tiles of indices: [digit][step][two tiles] */
static void fill_pair(source s, bool quads, const float *up, int8_t *to) {
    int64_t steps = (s.depth + STEP - 1) / STEP;
    for (int h = 0; h < 2; h++)
        for (int64_t k = 0; k < steps; k++)
            fill(source_at(s, h * SIDE, k * STEP), quads, up + h * SIDE, to + (2 * k + h) * TILE, 2 * steps * TILE);
}

/* A panel: what takes its columns back, then their digits. */
static void pack(int64_t n, int64_t k, const float *from, int64_t lane, int64_t step, float *panel) {
    int64_t next = (k + STEP - 1) / STEP * STEP * COLS;
    source all = {from, lane, step, n, k};
    for (int64_t j = 0; j < n; j += BAND) {
        scale s;
        find_scales(source_at(all, j, 0), 0x1p5f, &s);
        for (int64_t i = 0; i < BAND && j + i < n; i += COLS, panel += next) {
            for (int c = 0; c < COLS; c++) panel[c] = s.down[i + c];
            fill_pair(source_at(all, j + i, 0), true, s.up + i, (int8_t *)(panel + COLS));
        }
    }
}

/* --- products ----------------------------------------------------------------------------------------------------- */

typedef struct factor {
    const int8_t *digits; /* [digit][step][two tiles] */
    int64_t next;         /* from digit to digit */
} factor;

/* Of all pairs of digits whose weight is 256^-weight of the highest. Stays below 2^31: 3 * 128 * 128 * PANEL_ROWS. */
static inline void sum_weight(int weight, factor a, factor b, int64_t steps, int32_t *sums) {
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (int d = 0; d <= weight; d++) {
        int e = weight == 2 ? 2 - d : d; /* most of what weight 1 needs first is then in L1 still */
        const int8_t *x = a.digits + (weight - e) * a.next, *y = b.digits + e * b.next;
        for (int64_t s = 0; s < steps; s++, x += 2 * TILE, y += 2 * TILE) {
            AMX_LOAD(4, x, 64);
            AMX_LOAD(6, y, 64);
            AMX_MULTIPLY(ss, 0, 4, 6);
            AMX_LOAD(7, y + TILE, 64);
            AMX_MULTIPLY(ss, 1, 4, 7);
            AMX_LOAD(5, x + TILE, 64);
            AMX_MULTIPLY(ss, 2, 5, 6);
            AMX_MULTIPLY(ss, 3, 5, 7);
        }
    }
    AMX_STORE(0, sums, 4 * COLS);
    AMX_STORE(1, sums + SIDE, 4 * COLS);
    AMX_STORE(2, sums + SIDE * COLS, 4 * COLS);
    AMX_STORE(3, sums + SIDE * COLS + SIDE, 4 * COLS);
}

typedef struct sums {
    int32_t weight[DIGITS][ROWS * COLS];
} sums;

static inline __m512 put_together(const sums *s, int64_t at) {
    const __m512 less = _mm512_set1_ps(1.0f / 256);
    __m512 x = _mm512_cvtepi32_ps(_mm512_load_si512(s->weight[2] + at));
    x = _mm512_fmadd_ps(x, less, _mm512_cvtepi32_ps(_mm512_load_si512(s->weight[1] + at)));
    return _mm512_fmadd_ps(x, less, _mm512_cvtepi32_ps(_mm512_load_si512(s->weight[0] + at)));
}

static void multiply(const gemm_block *b, int64_t i, int64_t j, factor x, const float *down, const float *panel) {
    _Alignas(64) sums s;
    factor y = {(const int8_t *)(panel + COLS), x.next};
    for (int w = DIGITS - 1; w >= 0; w--) sum_weight(w, x, y, x.next / (2 * TILE), s.weight[w]);
    __mmask16 there[2] = {amx_first(b->n - j), amx_first(b->n - j - SIDE)};
    __m512 right[2] = {_mm512_loadu_ps(panel), _mm512_loadu_ps(panel + SIDE)};
    const float *from = b->from ? b->from + i * b->ldf + j : NULL;
    float *c = b->c + i * b->ldc + j;
    int64_t rows = b->m - i < ROWS ? b->m - i : ROWS;
    for (int64_t r = 0; r < rows; r++, c += b->ldc, from = from ? from + b->ldf : NULL)
        for (int h = 0; h < 2; h++) {
            __m512 t = _mm512_mul_ps(put_together(&s, r * COLS + h * SIDE), right[h]), begin = _mm512_setzero_ps();
            if (from) begin = _mm512_maskz_loadu_ps(there[h], from + h * SIDE);
            _mm512_mask_storeu_ps(c + h * SIDE, there[h], _mm512_fmadd_ps(t, _mm512_set1_ps(down[r]), begin));
        }
}

static void block(const gemm_block *b) {
    _Alignas(64) int8_t digits[DIGITS * STEPS * 2 * TILE];
    assert((b->ars == 1 || b->acs == 1) && b->k <= PANEL_ROWS);
    source all = {b->a, b->ars, b->acs, b->m, b->k};
    factor x = {digits, (b->k + STEP - 1) / STEP * 2 * TILE};
    amx_begin_whole();
    for (int64_t i = 0; i < b->m; i += BAND) {
        scale s;
        find_scales(source_at(all, i, 0), 0x1p27f, &s);
        for (int64_t r = 0; r < BAND && i + r < b->m; r += ROWS) {
            fill_pair(source_at(all, i + r, 0), false, s.up + r, digits);
            for (int64_t j = 0; j < b->n; j += COLS) multiply(b, i + r, j, x, s.down + r, b->b + j / COLS * b->b_next);
        }
    }
    amx_end();
}

/* `halves`: three digits a number, and room for scales */
const panel_kernels ISA_TABLE(gemm_digits_table) = {block, pack, COLS, STEP, 2};
#else
const panel_kernels ISA_TABLE(gemm_digits_table) = {0};
#endif
