/* code/isa/float_kernels.c - contexts of float_way in integers only, written so that compilers vectorize them. */
#include "code/float_kernels.h"

#include "base/isa.h"

static void scales(int base, const int8_t *axis, int16_t *restrict scale, uint8_t *restrict table, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int16_t z = (int16_t)(base + axis[i]);
        z = z < 4 ? 4 : z;
        scale[i] = z;
        table[i] = (uint8_t)(z & 3);
    }
}

static void classes(const float_near *f, uint8_t *restrict table, size_t n) {
    const int8_t *w = f->west, *o = f->north, *ow = f->north_west, *oe = f->north_east;
    int16_t six = (int16_t)(6 * f->weight), two = (int16_t)(2 * f->weight);
    for (size_t i = 0; i < n; i++) {
        int16_t near = (int16_t)(4 * w[i] + 4 * o[i] + 2 * ow[i] + 2 * oe[i]);
        int16_t class = (int16_t)((near >= -six) + (near >= -two) + (near >= two) + (near >= six));
        table[i] = (uint8_t)(table[i] + 4 * class);
    }
}

static size_t levels(const int16_t *scale, const uint8_t *symbol, int most, int16_t *restrict level, size_t n) {
    int escapes = 0; /* a plane has fewer than 2^21 elements */
    int16_t top = (int16_t)most;
    for (size_t i = 0; i < n; i++) {
        int16_t s = symbol[i], v = (int16_t)((scale[i] & ~3) + s - FLOAT_CENTER);
        v = v < 0 ? 0 : v;
        v = v > top ? top : v;
        level[i] = (int16_t)(s == FLOAT_ZERO ? 0 : v);
        escapes += s == FLOAT_ESCAPE;
    }
    return (size_t)escapes;
}

static void distances(const int16_t *level, const int16_t *scale, int8_t *restrict distance, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int16_t d = (int16_t)(level[i] - scale[i]);
        d = d < -14 ? -14 : d;
        d = d > 12 ? 12 : d;
        distance[i] = (int8_t)(level[i] < 4 ? -14 : d);
    }
}

/* 16 * 2^(distance / 4), roughly: 16, 19, 23, 26 and their shifts. */
static void values(const int8_t *distance, const uint8_t *sign, int16_t *restrict value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int e = distance[i] + 16, v = 16 + 3 * (e & 1) + 7 * (e >> 1 & 1);
        v = v << (e >> 2) >> 4;
        int minus = -(int)sign[i];
        value[i] = (int16_t)((v ^ minus) - minus);
    }
}

static void sign_contexts(const float_near *f, const int8_t *distance, uint8_t *restrict context, size_t n) {
    const int16_t *west = f->west_value, *north = f->north_value, *nw = f->north_west_value, *ne = f->north_east_value;
    for (size_t i = 0; i < n; i++) {
        int16_t w = west[i], o = north[i], d = distance[i];
        int16_t sum = (int16_t)(4 * w + 4 * o - 2 * nw[i] + ne[i]);
        int16_t z = (int16_t)((int16_t)(3 * sum + 64) >> 7); /* 1.5 / 64, rounded */
        z = z < -3 ? -3 : z;
        z = z > 3 ? 3 : z;
        int16_t size = (int16_t)((d >= -5) + (d >= 2));
        int16_t a = (int16_t)((w > 1) - (w < -1) + 1), b = (int16_t)((o > 1) - (o < -1) + 1);
        context[i] = (uint8_t)(z + 3 + 7 * size + 21 * a + 63 * b);
    }
}

static void symbols(const int16_t *level, const int16_t *scale, uint8_t *restrict symbol, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int16_t v = level[i], s = (int16_t)(v - (scale[i] & ~3) + FLOAT_CENTER);
        s = v < 4 || s <= FLOAT_ESCAPE || s > 255 ? FLOAT_ESCAPE : s;
        symbol[i] = (uint8_t)(v == 0 ? FLOAT_ZERO : s);
    }
}

static void row_sum(const int16_t *level, const int8_t *axis, int base, int32_t *sum, int32_t *count, size_t n) {
    int32_t s = 0, k = 0; /* of at most 2^20 elements */
    for (size_t i = 0; i < n; i++) {
        int32_t take = level[i] >= 4;
        s += take ? level[i] - base - axis[i] : 0;
        k += take;
    }
    *sum += s;
    *count += k;
}

static void column_sums(const int16_t *level, const int8_t *axis, int base, int32_t *restrict sum,
                        int32_t *restrict count, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t take = level[i] >= 4;
        sum[i] += take ? level[i] - base - axis[i] : 0;
        count[i] += take;
    }
}

const float_kernels ISA_TABLE(float_kernels) = {scales,        classes, levels,  distances,  values,
                                                sign_contexts, symbols, row_sum, column_sums};
