/* code/circuit_orders.h - three ways to the conditionals of a picture's values, side by side so that their work can be
 * counted: everything anew for each value, the paper's order, two messages an edge (what the coder does). */
#ifndef CODE_CIRCUIT_ORDERS_H
#define CODE_CIRCUIT_ORDERS_H

#include "code/circuit.h"

typedef enum circuit_order {
    CIRCUIT_NAIVE,   /* the whole circuit for each value: D transitions a value */
    CIRCUIT_LARGER,  /* larger child first, with top-down probabilities computed beforehand */
    CIRCUIT_MESSAGES /* one message down and one up each edge */
} circuit_order;

/* ln p(value of node i | values before it in this order) for each node, of one picture (tree.nodes values). Returns in
 * *transitions how many products with a node's M x M matrix were made. */
pith_status circuit_order_run(const circuit *c, circuit_order order, const uint8_t *picture, double *conditional,
                              int64_t *transitions, pith_error *err);

#endif
