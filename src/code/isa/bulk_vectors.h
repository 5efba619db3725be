/* code/isa/bulk_vectors.h - what the kernels of the bulk coder share: states in vectors, and how a symbol changes them.
 *
 * The division of the encoder is done in single precision and put right afterwards: with at least 10 bits the quotient
 * is below 2^22, so it is off by one at most. */
#ifndef CODE_ISA_BULK_VECTORS_H
#define CODE_ISA_BULK_VECTORS_H

#include "base/isa.h"
#include "code/bulk_kernels.h"
#include "code/rans.h"

#include <pthread.h>
#include <string.h>
#if PITH_ISA_LEVEL >= 1
#include <immintrin.h>
#endif

typedef struct cursor {
    const uint8_t *p, *end;
} cursor;

static inline uint32_t word_or_zero(cursor *c) {
    uint16_t w = 0;
    if (c->end - c->p >= 2) memcpy(&w, c->p, 2);
    else {
        if (c->p < c->end) w = *c->p;
        c->p = c->end;
        return w;
    }
    c->p += 2;
    return w;
}

#if PITH_ISA_LEVEL == 2
enum { WIDE = 16 };
typedef __m512i vec;

static inline vec load_state(const uint32_t *s) { return _mm512_loadu_si512(s); }
static inline void store_state(uint32_t *s, vec x) { _mm512_storeu_si512(s, x); }

/* x / width for x < 2^20 width: all is rounded down, so the result is right or one too small. */
static inline __attribute__((always_inline)) vec quotient(vec x, vec width) {
    enum { DOWN = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC };
    __m512 w = _mm512_cvtepi32_ps(width), r = _mm512_rcp14_ps(w);
    r = _mm512_fmadd_round_ps(r, _mm512_fnmadd_round_ps(w, r, _mm512_set1_ps(1), DOWN), r, DOWN);
    return _mm512_cvttps_epi32(_mm512_mul_round_ps(_mm512_cvt_roundepu32_ps(x, DOWN), r, DOWN));
}

/* States after symbols of masses m; what goes out first has done so. bits: at least 12. */
static inline __attribute__((always_inline)) vec advance(int bits, vec m, vec x) {
    vec less = _mm512_and_si512(m, _mm512_set1_epi32(0xffff)), width = _mm512_add_epi32(less, _mm512_set1_epi32(1));
    vec q = quotient(x, width), rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(q, width));
    __mmask16 over = _mm512_cmpgt_epu32_mask(rest, less);
    vec next = _mm512_add_epi32(_mm512_sll_epi32(q, _mm_cvtsi32_si128(bits)),
                                _mm512_add_epi32(rest, _mm512_srli_epi32(m, 16)));
    return _mm512_mask_add_epi32(next, over, next, _mm512_sub_epi32(_mm512_set1_epi32(1 << bits), width));
}

#elif PITH_ISA_LEVEL == 1
enum { WIDE = 8 };
typedef __m256i vec;

static inline vec load_state(const uint32_t *s) { return _mm256_loadu_si256((const __m256i *)s); }
static inline void store_state(uint32_t *s, vec x) { _mm256_storeu_si256((__m256i *)s, x); }
static inline vec load_bytes(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }

/* Eight 32-bit lanes below 65536 (or 256 with bytes) to eight adjacent ones. */
static inline __m128i pack_words(vec v) {
    return _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* States after symbols of masses m; what goes out first has done so. */
static inline __attribute__((always_inline)) vec advance(int bits, vec m, vec x) {
    vec low16 = _mm256_set1_epi32(0xffff), width = _mm256_add_epi32(_mm256_and_si256(m, low16), _mm256_set1_epi32(1));
    __m256 value = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(x, 16)), _mm256_set1_ps(65536.0f)),
                                 _mm256_cvtepi32_ps(_mm256_and_si256(x, low16))); /* rounds once */
    vec q = _mm256_cvttps_epi32(_mm256_div_ps(value, _mm256_cvtepi32_ps(width)));
    vec rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(q, width));
    vec under = _mm256_srai_epi32(rest, 31), fine = _mm256_cmpgt_epi32(width, rest);
    vec over = _mm256_andnot_si256(fine, _mm256_set1_epi32(-1));
    q = _mm256_add_epi32(_mm256_sub_epi32(q, over), under);
    rest = _mm256_add_epi32(_mm256_sub_epi32(rest, _mm256_and_si256(over, width)), _mm256_and_si256(under, width));
    return _mm256_add_epi32(_mm256_sll_epi32(q, _mm_cvtsi32_si128(bits)),
                            _mm256_add_epi32(rest, _mm256_srli_epi32(m, 16)));
}

#endif

#endif
