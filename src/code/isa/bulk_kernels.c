/* code/isa/bulk_kernels.c - interleaved rANS over 16 (AVX-512), 8 (AVX2) or 1 lane at a time.
 *
 * F. Giesen, "Interleaved entropy coders" (arXiv 1402.3392). A vector of states shares one stream of words: those
 * lanes that fall below 2^16 take the next words in lane order. AVX-512 encodes 64 lanes of one table without gathers:
 * masses are looked up as bytes, 64 at a time, in registers, and quotients come from reciprocals. Cost:
 * bench/bulk_coders.c. */
#include "code/bulk_kernels.h"

#include "code/isa/bulk_vectors.h"

static inline uint8_t decode_one(const bulk_bank *b, uint32_t table, uint32_t *state, cursor *c) {
    uint32_t x = *state, point = x & ((1u << b->bits) - 1), symbol;
    if (b->bits <= BULK_SLOT_BITS) {
        uint32_t t = b->slots[(table << b->bits) + point];
        symbol = t & 0xff;
        x = ((t >> 8 & 0xfff) + 1) * (x >> b->bits) + (t >> 20);
    } else {
        symbol = b->symbols[(table << b->bits) + point];
        uint32_t m = b->masses[(table << 8) + symbol];
        x = ((m & 0xffff) + 1) * (x >> b->bits) + point - (m >> 16);
    }
    if (x < RANS32_LOW) x = x << 16 | word_or_zero(c);
    *state = x;
    return (uint8_t)symbol;
}

static const uint8_t *decode_plain(const bulk_bank *b, const uint8_t *index, uint32_t *state, int lanes, cursor c,
                                   uint8_t *out, size_t n) {
    int lane = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = decode_one(b, index ? index[i] : 0, &state[lane], &c);
        if (++lane == lanes) lane = 0;
    }
    return c.p;
}

static inline uint8_t *encode_one(const bulk_bank *b, uint32_t table, uint32_t *state, uint8_t *p, uint8_t symbol) {
    uint32_t m = b->masses[(table << 8) + symbol], width = (m & 0xffff) + 1, x = *state;
    if (x >> (32 - b->bits) >= width) {
        p -= 2;
        memcpy(p, &x, 2);
        x >>= 16;
    }
    *state = (x / width << b->bits) + x % width + (m >> 16);
    return p;
}

static uint8_t *encode_plain(const bulk_bank *b, const uint8_t *index, uint32_t *state, int lanes, uint8_t *p,
                             const uint8_t *in, size_t n) {
    int lane = (int)(n % (size_t)lanes);
    for (size_t i = n; i-- > 0;) {
        lane = lane ? lane - 1 : lanes - 1;
        p = encode_one(b, index ? index[i] : 0, &state[lane], p, in[i]);
    }
    return p;
}

#if PITH_ISA_LEVEL == 2
static inline __attribute__((always_inline)) vec decode_step(const bulk_bank *b, bool slots, bool indexed,
                                                             const uint8_t *index, vec x, const uint8_t **p,
                                                             uint8_t *out) {
    __m128i bits = _mm_cvtsi32_si128(b->bits);
    vec point = _mm512_and_si512(x, _mm512_set1_epi32((1 << b->bits) - 1)), at = point, t, high, next;
    if (indexed) {
        vec table = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)index));
        at = _mm512_or_si512(point, _mm512_sll_epi32(table, bits));
    }
    high = _mm512_srl_epi32(x, bits);
    if (slots) {
        t = _mm512_i32gather_epi32(at, b->slots, 4);
        vec width = _mm512_and_si512(_mm512_srli_epi32(t, 8), _mm512_set1_epi32(0xfff));
        next = _mm512_add_epi32(_mm512_mullo_epi32(width, high), _mm512_add_epi32(high, _mm512_srli_epi32(t, 20)));
    } else {
        t = _mm512_and_si512(_mm512_i32gather_epi32(at, b->symbols, 1), _mm512_set1_epi32(0xff));
        vec where = t;
        if (indexed) {
            vec table = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)index));
            where = _mm512_or_si512(t, _mm512_slli_epi32(table, 8));
        }
        vec m = _mm512_i32gather_epi32(where, b->masses, 4);
        vec width = _mm512_and_si512(m, _mm512_set1_epi32(0xffff));
        next = _mm512_add_epi32(_mm512_mullo_epi32(width, high),
                                _mm512_add_epi32(high, _mm512_sub_epi32(point, _mm512_srli_epi32(m, 16))));
    }
    __mmask16 low = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(RANS32_LOW));
    vec words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)*p));
    vec filled = _mm512_or_si512(_mm512_slli_epi32(next, 16), _mm512_maskz_expand_epi32(low, words));
    *p += 2 * __builtin_popcount(low);
    _mm_storeu_si128((__m128i *)out, _mm512_cvtepi32_epi8(t));
    return _mm512_mask_mov_epi32(next, low, filled);
}

static inline __attribute__((always_inline)) vec encode_step(const bulk_bank *b, bool indexed, const uint8_t *index,
                                                             vec x, uint8_t **p, const uint8_t *in) {
    vec at = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)in));
    if (indexed) {
        vec table = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)index));
        at = _mm512_or_si512(at, _mm512_slli_epi32(table, 8));
    }
    vec m = _mm512_i32gather_epi32(at, b->masses, 4), one = _mm512_set1_epi32(1);
    vec width = _mm512_add_epi32(_mm512_and_si512(m, _mm512_set1_epi32(0xffff)), one);
    __mmask16 full = _mm512_cmpge_epu32_mask(_mm512_srl_epi32(x, _mm_cvtsi32_si128(32 - b->bits)), width);
    int count = __builtin_popcount(full);
    /* The words go to the top of the vector, so that one store ending at p does; what lies below is free. */
    vec packed = _mm512_maskz_compress_epi32(full, x);
    vec turn = _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                _mm512_set1_epi32(count));
    _mm256_storeu_si256((__m256i *)(*p - 32), _mm512_cvtepi32_epi16(_mm512_permutexvar_epi32(turn, packed)));
    *p -= 2 * count;
    x = _mm512_mask_srli_epi32(x, full, x, 16);
    vec q = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepu32_ps(x), _mm512_cvtepi32_ps(width)));
    vec rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(q, width)), zero = _mm512_setzero_si512();
    __mmask16 under = _mm512_cmplt_epi32_mask(rest, zero), over = _mm512_cmpge_epi32_mask(rest, width);
    q = _mm512_mask_sub_epi32(_mm512_mask_add_epi32(q, over, q, one), under, q, one);
    rest = _mm512_mask_add_epi32(_mm512_mask_sub_epi32(rest, over, rest, width), under, rest, width);
    return _mm512_add_epi32(_mm512_sll_epi32(q, _mm_cvtsi32_si128(b->bits)),
                            _mm512_add_epi32(rest, _mm512_srli_epi32(m, 16)));
}

/* ---- 64 lanes, one table ---- */

enum { QUICK_BITS = 12 };

typedef struct byte_table { /* of 256 masses of 32 bits: byte k of each */
    uint8_t plane[4][256] __attribute__((aligned(64)));
} byte_table;

static void split_masses(const uint32_t *masses, byte_table *t) {
    for (int k = 0; k < 4; k++)
        for (int s = 0; s < 256; s++) t->plane[k][s] = (uint8_t)(masses[s] >> 8 * k);
}

static inline __attribute__((always_inline)) vec look_up(const uint8_t plane[256], vec symbols, __mmask64 high) {
    vec low = _mm512_permutex2var_epi8(_mm512_load_si512(plane), symbols, _mm512_load_si512(plane + 64));
    vec up = _mm512_permutex2var_epi8(_mm512_load_si512(plane + 128), symbols, _mm512_load_si512(plane + 192));
    return _mm512_mask_blend_epi8(high, low, up);
}

/* Masses of 64 symbols, 16 a vector. Dwords are turned before, so that unpacking within lanes puts all in order. */
static inline __attribute__((always_inline)) void masses_of(const byte_table *t, const uint8_t *in, vec m[4]) {
    const vec order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    vec symbols = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(in));
    __mmask64 high = _mm512_movepi8_mask(symbols);
    vec w0 = look_up(t->plane[0], symbols, high), w1 = look_up(t->plane[1], symbols, high);
    vec s0 = look_up(t->plane[2], symbols, high), s1 = look_up(t->plane[3], symbols, high);
    vec wl = _mm512_unpacklo_epi8(w0, w1), wh = _mm512_unpackhi_epi8(w0, w1);
    vec sl = _mm512_unpacklo_epi8(s0, s1), sh = _mm512_unpackhi_epi8(s0, s1);
    m[0] = _mm512_unpacklo_epi16(wl, sl);
    m[1] = _mm512_unpackhi_epi16(wl, sl);
    m[2] = _mm512_unpacklo_epi16(wh, sh);
    m[3] = _mm512_unpackhi_epi16(wh, sh);
}

/* One vector of states and the mask of those whose low word goes out first; that word lies in *word. */
static inline __attribute__((always_inline)) __mmask16 put(int bits, vec m, vec *state, __m256i *word) {
    vec less = _mm512_and_si512(m, _mm512_set1_epi32(0xffff)), x = *state;
    __mmask16 full = _mm512_cmpgt_epu32_mask(_mm512_srl_epi32(x, _mm_cvtsi32_si128(32 - bits)), less);
    *word = _mm512_cvtepi32_epi16(x);
    *state = advance(bits, m, _mm512_mask_srli_epi32(x, full, x, 16));
    return full;
}

static const uint16_t *turn_up(int count);

/* The words of two vectors before p, the second's behind the first's. What lies below them is free. */
static inline __attribute__((always_inline)) uint8_t *put_words(uint8_t *p, __m256i a, __m256i b, __mmask16 fa,
                                                                __mmask16 fb) {
    __mmask32 full = _mm512_kunpackw(fb, fa);
    int count = __builtin_popcount(full);
    vec words = _mm512_maskz_compress_epi16(full, _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
    _mm512_storeu_si512(p - 64, _mm512_permutexvar_epi16(_mm512_loadu_si512(turn_up(count)), words));
    return p - 2 * count;
}

/* Puts word i of a vector at i + 32 - count: a window into 0, 1 ... 31, 0, 1 ... 31. */
static const uint16_t *turn_up(int count) {
#define EIGHT(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
#define ALL EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24)
    static const uint16_t window[64] = {ALL, ALL};
    return window + count;
#undef ALL
#undef EIGHT
}

static inline __attribute__((always_inline)) uint8_t *encode_quick(const bulk_bank *b, uint32_t *state, uint8_t *p,
                                                                   const uint8_t *in, size_t n) {
    byte_table table;
    vec x[4], m[4];
    __m256i word[4];
    __mmask16 full[4];
    split_masses(b->masses, &table);
    for (int k = 0; k < 4; k++) x[k] = _mm512_loadu_si512(state + WIDE * k);
    for (; n > 0; n -= 64) {
        masses_of(&table, in + n - 64, m);
        for (int k = 0; k < 4; k++) full[k] = put(QUICK_BITS, m[k], &x[k], &word[k]);
        p = put_words(p, word[2], word[3], full[2], full[3]);
        p = put_words(p, word[0], word[1], full[0], full[1]);
    }
    for (int k = 0; k < 4; k++) _mm512_storeu_si512(state + WIDE * k, x[k]);
    return p;
}

#elif PITH_ISA_LEVEL == 1
/* For a mask of lanes: for each lane, which word of those read (forward) or which lane's word goes where (backward). */
#define BELOW(m, i) (__builtin_popcount((m) & ((1 << (i)) - 1)))
static uint64_t forward_turn(int mask) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)BELOW(mask, i) << (8 * i);
    return v;
}

static uint64_t backward_turn(int mask) {
    uint64_t v = 0;
    int to = 8 - __builtin_popcount((unsigned)mask);
    for (int i = 0; i < 8; i++)
        if (mask >> i & 1) v |= (uint64_t)i << (8 * to++);
    return v;
}

static uint64_t turns[2][256];

static void fill_turns(void) {
    for (int i = 0; i < 256; i++) {
        turns[0][i] = forward_turn(i);
        turns[1][i] = backward_turn(i);
    }
}

/* Before the first use, not at the start of the program: that may run on a processor without AVX2. */
static pthread_once_t turns_filled = PTHREAD_ONCE_INIT;

static inline vec turn(int way, int mask) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)&turns[way][mask]));
}

static inline __attribute__((always_inline)) vec decode_step(const bulk_bank *b, bool slots, bool indexed,
                                                             const uint8_t *index, vec x, const uint8_t **p,
                                                             uint8_t *out) {
    __m128i bits = _mm_cvtsi32_si128(b->bits);
    vec point = _mm256_and_si256(x, _mm256_set1_epi32((1 << b->bits) - 1)), at = point, t, high, next;
    if (indexed) at = _mm256_or_si256(point, _mm256_sll_epi32(load_bytes(index), bits));
    high = _mm256_srl_epi32(x, bits);
    if (slots) {
        t = _mm256_i32gather_epi32((const int *)b->slots, at, 4);
        vec width = _mm256_and_si256(_mm256_srli_epi32(t, 8), _mm256_set1_epi32(0xfff));
        next = _mm256_add_epi32(_mm256_mullo_epi32(width, high), _mm256_add_epi32(high, _mm256_srli_epi32(t, 20)));
        t = _mm256_and_si256(t, _mm256_set1_epi32(0xff));
    } else {
        t = _mm256_and_si256(_mm256_i32gather_epi32((const int *)(const void *)b->symbols, at, 1),
                             _mm256_set1_epi32(0xff));
        vec where = indexed ? _mm256_or_si256(t, _mm256_slli_epi32(load_bytes(index), 8)) : t;
        vec m = _mm256_i32gather_epi32((const int *)b->masses, where, 4);
        vec width = _mm256_and_si256(m, _mm256_set1_epi32(0xffff));
        next = _mm256_add_epi32(_mm256_mullo_epi32(width, high),
                                _mm256_add_epi32(high, _mm256_sub_epi32(point, _mm256_srli_epi32(m, 16))));
    }
    vec low = _mm256_cmpeq_epi32(_mm256_srli_epi32(next, 16), _mm256_setzero_si256());
    int mask = _mm256_movemask_ps(_mm256_castsi256_ps(low));
    vec words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)*p));
    vec filled = _mm256_or_si256(_mm256_slli_epi32(next, 16), _mm256_permutevar8x32_epi32(words, turn(0, mask)));
    *p += 2 * __builtin_popcount((unsigned)mask);
    _mm_storel_epi64((__m128i *)out, _mm_packus_epi16(pack_words(t), _mm_setzero_si128()));
    return _mm256_blendv_epi8(next, filled, low);
}

static inline __attribute__((always_inline)) vec encode_step(const bulk_bank *b, bool indexed, const uint8_t *index,
                                                             vec x, uint8_t **p, const uint8_t *in) {
    vec at = load_bytes(in), one = _mm256_set1_epi32(1), low16 = _mm256_set1_epi32(0xffff);
    if (indexed) at = _mm256_or_si256(at, _mm256_slli_epi32(load_bytes(index), 8));
    vec m = _mm256_i32gather_epi32((const int *)b->masses, at, 4);
    vec width = _mm256_add_epi32(_mm256_and_si256(m, low16), one);
    vec fits = _mm256_cmpgt_epi32(width, _mm256_srl_epi32(x, _mm_cvtsi32_si128(32 - b->bits)));
    int mask = _mm256_movemask_ps(_mm256_castsi256_ps(fits)) ^ 0xff;
    vec packed = _mm256_permutevar8x32_epi32(_mm256_and_si256(x, low16), turn(1, mask));
    _mm_storeu_si128((__m128i *)(*p - 16), pack_words(packed));
    *p -= 2 * __builtin_popcount((unsigned)mask);
    x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, fits);
    return advance(b->bits, m, x);
}

#endif

#if PITH_ISA_LEVEL >= 1
/* One loop for each number of lanes and kind of table, so that the states stay in registers. */
#define DECODE_LOOP(LANES, SLOTS, INDEXED)                                                                   \
    do {                                                                                                     \
        vec x[LANES / WIDE];                                                                                 \
        for (int k = 0; k < LANES / WIDE; k++) x[k] = load_state(state + WIDE * k);                          \
        for (; i + LANES <= n && c.end - c.p >= 2 * LANES + 2 * WIDE; i += LANES)                            \
            for (int k = 0; k < LANES / WIDE; k++)                                                           \
                x[k] = decode_step(&bank, SLOTS, INDEXED, INDEXED ? index + i + WIDE * k : NULL, x[k], &c.p, \
                                   out + i + WIDE * k);                                                      \
        for (int k = 0; k < LANES / WIDE; k++) store_state(state + WIDE * k, x[k]);                          \
    } while (0)

#define ENCODE_LOOP(LANES, INDEXED)                                                                         \
    do {                                                                                                    \
        vec x[LANES / WIDE];                                                                                \
        for (int k = 0; k < LANES / WIDE; k++) x[k] = load_state(state + WIDE * k);                         \
        for (; i > 0; i -= LANES)                                                                           \
            for (int k = LANES / WIDE - 1; k >= 0; k--)                                                     \
                x[k] = encode_step(&bank, INDEXED, INDEXED ? index + i - LANES + WIDE * k : NULL, x[k], &p, \
                                   in + i - LANES + WIDE * k);                                              \
        for (int k = 0; k < LANES / WIDE; k++) store_state(state + WIDE * k, x[k]);                         \
    } while (0)
#endif

static const uint8_t *decode(const bulk_bank *b, const uint8_t *index, uint32_t *state, int lanes, const uint8_t *p,
                             const uint8_t *end, uint8_t *out, size_t n) {
    cursor c = {p, end};
    size_t i = 0;
#if PITH_ISA_LEVEL == 1
    pthread_once(&turns_filled, fill_turns);
#endif
#if PITH_ISA_LEVEL >= 1
    const bulk_bank bank = *b;
    bool slots = bank.bits <= BULK_SLOT_BITS;
    if (lanes == 64 && slots && !index && bank.bits == 12) {
        const bulk_bank fixed = {12, b->slots, NULL, NULL}; /* a constant shift is worth its own loop */
#define bank fixed
        DECODE_LOOP(64, true, false);
#undef bank
    } else if (lanes == 64 && slots && !index) DECODE_LOOP(64, true, false);
    else if (lanes == 64 && slots) DECODE_LOOP(64, true, true);
    else if (lanes == 64 && !index) DECODE_LOOP(64, false, false);
    else if (lanes == 64) DECODE_LOOP(64, false, true);
    else if (lanes == 32 && slots && !index) DECODE_LOOP(32, true, false);
    else if (lanes == 32 && slots) DECODE_LOOP(32, true, true);
    else if (lanes == 32 && !index) DECODE_LOOP(32, false, false);
    else if (lanes == 32) DECODE_LOOP(32, false, true);
#endif
    return decode_plain(b, index ? index + i : NULL, state, lanes, c, out + i, n - i);
}

static uint8_t *encode(const bulk_bank *b, const uint8_t *index, uint32_t *state, int lanes, uint8_t *p,
                       const uint8_t *in, size_t n) {
    size_t i = n - n % (size_t)lanes; /* the ragged end comes first */
    p = encode_plain(b, index ? index + i : NULL, state, lanes, p, in + i, n - i);
#if PITH_ISA_LEVEL == 1
    pthread_once(&turns_filled, fill_turns);
#endif
#if PITH_ISA_LEVEL >= 1
    const bulk_bank bank = *b;
#if PITH_ISA_LEVEL == 2
    if (lanes == 64 && !index && b->bits == QUICK_BITS) return encode_quick(b, state, p, in, i);
#endif
    if (lanes == 64 && !index) ENCODE_LOOP(64, false);
    else if (lanes == 64) ENCODE_LOOP(64, true);
    else if (lanes == 32 && !index) ENCODE_LOOP(32, false);
    else if (lanes == 32) ENCODE_LOOP(32, true);
#endif
    return encode_plain(b, index, state, lanes, p, in, i);
}

const bulk_kernels ISA_TABLE(bulk_kernels) = {decode, encode};
