/* picture/circuit_em.h - one step of expectation-maximization over a batch of pictures, with threads. */
#ifndef PICTURE_CIRCUIT_EM_H
#define PICTURE_CIRCUIT_EM_H

#include "picture/circuit_learn.h"

typedef struct circuit_em circuit_em;

/* tree and p are borrowed, p is changed by steps. */
pith_status circuit_em_new(circuit_em **em, const circuit_tree *tree, circuit_parameters *p, pith_error *err);
void circuit_em_free(circuit_em *em); /* safe on NULL */
/* Adds the counts of `count` pictures, rows of `pictures` (values in node order) named by index. common: the most
 * frequent value of each node. */
void circuit_em_count(circuit_em *em, const uint8_t *pictures, const uint8_t *common, const uint32_t *index,
                      int64_t count);
/* Log-likelihood (nats) of what was counted since the last step. */
double circuit_em_likelihood_counted(const circuit_em *em);
/* Counts that every distribution is lent before it becomes parameters. */
typedef struct circuit_prior {
    double pseudocount; /* spread evenly over its entries */
    double smoothing;   /* a state's emissions: spread over neighboring values */
} circuit_prior;
/* Turns the counts into parameters and clears them. inertia: share of the old parameters that stays. */
void circuit_em_step(circuit_em *em, double inertia, const circuit_prior *prior);
/* Sum of log-likelihoods in nats; counts are left alone. */
double circuit_em_likelihood(circuit_em *em, const uint8_t *pictures, const uint8_t *common, int64_t count);

/* Random start: every distribution proportional to numbers from U(0.6, 1.4). */
void circuit_parameters_start(circuit_parameters *p, uint64_t seed);
/* Fills back from move. */
void circuit_parameters_turn(circuit_parameters *p);
/* Prunes and splits states: of a node, states that fewer than `least` of the pictures are expected in go, and the
 * others get copies, the likelier the more, until there are `states` of them or each copy stands for `least`. Copies
 * differ a little (noise: relative, 0..1). */
typedef struct circuit_growth {
    int32_t states;
    double least; /* share of the pictures, 0..1 */
    float noise;
    uint64_t seed;
} circuit_growth;
pith_status circuit_parameters_grow(const circuit_parameters *p, const circuit_tree *tree, const circuit_growth *g,
                                    circuit_parameters *out, pith_error *err);

#endif
