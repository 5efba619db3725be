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

/* Parameters while they are learned. Every array over states has stride `stride`; entries past `states` are zero.
 * Emissions of a node are a table, or (profiles > 0) mixtures of profiles shared by all nodes: smoother, smaller. */
typedef struct circuit_parameters {
    int32_t nodes, states, stride, profiles;
    float *move;    /* nodes * stride * stride: [parent's state][own state]; the root uses row 0 */
    float *back;    /* the same, transposed: kept by whoever changes move */
    float *emit;    /* nodes * 256 * stride: [value][state] */
    float *mix;     /* profiles > 0: nodes * profiles * stride: [profile][state] */
    float *profile; /* profiles > 0: 256 * profiles: [value][profile] */
} circuit_parameters;

pith_status circuit_parameters_new(circuit_parameters *p, int32_t nodes, int32_t states, int32_t profiles,
                                   pith_error *err);
void circuit_parameters_free(circuit_parameters *p);

typedef struct circuit_training {
    int32_t states, profiles, epochs, batch;
    double pseudocount;
    uint64_t seed;
} circuit_training;

#endif
