/* grad/tape_state.h - what the files of the tape share: values, nodes, and memory of a step. Internal to grad/. */
#ifndef GRAD_TAPE_STATE_H
#define GRAD_TAPE_STATE_H

#include "grad/tape.h"

typedef struct tape_value {
    pith_tensor t;
    var base;        /* itself, or the value whose memory this view shares */
    int64_t offset;  /* of a view: elements into the base */
    float *grad;     /* base only; NULL until something flows in */
    bool wants;      /* a gradient passes through here */
    bool persistent; /* leaf: its gradient is never handed back */
    bool owned;      /* data is a block of the step arena: reused once backward is past */
    bool hold;       /* the caller still reads it */
    int param;       /* number of the parameter, -1 */
} tape_value;

typedef struct tape_replay { /* a stretch that backward runs again */
    grad_fn fn;
    void *user;
} tape_replay;

typedef struct tape_node {
    const grad_op *op; /* NULL: replay */
    tape_replay replay;
    void *attr, *saved;
    var in[GRAD_IN], out; /* outputs are out, out + 1, ... */
    uint8_t n, outs;
    uint64_t draws; /* random streams used before this node */
} tape_node;

typedef struct tape_block { /* memory of the step arena that may be used again */
    void *data;
    size_t size;
} tape_block;

struct tape {
    grad_params *params;
    arena step, scratch;
    tape_value *values;
    tape_node *nodes;
    tape_block *blocks;
    size_t value_count, value_capacity, node_count, node_capacity, block_count, block_capacity;
    var *param_vars; /* the value of each parameter in this step, VAR_NONE if unused */
    int param_vars_n;
    uint64_t seed, step_number, draws;
    bool record, training, bf16, trap_nan;
    bool again; /* inside a stretch that runs a second time */
    pith_error error;
};

void *tape_block_new(tape *t, size_t bytes); /* NULL: failed, status set */
void tape_block_free(tape *t, void *data, size_t bytes);
void tape_check_finite(tape *t, const grad_op *op, const pith_tensor *x, const char *what);
/* The part of a grad_call that forward and backward share. */
void tape_call(tape *t, const tape_node *n, grad_call *c, rng *random);

#endif
