/* tensor/isa/gemm_amx.c - products of matrices whose factors may be rounded to bf16, in tiles of AMX.
 *
 * 16 x 32 numbers of A and 32 x 16 of B, in pairs of rows, are a tile; four tiles of C are summed in f32 at a time.
 * Panels hold B as tiles; rows of A are rounded where they are used, 64 at a time, and meet every panel. Limit: a
 * product of two tiles takes 16 cycles, 512 multiply-adds a cycle. */
#include "base/isa.h"
#include "tensor/gemm.h"

#if PITH_ISA_LEVEL == 2
#include "base/amx.h"
#include "tensor/isa/source.h"
#include "tensor/isa/turn.h"
#include "tensor/panels.h"

#include <assert.h>
#include <string.h>

enum {
    SIDE = 16,
    STEP = 2 * SIDE,          /* numbers of the inner dimension in a tile */
    TILE = SIDE * STEP,       /* bf16 numbers */
    COLS = 2 * SIDE,          /* of a panel: [step][two tiles] */
    ROWS = 4 * SIDE,          /* of A in tiles at a time, */
    STEPS = PANEL_ROWS / STEP /* with so many steps */
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* --- numbers to tiles --------------------------------------------------------------------------------------------- */

/* Numbers next to each other along the depth: an index a row, [index][32 numbers]. */
static void rows_of_indices(source s, uint16_t *to) {
    __mmask16 first = amx_first(s.depth), second = amx_first(s.depth - SIDE);
    for (int i = 0; i < SIDE; i++, s.at += s.index_step, to += STEP) {
        bool there = i < s.indices;
        __m512 low = _mm512_maskz_loadu_ps(there ? first : 0, s.at);
        __m512 high = _mm512_maskz_loadu_ps(there ? second : 0, s.at + SIDE);
        _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* Numbers next to each other along the index: a pair of depths a row, [pair][index][2]. */
static void rows_of_pairs(source s, uint16_t *to) {
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                                6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __mmask16 there = amx_first(s.indices);
    for (int i = 0; i < SIDE; i++, s.at += 2 * s.depth_step, to += STEP) {
        __m512 low = _mm512_maskz_loadu_ps(2 * i < s.depth ? there : 0, s.at);
        __m512 high = _mm512_maskz_loadu_ps(2 * i + 1 < s.depth ? there : 0, s.at + s.depth_step);
        _mm512_storeu_si512(to, _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
    }
}

/* A tile; pairs: [pair][index][2] instead of [index][32 numbers]. */
static void fill(source s, bool pairs, uint16_t *to) {
    bool along_depth = s.depth_step == 1;
    if (along_depth && !pairs) {
        rows_of_indices(s, to);
    } else if (!along_depth && pairs) {
        rows_of_pairs(s, to);
    } else {
        _Alignas(64) uint16_t other[TILE];
        if (along_depth) rows_of_indices(s, other);
        else rows_of_pairs(s, other);
        turn16((const float *)other, SIDE, (float *)to);
    }
}

static void pack(int64_t n, int64_t k, const float *from, int64_t lane, int64_t step, float *panel) {
    uint16_t *to = (uint16_t *)panel;
    source all = {from, lane, step, n, k};
    for (int64_t j = 0; j < n; j += COLS)
        for (int64_t p = 0; p < k; p += STEP)
            for (int64_t column = j; column < j + COLS; column += SIDE, to += TILE)
                fill(source_at(all, column, p), true, to);
}

/* --- products ----------------------------------------------------------------------------------------------------- */

/* A tile of C, of which not all rows and columns need exist. */
typedef struct corner {
    const float *from;
    float *c;
    int64_t ldf, ldc, rows, cols;
} corner;

static corner corner_of(const gemm_block *b, int64_t i, int64_t j) {
    const float *from = b->from ? b->from + i * b->ldf + j : NULL;
    return (corner){from, b->c + i * b->ldc + j, b->ldf, b->ldc, b->m - i, b->n - j};
}

static void copy(const float *from, int64_t ldf, float *to, int64_t ldt, int64_t rows, int64_t cols) {
    __mmask16 there = amx_first(cols);
    for (int64_t i = 0; i < rows && i < SIDE; i++)
        _mm512_mask_storeu_ps(to + i * ldt, there, _mm512_maskz_loadu_ps(there, from + i * ldf));
}

#define BEGIN(sums, t)                                                \
    do {                                                              \
        if (!(t).from || (t).rows <= 0 || (t).cols <= 0) {            \
            AMX_ZERO(sums);                                           \
        } else if ((t).rows >= SIDE && (t).cols >= SIDE) {            \
            AMX_LOAD(sums, (t).from, 4 * (t).ldf);                    \
        } else {                                                      \
            _Alignas(64) float whole[SIDE * SIDE] = {0};              \
            copy((t).from, (t).ldf, whole, SIDE, (t).rows, (t).cols); \
            AMX_LOAD(sums, whole, 4 * SIDE);                          \
        }                                                             \
    } while (0)

#define END(sums, t)                                               \
    do {                                                           \
        if ((t).rows >= SIDE && (t).cols >= SIDE) {                \
            AMX_STORE(sums, (t).c, 4 * (t).ldc);                   \
        } else if ((t).rows > 0 && (t).cols > 0) {                 \
            _Alignas(64) float whole[SIDE * SIDE];                 \
            AMX_STORE(sums, whole, 4 * SIDE);                      \
            copy(whole, SIDE, (t).c, (t).ldc, (t).rows, (t).cols); \
        }                                                          \
    } while (0)

/* Two tiles of A's rows times two of B's columns. */
static void multiply(const gemm_block *b, int64_t i, int64_t j, const uint16_t *upper, const uint16_t *lower,
                     const uint16_t *panel, int64_t steps) {
    corner t[2][2] = {{corner_of(b, i, j), corner_of(b, i, j + SIDE)},
                      {corner_of(b, i + SIDE, j), corner_of(b, i + SIDE, j + SIDE)}};
    BEGIN(0, t[0][0]);
    BEGIN(1, t[0][1]);
    BEGIN(2, t[1][0]);
    BEGIN(3, t[1][1]);
    for (int64_t s = 0; s < steps; s++, upper += TILE, lower += TILE, panel += 2 * TILE) {
        AMX_LOAD(4, upper, 64);
        AMX_LOAD(6, panel, 64);
        AMX_MULTIPLY_BF16(0, 4, 6);
        AMX_LOAD(7, panel + TILE, 64);
        AMX_MULTIPLY_BF16(1, 4, 7);
        AMX_LOAD(5, lower, 64);
        AMX_MULTIPLY_BF16(2, 5, 6);
        AMX_MULTIPLY_BF16(3, 5, 7);
    }
    END(0, t[0][0]);
    END(1, t[0][1]);
    END(2, t[1][0]);
    END(3, t[1][1]);
}

static void multiply_rows(const gemm_block *b) {
    _Alignas(64) uint16_t a[ROWS / SIDE][STEPS * TILE];
    int64_t steps = (b->k + STEP - 1) / STEP;
    source all = {b->a, b->ars, b->acs, b->m, b->k};
    for (int64_t i = 0; i < b->m; i += ROWS) {
        int64_t count = (least(ROWS, b->m - i) + 2 * SIDE - 1) / (2 * SIDE) * 2;
        for (int64_t r = 0; r < count; r++)
            for (int64_t s = 0; s < steps; s++) fill(source_at(all, i + r * SIDE, s * STEP), false, a[r] + s * TILE);
        for (int64_t j = 0; j < b->n; j += COLS) {
            const uint16_t *panel = (const uint16_t *)(b->b + j / COLS * b->b_next);
            for (int64_t r = 0; r < count; r += 2) multiply(b, i + r * SIDE, j, a[r], a[r + 1], panel, steps);
        }
    }
}

static void block(const gemm_block *b) {
    assert((b->ars == 1 || b->acs == 1) && b->k <= PANEL_ROWS);
    amx_begin_whole();
    multiply_rows(b);
    amx_end();
}

const panel_kernels ISA_TABLE(gemm_amx_table) = {block, pack, COLS, STEP, 1};
#else
const panel_kernels ISA_TABLE(gemm_amx_table) = {0};
#endif
