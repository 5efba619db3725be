/* picture/photo_tables.h - the functions of the photograph coder's probabilities as tables of integers.
 *
 * Made once with sums and products of doubles in a fixed order, so that they are the same on every machine. */
#ifndef PICTURE_PHOTO_TABLES_H
#define PICTURE_PHOTO_TABLES_H

#include <stdint.h>

enum {
    PHOTO_NAT = 256,              /* units of a natural logarithm: logits and logarithms of masses */
    PHOTO_LOGIT = 12 * PHOTO_NAT, /* largest logit */
    PHOTO_STEP = 64,              /* steps of a scale in the table of the distribution */
    PHOTO_REACH = 18,             /* scales it reaches to either side */
    PHOTO_ENDS = PHOTO_STEP * PHOTO_REACH,
    PHOTO_FULL = 1 << 30, /* mass of the whole distribution */
    PHOTO_SEEN = 250      /* up to which count a probability slows down */
};

typedef struct photo_tables {
    uint16_t squash[2 * PHOTO_LOGIT + 1]; /* [logit + PHOTO_LOGIT]: 65536 times the probability, 1 to 65535 */
    int32_t stretch[4096];                /* [probability / 16]: its logit */
    int32_t below[2 * PHOTO_ENDS + 2];    /* [PHOTO_ENDS + z * PHOTO_STEP]: mass of the logistic distribution below z */
    int32_t log[1024];                    /* [i]: PHOTO_NAT * ln(1 + i / 1024) */
    /* [n]: 2^14 / (n + 1.5), how far the n-th use moves a probability, in the high half; 64 n / (n + 1), what a logit
     * learned from n uses counts, in the low */
    int32_t pace[PHOTO_SEEN + 1];
} photo_tables;

const photo_tables *photo_tables_get(void);

#endif
