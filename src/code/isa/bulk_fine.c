/* code/isa/bulk_fine.c - interleaved rANS with fine states, for tables of more points than the fast loops take.
 *
 * As bulk_kernels.c, but for what a symbol moves: nothing, a byte, or a word of two bytes (rans.h), so that with 15
 * bits a state is at least 512 times the table and loses nothing by rounding. A vector finds the bytes of its lanes in
 * lane order, by one expansion (AVX-512) or two permutations by table (AVX2). Cost: bench/bulk_coders.c. */
#include "code/isa/bulk_vectors.h"

static inline uint32_t byte_or_zero(cursor *c) { return c->p < c->end ? *c->p++ : 0; }

static const uint8_t *decode_plain(const bulk_bank *b, uint32_t *state, int lanes, cursor c, uint8_t *out, size_t n) {
    int lane = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t x = state[lane], point = x & ((1u << b->bits) - 1), m = b->masses[out[i] = b->symbols[point]];
        x = ((m & 0xffff) + 1) * (x >> b->bits) + point - (m >> 16);
        if (x < 1u << 16) x = x << 16 | word_or_zero(&c);
        else if (x < RANS_FINE_LOW) x = x << 8 | byte_or_zero(&c);
        state[lane] = x;
        if (++lane == lanes) lane = 0;
    }
    return c.p;
}

static uint8_t *encode_plain(const bulk_bank *b, uint32_t *state, int lanes, uint8_t *p, const uint8_t *in, size_t n) {
    int lane = (int)(n % (size_t)lanes);
    for (size_t i = n; i-- > 0;) {
        lane = lane ? lane - 1 : lanes - 1;
        uint32_t m = b->masses[in[i]], width = (m & 0xffff) + 1, x = state[lane], top = x >> (32 - b->bits);
        if (top >> 8 >= width) {
            p -= 2;
            memcpy(p, &x, 2);
            x >>= 16;
        } else if (top >= width) {
            *--p = (uint8_t)x;
            x >>= 8;
        }
        state[lane] = (x / width << b->bits) + x % width + (m >> 16);
    }
    return p;
}

#if PITH_ISA_LEVEL >= 1
/* Two places for bytes a lane: both are used where it moves a word, the second where it moves a byte. Bits of lanes. */
static inline uint32_t places(uint32_t one, uint32_t two) {
    return _pdep_u32(one, 0xaaaaaaaa) | _pdep_u32(two, 0x55555555);
}
#endif

#if PITH_ISA_LEVEL == 2
/* Stage by stage for all vectors, 1.6 times as fast as one after the other: a vector's uses of its gathers fill the
 * processor's window, and the next vector's gathers wait behind it. */
static inline __attribute__((always_inline)) void decode_round(const bulk_bank *b, int vectors, vec *x,
                                                               const uint8_t **p, uint8_t *out) {
    const vec most = _mm512_set1_epi32((1 << b->bits) - 1), byte = _mm512_set1_epi32(0xff);
    vec t[4], m[4];
    __mmask16 one[4], two[4];
    for (int k = 0; k < vectors; k++)
        t[k] = _mm512_and_si512(_mm512_i32gather_epi32(_mm512_and_si512(x[k], most), b->symbols, 1), byte);
    for (int k = 0; k < vectors; k++) m[k] = _mm512_i32gather_epi32(t[k], b->masses, 4);
    for (int k = 0; k < vectors; k++) {
        vec high = _mm512_srl_epi32(x[k], _mm_cvtsi32_si128(b->bits));
        vec less = _mm512_and_si512(m[k], _mm512_set1_epi32(0xffff));
        vec rest = _mm512_sub_epi32(_mm512_and_si512(x[k], most), _mm512_srli_epi32(m[k], 16));
        x[k] = _mm512_add_epi32(_mm512_mullo_epi32(less, high), _mm512_add_epi32(high, rest));
        one[k] = _mm512_cmplt_epu32_mask(x[k], _mm512_set1_epi32(RANS_FINE_LOW));
        two[k] = _mm512_cmplt_epu32_mask(x[k], _mm512_set1_epi32(1 << 16));
        _mm_storeu_si128((__m128i *)(out + WIDE * k), _mm512_cvtepi32_epi8(t[k]));
    }
    for (int k = 0; k < vectors; k++) {
        uint32_t used = places(one[k], two[k]);
        vec word = _mm512_cvtepu16_epi32(_mm256_maskz_expand_epi8(used, _mm256_loadu_si256((const __m256i *)*p)));
        vec longer = _mm512_or_si512(_mm512_slli_epi32(x[k], 16), word);
        *p += __builtin_popcount(used);
        x[k] = _mm512_mask_or_epi32(x[k], one[k], _mm512_slli_epi32(x[k], 8), _mm512_srli_epi32(word, 8));
        x[k] = _mm512_mask_mov_epi32(x[k], two[k], longer);
    }
}

static inline __attribute__((always_inline)) vec encode_step(const bulk_bank *b, vec x, uint8_t **p,
                                                             const uint8_t *in) {
    vec m = _mm512_i32gather_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)in)), b->masses, 4);
    vec less = _mm512_and_si512(m, _mm512_set1_epi32(0xffff));
    vec top = _mm512_srl_epi32(x, _mm_cvtsi32_si128(32 - b->bits));
    __mmask16 one = _mm512_cmpgt_epu32_mask(top, less);
    __mmask16 two = _mm512_cmpgt_epu32_mask(_mm512_srli_epi32(top, 8), less);
    uint32_t used = places(one, two);
    unsigned count = (unsigned)__builtin_popcount(used);
    __m256i word = _mm512_cvtepi32_epi16(_mm512_mask_slli_epi32(x, (__mmask16)(one & ~two), x, 8));
    *p -= count;
    _mm256_mask_storeu_epi8(*p, _bzhi_u32(~0u, count), _mm256_maskz_compress_epi8(used, word));
    x = _mm512_mask_srli_epi32(x, one, x, 8);
    return advance(b->bits, m, _mm512_mask_srli_epi32(x, two, x, 8));
}

#elif PITH_ISA_LEVEL == 1
/* For the used ones of eight places: which byte of those read each gets (128: none), and the used ones moved to the
 * end. */
static uint8_t forward[256][8], backward[256][8];

static void fill_turns(void) {
    for (int used = 0; used < 256; used++) {
        uint8_t from = 0, to = (uint8_t)(8 - __builtin_popcount((unsigned)used));
        for (uint8_t i = 0; i < 8; i++) {
            bool yes = used >> i & 1;
            forward[used][i] = yes ? from++ : 128;
            if (yes) backward[used][to++] = i;
        }
    }
}

/* Before the first use, not at the start of the program: that may run on a processor without AVX2. */
static pthread_once_t turns_filled = PTHREAD_ONCE_INIT;

static inline __m128i read_half(uint32_t used, const uint8_t **p) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)*p), turn = _mm_loadl_epi64((const __m128i *)forward[used]);
    *p += __builtin_popcount(used);
    return _mm_cvtepu16_epi32(_mm_shuffle_epi8(bytes, turn));
}

static inline void write_half(uint32_t used, __m128i words, uint8_t **p) {
    __m128i turn = _mm_loadl_epi64((const __m128i *)backward[used]);
    _mm_storel_epi64((__m128i *)(*p - 8), _mm_shuffle_epi8(words, turn)); /* what lies below is free */
    *p -= __builtin_popcount(used);
}

static inline uint32_t lanes_of(vec mask) { return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(mask)); }

/* Four vectors at a time, stage by stage: 2.5 times as fast. */
static inline __attribute__((always_inline)) void decode_round(const bulk_bank *b, int vectors, vec *all,
                                                               const uint8_t **p, uint8_t *out) {
    const vec zero = _mm256_setzero_si256(), most = _mm256_set1_epi32((1 << b->bits) - 1);
    const vec byte = _mm256_set1_epi32(0xff), low16 = _mm256_set1_epi32(0xffff);
    for (vec *x = all; x < all + vectors; x += 4, out += 4 * WIDE) {
        vec t[4], m[4];
        for (int k = 0; k < 4; k++) {
            vec at = _mm256_and_si256(x[k], most);
            t[k] = _mm256_and_si256(_mm256_i32gather_epi32((const int *)(const void *)b->symbols, at, 1), byte);
        }
        for (int k = 0; k < 4; k++) m[k] = _mm256_i32gather_epi32((const int *)b->masses, t[k], 4);
        for (int k = 0; k < 4; k++) {
            vec high = _mm256_srl_epi32(x[k], _mm_cvtsi32_si128(b->bits));
            vec rest = _mm256_sub_epi32(_mm256_and_si256(x[k], most), _mm256_srli_epi32(m[k], 16));
            vec less = _mm256_and_si256(m[k], low16);
            x[k] = _mm256_add_epi32(_mm256_mullo_epi32(less, high), _mm256_add_epi32(high, rest));
            _mm_storel_epi64((__m128i *)(out + WIDE * k), _mm_packus_epi16(pack_words(t[k]), _mm_setzero_si128()));
        }
        for (int k = 0; k < 4; k++) {
            vec one = _mm256_cmpeq_epi32(_mm256_srli_epi32(x[k], 24), zero);
            vec two = _mm256_cmpeq_epi32(_mm256_srli_epi32(x[k], 16), zero);
            uint32_t used = places(lanes_of(one), lanes_of(two));
            __m128i low = read_half(used & 0xff, p), up = read_half(used >> 8, p);
            vec word = _mm256_inserti128_si256(_mm256_castsi128_si256(low), up, 1);
            vec shorter = _mm256_or_si256(_mm256_slli_epi32(x[k], 8), _mm256_srli_epi32(word, 8));
            vec longer = _mm256_or_si256(_mm256_slli_epi32(x[k], 16), word);
            x[k] = _mm256_blendv_epi8(_mm256_blendv_epi8(x[k], shorter, one), longer, two);
        }
    }
}

static inline __attribute__((always_inline)) vec encode_step(const bulk_bank *b, vec x, uint8_t **p,
                                                             const uint8_t *in) {
    vec m = _mm256_i32gather_epi32((const int *)b->masses, load_bytes(in), 4);
    vec less = _mm256_and_si256(m, _mm256_set1_epi32(0xffff));
    vec top = _mm256_srl_epi32(x, _mm_cvtsi32_si128(32 - b->bits));
    vec one = _mm256_cmpgt_epi32(top, less), two = _mm256_cmpgt_epi32(_mm256_srli_epi32(top, 8), less);
    uint32_t used = places(lanes_of(one), lanes_of(two));
    vec word = _mm256_blendv_epi8(_mm256_slli_epi32(x, 8), x, two);
    __m128i words = pack_words(_mm256_and_si256(word, _mm256_set1_epi32(0xffff)));
    write_half(used >> 8, _mm_srli_si128(words, 8), p);
    write_half(used & 0xff, words, p);
    x = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 8), one);
    return advance(b->bits, m, _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 8), two));
}
#endif

#if PITH_ISA_LEVEL >= 1
/* A copy for each number of lanes, so that the states stay in registers. Decoding stops where a round could read beyond
 * the end, and returns how many symbols are done. */
static inline __attribute__((always_inline)) size_t decode_lanes(const bulk_bank *b, int lanes, uint32_t *state,
                                                                 cursor *c, uint8_t *out, size_t n) {
    const bulk_bank bank = *b;
    const uint8_t *p = c->p;
    size_t i = 0;
    vec x[BULK_LANES / WIDE];
    for (int k = 0; k < lanes / WIDE; k++) x[k] = load_state(state + WIDE * k);
    for (; i + (size_t)lanes <= n && c->end - p >= 2 * lanes + 2 * WIDE; i += (size_t)lanes)
        decode_round(&bank, lanes / WIDE, x, &p, out + i);
    for (int k = 0; k < lanes / WIDE; k++) store_state(state + WIDE * k, x[k]);
    c->p = p;
    return i;
}

static inline __attribute__((always_inline)) uint8_t *encode_lanes(const bulk_bank *b, int lanes, uint32_t *state,
                                                                   uint8_t *p, const uint8_t *in, size_t n) {
    const bulk_bank bank = *b;
    vec x[BULK_LANES / WIDE];
    for (int k = 0; k < lanes / WIDE; k++) x[k] = load_state(state + WIDE * k);
    for (size_t i = n; i > 0; i -= (size_t)lanes)
        for (int k = lanes / WIDE; k-- > 0;) x[k] = encode_step(&bank, x[k], &p, in + i - lanes + WIDE * k);
    for (int k = 0; k < lanes / WIDE; k++) store_state(state + WIDE * k, x[k]);
    return p;
}
#endif

static const uint8_t *decode(const bulk_bank *b, uint32_t *state, int lanes, const uint8_t *p, const uint8_t *end,
                             uint8_t *out, size_t n) {
    cursor c = {p, end};
    size_t i = 0;
#if PITH_ISA_LEVEL == 1
    pthread_once(&turns_filled, fill_turns);
#endif
#if PITH_ISA_LEVEL >= 1
    if (lanes == 64) i = decode_lanes(b, 64, state, &c, out, n);
    if (lanes == 32) i = decode_lanes(b, 32, state, &c, out, n);
#endif
    return decode_plain(b, state, lanes, c, out + i, n - i);
}

static uint8_t *encode(const bulk_bank *b, uint32_t *state, int lanes, uint8_t *p, const uint8_t *in, size_t n) {
    size_t i = n - n % (size_t)lanes; /* the ragged end comes first */
    p = encode_plain(b, state, lanes, p, in + i, n - i);
#if PITH_ISA_LEVEL == 1
    pthread_once(&turns_filled, fill_turns);
#endif
#if PITH_ISA_LEVEL >= 1
    if (lanes == 64) return encode_lanes(b, 64, state, p, in, i);
    if (lanes == 32) return encode_lanes(b, 32, state, p, in, i);
#endif
    return encode_plain(b, state, lanes, p, in, i);
}

const bulk_fine_kernels ISA_TABLE(bulk_fine_kernels) = {decode, encode};
