/* quant/mxfp4.c - MXFP4 (OCP Microscaling Formats 1.0): 32 four-bit floats E2M1 under one power of two E8M0.
 *
 * The code is sign and magnitude, so that codes 0 and 8 both mean zero; values here are doubled to be whole numbers
 * and the scale is halved. */
#include "quant/block.h"

#include <assert.h>
#include <string.h>

typedef struct mxfp4_block {
    uint8_t exponent, codes[16];
} mxfp4_block;
static_assert(sizeof(mxfp4_block) == 17, "block sizes are part of the file format");

static const int8_t decoded[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static const int8_t rising[16] = {-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12};
static const uint8_t stored[16] = {15, 14, 13, 12, 11, 10, 9, 0, 0, 1, 2, 3, 4, 5, 6, 7};

static void take(const uint8_t *block, block_fields *f) {
    const mxfp4_block *b = (const mxfp4_block *)block;
    f->scale[0] = b->exponent;
    for (int j = 0; j < 16; j++) f->code[j] = b->codes[j] & 15, f->code[j + 16] = b->codes[j] >> 4;
}

static void put(const block_fields *f, uint8_t *block) {
    mxfp4_block *b = (mxfp4_block *)block;
    b->exponent = f->scale[0];
    for (int j = 0; j < 16; j++) b->codes[j] = (uint8_t)((f->code[j] & 15) | f->code[j + 16] << 4);
}

/* Half of 2^(e - 127); e = 255 (NaN in the standard) is read as the next power, as ggml does. */
static float half_scale(uint8_t e) {
    uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static void decode(const block_fields *f, float *out) {
    float d = half_scale(f->scale[0]);
    for (int e = 0; e < 32; e++) out[e] = (float)decoded[f->code[e]] * d;
}

BLOCK_PACKER(mxfp4)
const block_codec quant_mxfp4 = {
    .format = {BLOCK_FORMAT(mxfp4, PITH_MXFP4, 39, 32, sizeof(mxfp4_block))},
    .codes = 32,
    .scales = 1,
    .take = take,
    .put = put,
    .decode = decode,
    .plan = {.kind = SEARCH_POWER, .group = 32, .groups = 1, .low = -12, .high = 12, .value = rising, .stored = stored},
};
