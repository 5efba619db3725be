/* grad/isa/exponential.h - e^x for the loops of isa/x_fast.c: a few multiply-adds that stay in registers, where the
 * library's vector function is a call that spills them all.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r is its Taylor series to the seventh power (the rest is below 2e-8 of it);
 * 2^n is made of bits. Arguments are held within [-87, 88], where the result is neither 0 nor infinite. */
#ifndef GRAD_ISA_EXPONENTIAL_H
#define GRAD_ISA_EXPONENTIAL_H

#include <math.h>
#include <stdint.h>

static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts, the first exact times n */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    p = p * r + 1;
    union {
        int32_t bits;
        float value;
    } power = {((int32_t)n + 127) << 23};
    return p * power.value;
}

/* 1 / (1 + e^-x) */
static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

#endif
