/* quant/q_legacy.c - Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 weights to a block, one half-float scale, in the _1 types also an
 * offset. Byte j of the nibbles holds weight j below and weight j + 16 above. */
#include "quant/block.h"

#include <assert.h>
#include <string.h>

enum { SIZE = 32 };

typedef struct q4_0_block {
    uint8_t d[2], codes[16];
} q4_0_block;
typedef struct q4_1_block {
    uint8_t d[2], m[2], codes[16];
} q4_1_block;
typedef struct q5_0_block {
    uint8_t d[2], high[4], codes[16]; /* high: fifth bits, weight e in bit e */
} q5_0_block;
typedef struct q5_1_block {
    uint8_t d[2], m[2], high[4], codes[16];
} q5_1_block;
typedef struct q8_0_block {
    uint8_t d[2];
    int8_t codes[32];
} q8_0_block;
static_assert(sizeof(q4_0_block) == 18 && sizeof(q4_1_block) == 20 && sizeof(q5_0_block) == 22 &&
                  sizeof(q5_1_block) == 24 && sizeof(q8_0_block) == 34,
              "block sizes are part of the file format");

static void take_nibbles(const uint8_t *codes, block_fields *f) {
    for (int j = 0; j < 16; j++) {
        f->code[j] = codes[j] & 15;
        f->code[j + 16] = codes[j] >> 4;
    }
}

static void put_nibbles(const block_fields *f, uint8_t *codes) {
    for (int j = 0; j < 16; j++) codes[j] = (uint8_t)((f->code[j] & 15) | f->code[j + 16] << 4);
}

static void take_high(const uint8_t *high, block_fields *f) {
    for (int e = 0; e < SIZE; e++) f->code[e] |= (uint8_t)((high[e / 8] >> (e % 8) & 1) << 4);
}

static void put_high(const block_fields *f, uint8_t *high) {
    memset(high, 0, 4);
    for (int e = 0; e < SIZE; e++) high[e / 8] |= (uint8_t)((f->code[e] >> 4 & 1) << (e % 8));
}

static void q4_0_take(const uint8_t *block, block_fields *f) {
    const q4_0_block *b = (const q4_0_block *)block;
    f->d = block_load16(b->d);
    take_nibbles(b->codes, f);
}

static void q4_0_put(const block_fields *f, uint8_t *block) {
    q4_0_block *b = (q4_0_block *)block;
    block_store16(b->d, f->d);
    put_nibbles(f, b->codes);
}

static void q4_1_take(const uint8_t *block, block_fields *f) {
    const q4_1_block *b = (const q4_1_block *)block;
    f->d = block_load16(b->d), f->dmin = block_load16(b->m);
    take_nibbles(b->codes, f);
}

static void q4_1_put(const block_fields *f, uint8_t *block) {
    q4_1_block *b = (q4_1_block *)block;
    block_store16(b->d, f->d), block_store16(b->m, f->dmin);
    put_nibbles(f, b->codes);
}

static void q5_0_take(const uint8_t *block, block_fields *f) {
    const q5_0_block *b = (const q5_0_block *)block;
    f->d = block_load16(b->d);
    take_nibbles(b->codes, f);
    take_high(b->high, f);
}

static void q5_0_put(const block_fields *f, uint8_t *block) {
    q5_0_block *b = (q5_0_block *)block;
    block_store16(b->d, f->d);
    put_nibbles(f, b->codes);
    put_high(f, b->high);
}

static void q5_1_take(const uint8_t *block, block_fields *f) {
    const q5_1_block *b = (const q5_1_block *)block;
    f->d = block_load16(b->d), f->dmin = block_load16(b->m);
    take_nibbles(b->codes, f);
    take_high(b->high, f);
}

static void q5_1_put(const block_fields *f, uint8_t *block) {
    q5_1_block *b = (q5_1_block *)block;
    block_store16(b->d, f->d), block_store16(b->m, f->dmin);
    put_nibbles(f, b->codes);
    put_high(f, b->high);
}

/* Codes of Q8_0 are shifted by 128 in the fields, so that they are small numbers like all others. */
static void q8_0_take(const uint8_t *block, block_fields *f) {
    const q8_0_block *b = (const q8_0_block *)block;
    f->d = block_load16(b->d);
    for (int e = 0; e < SIZE; e++) f->code[e] = (uint8_t)(b->codes[e] + 128);
}

static void q8_0_put(const block_fields *f, uint8_t *block) {
    q8_0_block *b = (q8_0_block *)block;
    block_store16(b->d, f->d);
    for (int e = 0; e < SIZE; e++) b->codes[e] = (int8_t)(f->code[e] - 128);
}

static void decode_signed(const block_fields *f, int bias, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int e = 0; e < SIZE; e++) out[e] = (float)(f->code[e] - bias) * d;
}

static void decode_affine(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d), m = pith_f16_to_f32(f->dmin);
    for (int e = 0; e < SIZE; e++) out[e] = (float)f->code[e] * d + m;
}

static void q4_0_decode(const block_fields *f, float *out) { decode_signed(f, 8, out); }
static void q5_0_decode(const block_fields *f, float *out) { decode_signed(f, 16, out); }
static void q8_0_decode(const block_fields *f, float *out) { decode_signed(f, 128, out); }

BLOCK_PACKER(q4_0)
const block_codec quant_q4_0 = {
    .format = {BLOCK_FORMAT(q4_0, PITH_Q4_0, 2, SIZE, sizeof(q4_0_block))},
    .codes = SIZE,
    .halves = 1,
    .take = q4_0_take,
    .put = q4_0_put,
    .decode = q4_0_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = SIZE, .groups = 1, .low = -8, .high = 7},
};

BLOCK_PACKER(q4_1)
const block_codec quant_q4_1 = {
    .format = {BLOCK_FORMAT(q4_1, PITH_Q4_1, 3, SIZE, sizeof(q4_1_block))},
    .codes = SIZE,
    .halves = 2,
    .take = q4_1_take,
    .put = q4_1_put,
    .decode = decode_affine,
    .plan = {.kind = SEARCH_AFFINE, .group = SIZE, .groups = 1, .low = 0, .high = 15},
};

BLOCK_PACKER(q5_0)
const block_codec quant_q5_0 = {
    .format = {BLOCK_FORMAT(q5_0, PITH_Q5_0, 6, SIZE, sizeof(q5_0_block))},
    .codes = SIZE,
    .halves = 1,
    .take = q5_0_take,
    .put = q5_0_put,
    .decode = q5_0_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = SIZE, .groups = 1, .low = -16, .high = 15},
};

BLOCK_PACKER(q5_1)
const block_codec quant_q5_1 = {
    .format = {BLOCK_FORMAT(q5_1, PITH_Q5_1, 7, SIZE, sizeof(q5_1_block))},
    .codes = SIZE,
    .halves = 2,
    .take = q5_1_take,
    .put = q5_1_put,
    .decode = decode_affine,
    .plan = {.kind = SEARCH_AFFINE, .group = SIZE, .groups = 1, .low = 0, .high = 31},
};

BLOCK_PACKER(q8_0)
const block_codec quant_q8_0 = {
    .format = {BLOCK_FORMAT(q8_0, PITH_Q8_0, 8, SIZE, sizeof(q8_0_block))},
    .codes = SIZE,
    .halves = 1,
    .take = q8_0_take,
    .put = q8_0_put,
    .decode = q8_0_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = SIZE, .groups = 1, .low = -128, .high = 127},
};
