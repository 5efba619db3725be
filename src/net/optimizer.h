/* net/optimizer.h - SGD with momentum and Adam(W) over flat parameter arrays, with clipping, groups and averaging.
 *
 * One step is: gradients summed by any number of backward passes, optimizer_step, gradients zeroed. Results do not
 * depend on the number of threads. */
#ifndef NET_OPTIMIZER_H
#define NET_OPTIMIZER_H

#include "grad/params.h"

typedef enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM } optimizer_kind;

enum { OPTIMIZER_GROUPS = 8 };

typedef struct optimizer {
    optimizer_kind kind;
    float beta1;        /* SGD: momentum; Adam: decay of the mean, 0 allowed (no mean is kept) */
    float beta2;        /* Adam: decay of the mean square */
    float epsilon;      /* Adam */
    float clip;         /* largest norm of the whole gradient; 0: no clipping */
    float average;      /* decay of the moving average of weights; 0: none */
    int64_t accumulate; /* gradients are divided by this: backward passes summed per step */
    struct {
        float rate,
            decay; /* factor on the step's rate; decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101) */
    } group[OPTIMIZER_GROUPS];
    int64_t step;    /* steps taken: bias correction; part of a checkpoint */
    float *averaged; /* [floats] when average > 0; owned */
} optimizer;

int optimizer_moments(const optimizer *o); /* moments params_commit must allocate */
/* Allocates what the settings need for p, which is committed. */
pith_status optimizer_open(optimizer *o, const grad_params *p, pith_error *err);
void optimizer_close(optimizer *o);
/* Applies the gradients at learning rate `rate`, bumps p->version, and returns the norm of the gradient before clipping
 * (of the mean over `accumulate`). A norm that is not finite changes nothing. */
double optimizer_step(optimizer *o, grad_params *p, double rate);

#endif
