/* net/schedule.h - the learning rate over a run: warm-up, then constant, cosine, steps, linear decay, or plateau. */
#ifndef NET_SCHEDULE_H
#define NET_SCHEDULE_H

#include <stdint.h>

typedef enum schedule_kind {
    SCHEDULE_CONSTANT,
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_STEP,
    SCHEDULE_PLATEAU
} schedule_kind;

typedef struct schedule {
    schedule_kind kind;
    double rate;    /* after warm-up */
    double last;    /* share of rate left at the end (cosine, linear); factor of each drop (step, plateau) */
    int64_t warmup; /* steps over which the rate rises linearly from rate / warmup */
    int64_t steps;  /* of the whole run */
    int64_t every;  /* step: steps between drops; plateau: evaluations without gain before a drop */
    double hold;    /* linear: share of the run before decay begins (warm-up, stable, decay) */
    /* plateau's memory, part of a checkpoint */
    double best;
    int64_t waited, drops;
} schedule;

double schedule_rate(const schedule *s, int64_t step); /* for step 0, 1, ... */
void schedule_observe(schedule *s, double loss);       /* after each evaluation; only plateau listens */

#endif
