/* quant/isa/strip_gemm.c - decoded weights times a tile of tokens, whatever the type they came from.
 *
 * For each group of 32 columns a vector of codes meets all tokens of the tile before the next is loaded; the products
 * of a group stay whole numbers, then one conversion and two or three fused steps a token add them up. */
#include "base/isa.h"
#include "quant/strip.h"

#if PITH_ISA_LEVEL > 0
#include "quant/isa/strip_kernel.h"

/* y of the part's rows at token t; later blocks of columns add to what the earlier ones left. */
INLINE void put(const gemm_call *c, int t, vecf sum) {
    float *y = c->y + t * c->ldy, all[LANES];
    if (c->rows >= LANES) {
        V(storeu_ps)(y, c->first ? V(add_ps)(V(loadu_ps)(y), sum) : sum);
        return;
    }
    V(storeu_ps)(all, sum);
    for (int64_t r = 0; r < c->rows; r++) y[r] = c->first ? y[r] + all[r] : all[r];
}

INLINE void tile_half(const uint8_t *codes, const int8_t *x, int tile, bool wide, int from, int to, vec *dot) {
    for (int t = 0; t < tile; t++) dot[t] = VS(setzero)();
#pragma GCC unroll 8
    for (int w = from; w < to; w++) {
        vec c = VS(loadu)((const vec *)(codes + w * VECTOR));
#pragma GCC unroll 8
        for (int t = 0; t < tile; t++) dot[t] = dot4(dot[t], c, x + t * 32 + 4 * w, wide);
    }
}

INLINE void gemm(const gemm_call *c, const int tile, const bool by_half, const bool wide) {
    const uint8_t *codes = c->codes;
    const float *numbers = c->numbers;
    const int8_t *x = (const int8_t *)c->x + c->first * tile * 32;
    const float *in = (const float *)(c->x + c->cols * tile) + c->first * tile * ACTIVATION_NUMBERS;
    vecf sum[8];
#pragma GCC unroll 8
    for (int t = 0; t < tile; t++) sum[t] = V(setzero_ps)();
    for (int64_t g = 0; g < c->groups; g++) {
        vec dot[8];
#pragma GCC unroll 2
        for (int h = 0; h <= by_half; h++) {
            tile_half(codes, x, tile, wide, h * 4, by_half ? h * 4 + 4 : 8, dot);
            vecf scale = V(loadu_ps)(numbers), minimum = V(loadu_ps)(numbers + LANES);
            const float *sums = in + tile * (by_half ? ACTIVATION_LOW + h : ACTIVATION_SUM);
#pragma GCC unroll 8
            for (int t = 0; t < tile; t++) {
                vecf scaled = V(mul_ps)(scale, spread(in + tile * ACTIVATION_SCALE + t));
                sum[t] = V(fmadd_ps)(minimum, spread(sums + t), sum[t]);
                sum[t] = V(fmadd_ps)(V(cvtepi32_ps)(dot[t]), scaled, sum[t]);
            }
            numbers += 2 * LANES;
        }
        codes += WORDS * VECTOR;
        x += tile * 32;
        in += tile * ACTIVATION_NUMBERS;
    }
#pragma GCC unroll 8
    for (int t = 0; t < tile; t++) put(c, t, sum[t]);
}

#define GEMM(name, by_half, wide)                    \
    static void name(const gemm_call *c, int tile) { \
        switch (tile) {                              \
        case 8: gemm(c, 8, by_half, wide); break;    \
        case 4: gemm(c, 4, by_half, wide); break;    \
        case 2: gemm(c, 2, by_half, wide); break;    \
        default: gemm(c, 1, by_half, wide); break;   \
        }                                            \
    }
GEMM(whole, false, false)
GEMM(half, true, false)
GEMM(whole_wide, false, true)
GEMM(half_wide, true, true)

const gemm_fn ISA_TABLE(strip_gemm)[4] = {whole, half, whole_wide, half_wide};
#endif
