/* code/distribution.c - cumulated tables of three families in steps of 1/256 of their scale, and masses from them.
 *
 * Tables hold F(z) - 1/2 for 0 <= z <= 16, 32 bits below the point. Powers of e are products of 63-bit fractions; the
 * normal density is summed by trapezoids with the correction of Euler and Maclaurin, and scaled to 1/2 in the whole. */
#include "code/distribution.h"

#include <assert.h>
#include <pthread.h>

enum { STEPS = 16 * 256 };
#define HALF ((uint64_t)1 << 31)
#define E_1_256 UINT64_C(0x7f803feaaffeef1c) /* exp(-1/256), 63 bits below the point */
#define E_1_131072 \
    UINT64_C(0x7fffc0000ffffd55) /* exp(-h^2 / 2), h = 1/256: from the normal density at 0 to that at h */
#define E_2_131072 UINT64_C(0x7fff80003fffeaab) /* exp(-h^2): from such a step to the next */

static uint32_t upper[DISTRIBUTION_FAMILIES][STEPS + 1];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static uint64_t times(uint64_t a, uint64_t b) { return (uint64_t)((unsigned __int128)a * b >> 63); }

static void fill_exponential(void) {
    uint64_t e = UINT64_C(1) << 63;
    for (int k = 0; k <= STEPS; k++, e = times(e, E_1_256)) {
        upper[DISTRIBUTION_LAPLACE][k] = (uint32_t)(HALF - (e >> 32));
        upper[DISTRIBUTION_LOGISTIC][k] = (uint32_t)((UINT64_C(1) << 63) / (HALF + (e >> 32)) - HALF);
    }
}

static void fill_normal(void) {
    static uint64_t sum[STEPS + 1]; /* of the density, 52 bits below the point, in steps */
    uint64_t density = UINT64_C(1) << 63, ratio = E_1_131072, before = 0;
    for (int k = 0; k <= STEPS; k++) {
        uint64_t f = density >> 11;
        sum[k] = before + f / 2 - (UINT64_C(1) << 51) + f / (12 << 16) * (uint64_t)k;
        before += f;
        density = times(density, ratio);
        ratio = times(ratio, E_2_131072);
    }
    for (int k = 0; k <= STEPS; k++)
        upper[DISTRIBUTION_NORMAL][k] = (uint32_t)((unsigned __int128)sum[k] * HALF / sum[STEPS]);
}

static void fill(void) {
    fill_exponential();
    fill_normal();
}

/* F at x (1/256) above the mean, 32 bits below the point. */
static uint64_t cumulated(const distribution_part *p, int64_t x) {
    uint64_t at = ((uint64_t)(x < 0 ? -x : x) << 24) / p->scale, step = at >> 16, u = HALF;
    if (step < STEPS) {
        const uint32_t *t = &upper[p->family][step];
        u = t[0] + ((uint64_t)(t[1] - t[0]) * (at & 0xffff) >> 16);
    }
    return x < 0 ? HALF - u : HALF + u;
}

/* Mass of all symbols below `symbol`: each has 1, what is left is shared by probability. */
static uint32_t below(const distribution *d, uint32_t symbol) {
    uint32_t symbols = (uint32_t)(d->high - d->low) + 1, full = 1u << d->bits;
    if (symbol == 0) return 0;
    if (symbol == symbols) return full;
    uint64_t sum = 0, weight = 0;
    int64_t edge = ((int64_t)d->low + symbol) * DISTRIBUTION_ONE - DISTRIBUTION_ONE / 2;
    for (int i = 0; i < d->parts; i++) {
        sum += d->part[i].weight * cumulated(&d->part[i], edge - d->part[i].mean);
        weight += d->part[i].weight;
    }
    return symbol + (uint32_t)(sum / weight * (full - symbols) >> 32);
}

pith_mass distribution_mass(const void *self, uint32_t symbol) {
    const distribution *d = self;
    pthread_once(&filled, fill);
    uint32_t start = below(d, symbol);
    return (pith_mass){start, below(d, symbol + 1) - start};
}

uint32_t distribution_find(const void *self, uint32_t point, pith_mass *m) {
    const distribution *d = self;
    uint32_t low = 0, high = (uint32_t)(d->high - d->low) + 1, start = 0, end = 1u << d->bits;
    pthread_once(&filled, fill);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2, at = below(d, middle);
        if (at <= point) low = middle, start = at;
        else high = middle, end = at;
    }
    *m = (pith_mass){start, end - start};
    return low;
}

pith_model distribution_model(const distribution *d) {
    assert(d->parts >= 1 && d->parts <= DISTRIBUTION_PARTS && d->high >= d->low && d->bits <= PITH_MASS_MAX_BITS);
    assert((uint32_t)(d->high - d->low) < 1u << (d->bits - 1));
    return (pith_model){d->bits, distribution_mass, distribution_find, NULL};
}
