/* grad/isa/sine.h - sin x and cos x for the loops of isa/x_fast.c; a loop that wants both does the work once.
 *
 * Quarter turns are taken off; what is left, at most an eighth of a turn, goes into the two odd and even polynomials of
 * degree 7 and 8 whose error is least (4e-9 of sin x, 1e-10). So errors are those of rounding up to a million quarter
 * turns; where an f32 is no angle any more (its neighbor is half a turn away) the result is only some number in
 * [-1, 1]. */
#ifndef GRAD_ISA_SINE_H
#define GRAD_ISA_SINE_H

#include <math.h>
#include <stdint.h>

typedef struct sine_cosine {
    float sine, cosine;
} sine_cosine;

/* x - n pi / 2 */
static inline float less_turns(float x, float n) {
#ifdef __FMA__ /* as fma no compiler puts the two parts together again */
    x = __builtin_fmaf(n, -1.57079637f, x);
    return __builtin_fmaf(n, 4.37113883e-8f, x);
#else
    return (float)((double)x - (double)n * 1.5707963267948966);
#endif
}

static inline float with_sign(float x, uint32_t sign) {
    union {
        float value;
        uint32_t bits;
    } y = {x};
    y.bits ^= sign;
    return y.value;
}

static inline sine_cosine sine_of(float x) {
    float n = rintf(x * 0.636619772f), a = less_turns(x, n);
    a = a < -1.6f ? -1.6f : a;
    a = a > 1.6f ? 1.6f : a;
    uint32_t turn = (uint32_t)(int32_t)n;
    float square = a * a, s = -1.95172339e-4f, c = 2.443838e-5f;
    s = s * square + 8.332178e-3f;
    s = s * square - 0.16666655f;
    s = s * square * a + a;
    c = c * square - 1.3887367e-3f;
    c = c * square + 0.041666646f;
    c = c * square - 0.5f;
    c = c * square + 1;
    float sine = turn & 1 ? c : s, cosine = turn & 1 ? s : c;
    return (sine_cosine){with_sign(sine, turn << 30 & 1u << 31), with_sign(cosine, (turn + 1) << 30 & 1u << 31)};
}

#endif
