/* model/isa/probe.c - loops that do nothing but read memory, or nothing but multiply bytes. */
#include "base/isa.h"
#include "model/speed.h"

#include <string.h>
#if PITH_ISA_LEVEL > 0
#include <immintrin.h>
#endif
#if PITH_ISA_LEVEL == 2
#include "base/amx.h"
#endif

/* Four streams side by side and fetched ahead, so that the memory never waits for the next page. */
static uint64_t read_all(const uint8_t *p, int64_t size) {
    enum { STREAMS = 4, AHEAD = 4096 };
    int64_t part = size / STREAMS;
    uint64_t total = 0;
#if PITH_ISA_LEVEL == 2
    __m512i sum[STREAMS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                            _mm512_setzero_si512()};
    for (int64_t at = 0; at < part; at += 256)
        for (int k = 0; k < STREAMS; k++) {
            const uint8_t *line = p + k * part + at;
            for (int i = 0; i < 256; i += 64) {
                _mm_prefetch((const char *)line + i + AHEAD, _MM_HINT_T0);
                sum[k] = _mm512_add_epi64(sum[k], _mm512_loadu_si512(line + i));
            }
        }
    for (int k = 0; k < STREAMS; k++) total += (uint64_t)_mm512_reduce_add_epi64(sum[k]);
#else
    uint64_t sum[STREAMS][8] = {{0}}, word[8];
    for (int64_t at = 0; at < part; at += 64)
        for (int k = 0; k < STREAMS; k++) {
            __builtin_prefetch(p + k * part + at + AHEAD);
            memcpy(word, p + k * part + at, sizeof word);
            for (int i = 0; i < 8; i++) sum[k][i] += word[i];
        }
    for (int k = 0; k < STREAMS; k++)
        for (int i = 0; i < 8; i++) total += sum[k][i];
#endif
    return total;
}

enum { CHAINS = 12 };

#if PITH_ISA_LEVEL == 2
/* As the products of packed rows are done with AMX: a step is 16 x 16 sums of 64 products. */
static int64_t multiply_tiles(int64_t rounds, int32_t *out) {
    int32_t sum[16][16];
    uint8_t ones[16][64];
    memset(ones, 1, sizeof ones);
    amx_begin_whole();
    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    AMX_LOAD(4, ones, 64);
    AMX_LOAD(5, ones, 64);
    AMX_LOAD(6, ones, 64);
    AMX_LOAD(7, ones, 64);
    for (int64_t i = 0; i < rounds; i++) {
        AMX_MULTIPLY(ss, 0, 4, 6);
        AMX_MULTIPLY(ss, 1, 4, 7);
        AMX_MULTIPLY(ss, 2, 5, 6);
        AMX_MULTIPLY(ss, 3, 5, 7);
    }
    AMX_STORE(0, sum, 64);
    amx_end();
    *out = sum[0][0];
    return rounds * 4 * 16 * 16 * 64 * 2;
}
#endif

static int64_t multiply(int64_t rounds, int32_t *out) {
#if PITH_ISA_LEVEL == 2
    if (isa_active() >= ISA_AMX) return multiply_tiles(rounds, out);
    __m512i sum[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5), total = _mm512_setzero_si512();
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) sum[k] = _mm512_setzero_si512();
    for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) {
            sum[k] = _mm512_dpbusd_epi32(sum[k], a, b);
            __asm__("" : "+v"(sum[k]));
        }
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) total = _mm512_add_epi32(total, sum[k]);
    *out = _mm512_reduce_add_epi32(total);
    return rounds * CHAINS * 128;
#elif PITH_ISA_LEVEL == 1
    __m256i sum[CHAINS], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) sum[k] = _mm256_setzero_si256();
    for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) {
            __m256i pairs = _mm256_maddubs_epi16(a, b);
            __asm__("" : "+x"(pairs));
            sum[k] = _mm256_add_epi32(sum[k], _mm256_madd_epi16(pairs, ones));
        }
    int32_t lane[8], total = 0;
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) {
        _mm256_storeu_si256((__m256i *)lane, sum[k]);
        for (int i = 0; i < 8; i++) total += lane[i];
    }
    *out = total;
    return rounds * CHAINS * 64;
#else
    int32_t sum[CHAINS] = {0};
    for (int64_t i = 0; i < rounds; i++)
        for (int k = 0; k < CHAINS; k++) sum[k] += (int8_t)i * (int8_t)(i >> k);
    *out = 0;
    for (int k = 0; k < CHAINS; k++) *out += sum[k];
    return rounds * CHAINS * 2;
#endif
}

extern const struct probe_kernels ISA_TABLE(probe);
const struct probe_kernels ISA_TABLE(probe) = {read_all, multiply};
