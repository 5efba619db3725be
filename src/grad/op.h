/* grad/op.h - one file per operation: f32 forward and backward, and the double reference both are judged by.
 *
 * Callers use the typed wrappers declared in grad/ops.h only. */
#ifndef GRAD_OP_H
#define GRAD_OP_H

#include "base/arena.h"
#include "base/rng.h"
#include "tensor/tensor.h"

enum { GRAD_IN = 16, GRAD_OUT = 3 };

typedef struct grad_call {          /* what an operation sees; memory is the step arena's */
    const pith_tensor *in[GRAD_IN]; /* forward and backward; NULL where optional and absent */
    pith_tensor *out[GRAD_OUT];
    const pith_tensor *dout[GRAD_OUT]; /* backward; NULL: that output got no gradient */
    pith_tensor *din[GRAD_IN];         /* NULL: not wanted (first layer!). Backward ADDS */
    bool fresh[GRAD_IN];               /* din[i] holds garbage: assign, do not add. Only ops with `fresh_ok` see it */
    const uint16_t *half[GRAD_IN];     /* in[i] as bf16 where the tape keeps such a copy (parameters), else NULL */
    const void *attr;                  /* the op's own struct, copied to the tape */
    void *saved;                       /* bytes asked for by shape(), kept from forward to backward */
    arena *scratch;                    /* released after the call */
    rng *random;                       /* keyed (seed, step, node); the same numbers when a stretch is recomputed */
    bool bf16;                         /* products may round their inputs to bf16 */
    bool training;                     /* false in a no-gradient scope: dropout passes, batch norm uses its averages */
    bool again;                        /* a recomputed stretch: forward already ran once in this step */
} grad_call;

typedef struct grad_case grad_case; /* one test case of an op: shapes, attributes, ranges; grad/check.h */

typedef struct grad_op {
    const char *name;
    uint16_t keep_in, keep_out; /* bit masks backward reads; of all else it may use the shape alone */
    bool deterministic;         /* forward draws no random numbers */
    bool bf16_ok;               /* heeds bf16 */
    bool straight_through;      /* its gradient is by design not that of its forward */
    bool fresh_ok;              /* backward heeds fresh[]; otherwise the tape clears din before */
    int cases;                  /* number of test cases `sample` knows */
    void (*shape)(const pith_tensor *const *in, const void *attr, pith_tensor *out,
                  size_t *saved); /* asserts, prints both shapes */
    void (*forward)(const grad_call *c);
    void (*backward)(const grad_call *c);
    void (*forward_f64)(const grad_call *c);       /* plain loops on double tensors; required */
    void (*sample)(rng *r, int k, grad_case *out); /* k-th test case: odd sizes, empty, stride; away from kinks */
} grad_op;

extern const grad_op *const grad_ops[]; /* every operation, ends in NULL: what the gradient tests walk */

#endif
