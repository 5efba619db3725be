/* picture/circuit_flows.h - the inner loops of learning a circuit, one table of functions per instruction set. */
#ifndef PICTURE_CIRCUIT_FLOWS_H
#define PICTURE_CIRCUIT_FLOWS_H

#include "picture/circuit_learn.h"

enum { FLOW_BLOCK = 128 }; /* pictures that go through the tree together; rows of a node then fit a byte */

typedef struct flow_counts { /* expected uses of parameters, in the layout of circuit_parameters */
    float *move;             /* still to be multiplied by the parameter itself */
    float *emit;             /* only rows whose bit in `touched` is set are not zero */
    uint64_t (*touched)[4];  /* per node: values met */
    double log_likelihood;   /* nats */
} flow_counts;

/* One block of pictures. Pictures whose values in a subtree are all the most frequent ones share that subtree's row 0:
 * they are computed once (digits are mostly background), all others have a row of their own. */
typedef struct flow_block {
    const circuit_tree *tree;
    const circuit_parameters *p;
    const uint8_t *common;   /* most frequent value of each node */
    const uint8_t *pictures; /* [picture][node] */
    const uint32_t *index;   /* which pictures: count of them */
    int32_t count;           /* 1..FLOW_BLOCK */
    flow_counts *counts;     /* NULL: likelihood only */
    uint8_t *value;          /* [node][FLOW_BLOCK + 1]: by row */
    uint8_t *row;            /* [node][FLOW_BLOCK]: row of each picture */
    uint8_t *member;         /* [node][FLOW_BLOCK + 1]: picture of each row; that of row 0 means nothing */
    int32_t *rows;           /* [node] */
    float *inside, *up;      /* [node][FLOW_BLOCK + 1][stride]: below the node, by own and by parent's state */
    float *exponent;         /* [node][FLOW_BLOCK + 1]: powers of two taken out of the two */
    float *flow;             /* [FLOW_BLOCK + 1][stride] */
    float *log_likelihood;   /* of each picture, or NULL */
} flow_block;

enum {
    FLOW_LANES = 4
}; /* a batch is cut into as many parts, whatever the number of threads; their counts are added in order */

typedef struct flow_step { /* maximization: from counts to parameters, one node at a time */
    circuit_parameters *p;
    const circuit_tree *tree;
    flow_counts *counts; /* FLOW_LANES of them; cleared by the step */
    float inertia;       /* share of the old parameters that stays */
    float pseudocount;   /* spread over the entries of a distribution */
    float smoothing;     /* counts that neighboring values lend each other */
    const uint8_t *common;
    float *sum; /* scratch: 260 * stride */
} flow_step;

struct circuit_flows_kernels {
    void (*pass)(flow_block *b);
};

struct circuit_step_kernels {
    void (*move)(flow_step *s, int32_t node);
    void (*emit)(flow_step *s, int32_t node);
};

#endif
