/* code/mixing_tables.h - the functions of mixed probabilities (mixing.h) as tables of integers.
 *
 * Made once with sums and products of doubles in a fixed order, so that they are the same on every machine. */
#ifndef CODE_MIXING_TABLES_H
#define CODE_MIXING_TABLES_H

#include <stdint.h>

enum {
    MIXING_NAT = 256,               /* units of a natural logarithm: logits and logarithms of masses */
    MIXING_LOGIT = 12 * MIXING_NAT, /* largest logit */
    MIXING_STEP = 64,               /* steps of a scale in the table of the logistic distribution */
    MIXING_REACH = 18,              /* scales it reaches to either side */
    MIXING_ENDS = MIXING_STEP * MIXING_REACH,
    MIXING_FULL = 1 << 30, /* mass of the whole distribution */
    MIXING_SEEN = 250      /* up to which count a probability slows down */
};

typedef struct mixing_tables {
    uint16_t squash[2 * MIXING_LOGIT + 1]; /* [logit + MIXING_LOGIT]: 65536 times the probability, 1 to 65535 */
    int32_t stretch[4096];                 /* [probability / 16]: its logit */
    int32_t below[2 * MIXING_ENDS + 2];    /* [MIXING_ENDS + z * MIXING_STEP]: mass of the logistic below z scales */
    int32_t log[1024];                     /* [i]: MIXING_NAT * ln(1 + i / 1024) */
    /* [n]: 2^14 / (n + 1.5), how far the n-th use moves a probability, in the high half; 64 n / (n + 1), what a logit
     * learned from n uses counts, in the low */
    int32_t pace[MIXING_SEEN + 1];
} mixing_tables;

const mixing_tables *mixing_tables_get(void);

#endif
