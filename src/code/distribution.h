/* code/distribution.h - discretized normal, Laplace and logistic distributions, and mixtures of them, as models.
 *
 * What entropy models of codecs ask for: a mean and a scale (per symbol, as a network gave them, in 1/256) become
 * masses of whole numbers. All from integer tables that are themselves made by integer arithmetic, so a stream is the
 * same on every machine. Masses are within 2^-19 of the true probability plus the 1 that every symbol has at least. */
#ifndef CODE_DISTRIBUTION_H
#define CODE_DISTRIBUTION_H

#include "code/code.h"

enum distribution_family { DISTRIBUTION_NORMAL, DISTRIBUTION_LAPLACE, DISTRIBUTION_LOGISTIC, DISTRIBUTION_FAMILIES };
enum { DISTRIBUTION_PARTS = 8, DISTRIBUTION_ONE = 256 };

typedef struct distribution_part {
    uint16_t family;
    uint16_t weight; /* any; the sum is above 0 */
    int32_t mean;    /* 1/256; within 2^23 of zero */
    uint32_t scale;  /* 1/256, 1 to 2^20: standard deviation, b of exp(-|x| / b), s of 1 / (1 + exp(-x / s)) */
} distribution_part;

typedef struct distribution { /* of the whole numbers from low to high; symbol s stands for low + s */
    int parts, bits;          /* bits: 2^bits at least twice the number of symbols, at most PITH_MASS_MAX_BITS */
    int32_t low, high;        /* tails beyond them belong to them; within 2^15 of zero */
    distribution_part part[DISTRIBUTION_PARTS];
} distribution;

/* For pith_model.mass and .find; self is a distribution. find takes a bisection: about 10 cumulated sums. */
pith_mass distribution_mass(const void *self, uint32_t symbol);
uint32_t distribution_find(const void *self, uint32_t point, pith_mass *m);
pith_model distribution_model(const distribution *d);

#endif
