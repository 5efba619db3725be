/* train/checkpoint.h - the state of a run, whole: what a resumed run needs to go on bit for bit. */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "grad/params.h"
#include "net/optimizer.h"
#include "net/schedule.h"

typedef struct checkpoint {
    int64_t step;              /* steps done */
    uint64_t fingerprint;      /* recipe_fingerprint of the run */
    double best;               /* best evaluated loss so far, 0: none */
    int64_t best_step, waited; /* for keep=best and patience */
    double seconds;            /* of training so far */
    schedule schedule;
} checkpoint;

/* Writes state, weights, moments, averaged weights and the best weights so far (`best`, floats long, or NULL) to
 * `path`, atomically: whatever happens, the file there is the old one or the new one. */
pith_status checkpoint_write(const char *path, const checkpoint *c, const grad_params *p, const optimizer *o,
                             const float *best, const char *curve, pith_error *err);
/* Reads it back into arrays of the same sizes (PITH_MISMATCH otherwise). `best` may be NULL when none is wanted; *curve
 * is the text given to checkpoint_write, freed by the caller with memory_free. PITH_NOT_FOUND when there is no file. */
pith_status checkpoint_read(const char *path, checkpoint *c, grad_params *p, optimizer *o, float *best, char **curve,
                            pith_error *err);

#endif
