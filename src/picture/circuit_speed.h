/* picture/circuit_speed.h - what the three ways to a picture's conditionals cost (code/circuit_orders.h): products with
 * M x M matrices, and time, on one core. */
#ifndef PICTURE_CIRCUIT_SPEED_H
#define PICTURE_CIRCUIT_SPEED_H

#include "code/circuit_orders.h"

enum { CIRCUIT_ORDERS = CIRCUIT_MESSAGES + 1 };

typedef struct circuit_speed {
    int32_t values; /* of a picture: D */
    int64_t transitions[CIRCUIT_ORDERS];
    double seconds[CIRCUIT_ORDERS]; /* a picture */
} circuit_speed;

/* A circuit of `states` and random parameters over the tree of drawn pictures of side x side. */
pith_status circuit_speed_measure(int32_t side, int32_t states, circuit_speed *out, pith_error *err);

#endif
