/* train/run.h - a whole training run: recipe in, model folder out. */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include "train/recipe.h"
#include "train/task.h"

typedef struct train_options {
    bool resume;   /* go on from the folder's checkpoint, if it holds one */
    bool replace;  /* start afresh where a checkpoint stands */
    bool trap_nan; /* name the first operation that yields a NaN or infinity */
    bool plot;     /* draw the curve on standard error at the end */
} train_options;

typedef struct train_plan { /* what a run will cost */
    size_t parameters;
    double flops;          /* of one step */
    double step_bytes;     /* the most a step held, measured on one: activations, gradients of them, scratch */
    double bytes;          /* that, and parameters, their gradients, moments, averages */
    double seconds_a_step; /* measured on one step */
} train_plan;

typedef struct train_outcome {
    int64_t steps, resumed_step; /* resumed_step 0: from the start */
    double loss, seconds, samples_per_s;
    const char *unit;  /* of samples: "tokens" */
    train_score score; /* of the weights that became the model */
    int64_t score_step;
    size_t high_water; /* bytes of the step arena */
    bool stopped_early;
} train_outcome;

/* Trains and writes DIR/model.safetensors with its config, DIR/curve.*, DIR/run.json; checkpoints go to
 * DIR/checkpoint.pith. The folder is made when it is not there. PITH_USAGE when it holds a checkpoint and neither
 * resume nor replace is set. PITH_NOT_FINITE when the loss is not a number: the last checkpoint stays. PITH_INTERRUPTED
 * writes a checkpoint first. */
pith_status train_run(const recipe *r, const pith_context *c, const train_options *o, const char *folder,
                      train_outcome *out, pith_error *err);
/* Runs one step of the recipe, unsaved, to tell what the whole will cost. */
pith_status train_estimate(const recipe *r, const pith_context *c, train_plan *out, pith_error *err);

#endif
