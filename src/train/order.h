/* train/order.h - which sample comes when: every epoch runs through all of them in an order of its own. */
#ifndef TRAIN_ORDER_H
#define TRAIN_ORDER_H

#include "pith/status.h"

typedef struct sample_order {
    int64_t count, epoch;
    uint64_t seed;
    uint32_t *numbers; /* of epoch `epoch` under `seed`; owned */
} sample_order;

/* count samples, at least 1. Closed with order_close. */
pith_status order_open(sample_order *o, int64_t count, pith_error *err);
void order_close(sample_order *o); /* safe on zeroed */
/* Number of the sample at `position` of the endless sequence; a function of (seed, position) alone. */
uint32_t order_at(sample_order *o, uint64_t seed, int64_t position);

#endif
