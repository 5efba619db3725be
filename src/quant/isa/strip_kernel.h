/* quant/isa/strip_kernel.h - what the strip kernels of all types share: vectors whose 32-bit lanes are rows, the loop
 * for one row of inputs, and the loop for many.
 *
 * A type gives two functions: `codes` puts the 32 weights of a group into eight vectors (vector w: weights 4w .. 4w+3
 * of every row, as bytes 0 .. 255), `scales` gives weight = scale * code + minimum, once for the group or for each of
 * its halves. Both are inlined with the group's place in its block as a constant.
 *
 * One row of inputs: codes go from memory straight into the products. Many: a block of columns of a few strips is
 * decoded once into the L2 cache, then multiplied with all tokens. With AVX2 a strip is done as two parts of 8 rows. */
#ifndef QUANT_STRIP_KERNEL_H
#define QUANT_STRIP_KERNEL_H

#include "base/isa.h"
#include "quant/activation.h"
#include "quant/strip.h"

#include <immintrin.h>
#include <string.h>

#if PITH_ISA_LEVEL == 2
enum { LANES = 16 };
typedef __m512i vec;
typedef __m512 vecf;
#define V(name) _mm512_##name
#define VS(name) _mm512_##name##_si512
typedef uint16_t words __attribute__((vector_size(64)));
typedef uint8_t bytes __attribute__((vector_size(64)));
#else
enum { LANES = 8 };
typedef __m256i vec;
typedef __m256 vecf;
#define V(name) _mm256_##name
#define VS(name) _mm256_##name##_si256
typedef uint16_t words __attribute__((vector_size(32)));
typedef uint8_t bytes __attribute__((vector_size(32)));
#endif
enum { PARTS = STRIP_ROWS / LANES, VECTOR = 4 * LANES, WORDS = 8 }; /* WORDS: vectors of a group of 32 weights */

#define INLINE static inline __attribute__((always_inline))

INLINE vec all8(int v) { return V(set1_epi8)((char)v); }
INLINE vec right(vec v, int n) { return (vec)((words)v >> n); }
INLINE vec left(vec v, int n) { return (vec)((words)v << n); }
/* Vector w of a block's codes; the pointer includes the part's offset. */
INLINE vec word(const uint8_t *code, int w) { return VS(loadu)((const vec *)(code + 64 * w)); }
INLINE vecf spread(const float *x) { return V(set1_ps)(*x); }

/* Two-bit codes `k` of every byte, left 4^place times too large; `place` is at most k and the scale makes up for it,
 * exactly. Where the products fit (AVX-512), that saves a shift a vector. */
INLINE int place_of(int k, int most) { return PITH_ISA_LEVEL < 2 ? 0 : k < most ? k : most; }
INLINE vec pairs(vec v, int k, int place) { return right(v, 2 * (k - place)) & all8(3 << 2 * place); }
INLINE vecf make_up(vecf scale, int place) {
    return place ? V(mul_ps)(scale, V(set1_ps)(1.0f / (float)(1 << 2 * place))) : scale;
}

/* Lower (k = 0) or upper nibbles; the upper ones 2^LIFTED times too large, to the same end. */
enum { LIFTED = PITH_ISA_LEVEL == 2 ? 4 : 0 };
INLINE vec nibble(vec v, int k) { return k == 0 ? v & all8(15) : LIFTED ? v & all8(0xf0) : right(v, 4) & all8(15); }

/* sum + products of four unsigned codes and four signed inputs in each lane. AVX2 adds pairs in 16 bits, which holds
 * for codes up to 128; `wide` is for those that go beyond. */
INLINE vec dot4(vec sum, vec codes, const int8_t *x, bool wide) {
    int32_t four;
    memcpy(&four, x, 4);
    vec in = V(set1_epi32)(four);
#if PITH_ISA_LEVEL == 2
    (void)wide;
    return _mm512_dpbusd_epi32(sum, codes, in);
#else
    vec ones = _mm256_set1_epi16(1);
    if (!wide) return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, in), ones));
    vec shifted = codes ^ all8(0x80); /* codes - 128 */
    vec rest = _mm256_maddubs_epi16(_mm256_abs_epi8(shifted), _mm256_sign_epi8(in, shifted));
    vec offset = _mm256_maddubs_epi16(all8(0x80), in);
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(rest, ones), _mm256_madd_epi16(offset, ones)));
#endif
}

/* Numbers of LANES rows from a block's head: half floats and bytes. The pointer includes no offset of the part. */
INLINE vecf halves_at(const uint8_t *head, int lane, int at) {
#if PITH_ISA_LEVEL == 2
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(head + at * STRIP_ROWS + 2 * lane)));
#else
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(head + at * STRIP_ROWS + 2 * lane)));
#endif
}
INLINE __m128i bytes_at(const uint8_t *head, int lane, int at) {
#if PITH_ISA_LEVEL == 2
    return _mm_loadu_si128((const __m128i *)(head + at * STRIP_ROWS + lane));
#else
    return _mm_loadl_epi64((const __m128i *)(head + at * STRIP_ROWS + lane));
#endif
}
INLINE vecf from_unsigned(__m128i v) { return V(cvtepi32_ps)(V(cvtepu8_epi32)(v)); }
INLINE vecf from_signed(__m128i v) { return V(cvtepi32_ps)(V(cvtepi8_epi32)(v)); }
INLINE __m128i low_bits(__m128i v, int shift, int mask) { /* (v >> shift) & mask, bytewise; mask fits 8 - shift bits */
    return _mm_and_si128(_mm_srli_epi16(v, shift), _mm_set1_epi8((char)mask));
}

INLINE void store_rows(float *y, vecf v, int64_t rows) {
    if (rows >= LANES) {
        V(storeu_ps)(y, v);
        return;
    }
    float all[LANES];
    V(storeu_ps)(all, v);
    for (int64_t r = 0; r < rows; r++) y[r] = all[r];
}

typedef void (*codes_fn)(const uint8_t *code, int group, vec out[WORDS]);
typedef void (*scales_fn)(const uint8_t *head, int lane, int group, vecf scale[2], vecf minimum[2]);

/* Scales and minima of a block as bytes: [half or group][row]. */
typedef struct block_numbers {
    _Alignas(64) uint8_t scale[16 * STRIP_ROWS], minimum[16 * STRIP_ROWS];
} block_numbers;
typedef void (*numbers_fn)(const uint8_t *head, block_numbers *out);
/* Contribution of a whole block, whose inputs share a scale. `ahead`: see fetch. */
typedef vecf (*block_fn)(const uint8_t *head, const uint8_t *code, const int8_t *x, const float *number,
                         const uint8_t *ahead);

typedef struct strip_traits { /* constants of a type */
    int groups;               /* of 32 in a block */
    int head, code;           /* bytes of a row */
    bool by_half;             /* scales differ between the halves of a group */
    bool wide;                /* codes above 128 */
    bool lifted;              /* codes of the second half are 2^LIFTED times too large */
    codes_fn codes;
    scales_fn scales;
    uint8_t bias; /* minimum = -bias * scale; 0: minima are numbers of their own */
    /* Shorter ways at level 2. `numbers`: unpacks all scales of a block at once; weight = d * scale * (code / 4^place -
     * bias), or, where bias is 0, d * scale * code / 4^place - dmin * minimum. One row of inputs is multiplied so if
     * `by_block`, or with `block`. Tiles take `planes` of 8 bits to hold scale * (code / 4^place - bias). */
    numbers_fn numbers;
    uint8_t place[8], planes;
    bool by_block;
    block_fn block;
} strip_traits;

enum { AHEAD = 16384 }; /* bytes that strips are fetched ahead, into the second cache: it has more requests under way */

/* One of `parts` of that: all at once they would hold up the loads that wait for the second cache. */
INLINE void fetch(const uint8_t *p, int size, int part, int parts) {
    const int lines = (size + 63) / 64, end = lines * (part + 1) / parts;
#pragma GCC unroll 8
    for (int i = lines * part / parts; i < end; i++) _mm_prefetch((const char *)p + AHEAD + 64 * i, _MM_HINT_T1);
}

INLINE vec half_dot(const vec c[WORDS / 2], const int8_t *x, bool wide) {
    vec sum = VS(setzero)();
    for (int w = 0; w < WORDS / 2; w++) sum = dot4(sum, c[w], x + 4 * w, wide);
    return sum;
}

/* The products of one group of codes with the inputs of one token. */
INLINE vecf group_sum(const strip_traits *t, const vec c[WORDS], const vecf scale[2], const int8_t *x) {
    vec low = half_dot(c, x, t->wide), high = half_dot(c + WORDS / 2, x + 16, t->wide);
    if (t->lifted) high = V(srai_epi32)(high, LIFTED);
    if (!t->by_half) return V(mul_ps)(V(cvtepi32_ps)(V(add_epi32)(low, high)), scale[0]);
    return V(fmadd_ps)(V(cvtepi32_ps)(high), scale[1], V(mul_ps)(V(cvtepi32_ps)(low), scale[0]));
}

INLINE vecf dot_block(const strip_traits *t, const uint8_t *head, const uint8_t *code, const int8_t *x,
                      const float *number, const uint8_t *ahead) {
    const int parts = t->by_half ? 2 : 1;
    const float *in = number + (t->by_half ? ACTIVATION_LOW : ACTIVATION_SUM);
    vecf sum[4], offset = V(setzero_ps)(), d = halves_at(head, 0, 0);
    for (int p = 0; p < 4; p++) sum[p] = V(setzero_ps)();
    block_numbers k;
    t->numbers(head, &k);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++, x += 32, in += ACTIVATION_NUMBERS) {
        vec c[WORDS];
        fetch(ahead, (t->head + t->code) * STRIP_ROWS, g, 8);
        t->codes(code, g, c);
        vec dot[2] = {half_dot(c, x, false), half_dot(c + WORDS / 2, x + 16, false)};
        if (!t->by_half) dot[0] = V(add_epi32)(dot[0], dot[1]);
        for (int h = 0; h < parts; h++) {
            int at = (parts * g + h) * STRIP_ROWS;
            vecf scale = from_signed(_mm_load_si128((const __m128i *)(k.scale + at)));
            sum[t->place[g]] = V(fmadd_ps)(V(cvtepi32_ps)(dot[h]), scale, sum[t->place[g]]);
            vecf m = t->bias ? scale : from_unsigned(_mm_load_si128((const __m128i *)(k.minimum + at)));
            offset = V(fmadd_ps)(m, spread(in + h), offset);
        }
    }
    for (int p = 1; p < 4; p++) sum[0] = V(add_ps)(sum[0], make_up(sum[p], p));
    vecf dmin = t->bias ? V(mul_ps)(d, V(set1_ps)(t->bias)) : halves_at(head, 0, 2);
    return V(fnmadd_ps)(dmin, offset, V(mul_ps)(V(mul_ps)(d, spread(number + ACTIVATION_SCALE)), sum[0]));
}

INLINE vecf dot_part(const strip_traits *t, const uint8_t *head, const uint8_t *code, int lane, int64_t blocks,
                     const int8_t *x, const float *number) {
    vecf sum = V(setzero_ps)(), offset = V(setzero_ps)();
    const uint8_t *ahead = head;
    const int size = (t->head + t->code) * STRIP_ROWS;
    code += 4 * lane;
    for (int64_t b = 0; b < blocks; b++, head += t->head * STRIP_ROWS, code += t->code * STRIP_ROWS) {
        if (t->block || t->by_block) {
            vecf part = t->block ? t->block(head, code, x, number, ahead) : dot_block(t, head, code, x, number, ahead);
            sum = V(add_ps)(sum, part);
            x += 256, number += 8 * ACTIVATION_NUMBERS, ahead += size;
            continue;
        }
#pragma GCC unroll 8
        for (int g = 0; g < t->groups; g++, x += 32, number += ACTIVATION_NUMBERS) {
            vec c[WORDS];
            vecf scale[2], minimum[2];
            if (lane == 0) fetch(ahead, size, g, t->groups);
            t->codes(code, g, c);
            t->scales(head, lane, g, scale, minimum);
            sum = V(fmadd_ps)(group_sum(t, c, scale, x), spread(number + ACTIVATION_SCALE), sum);
            if (t->by_half) {
                offset = V(fmadd_ps)(minimum[0], spread(number + ACTIVATION_LOW), offset);
                offset = V(fmadd_ps)(minimum[1], spread(number + ACTIVATION_HIGH), offset);
            } else offset = V(fmadd_ps)(minimum[0], spread(number + ACTIVATION_SUM), offset);
        }
        ahead += size;
    }
    return V(add_ps)(sum, offset);
}

INLINE void dot_strips(const strip_traits *t, const strip_call *c) {
    const uint8_t *strip = c->strip;
    int64_t blocks = c->cols / (32 * t->groups);
    for (int64_t r = 0; r < c->rows; r += STRIP_ROWS, strip += c->bytes)
        for (int p = 0; p < PARTS && r + p * LANES < c->rows; p++)
            store_rows(c->y + r + p * LANES,
                       dot_part(t, strip, strip + c->heads, p * LANES, blocks, (const int8_t *)c->x,
                                (const float *)(c->x + c->cols)),
                       c->rows - r - p * LANES);
}

/* Decoded columns of one part of a strip: a group is WORDS vectors of codes, and one or two pairs of scale and minimum
 * (scale, minimum, scale of the second half, minimum of the second half). */
enum {
    COLUMNS = 1536,
    STRIPS = 4,
    GROUPS = COLUMNS / 32,
    PART_CODES = COLUMNS * LANES,
    PART_NUMBERS = GROUPS * 4 * LANES
};

typedef struct decoded {
    uint8_t codes[STRIPS * PARTS][PART_CODES];
    float numbers[STRIPS * PARTS][PART_NUMBERS];
} decoded;

/* y[i][rows of the part] (+)= columns `first` .. of x times a decoded part; in strip_gemm.c. */
typedef struct gemm_call {
    const uint8_t *codes;
    const float *numbers;
    int64_t first, groups, rows; /* groups of 32 columns */
    const uint8_t *x;            /* a tile of ACTIVATION_Q8 of `cols` columns */
    int64_t cols;
    float *y;
    int64_t ldy;
} gemm_call;
typedef void (*gemm_fn)(const gemm_call *c, int tile);
enum { GEMM_WIDE = 1, GEMM_BY_HALF = 2, GEMM_BLOCK = 4 }; /* BLOCK: inputs are ACTIVATION_Q8_BLOCK */
extern const gemm_fn ISA_TABLE(strip_gemm)[8];

/* y of the part's rows at token t; later blocks of columns add to what the earlier ones left. */
INLINE void put_sum(const gemm_call *c, int t, vecf sum) {
    float *y = c->y + t * c->ldy, all[LANES];
    if (c->rows >= LANES) {
        V(storeu_ps)(y, c->first ? V(add_ps)(V(loadu_ps)(y), sum) : sum);
        return;
    }
    V(storeu_ps)(all, sum);
    for (int64_t r = 0; r < c->rows; r++) y[r] = c->first ? y[r] + all[r] : all[r];
}

INLINE void decode_part(const strip_traits *t, const uint8_t *head, const uint8_t *code, int lane, int64_t blocks,
                        uint8_t *codes, float *numbers) {
    code += 4 * lane;
    for (int64_t b = 0; b < blocks; b++, head += t->head * STRIP_ROWS, code += t->code * STRIP_ROWS)
#pragma GCC unroll 8
        for (int g = 0; g < t->groups; g++) {
            vec c[WORDS];
            vecf scale[2], minimum[2];
            t->codes(code, g, c);
            t->scales(head, lane, g, scale, minimum);
            for (int w = WORDS / 2; t->lifted && w < WORDS; w++) c[w] = right(c[w], LIFTED);
            for (int w = 0; w < WORDS; w++, codes += VECTOR) VS(storeu)((vec *)codes, c[w]);
            for (int h = 0; h <= t->by_half; h++, numbers += 2 * LANES) {
                V(storeu_ps)(numbers, scale[h]);
                V(storeu_ps)(numbers + LANES, minimum[h]);
            }
        }
}

/* Columns from group `first` on of the strips' part that begins at `row`, times the tile that begins at token i. */
INLINE gemm_call call_of(const strip_call *c, const uint8_t *codes, const float *numbers, int64_t first, int64_t groups,
                         int64_t row, int64_t i) {
    return (gemm_call){.codes = codes,
                       .numbers = numbers,
                       .first = first,
                       .groups = groups,
                       .rows = c->rows - row,
                       .x = c->x + activation_bytes(ACTIVATION_Q8, i, c->cols),
                       .cols = c->cols,
                       .y = c->y + i * c->ldy + row,
                       .ldy = c->ldy};
}

#if PITH_ISA_LEVEL == 2
#include "quant/isa/strip_tiles.h"
#endif

INLINE void multiply_strips(const strip_traits *t, const strip_call *c) {
    decoded d;
    int64_t parts = (c->rows + LANES - 1) / LANES, groups = c->cols / 32;
    gemm_fn gemm =
        ISA_TABLE(strip_gemm)[t->wide * GEMM_WIDE + t->by_half * GEMM_BY_HALF + (t->groups > 1) * GEMM_BLOCK];
    for (int64_t from = 0; from < parts; from += STRIPS * PARTS)
        for (int64_t first = 0; first < groups; first += GROUPS) {
            int64_t to = from + STRIPS * PARTS < parts ? from + STRIPS * PARTS : parts;
            int64_t count = first + GROUPS < groups ? GROUPS : groups - first, block = first / t->groups;
            for (int64_t p = from; p < to; p++) {
                const uint8_t *strip = c->strip + p / PARTS * c->bytes;
                decode_part(t, strip + block * t->head * STRIP_ROWS, strip + c->heads + block * t->code * STRIP_ROWS,
                            (int)(p % PARTS) * LANES, count / t->groups, d.codes[p - from], d.numbers[p - from]);
            }
            for (int64_t i = 0; i < c->n;) {
                int tile = activation_tile(c->n - i);
                for (int64_t p = from; p < to; p++) {
                    gemm_call call = call_of(c, d.codes[p - from], d.numbers[p - from], first, count, p * LANES, i);
                    gemm(&call, tile);
                }
                i += tile;
            }
        }
}

/* Many rows of inputs: whole tiles of tokens with AMX where the machine has it. */
INLINE void multiply(const strip_traits *t, const strip_call *c) {
    strip_call rest = *c;
#if PITH_ISA_LEVEL == 2
    if (isa_active() >= ISA_AMX) {
        int64_t done = c->n / ACTIVATION_TILE * ACTIVATION_TILE;
        if (done) multiply_tiles(t, c, done);
        rest.n -= done;
        rest.x += activation_bytes(ACTIVATION_Q8, done, c->cols);
        rest.y += done * c->ldy;
    }
#endif
    if (rest.n) multiply_strips(t, &rest);
}

/* The mul of a type from its traits. */
#define STRIP_MUL(type, ...)                              \
    static void type##_mul(const strip_call *c) {         \
        static const strip_traits traits = {__VA_ARGS__}; \
        if (c->n == 1) dot_strips(&traits, c);            \
        else multiply(&traits, c);                        \
    }

#endif
