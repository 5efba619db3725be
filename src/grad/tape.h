/* grad/tape.h - an eager tape: operations run as they are called and are remembered, grad_backward walks back.
 *
 *     tape_begin(t, seed, step);                     // forgets the last step; no allocation in steady state
 *     var y = grad_linear(t, grad_constant(t, &x), grad_parameter(t, w), grad_parameter(t, b));
 *     var loss = grad_cross_entropy(t, y, grad_constant(t, &labels), -1);
 *     grad_backward(t, loss);                        // adds into params->grads
 *     if (tape_status(t, err) != PITH_OK) ...        // memory ran out, or trap_nan found one: see below
 *
 * All tensors of a step live in one arena that tape_begin releases. A `var` is an index, valid until the next
 * tape_begin. Errors are sticky: after one (no memory, NaN trapped) every operation returns VAR_FAILED and does
 * nothing, so only the end of a step need ask tape_status. Wrong shapes are programming errors (assert).
 *
 * grad_backward runs once a step and frees as it goes: after it, only the loss, held values (grad_hold), inputs and
 * parameters may be read. Same seed, step and thread count: same bits. */
#ifndef GRAD_TAPE_H
#define GRAD_TAPE_H

#include "grad/op.h"
#include "grad/params.h"

typedef struct tape tape;
typedef int32_t var;
enum { VAR_NONE = -1, /* an optional input left out */ VAR_FAILED = -2 };

/* `params` may be NULL and must outlive the tape. `memory`: most bytes a step may hold (0: 1 TiB of address space,
 * which costs nothing until touched). Freed with tape_free. PITH_NO_MEMORY. */
pith_status tape_new(tape **t, grad_params *params, uint64_t memory, pith_error *err);
void tape_free(tape *t); /* NULL is fine */
/* A new step; `seed` and `step` key the random numbers of dropout and the like. Clears an earlier error. */
void tape_begin(tape *t, uint64_t seed, uint64_t step);
pith_status tape_status(const tape *t, pith_error *err);
void tape_fail(tape *t, pith_status s, const char *where, const char *what); /* the caller's own failure, sticky too */
size_t tape_high_water(const tape *t);   /* most bytes ever held: activations, gradients and scratch */
void tape_bf16(tape *t, bool on);        /* products round their inputs to bf16, sums and parameters stay f32 */
void tape_trap_nan(tape *t, bool on);    /* the first operation with a NaN or infinity fails with PITH_NOT_FINITE */
bool tape_no_grad(tape *t, bool on);     /* on: record nothing, evaluate. Returns the former state, to restore it */
void *tape_alloc(tape *t, size_t bytes); /* memory of this step (not zeroed); NULL after a failure */
grad_params *tape_params(const tape *t);
bool tape_is_training(const tape *t); /* false inside a no-gradient scope */

/* Leaves. Tensors are borrowed: their data must stay until the step is over. */
var grad_constant(tape *t, const pith_tensor *x); /* no gradient */
var grad_input(tape *t, const pith_tensor *x);    /* its gradient stays readable (grad_gradient) */
var grad_parameter(tape *t, int id);              /* of params; its gradient is added to params->grads */
var grad_fill(tape *t, int rank, const int64_t *shape, float value); /* constant filled with `value` */

/* Views: share data and gradient with x. */
var grad_stop(tape *t, var x);                                    /* no gradient passes */
var grad_reshape(tape *t, var x, int rank, const int64_t *shape); /* one size may be -1: what is left */
var grad_rows(tape *t, var x, int64_t first, int64_t count);      /* along the first dimension */

const pith_tensor *grad_value(const tape *t, var x); /* an empty scalar for VAR_FAILED */
float grad_scalar(const tape *t, var x);             /* value of a one-element tensor; NaN for VAR_FAILED */
const float *grad_gradient(const tape *t, var x);    /* of a grad_input after backward; NULL if it got none */
void grad_hold(tape *t, var x);                      /* keep the value readable after grad_backward */

/* Runs op on in[0..n) (VAR_NONE: absent) and records it. Outputs are consecutive: first, first + 1, ...
 * `op` may be the caller's own (a custom gradient); attr is copied. */
var grad_apply(tape *t, const grad_op *op, const void *attr, size_t attr_bytes, const var *in, int n);

void grad_backward(tape *t, var loss); /* loss has one element; adds into parameter gradients */

/* Runs fn(in) keeping none of its inner tensors: they are computed again in grad_backward. fn must be a function of its
 * inputs, parameters and `user` (copied before it runs, user_bytes) alone. Returns what fn returns. */
typedef var (*grad_fn)(tape *t, void *user, const var *in, int n);
var grad_recompute(tape *t, grad_fn fn, const void *user, size_t user_bytes, const var *in, int n);

/* hv = H v for the loss with respect to all parameters (flat, params->floats long), by central differences of
 * gradients: two backward passes, no second-order tape; relative error about 1e-3 in f32. Runs tape_begin(seed, step)
 * before each; weights and gradients are left as they were. */
pith_status grad_hvp(tape *t, uint64_t seed, uint64_t step, var (*loss)(tape *t, void *user), void *user,
                     const float *v, float *hv, pith_error *err);

#endif
