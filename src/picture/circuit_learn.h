/* picture/circuit_learn.h - learning hidden Chow-Liu trees: structure, then parameters by expectation-maximization.
 *
 * A. Liu, S. Mandt, G. Van den Broeck, "Lossless compression with probabilistic circuits" (ICLR 2022, arXiv
 * 2111.11632). Structure costs pairs of unusual values (seconds), an epoch 3 D M^2 multiply-adds a picture at most. */
#ifndef PICTURE_CIRCUIT_LEARN_H
#define PICTURE_CIRCUIT_LEARN_H

#include "code/circuit.h"

typedef struct circuit_images { /* count pictures of one shape, values in 0..255 */
    int64_t count;
    int32_t width, height, channels;
    const uint8_t *values; /* count * height * width * channels */
} circuit_images;

/* Maximum spanning tree over the mutual information of all pairs of values (in bins of 16), rooted at its center,
 * larger subtrees first. bare_leaves: leaves of the tree get no state of their own, as in the paper. */
pith_status circuit_structure(const circuit_images *images, bool bare_leaves, circuit_tree *out, pith_error *err);

/* Parameters while they are learned. Every array over states has stride `stride`; entries past a node's own states are
 * zero. */
typedef struct circuit_parameters {
    int32_t nodes, states, stride; /* states: the most a node has */
    int32_t *own;                  /* states of each node, 1..states; of a bare node: its parent's */
    float *move;                   /* nodes * stride * stride: [parent's state][own state]; the root uses row 0 */
    float *back;                   /* the same, transposed: kept by whoever changes move */
    float *emit;                   /* nodes * 256 * stride: [value][state] */
} circuit_parameters;

/* As what circuit_write takes; borrows. */
static inline circuit_tables circuit_parameters_tables(const circuit_parameters *p, const circuit_tree *tree) {
    return (circuit_tables){tree, p->states, p->stride, p->own, p->move, p->emit};
}
pith_status circuit_parameters_new(circuit_parameters *p, int32_t nodes, int32_t states, pith_error *err);
void circuit_parameters_free(circuit_parameters *p); /* safe on zeroed */

typedef struct circuit_training {
    int32_t states, epochs; /* states: 1..CIRCUIT_MAX_STATES */
    int32_t batch;          /* pictures a step */
    bool paper;             /* steps, inertia and pseudocounts of the paper; otherwise our own, see circuit_learn.c */
    bool grow;              /* begin with few states, which are pruned and split until there are `states` */
    uint64_t seed;
    const char *checkpoint; /* file kept up to date and removed at the end; NULL: none */
    bool resume;            /* go on from the checkpoint, from the start where there is none */
    /* after each epoch (of those with so many states): nats a picture; may be NULL */
    void (*report)(void *user, int32_t states, int32_t epoch, double log_likelihood);
    void *user;
} circuit_training;

void circuit_training_default(circuit_training *t); /* 32 states, 50 epochs, 512 pictures a step */

/* Learns structure and parameters. *tree and *p are the caller's to free. PITH_INTERRUPTED leaves a checkpoint. */
pith_status circuit_learn(const pith_context *c, const circuit_images *images, const circuit_training *t,
                          circuit_tree *tree, circuit_parameters *p, pith_error *err);

#endif
