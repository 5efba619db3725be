/* picture/circuit_checkpoint.h - a training of a circuit as it stands after an epoch. */
#ifndef PICTURE_CIRCUIT_CHECKPOINT_H
#define PICTURE_CIRCUIT_CHECKPOINT_H

#include "picture/circuit_learn.h"

typedef struct circuit_progress {
    const circuit_training *training; /* what of it decides the result must agree */
    uint64_t pictures;                /* hash of them, must agree */
    int32_t stage, epoch;
} circuit_progress;

pith_status circuit_checkpoint_write(const char *path, const circuit_progress *at, const circuit_parameters *p,
                                     pith_error *err);
/* Fills in stage, epoch and new parameters (but `back`), which are the caller's to free. PITH_NOT_FOUND where there is
 * no file, PITH_MISMATCH when it belongs to another training. */
pith_status circuit_checkpoint_read(const char *path, circuit_progress *at, circuit_parameters *p, pith_error *err);

#endif
