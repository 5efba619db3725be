/* quant/q_k.c - Q2_K, Q3_K, Q4_K, Q5_K, Q6_K: 256 weights to a block, in sub-blocks of 16 or 32 whose scales (and
 * minima) are small whole numbers under one half float (two).
 *
 * Affine: x = d scale code - dmin min (Q2_K, Q4_K, Q5_K). Signed: x = d scale code (Q3_K, Q6_K). */
#include "quant/block.h"

#include <assert.h>
#include <string.h>

enum { SIZE = 256 };

typedef struct q2_k_block {
    uint8_t scales[16], codes[64], d[2], dmin[2]; /* scales: low nibble scale, high nibble minimum */
} q2_k_block;
typedef struct q3_k_block {
    uint8_t high[32], codes[64], scales[12], d[2]; /* high: weight e in bit e / 32 of byte e % 32 */
} q3_k_block;
typedef struct q4_k_block {
    uint8_t d[2], dmin[2], scales[12], codes[128];
} q4_k_block;
typedef struct q5_k_block {
    uint8_t d[2], dmin[2], scales[12], high[32], codes[128];
} q5_k_block;
typedef struct q6_k_block {
    uint8_t low[128], high[64], scales[16], d[2];
} q6_k_block;
static_assert(sizeof(q2_k_block) == 84 && sizeof(q3_k_block) == 110 && sizeof(q4_k_block) == 144 &&
                  sizeof(q5_k_block) == 176 && sizeof(q6_k_block) == 210,
              "block sizes are part of the file format");

/* Two bits a weight: e = 128 h + 32 k + l lies in bits 2k of byte 32 h + l. */
static unsigned pair_at(const uint8_t *codes, int e) { return codes[e / 128 * 32 + e % 32] >> (e / 32 % 4 * 2) & 3; }
static void pair_put(uint8_t *codes, int e, unsigned v) {
    codes[e / 128 * 32 + e % 32] |= (uint8_t)((v & 3) << (e / 32 % 4 * 2));
}

/* Four bits a weight: chunk of 32 bytes c holds weights 64 c + l below and 64 c + 32 + l above. */
static unsigned nibble_at(const uint8_t *codes, int e) { return codes[e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15; }
static void nibble_put(uint8_t *codes, int e, unsigned v) {
    codes[e / 64 * 32 + e % 32] |= (uint8_t)((v & 15) << (e / 32 % 2 * 4));
}

/* One bit a weight: e in bit e / 32 of byte e % 32. */
static unsigned bit_at(const uint8_t *high, int e) { return high[e % 32] >> (e / 32) & 1; }
static void bit_put(uint8_t *high, int e, unsigned v) { high[e % 32] |= (uint8_t)((v & 1) << (e / 32)); }

/* Q4_K and Q5_K: eight 6-bit scales and minima in twelve bytes. */
static void take_scales(const uint8_t *s, block_fields *f) {
    for (int j = 0; j < 4; j++) {
        f->scale[j] = s[j] & 63, f->min[j] = s[j + 4] & 63;
        f->scale[j + 4] = (uint8_t)((s[j + 8] & 15) | s[j] >> 6 << 4);
        f->min[j + 4] = (uint8_t)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
    }
}

static void put_scales(const block_fields *f, uint8_t *s) {
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)((f->scale[j] & 63) | f->scale[j + 4] >> 4 << 6);
        s[j + 4] = (uint8_t)((f->min[j] & 63) | f->min[j + 4] >> 4 << 6);
        s[j + 8] = (uint8_t)((f->scale[j + 4] & 15) | f->min[j + 4] << 4);
    }
}

static void decode_affine(const block_fields *f, int group, float *out) {
    float d = pith_f16_to_f32(f->d), dmin = pith_f16_to_f32(f->dmin);
    for (int k = 0; k < SIZE / group; k++) {
        float scale = d * (float)f->scale[k], min = dmin * (float)f->min[k];
        for (int e = group * k; e < group * (k + 1); e++) out[e] = scale * (float)f->code[e] - min;
    }
}

static void decode_by_16(const block_fields *f, float *out) { decode_affine(f, 16, out); }
static void decode_by_32(const block_fields *f, float *out) { decode_affine(f, 32, out); }

static void q2_k_take(const uint8_t *block, block_fields *f) {
    const q2_k_block *b = (const q2_k_block *)block;
    f->d = block_load16(b->d), f->dmin = block_load16(b->dmin);
    for (int k = 0; k < 16; k++) f->scale[k] = b->scales[k] & 15, f->min[k] = b->scales[k] >> 4;
    for (int e = 0; e < SIZE; e++) f->code[e] = (uint8_t)pair_at(b->codes, e);
}

static void q2_k_put(const block_fields *f, uint8_t *block) {
    q2_k_block *b = (q2_k_block *)block;
    memset(b, 0, sizeof *b);
    block_store16(b->d, f->d), block_store16(b->dmin, f->dmin);
    for (int k = 0; k < 16; k++) b->scales[k] = (uint8_t)((f->scale[k] & 15) | f->min[k] << 4);
    for (int e = 0; e < SIZE; e++) pair_put(b->codes, e, f->code[e]);
}

/* Sixteen 6-bit scales, bias 32: low nibbles in bytes 0-7, upper pairs in bytes 8-11. */
static void q3_k_take(const uint8_t *block, block_fields *f) {
    const q3_k_block *b = (const q3_k_block *)block;
    f->d = block_load16(b->d);
    for (int k = 0; k < 16; k++) {
        unsigned low = b->scales[k % 8] >> (k / 8 * 4) & 15, up = b->scales[8 + k % 4] >> (k / 4 * 2) & 3;
        f->scale[k] = (uint8_t)(low | up << 4);
    }
    for (int e = 0; e < SIZE; e++) f->code[e] = (uint8_t)(pair_at(b->codes, e) | bit_at(b->high, e) << 2);
}

static void q3_k_put(const block_fields *f, uint8_t *block) {
    q3_k_block *b = (q3_k_block *)block;
    memset(b, 0, sizeof *b);
    block_store16(b->d, f->d);
    for (int k = 0; k < 16; k++) {
        b->scales[k % 8] |= (uint8_t)((f->scale[k] & 15) << (k / 8 * 4));
        b->scales[8 + k % 4] |= (uint8_t)((f->scale[k] >> 4 & 3) << (k / 4 * 2));
    }
    for (int e = 0; e < SIZE; e++) {
        pair_put(b->codes, e, f->code[e]);
        bit_put(b->high, e, f->code[e] >> 2);
    }
}

static void q3_k_decode(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int k = 0; k < 16; k++) {
        float scale = d * (float)(f->scale[k] - 32);
        for (int e = 16 * k; e < 16 * k + 16; e++) out[e] = scale * (float)(f->code[e] - 4);
    }
}

static void q4_k_take(const uint8_t *block, block_fields *f) {
    const q4_k_block *b = (const q4_k_block *)block;
    f->d = block_load16(b->d), f->dmin = block_load16(b->dmin);
    take_scales(b->scales, f);
    for (int e = 0; e < SIZE; e++) f->code[e] = (uint8_t)nibble_at(b->codes, e);
}

static void q4_k_put(const block_fields *f, uint8_t *block) {
    q4_k_block *b = (q4_k_block *)block;
    memset(b, 0, sizeof *b);
    block_store16(b->d, f->d), block_store16(b->dmin, f->dmin);
    put_scales(f, b->scales);
    for (int e = 0; e < SIZE; e++) nibble_put(b->codes, e, f->code[e]);
}

static void q5_k_take(const uint8_t *block, block_fields *f) {
    const q5_k_block *b = (const q5_k_block *)block;
    f->d = block_load16(b->d), f->dmin = block_load16(b->dmin);
    take_scales(b->scales, f);
    for (int e = 0; e < SIZE; e++) f->code[e] = (uint8_t)(nibble_at(b->codes, e) | bit_at(b->high, e) << 4);
}

static void q5_k_put(const block_fields *f, uint8_t *block) {
    q5_k_block *b = (q5_k_block *)block;
    memset(b, 0, sizeof *b);
    block_store16(b->d, f->d), block_store16(b->dmin, f->dmin);
    put_scales(f, b->scales);
    for (int e = 0; e < SIZE; e++) {
        nibble_put(b->codes, e, f->code[e]);
        bit_put(b->high, e, f->code[e] >> 4);
    }
}

/* Low nibbles: half h, e = 128 h + t, in the lower half of byte 64 h + t for t < 64, in the upper half above that. */
static void q6_k_take(const uint8_t *block, block_fields *f) {
    const q6_k_block *b = (const q6_k_block *)block;
    f->d = block_load16(b->d);
    memcpy(f->scale, b->scales, 16);
    for (int e = 0; e < SIZE; e++) {
        unsigned low = b->low[e / 128 * 64 + e % 64] >> (e / 64 % 2 * 4) & 15;
        f->code[e] = (uint8_t)(low | pair_at(b->high, e) << 4);
    }
}

static void q6_k_put(const block_fields *f, uint8_t *block) {
    q6_k_block *b = (q6_k_block *)block;
    memset(b, 0, sizeof *b);
    block_store16(b->d, f->d);
    memcpy(b->scales, f->scale, 16);
    for (int e = 0; e < SIZE; e++) {
        b->low[e / 128 * 64 + e % 64] |= (uint8_t)((f->code[e] & 15) << (e / 64 % 2 * 4));
        pair_put(b->high, e, f->code[e] >> 4);
    }
}

static void q6_k_decode(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int k = 0; k < 16; k++) {
        float scale = d * (float)(int8_t)f->scale[k];
        for (int e = 16 * k; e < 16 * k + 16; e++) out[e] = scale * (float)(f->code[e] - 32);
    }
}

BLOCK_PACKER(q2_k)
const block_codec quant_q2_k = {
    .format = {BLOCK_FORMAT(q2_k, PITH_Q2_K, 10, SIZE, sizeof(q2_k_block))},
    .codes = SIZE,
    .scales = 16,
    .mins = 16,
    .halves = 2,
    .take = q2_k_take,
    .put = q2_k_put,
    .decode = decode_by_16,
    .plan = {.kind = SEARCH_AFFINE, .group = 16, .groups = 16, .low = 0, .high = 3, .scale_high = 15},
};

BLOCK_PACKER(q3_k)
const block_codec quant_q3_k = {
    .format = {BLOCK_FORMAT(q3_k, PITH_Q3_K, 11, SIZE, sizeof(q3_k_block))},
    .codes = SIZE,
    .scales = 16,
    .halves = 1,
    .take = q3_k_take,
    .put = q3_k_put,
    .decode = q3_k_decode,
    .plan = {.kind = SEARCH_SIGNED,
             .group = 16,
             .groups = 16,
             .low = -4,
             .high = 3,
             .scale_low = -32,
             .scale_high = 31,
             .scale_bias = 32},
};

BLOCK_PACKER(q4_k)
const block_codec quant_q4_k = {
    .format = {BLOCK_FORMAT(q4_k, PITH_Q4_K, 12, SIZE, sizeof(q4_k_block))},
    .codes = SIZE,
    .scales = 8,
    .mins = 8,
    .halves = 2,
    .take = q4_k_take,
    .put = q4_k_put,
    .decode = decode_by_32,
    .plan = {.kind = SEARCH_AFFINE, .group = 32, .groups = 8, .low = 0, .high = 15, .scale_high = 63},
};

BLOCK_PACKER(q5_k)
const block_codec quant_q5_k = {
    .format = {BLOCK_FORMAT(q5_k, PITH_Q5_K, 13, SIZE, sizeof(q5_k_block))},
    .codes = SIZE,
    .scales = 8,
    .mins = 8,
    .halves = 2,
    .take = q5_k_take,
    .put = q5_k_put,
    .decode = decode_by_32,
    .plan = {.kind = SEARCH_AFFINE, .group = 32, .groups = 8, .low = 0, .high = 31, .scale_high = 63},
};

BLOCK_PACKER(q6_k)
const block_codec quant_q6_k = {
    .format = {BLOCK_FORMAT(q6_k, PITH_Q6_K, 14, SIZE, sizeof(q6_k_block))},
    .codes = SIZE,
    .scales = 16,
    .halves = 1,
    .take = q6_k_take,
    .put = q6_k_put,
    .decode = q6_k_decode,
    .plan = {.kind = SEARCH_SIGNED,
             .group = 16,
             .groups = 16,
             .low = -32,
             .high = 31,
             .scale_low = -128,
             .scale_high = 127},
};
