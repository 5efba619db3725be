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
/* Turns the counts into parameters and clears them.
 * inertia: share of the old parameters that stays. pseudocount: added to each distribution, spread over its entries.
 * smoothing: counts of a state's emissions that are spread over neighboring values. */
void circuit_em_step(circuit_em *em, double inertia, double pseudocount, double smoothing);
/* Sum of log-likelihoods in nats; counts are left alone. */
double circuit_em_likelihood(circuit_em *em, const uint8_t *pictures, const uint8_t *common, int64_t count);

/* Random start: every distribution proportional to numbers from U(0.6, 1.4). */
void circuit_parameters_start(circuit_parameters *p, uint64_t seed);
/* Fills back from move. */
void circuit_parameters_turn(circuit_parameters *p);
/* Every state twice, each copy a little different (noise: relative, 0..1). */
pith_status circuit_parameters_grow(const circuit_parameters *p, float noise, uint64_t seed, circuit_parameters *out,
                                    pith_error *err);

#endif
