/* quant/iq4.c - IQ4_NL and IQ4_XS: four-bit codes into a fixed table of sixteen unevenly spaced values, which suits the
 * bell shape of weights. IQ4_NL: 32 weights, a half-float scale. IQ4_XS: 256 weights, eight 6-bit scales under one. */
#include "quant/block.h"

#include <assert.h>

static const int8_t values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

typedef struct iq4_nl_block {
    uint8_t d[2], codes[16];
} iq4_nl_block;
typedef struct iq4_xs_block {
    uint8_t d[2], scales_high[2], scales_low[4], codes[128]; /* sub-block k: 2 bits of high, 4 of low, bias 32 */
} iq4_xs_block;
static_assert(sizeof(iq4_nl_block) == 18 && sizeof(iq4_xs_block) == 136, "block sizes are part of the file format");

static void take_nibbles(const uint8_t *codes, uint8_t *out) {
    for (int j = 0; j < 16; j++) out[j] = codes[j] & 15, out[j + 16] = codes[j] >> 4;
}

static void put_nibbles(const uint8_t *in, uint8_t *codes) {
    for (int j = 0; j < 16; j++) codes[j] = (uint8_t)((in[j] & 15) | in[j + 16] << 4);
}

static void iq4_nl_take(const uint8_t *block, block_fields *f) {
    const iq4_nl_block *b = (const iq4_nl_block *)block;
    f->d = block_load16(b->d);
    take_nibbles(b->codes, f->code);
}

static void iq4_nl_put(const block_fields *f, uint8_t *block) {
    iq4_nl_block *b = (iq4_nl_block *)block;
    block_store16(b->d, f->d);
    put_nibbles(f->code, b->codes);
}

static void iq4_nl_decode(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int e = 0; e < 32; e++) out[e] = d * (float)values[f->code[e]];
}

static void iq4_xs_take(const uint8_t *block, block_fields *f) {
    const iq4_xs_block *b = (const iq4_xs_block *)block;
    f->d = block_load16(b->d);
    uint16_t high = block_load16(b->scales_high);
    for (int k = 0; k < 8; k++) {
        f->scale[k] = (uint8_t)((b->scales_low[k / 2] >> 4 * (k % 2) & 15) | (high >> 2 * k & 3) << 4);
        take_nibbles(b->codes + 16 * k, f->code + 32 * k);
    }
}

static void iq4_xs_put(const block_fields *f, uint8_t *block) {
    iq4_xs_block *b = (iq4_xs_block *)block;
    block_store16(b->d, f->d);
    unsigned high = 0;
    for (int k = 0; k < 8; k++) {
        high |= (unsigned)(f->scale[k] >> 4 & 3) << 2 * k;
        put_nibbles(f->code + 32 * k, b->codes + 16 * k);
    }
    for (int k = 0; k < 4; k++) b->scales_low[k] = (uint8_t)((f->scale[2 * k] & 15) | f->scale[2 * k + 1] << 4);
    block_store16(b->scales_high, (uint16_t)high);
}

static void iq4_xs_decode(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int k = 0; k < 8; k++) {
        float scale = d * (float)(f->scale[k] - 32);
        for (int e = 32 * k; e < 32 * k + 32; e++) out[e] = scale * (float)values[f->code[e]];
    }
}

BLOCK_PACKER(iq4_nl)
const block_codec quant_iq4_nl = {
    .format = {BLOCK_FORMAT(iq4_nl, PITH_IQ4_NL, 20, 32, sizeof(iq4_nl_block))},
    .codes = 32,
    .halves = 1,
    .take = iq4_nl_take,
    .put = iq4_nl_put,
    .decode = iq4_nl_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = 32, .groups = 1, .low = -127, .high = 113, .value = values},
};

BLOCK_PACKER(iq4_xs)
const block_codec quant_iq4_xs = {
    .format = {BLOCK_FORMAT(iq4_xs, PITH_IQ4_XS, 23, 256, sizeof(iq4_xs_block))},
    .codes = 256,
    .scales = 8,
    .halves = 1,
    .take = iq4_xs_take,
    .put = iq4_xs_put,
    .decode = iq4_xs_decode,
    .plan = {.kind = SEARCH_SIGNED,
             .group = 32,
             .groups = 8,
             .low = -127,
             .high = 113,
             .value = values,
             .scale_low = -32,
             .scale_high = 31,
             .scale_bias = 32},
};
