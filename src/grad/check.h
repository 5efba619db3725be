/* grad/check.h - judging an operation: its f32 kernels against its double reference and finite differences of it.
 *
 * A test case names shapes, ranges and attributes; `sample` of an operation fills it with the builders below. */
#ifndef GRAD_CHECK_H
#define GRAD_CHECK_H

#include "grad/op.h"

#include <stdio.h>

typedef struct grad_case_input {
    bool present, fixed; /* fixed: no gradient is asked for */
    int type;            /* PITH_F32, or PITH_I32 for indices */
    int rank;
    int64_t shape[PITH_MAX_RANK];
    double low, high;      /* uniform values; integers in [low, high] */
    double kink, distance; /* |x - kink| >= distance for every value; distance 0: no kink */
    double spacing;        /* > 0: all values are this far apart at least (maxima), low and high unused */
} grad_case_input;

struct grad_case {
    grad_case_input in[GRAD_IN];
    int n;
    _Alignas(16) char attr[256]; /* the op's attribute struct */
    double step;                 /* of the finite differences; 0: 1e-3 */
};

/* The next input: uniform in [low, high]. Returns it, for further settings. */
grad_case_input *case_input(grad_case *c, double low, double high, int rank, const int64_t *shape);
grad_case_input *case_index(grad_case *c, int low, int high, int rank, const int64_t *shape); /* I32, fixed */
void case_absent(grad_case *c);
void *case_attr(grad_case *c, const void *attr, size_t bytes);
#define CASE_SHAPE(...) \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

typedef struct check_result {
    double forward;    /* worst |f32 - double| of an output, relative to its norm */
    double backward;   /* worst |f32 gradient - finite difference|, relative to the gradient tensor's norm */
    const char *what;  /* NULL: fine; else what went wrong ("gradient of input 1") */
    const char *level; /* instruction set, and threads, of the last round: the one that went wrong */
    int threads;
} check_result;

/* Runs case k of op at every instruction set of this machine, on one thread and on two. */
check_result grad_check(const grad_op *op, int k, uint64_t seed);

#endif
