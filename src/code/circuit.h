/* code/circuit.h - hidden Chow-Liu trees: the shape that learner and coder share.
 *
 * A picture of D values (a pixel's channel each) is a tree of D nodes. Node i sees one value x_i and has a hidden state
 * z_i of M; p(x) = sum_z prod_i A_i[z_parent][z_i] B_i[z_i][x_i]. Nodes stand in coding order: depth first, so that a
 * parent precedes its children and a subtree is a run of nodes. */
#ifndef CODE_CIRCUIT_H
#define CODE_CIRCUIT_H

#include "pith/status.h"

enum { CIRCUIT_VALUES = 256, CIRCUIT_LANES = 16, CIRCUIT_MAX_STATES = 256, CIRCUIT_MAX_NODES = 1 << 16 };

typedef struct circuit_tree {
    int32_t nodes;
    int32_t width, height, channels; /* nodes = width * height * channels */
    int32_t *parent;                 /* of node i, < i; -1 for the root, node 0 */
    int32_t *pixel;                  /* which value of the picture (rows first, channels last) node i sees */
    int32_t *size;                   /* nodes in the subtree of i, itself included */
    uint8_t *bare; /* node has no state of its own: it sees its parent's (a leaf of the paper's circuit) */
} circuit_tree;

/* All arrays zeroed. Free with circuit_tree_free, safe on zeroed. */
pith_status circuit_tree_new(circuit_tree *t, int32_t width, int32_t height, int32_t channels, pith_error *err);
void circuit_tree_free(circuit_tree *t);
/* Fills size from parent; true when parent describes a depth-first order, pixel a permutation and bare only leaves. */
bool circuit_tree_check(circuit_tree *t);

/* States rounded up to whole vectors: the stride of every array over states. */
static inline int32_t circuit_stride(int32_t states) {
    return (states + CIRCUIT_LANES - 1) / CIRCUIT_LANES * CIRCUIT_LANES;
}

#endif
