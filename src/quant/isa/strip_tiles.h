/* quant/isa/strip_tiles.h - products of strips with whole tiles of 16 tokens by AMX: how weights become tiles. The
 * products themselves are in strip_amx.c.
 *
 * Types whose inputs have a scale for 32 columns: codes are made signed where a fixed bias allows it (no minima then),
 * and every group of 32 is one product, scaled and added like those of strip_gemm.c.
 *
 * Types whose inputs have a scale for 256 columns: codes times their inner scales are whole numbers of 8 bits, or of 16
 * in two planes of 8, so that products of a whole block are added up in the tile, exactly; then once a block the
 * conversion, the scale, and the minima of the few types that have them. */
#ifndef QUANT_STRIP_TILES_H
#define QUANT_STRIP_TILES_H

enum { TILE_GROUP = 32 * STRIP_ROWS, TILE_BLOCK = ACTIVATION_BLOCK * STRIP_ROWS, PANEL = 512 };

/* y[t][rows] (+)= columns from `first` on, with minima if not `has_bias`; as all below in strip_amx.c. */
void strip_amx_groups(const gemm_call *c, bool has_bias);

typedef struct tile_block {               /* a block of columns of a few strips */
    uint8_t codes[STRIPS][2][TILE_BLOCK]; /* lower, upper plane; columns as everywhere: [4 columns][row][4] */
    float scale[STRIPS][STRIP_ROWS], minimum[STRIPS][16][STRIP_ROWS]; /* minima by group, or by half */
} tile_block;

/* sum[token][strip][row] += a block times `tiles` tiles of tokens. */
typedef struct tile_call {
    const tile_block *block;
    int strips;
    const uint8_t *x; /* ACTIVATION_Q8_BLOCK */
    int64_t cols, at; /* of a row of x; the block's place in it */
    int64_t tiles;
    float (*sum)[STRIPS][STRIP_ROWS];
} tile_call;
void strip_amx_block(const tile_call *c, int planes, int minima);

/* The thread's tile registers are taken before and given back after: the system then need not keep 8 KiB for it. */
void strip_amx_begin(int columns); /* of a product: 32 or 64 */
void strip_amx_end(void);

INLINE void decode_groups(const strip_traits *t, const uint8_t *head, const uint8_t *code, int64_t groups,
                          uint8_t *codes, float *numbers) {
    decode_part(t, head, code, 0, groups, codes, numbers);
    for (int64_t i = 0; t->bias && i < groups * TILE_GROUP; i += VECTOR)
        VS(storeu)((vec *)(codes + i), _mm512_sub_epi8(VS(loadu)((const vec *)(codes + i)), all8(t->bias)));
}

INLINE void multiply_groups(const strip_traits *t, const strip_call *c, int64_t n) {
    decoded d;
    int64_t strips = (c->rows + STRIP_ROWS - 1) / STRIP_ROWS, groups = c->cols / 32;
    for (int64_t from = 0; from < strips; from += STRIPS)
        for (int64_t first = 0; first < groups; first += GROUPS) {
            int64_t to = from + STRIPS < strips ? from + STRIPS : strips;
            int64_t count = first + GROUPS < groups ? GROUPS : groups - first;
            for (int64_t s = from; s < to; s++) {
                const uint8_t *strip = c->strip + s * c->bytes;
                decode_groups(t, strip + first * t->head * STRIP_ROWS, strip + c->heads + first * t->code * STRIP_ROWS,
                              count, d.codes[s - from], d.numbers[s - from]);
            }
            for (int64_t i = 0; i < n; i += ACTIVATION_TILE)
                for (int64_t s = from; s < to; s++) {
                    gemm_call call =
                        call_of(c, d.codes[s - from], d.numbers[s - from], first, count, s * STRIP_ROWS, i);
                    strip_amx_groups(&call, t->bias);
                }
        }
}

/* Bytes v times scale, a 16-bit number in both halves of a lane: the lower and the upper bytes of the products. */
INLINE void scaled_bytes(vec v, vec scale, int planes, uint8_t *low, uint8_t *high) {
    vec even = _mm512_mullo_epi16(_mm512_srai_epi16(left(v, 8), 8), scale);
    vec odd = _mm512_mullo_epi16(_mm512_srai_epi16(v, 8), scale);
    vec byte = _mm512_set1_epi16(0xff);
    VS(storeu)((vec *)low, (even & byte) | left(odd, 8));
    if (planes == 2) VS(storeu)((vec *)high, right(even, 8) | _mm512_andnot_si512(byte, odd));
}

/* In one plane a bias is taken the other way round, code from bias: Q3_K's numbers are -124 .. 128 otherwise. */
INLINE void decode_block(const strip_traits *t, const uint8_t *head, const uint8_t *code, tile_block *out, int strip) {
    const int parts = t->by_half ? 2 : 1;
    const bool turned = t->bias && t->planes == 1;
    uint8_t *low = out->codes[strip][0], *high = out->codes[strip][1];
    vecf d = halves_at(head, 0, 0), zero = V(setzero_ps)();
    block_numbers k;
    t->numbers(head, &k);
    V(storeu_ps)(out->scale[strip], turned ? V(sub_ps)(zero, d) : d);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        vec c[WORDS];
        t->codes(code, g, c);
#pragma GCC unroll 8
        for (int w = 0; w < WORDS; w++, low += VECTOR, high += VECTOR) {
            int at = (parts * g + (t->by_half ? w / 4 : 0)) * STRIP_ROWS;
            vec one = V(cvtepi8_epi32)(_mm_load_si128((const __m128i *)(k.scale + at)));
            vec both = _mm512_mask_blend_epi16(0xaaaaaaaa, one, _mm512_slli_epi32(one, 16));
            vec v = right(c[w], 2 * t->place[g]);
            if (t->bias) v = turned ? _mm512_sub_epi8(all8(t->bias), v) : _mm512_sub_epi8(v, all8(t->bias));
            scaled_bytes(v, both, t->planes, low, high);
        }
    }
    if (t->bias) return;
    vecf dmin = V(sub_ps)(zero, halves_at(head, 0, 2));
    for (int m = 0; m < 8 * parts; m++) {
        vecf minimum = from_unsigned(_mm_load_si128((const __m128i *)(k.minimum + m * STRIP_ROWS)));
        V(storeu_ps)(out->minimum[strip][m], V(mul_ps)(dmin, minimum));
    }
}

INLINE void put_panel(const strip_call *c, int64_t i, int64_t tokens, int64_t first, float (*sum)[STRIPS][STRIP_ROWS]) {
    for (int64_t k = 0; k < tokens; k++)
        for (int64_t s = 0; s < STRIPS && (first + s) * STRIP_ROWS < c->rows; s++) {
            int64_t row = (first + s) * STRIP_ROWS;
            store_rows(c->y + (i + k) * c->ldy + row, V(loadu_ps)(sum[k][s]), c->rows - row);
        }
}

INLINE void multiply_blocks(const strip_traits *t, const strip_call *c, int64_t n) {
    tile_block block;
    _Alignas(64) float sum[PANEL][STRIPS][STRIP_ROWS];
    int64_t strips = (c->rows + STRIP_ROWS - 1) / STRIP_ROWS, blocks = c->cols / ACTIVATION_BLOCK;
    tile_call call = {.block = &block, .cols = c->cols, .sum = sum};
    for (int64_t i = 0; i < n; i += PANEL)
        for (int64_t first = 0; first < strips; first += STRIPS) {
            int64_t tokens = n - i < PANEL ? n - i : PANEL;
            call.x = c->x + activation_bytes(ACTIVATION_Q8_BLOCK, i, c->cols);
            call.tiles = tokens / ACTIVATION_TILE;
            call.strips = (int)(strips - first < STRIPS ? strips - first : STRIPS);
            memset(sum, 0, (size_t)tokens * sizeof *sum);
            for (call.at = 0; call.at < blocks; call.at++) {
                for (int s = 0; s < call.strips; s++) {
                    const uint8_t *strip = c->strip + (first + s) * c->bytes;
                    decode_block(t, strip + call.at * t->head * STRIP_ROWS,
                                 strip + c->heads + call.at * t->code * STRIP_ROWS, &block, s);
                }
                strip_amx_block(&call, t->planes, t->bias ? 0 : t->by_half ? 16 : 8);
            }
            put_panel(c, i, tokens, first, sum);
        }
}

/* y of the first n tokens, whole tiles. */
INLINE void multiply_tiles(const strip_traits *t, const strip_call *c, int64_t n) {
    strip_amx_begin(t->planes ? 64 : 32);
    if (t->planes) multiply_blocks(t, c, n);
    else multiply_groups(t, c, n);
    strip_amx_end();
}

#endif
