/* train/task.h - what the trainer knows of a thing that is learned: data, network, loss, evaluation, and the file at
 * the end.
 *
 * A task is a row of train_tasks; its state is its own. The sample of a backward pass is a function of (seed, step,
 * part) alone, which is what makes a run resumable at the exact sample. */
#ifndef TRAIN_TASK_H
#define TRAIN_TASK_H

#include "grad/tape.h"
#include "train/recipe.h"

typedef struct train_score {
    double loss;        /* mean over the held-out data */
    const char *metric; /* "bits_per_byte", "accuracy" */
    double value;
} train_score;

typedef struct train_cost { /* of one backward pass */
    double flops;           /* matrix products and convolutions, forward and backward */
    double samples;         /* tokens or images */
    const char *unit;       /* "tokens" */
} train_cost;

typedef struct train_task {
    const char *name; /* the recipe's "task" */
    /* Reads and checks the data, adds the network's parameters to p. With dry_run data is only looked for and hashed.
     */
    pith_status (*open)(void **self, const recipe *r, const pith_context *c, bool dry_run, grad_params *p,
                        pith_error *err);
    void (*close)(void *self);                                /* safe on NULL */
    void (*start)(void *self, grad_params *p, uint64_t seed); /* first weights */
    var (*loss)(void *self, tape *t, uint64_t seed, int64_t step, int64_t part);
    pith_status (*evaluate)(void *self, tape *t, train_score *out, pith_error *err);
    /* Writes the model and its config into folder `dir` (model.safetensors, config.json, ...). */
    pith_status (*save)(void *self, const grad_params *p, const char *dir, pith_error *err);
    train_cost (*cost)(const void *self);
} train_task;

extern const train_task train_language, train_classify;
extern const train_task *const train_tasks[]; /* ends in NULL */

#endif
