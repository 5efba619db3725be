/* code/mixing_tables.c - exponentials and logarithms by series, rounded to integers. */
#include "code/mixing_tables.h"

#include <pthread.h>

static mixing_tables tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* e^x for |x| at most 20: 24 terms of x / 64, squared six times. */
static double exponential(double x) {
    double sum = 1, term = 1;
    for (int i = 1; i < 24; i++) term *= x / 64 / i, sum += term;
    for (int i = 0; i < 6; i++) sum *= sum;
    return sum;
}

/* ln(v) for v in (0, 2^20], by atanh of (v - 1) / (v + 1) after halvings. */
static double logarithm(double v) {
    const double two = 0.693147180559945309417232;
    int halvings = 0;
    while (v > 1.5) v /= 2, halvings++;
    while (v < 0.75) v *= 2, halvings--;
    double q = (v - 1) / (v + 1), power = q, sum = 0;
    for (int i = 1; i < 40; i += 2) sum += power / i, power *= q * q;
    return 2 * sum + halvings * two;
}

static int32_t nearest(double v) { return (int32_t)(v < 0 ? v - 0.5 : v + 0.5); }

static int32_t clamp(int32_t v, int32_t low, int32_t high) { return v < low ? low : v > high ? high : v; }

static void make(void) {
    for (int i = -MIXING_LOGIT; i <= MIXING_LOGIT; i++)
        tables.squash[i + MIXING_LOGIT] =
            (uint16_t)clamp(nearest(65536 / (1 + exponential(-(double)i / MIXING_NAT))), 1, 65535);
    for (int i = 0; i < 4096; i++) {
        double p = (i + 0.5) / 4096;
        tables.stretch[i] = nearest(MIXING_NAT * logarithm(p / (1 - p)));
    }
    for (int i = -MIXING_ENDS; i <= MIXING_ENDS + 1; i++)
        tables.below[i + MIXING_ENDS] =
            clamp(nearest(MIXING_FULL / (1 + exponential(-(double)i / MIXING_STEP))), 0, MIXING_FULL);
    for (int i = 0; i < 1024; i++) tables.log[i] = nearest(MIXING_NAT * logarithm(1 + i / 1024.0));
    for (int i = 0; i <= MIXING_SEEN; i++) tables.pace[i] = (2 << 14) / (2 * i + 3) << 16 | 64 * i / (i + 1);
}

const mixing_tables *mixing_tables_get(void) {
    pthread_once(&once, make);
    return &tables;
}
