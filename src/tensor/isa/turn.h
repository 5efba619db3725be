/* tensor/isa/turn.h - sixteen rows of sixteen 32-bit numbers to columns. */
#ifndef TENSOR_ISA_TURN_H
#define TENSOR_ISA_TURN_H

#include "base/isa.h"

#include <stdint.h>
#if PITH_ISA_LEVEL == 2
#include <immintrin.h>
#endif

enum { TURNED = 16 };

#if PITH_ISA_LEVEL == 2
/* Rows of sixteen numbers to columns, in four steps of exchanges between rows 1, 2, 4 and 8 apart. */
static inline void turn16(const float *in, int64_t stride, float *out) {
    const __m512i halves[2] = {_mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0),
                               _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2)};
    const __m512i quarters[2] = {_mm512_set_epi64(11, 10, 9, 8, 3, 2, 1, 0),
                                 _mm512_set_epi64(15, 14, 13, 12, 7, 6, 5, 4)};
    __m512 a[TURNED], b[TURNED];
    for (int i = 0; i < TURNED; i++) a[i] = _mm512_loadu_ps(in + i * stride);
    for (int i = 0; i < TURNED; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < TURNED; i += 4)
        for (int k = 0; k < 2; k++) {
            __m512d low = _mm512_castps_pd(b[i + k]), high = _mm512_castps_pd(b[i + 2 + k]);
            a[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (int i = 0; i < TURNED; i += 8)
        for (int k = 0; k < 4; k++)
            for (int h = 0; h < 2; h++)
                b[i + k + 4 * h] = _mm512_castpd_ps(
                    _mm512_permutex2var_pd(_mm512_castps_pd(a[i + k]), halves[h], _mm512_castps_pd(a[i + 4 + k])));
    for (int k = 0; k < 8; k++)
        for (int h = 0; h < 2; h++)
            a[k + 8 * h] = _mm512_castpd_ps(
                _mm512_permutex2var_pd(_mm512_castps_pd(b[k]), quarters[h], _mm512_castps_pd(b[8 + k])));
    for (int i = 0; i < TURNED; i++) _mm512_storeu_ps(out + i * TURNED, a[i]);
}
#else
static inline void turn16(const float *in, int64_t stride, float *out) {
    for (int i = 0; i < TURNED; i++)
        for (int k = 0; k < TURNED; k++) out[k * TURNED + i] = in[i * stride + k];
}
#endif

#endif
