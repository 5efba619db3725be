/* quant/activation.h - what a row of inputs is turned into before it meets a packed matrix.
 *
 * Beside the plain types there are ACTIVATION_Q8 and ACTIVATION_Q8_BLOCK: 8-bit codes with one scale for 32 inputs, of
 * eleven bits, and for 256 inputs, laid out for the kernels. Which of them a weight format takes, and how they round,
 * is what GGUF's other runners do, so that logits agree. Rows go in tiles of 16, the rest in tiles of 8, 4, 2 and 1,
 * one after the other, T * cols * 3 / 2 bytes each:
 *
 *   int8_t code[cols / R][T][R];      x = scale * code, |code| <= 127; R = 32 for ACTIVATION_Q8, 64 for _Q8_BLOCK
 *   float  number[cols / 32][4][T];   scale, scale * sum of codes 0-15, of codes 16-31, of all
 *
 * The sums carry the offsets of weights that are scale * code + minimum. A group that holds infinity or NaN has NaN for
 * a scale, so that the fault is seen in what comes out. */
#ifndef QUANT_ACTIVATION_H
#define QUANT_ACTIVATION_H

#include "tensor/types.h"

enum { ACTIVATION_Q8 = PITH_TYPES + 1, ACTIVATION_Q8_BLOCK };
enum { ACTIVATION_TILE = 16, ACTIVATION_GROUP = 32, ACTIVATION_BLOCK = 256 };
enum { ACTIVATION_SCALE, ACTIVATION_LOW, ACTIVATION_HIGH, ACTIVATION_SUM, ACTIVATION_NUMBERS };

/* Rows of the tile that begins where `left` rows remain. */
static inline int activation_tile(int64_t left) {
    return left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Where the code of a column stands in a tile; R and T as above. */
static inline int activation_run(uint16_t type) { return type == ACTIVATION_Q8_BLOCK ? 64 : 32; }
static inline int64_t activation_at(uint16_t type, int tile, int t, int64_t col) {
    int run = activation_run(type);
    return (col / run * tile + t) * run + col % run;
}

/* Bytes of n rows of `cols` inputs as `type` (a format's `activation`). */
uint64_t activation_bytes(uint16_t type, int64_t n, int64_t cols);
/* x [n][cols] to out. cols is a multiple of the type's block. Rows may be converted in several calls, each beginning at
 * activation_bytes of the rows before it, if all calls but the last have a multiple of ACTIVATION_TILE rows. */
void activation_from_f32(uint16_t type, const float *x, int64_t n, int64_t cols, void *out);

struct activation_kernels {
    void (*q8)(uint16_t type, const float *x, int tile, int64_t cols, uint8_t *out); /* one tile */
};

#endif
