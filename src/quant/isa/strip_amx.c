/* quant/isa/strip_amx.c - products of tiles: 16 tokens times 16 rows, 32 or 64 columns in one instruction.
 *
 * Codes as decoded are what the instruction wants of its second factor, inputs as the activation has them of its first.
 * Sums leave a tile through memory only, and each step takes long: a product 52 cycles, the next of its kind may begin
 * after 16. So several are always under way, and what was stored before is scaled and added up beside them. */
#include "base/amx.h"
#include "base/isa.h"
#include "quant/strip.h"

#if PITH_ISA_LEVEL == 2
#include "quant/isa/strip_kernel.h"

/* Registers 0 to 3 are sums, 4 and 5 inputs, 6 and 7 codes. */
void strip_amx_begin(int columns) {
    amx_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shapes.rows[i] = (uint8_t)(i < 6 ? ACTIVATION_TILE : columns / 4);
        shapes.row_bytes[i] = (uint16_t)(i / 2 == 2 ? columns : 4 * STRIP_ROWS);
    }
    amx_begin(&shapes);
}

void strip_amx_end(void) { amx_end(); }

/* --- groups of 32 columns, each with scales of its own ------------------------------------------------------------ */

INLINE void add_group(const vec dot[ACTIVATION_TILE], const float *numbers, const float *in, bool has_bias,
                      vecf sum[ACTIVATION_TILE]) {
    vecf scale = V(loadu_ps)(numbers), minimum = V(loadu_ps)(numbers + LANES);
#pragma GCC unroll 16
    for (int t = 0; t < ACTIVATION_TILE; t++) {
        vecf scaled = V(mul_ps)(scale, spread(in + ACTIVATION_TILE * ACTIVATION_SCALE + t));
        if (!has_bias) sum[t] = V(fmadd_ps)(minimum, spread(in + ACTIVATION_TILE * ACTIVATION_SUM + t), sum[t]);
        sum[t] = V(fmadd_ps)(V(cvtepi32_ps)(dot[t]), scaled, sum[t]);
    }
}

/* Group k is multiplied, group k - 3 stored and added. `this` and `last` are k and k - 3 modulo 4. */
#define GROUP_STEP(this, last, inputs, code)                                  \
    do {                                                                      \
        if (k < c->groups) {                                                  \
            AMX_LOAD(inputs, x + k * ACTIVATION_TILE * 32, 32);               \
            AMX_LOAD(code, c->codes + k * TILE_GROUP, VECTOR);                \
            AMX_ZERO(this);                                                   \
            if (has_bias) AMX_MULTIPLY(ss, this, inputs, code);               \
            else AMX_MULTIPLY(su, this, inputs, code);                        \
        }                                                                     \
        if (k >= LAG && k - LAG < c->groups) {                                \
            AMX_STORE(last, dot[k % 2], VECTOR);                              \
            add_group(dot[k % 2], numbers, in, has_bias, sum);                \
            numbers += 2 * LANES, in += ACTIVATION_TILE * ACTIVATION_NUMBERS; \
        }                                                                     \
        k++;                                                                  \
    } while (0)

INLINE void groups(const gemm_call *c, const bool has_bias) {
    enum { LAG = 3 };
    const int8_t *x = (const int8_t *)c->x + c->first * ACTIVATION_TILE * 32;
    const float *in =
        (const float *)(c->x + c->cols * ACTIVATION_TILE) + c->first * ACTIVATION_TILE * ACTIVATION_NUMBERS;
    const float *numbers = c->numbers;
    vec dot[2][ACTIVATION_TILE];
    vecf sum[ACTIVATION_TILE];
#pragma GCC unroll 16
    for (int t = 0; t < ACTIVATION_TILE; t++) sum[t] = V(setzero_ps)();
    for (int64_t k = 0; k < c->groups + LAG;) {
        GROUP_STEP(0, 1, 4, 6);
        GROUP_STEP(1, 2, 5, 7);
        GROUP_STEP(2, 3, 4, 6);
        GROUP_STEP(3, 0, 5, 7);
    }
#pragma GCC unroll 16
    for (int t = 0; t < ACTIVATION_TILE; t++) put_sum(c, t, sum[t]);
}

void strip_amx_groups(const gemm_call *c, bool has_bias) {
    if (has_bias) groups(c, true);
    else groups(c, false);
}

/* --- blocks of 256 columns ---------------------------------------------------------------------------------------- */

enum { EIGHT = 8, STEP_CODES = 64 * STRIP_ROWS, STEP_INPUTS = 64 * ACTIVATION_TILE };

/* Two tiles of tokens times two of codes: both planes of a strip, or two strips of one plane. */
typedef struct unit {
    vec dot[2][2][ACTIVATION_TILE]; /* [tokens][codes] */
    const uint8_t *code[2];         /* of the tokens */
    const float *number[2];
    float (*sum[2])[STRIPS][STRIP_ROWS];
    int strip, strips, tiles; /* strips, tiles: 1 or 2 */
} unit;

/* A quarter of a unit's sums: eight tokens. */
INLINE void add_quarter(const tile_block *b, const unit *u, int quarter, const int planes, const int minima) {
    const int tile = quarter / 2, first = quarter % 2 * EIGHT;
    if (tile >= u->tiles) return;
    for (int j = 0; j < u->strips; j++) {
        const vec *low = u->dot[tile][j] + first, *high = u->dot[tile][1] + first;
        const float *number = u->number[tile] + first;
        float(*to)[STRIPS][STRIP_ROWS] = u->sum[tile] + first;
        vecf scale = V(loadu_ps)(b->scale[u->strip + j]), sum[EIGHT];
#pragma GCC unroll 8
        for (int t = 0; t < EIGHT; t++) {
            vec dot = planes == 2 ? V(add_epi32)(low[t], V(slli_epi32)(high[t], 8)) : low[t];
            vecf scaled = V(mul_ps)(scale, spread(number + t));
            sum[t] = V(fmadd_ps)(V(cvtepi32_ps)(dot), scaled, V(loadu_ps)(to[t][u->strip + j]));
        }
        for (int m = 0; m < minima; m++) {
            vecf minimum = V(loadu_ps)(b->minimum[u->strip + j][m]);
            const float *sums = minima == 8
                                    ? number + (m * ACTIVATION_NUMBERS + ACTIVATION_SUM) * ACTIVATION_TILE
                                    : number + (m / 2 * ACTIVATION_NUMBERS + ACTIVATION_LOW + m % 2) * ACTIVATION_TILE;
#pragma GCC unroll 8
            for (int t = 0; t < EIGHT; t++) sum[t] = V(fmadd_ps)(minimum, spread(sums + t), sum[t]);
        }
#pragma GCC unroll 8
        for (int t = 0; t < EIGHT; t++) V(storeu_ps)(to[t][u->strip + j], sum[t]);
    }
}

/* The products of a unit; between them the sums of the one before. */
INLINE void multiply_unit(const tile_block *b, unit *u, const unit *before, const int planes, const int minima) {
    const uint8_t *low = b->codes[u->strip][0],
                  *other = planes == 2 ? b->codes[u->strip][1] : b->codes[u->strip + u->strips - 1][0];
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (int k = 0; k < ACTIVATION_BLOCK / 64; k++) {
        AMX_LOAD(4, u->code[0] + k * STEP_INPUTS, 64);
        AMX_LOAD(6, low + k * STEP_CODES, VECTOR);
        AMX_LOAD(7, other + k * STEP_CODES, VECTOR);
        AMX_LOAD(5, u->code[1] + k * STEP_INPUTS, 64);
        if (planes == 2) {
            AMX_MULTIPLY(su, 0, 4, 6);
            AMX_MULTIPLY(ss, 1, 4, 7);
            AMX_MULTIPLY(su, 2, 5, 6);
            AMX_MULTIPLY(ss, 3, 5, 7);
        } else {
            AMX_MULTIPLY(ss, 0, 4, 6);
            AMX_MULTIPLY(ss, 1, 4, 7);
            AMX_MULTIPLY(ss, 2, 5, 6);
            AMX_MULTIPLY(ss, 3, 5, 7);
        }
        if (before) add_quarter(b, before, k, planes, minima);
    }
    AMX_STORE(0, u->dot[0][0], VECTOR);
    AMX_STORE(1, u->dot[0][1], VECTOR);
    AMX_STORE(2, u->dot[1][0], VECTOR);
    AMX_STORE(3, u->dot[1][1], VECTOR);
}

INLINE void blocks(const tile_call *c, const int planes, const int minima) {
    unit units[2], *u = units, *before = NULL;
    const int wide = planes == 2 ? 1 : 2; /* strips of a unit */
    for (int64_t i = 0; i < c->tiles; i += 2) {
        const uint8_t *x[2];
        for (int64_t k = 0; k < 2; k++) { /* the last alone: twice, and added once */
            int64_t first = (i + k < c->tiles ? i + k : i) * ACTIVATION_TILE;
            x[k] = c->x + activation_bytes(ACTIVATION_Q8_BLOCK, first, c->cols);
        }
        for (int s = 0; s < c->strips; s += wide) {
            u->strip = s, u->strips = c->strips - s < wide ? c->strips - s : wide;
            u->tiles = c->tiles - i < 2 ? 1 : 2;
            for (int k = 0; k < 2; k++) {
                u->code[k] = x[k] + c->at * ACTIVATION_BLOCK * ACTIVATION_TILE;
                u->number[k] = (const float *)(x[k] + c->cols * ACTIVATION_TILE) +
                               c->at * (ACTIVATION_BLOCK / 32) * ACTIVATION_NUMBERS * ACTIVATION_TILE;
                u->sum[k] = c->sum + (i + k) * ACTIVATION_TILE;
            }
            multiply_unit(c->block, u, before, planes, minima);
            before = u;
            u = u == units ? units + 1 : units;
        }
    }
    for (int k = 0; k < 4; k++) add_quarter(c->block, before, k, planes, minima);
}

void strip_amx_block(const tile_call *c, int planes, int minima) {
    if (planes == 2 && minima) blocks(c, 2, 8);
    else if (planes == 2) blocks(c, 2, 0);
    else if (minima) blocks(c, 1, 16);
    else blocks(c, 1, 0);
}
#endif
