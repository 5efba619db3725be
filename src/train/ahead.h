/* train/ahead.h - a thread that prepares the next batch while the present one is learned. */
#ifndef TRAIN_AHEAD_H
#define TRAIN_AHEAD_H

#include "pith/status.h"

typedef struct ahead ahead;
/* Fills `slot` with the batch that starts at sample `first`: a function of (seed, first) alone. Runs in either thread,
 * never in both at once; must not use parallel_for. */
typedef pith_status (*ahead_fn)(void *user, uint64_t seed, int64_t first, void *slot, pith_error *err);

/* Two slots of `bytes`. Where no thread can be had, batches are made when asked for. Freed with ahead_free. */
pith_status ahead_new(ahead **a, size_t bytes, ahead_fn fn, void *user, pith_error *err);
void ahead_free(ahead *a); /* waits for the thread; safe on NULL */
/* The batch of (seed, first), valid until the next call; that of (seed, next) is begun. */
pith_status ahead_take(ahead *a, uint64_t seed, int64_t first, int64_t next, const void **slot, pith_error *err);

#endif
