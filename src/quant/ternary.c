/* quant/ternary.c - TQ1_0 and TQ2_0: 256 weights of -d, 0 or d.
 *
 * TQ2_0 gives a weight two bits. TQ1_0 puts five weights into a byte: v in base 3, first weight most significant,
 * stored as ceil(256 v / 243), so that digit k is the whole part of 3 * fraction(3^k byte / 256). The last four bytes
 * hold four weights each. */
#include "quant/block.h"

#include <assert.h>
#include <string.h>

typedef struct tq1_0_block {
    uint8_t codes[48], tail[4], d[2];
} tq1_0_block;
typedef struct tq2_0_block {
    uint8_t codes[64], d[2];
} tq2_0_block;
static_assert(sizeof(tq1_0_block) == 54 && sizeof(tq2_0_block) == 66, "block sizes are part of the file format");

/* Runs of bytes and the weights they hold: digit k of byte `first + l` is weight start + k * count + l. */
static const struct run {
    uint8_t first, count, digits, start;
} runs[3] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

static void tq1_0_take(const uint8_t *block, block_fields *f) {
    const tq1_0_block *b = (const tq1_0_block *)block;
    f->d = block_load16(b->d);
    memcpy(f->code, b->codes, 48);
    memcpy(f->code + 48, b->tail, 4);
}

static void tq1_0_put(const block_fields *f, uint8_t *block) {
    tq1_0_block *b = (tq1_0_block *)block;
    block_store16(b->d, f->d);
    memcpy(b->codes, f->code, 48);
    memcpy(b->tail, f->code + 48, 4);
}

/* 52 bytes to 256 digits. */
static void spread_digits(const uint8_t *bytes, uint8_t *digit) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (const struct run *r = runs; r < runs + 3; r++)
        for (int k = 0; k < r->digits; k++)
            for (int l = 0; l < r->count; l++) {
                uint8_t fraction = (uint8_t)(bytes[r->first + l] * power[k]);
                digit[r->start + k * r->count + l] = (uint8_t)(fraction * 3 >> 8);
            }
}

static void tq1_0_decode(const block_fields *f, float *out) {
    uint8_t digit[256];
    float d = pith_f16_to_f32(f->d);
    spread_digits(f->code, digit);
    for (int e = 0; e < 256; e++) out[e] = (float)(digit[e] - 1) * d;
}

/* 256 digits to 52 bytes. */
static void tq1_0_gather(block_fields *f) {
    uint8_t bytes[52];
    for (const struct run *r = runs; r < runs + 3; r++)
        for (int l = 0; l < r->count; l++) {
            int v = 0;
            for (int k = 0; k < 5; k++) v = 3 * v + (k < r->digits ? f->code[r->start + k * r->count + l] : 0);
            bytes[r->first + l] = (uint8_t)((v * 256 + 242) / 243);
        }
    memcpy(f->code, bytes, sizeof bytes);
}

/* Weight 128 h + 32 k + l lies in bits 2k of byte 32 h + l. */
static void tq2_0_take(const uint8_t *block, block_fields *f) {
    const tq2_0_block *b = (const tq2_0_block *)block;
    f->d = block_load16(b->d);
    for (int e = 0; e < 256; e += 32)
        for (int l = 0; l < 32; l++) f->code[e + l] = b->codes[e / 128 * 32 + l] >> (e / 32 % 4 * 2) & 3;
}

static void tq2_0_put(const block_fields *f, uint8_t *block) {
    tq2_0_block *b = (tq2_0_block *)block;
    block_store16(b->d, f->d);
    memset(b->codes, 0, sizeof b->codes);
    for (int e = 0; e < 256; e += 32)
        for (int l = 0; l < 32; l++) b->codes[e / 128 * 32 + l] |= (uint8_t)((f->code[e + l] & 3) << (e / 32 % 4 * 2));
}

void quant_tq2_0_to_tq1_0(const uint8_t *block, uint8_t *out) {
    block_fields f;
    tq2_0_take(block, &f);
    tq1_0_gather(&f);
    tq1_0_put(&f, out);
}

bool quant_tq1_0_to_tq2_0(const uint8_t *block, uint8_t *out) {
    block_fields packed, f;
    uint8_t again[sizeof(tq1_0_block)];
    tq1_0_take(block, &packed);
    f.d = packed.d;
    spread_digits(packed.code, f.code);
    tq2_0_put(&f, out);
    quant_tq2_0_to_tq1_0(out, again);
    return memcmp(again, block, sizeof again) == 0;
}

static void tq2_0_decode(const block_fields *f, float *out) {
    float d = pith_f16_to_f32(f->d);
    for (int e = 0; e < 256; e++) out[e] = (float)(f->code[e] - 1) * d;
}

BLOCK_PACKER(tq1_0)
const block_codec quant_tq1_0 = {
    .format = {BLOCK_FORMAT(tq1_0, PITH_TQ1_0, 34, 256, sizeof(tq1_0_block))},
    .codes = 52,
    .halves = 1,
    .take = tq1_0_take,
    .put = tq1_0_put,
    .gather = tq1_0_gather,
    .decode = tq1_0_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = 256, .groups = 1, .low = -1, .high = 1},
};

BLOCK_PACKER(tq2_0)
const block_codec quant_tq2_0 = {
    .format = {BLOCK_FORMAT(tq2_0, PITH_TQ2_0, 35, 256, sizeof(tq2_0_block))},
    .codes = 256,
    .halves = 1,
    .take = tq2_0_take,
    .put = tq2_0_put,
    .decode = tq2_0_decode,
    .plan = {.kind = SEARCH_SIGNED, .group = 256, .groups = 1, .low = -1, .high = 1},
};
