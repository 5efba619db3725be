/* quant/isa/strip_gemm.c - decoded weights times a tile of tokens, whatever the type they came from.
 *
 * For each group of 32 columns a vector of codes meets all tokens of the tile before the next is loaded; the products
 * of a group stay whole numbers, then one conversion and two or three fused steps a token add them up. */
#include "base/isa.h"
#include "quant/strip.h"

#if PITH_ISA_LEVEL > 0
#include "quant/isa/strip_kernel.h"

INLINE void dot_tile(const uint8_t *codes, const int8_t *x, int tile, int run, bool wide, int from, int to, vec *dot) {
    for (int t = 0; t < tile; t++) dot[t] = VS(setzero)();
#pragma GCC unroll 8
    for (int w = from; w < to; w++) {
        vec c = VS(loadu)((const vec *)(codes + w * VECTOR));
#pragma GCC unroll 8
        for (int t = 0; t < tile; t++) dot[t] = dot4(dot[t], c, x + t * run + 4 * w, wide);
    }
}

/* `tile` tokens from number `from` on of a tile of `pitch`, whose codes lie in runs of `run`. */
INLINE void gemm(const gemm_call *c, const int tile, const int from, const int pitch, const int run, const bool by_half,
                 const bool wide) {
    const uint8_t *codes = c->codes;
    const float *numbers = c->numbers;
    const int8_t *x = (const int8_t *)c->x + c->first * pitch * 32 + from * run;
    const float *in = (const float *)(c->x + c->cols * pitch) + c->first * pitch * ACTIVATION_NUMBERS + from;
    vecf sum[8];
#pragma GCC unroll 8
    for (int t = 0; t < tile; t++) sum[t] = V(setzero_ps)();
    for (int64_t g = 0; g < c->groups; g++) {
        vec dot[8];
#pragma GCC unroll 2
        for (int h = 0; h <= by_half; h++) {
            dot_tile(codes, x, tile, run, wide, h * 4, by_half ? h * 4 + 4 : 8, dot);
            vecf scale = V(loadu_ps)(numbers), minimum = V(loadu_ps)(numbers + LANES);
            const float *sums = in + pitch * (by_half ? ACTIVATION_LOW + h : ACTIVATION_SUM);
#pragma GCC unroll 8
            for (int t = 0; t < tile; t++) {
                vecf scaled = V(mul_ps)(scale, spread(in + pitch * ACTIVATION_SCALE + t));
                sum[t] = V(fmadd_ps)(minimum, spread(sums + t), sum[t]);
                sum[t] = V(fmadd_ps)(V(cvtepi32_ps)(dot[t]), scaled, sum[t]);
            }
            numbers += 2 * LANES;
        }
        codes += WORDS * VECTOR;
        x += run == 32 || g % 2 ? pitch * run + 32 - run : 32;
        in += pitch * ACTIVATION_NUMBERS;
    }
#pragma GCC unroll 8
    for (int t = 0; t < tile; t++) put_sum(c, from + t, sum[t]);
}

#define GEMM(name, run, by_half, wide)                        \
    static void name(const gemm_call *c, int tile) {          \
        switch (tile) {                                       \
        case 16:                                              \
            gemm(c, 8, 0, 16, run, by_half, wide);            \
            gemm(c, 8, 8, 16, run, by_half, wide);            \
            break;                                            \
        case 8: gemm(c, 8, 0, 8, run, by_half, wide); break;  \
        case 4: gemm(c, 4, 0, 4, run, by_half, wide); break;  \
        case 2: gemm(c, 2, 0, 2, run, by_half, wide); break;  \
        default: gemm(c, 1, 0, 1, run, by_half, wide); break; \
        }                                                     \
    }
GEMM(group, 32, false, false)
GEMM(group_wide, 32, false, true)
GEMM(block, 64, false, false)
GEMM(block_wide, 64, false, true)
GEMM(block_by_half, 64, true, false)

const gemm_fn ISA_TABLE(strip_gemm)[8] = {[0] = group,
                                          [GEMM_WIDE] = group_wide,
                                          [GEMM_BLOCK] = block,
                                          [GEMM_BLOCK + GEMM_WIDE] = block_wide,
                                          [GEMM_BLOCK + GEMM_BY_HALF] = block_by_half};
#endif
