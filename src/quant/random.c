/* quant/random.c - random bytes with the scales set to ordinary numbers, then resized by what they decode to. */
#include "quant/random.h"

#include "base/memory.h"
#include "quant/strip.h"

#include <math.h>
#include <string.h>

enum { DRAWN = 4099 }; /* prime: rows of common lengths do not line up */

static void put_half(uint8_t *at, float v) {
    uint16_t h = pith_f32_to_f16(v);
    memcpy(at, &h, 2);
}

/* The second half float of an affine block relative to the first, so that weights lie about zero. */
static float second_half(uint16_t type) {
    switch (type) {
    case PITH_Q4_1: return -7.5f;
    case PITH_Q5_1: return -15.5f;
    case PITH_Q2_K: return 1.5f;
    case PITH_Q4_K: return 7.5f;
    case PITH_Q5_K: return 15.5f;
    default: return 0;
    }
}

/* Five digits a byte, as ternary.c packs them: not every byte is one that a packer writes. The last four hold four. */
static void draw_digits(rng *random, uint8_t *block) {
    for (int i = 0; i < 52; i++)
        block[i] = (uint8_t)(((i < 48 ? rng_below(random, 243) : 3 * rng_below(random, 81)) * 256 + 242) / 243);
}

static void draw_block(const pith_format *format, float d, rng *random, uint8_t *block) {
    for (int i = 0; i < format->block_bytes; i++) block[i] = (uint8_t)rng_u32(random);
    if (format->id == PITH_TQ1_0) draw_digits(random, block);
    if (format->id == PITH_MXFP4) {
        block[0] = (uint8_t)(127 + lrintf(log2f(d)) + (int)rng_below(random, 2));
        return;
    }
    const struct strip_field *head = &strip_layout_of(format->id)->field[0];
    float own = d * (0.75f + 0.5f * rng_float(random));
    put_half(block + head->at, own);
    if (second_half(format->id) != 0) put_half(block + head->at + 2, own * second_half(format->id));
}

static void draw_floats(uint16_t type, int64_t n, float size, rng *random, void *out) {
    float v[DRAWN];
    for (int64_t i = 0; i < n; i++) v[i] = size * (float)rng_normal(random);
    pith_from_f32(type, v, n, out);
}

/* Root mean square of `count` blocks that were drawn with d = 1/64. */
static float size_of(const pith_format *format, const uint8_t *blocks, int count) {
    float w[256];
    double square = 0;
    pith_packed one = {.format = format, .rows = 1, .cols = format->block};
    for (int b = 0; b < count; b++) {
        one.part[0].data = (void *)(blocks + b * format->block_bytes);
        format->to_f32(&one, 0, 1, w);
        for (int e = 0; e < format->block; e++) square += (double)w[e] * (double)w[e];
    }
    return (float)sqrt(square / (count * format->block));
}

static void draw(const pith_format *format, float size, rng *random, uint8_t *blocks) {
    if (pith_types[format->id].is_float) {
        draw_floats(format->id, DRAWN, size, random, blocks);
        return;
    }
    float d = 1.0f / 64;
    for (int b = 0; b < 64; b++) draw_block(format, d, random, blocks + b * format->block_bytes);
    d *= size / size_of(format, blocks, 64);
    for (int b = 0; b < DRAWN; b++) draw_block(format, d, random, blocks + b * format->block_bytes);
}

pith_status quant_random(const pith_format *format, int64_t rows, int64_t cols, float size, rng *random,
                         pith_packed *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    int64_t shape[2] = {rows, cols};
    pith_tensor t;
    pith_status s = pith_tensor_new(&t, format->id, 2, shape, err);
    if (s != PITH_OK) return s;
    size_t period = (size_t)DRAWN * format->block_bytes, total = pith_tensor_bytes(&t);
    uint8_t *blocks = memory_alloc(period);
    if (!blocks) {
        pith_tensor_release(&t);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    draw(format, size, random, blocks);
    for (size_t at = 0; at < total; at += period)
        memcpy((uint8_t *)t.data + at, blocks, total - at < period ? total - at : period);
    memory_free(blocks);
    s = pith_packed_from_tensor(out, &t, err);
    pith_tensor_release(&t);
    return s;
}
