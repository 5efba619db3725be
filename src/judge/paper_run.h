/* judge/paper_run.h - runs a paper's recipe and keeps what came of it.
 *
 * Commands run one after the other, each in a process and environment of its own (process.h), in an empty folder of
 * its arm and seed. First every arm runs whole, then timed steps are repeated, alternating over the arms, so that a
 * machine's mood meets all of them. After each arm and each repetition the rows are written to WORK/result.json whole
 * or not at all. A row is taken over by later runs as long as its commands, all they name, the machine and, where they
 * call pith, this pith are the same (run_key.c), so a run that was stopped goes on, and only what a change touches is
 * measured again. */
#ifndef JUDGE_PAPER_RUN_H
#define JUDGE_PAPER_RUN_H

#include "judge/paper.h"

typedef struct paper_run_options {
    const char *command;     /* the pith that recipes call, an absolute path */
    const char *work;        /* folder to work in; made where it does not exist */
    const char *data;        /* folder of data sets; may be NULL in a smoke run */
    const char *const *arms; /* only these; count 0: all */
    size_t arm_count;
    const char *const *skipped; /* not these: claims about them stay open, and the result says so */
    size_t skipped_count;
    const char *const *made; /* "NAME=FOLDER": taken as made from there */
    size_t made_count;
    bool smoke;     /* small settings, drawn pictures, one seed, no repetitions; the paper's own result is untouched */
    bool fresh;     /* measure everything anew; what was made stays */
    double seconds; /* start nothing more after so long; 0: no limit */
} paper_run_options;

/* *result is the document, the caller's to json_decref. When it is complete (every arm done or skipped) and this is no
 * smoke run, it also replaces papers/NN-name/result.json. A command that fails fails the run; what was finished
 * before stays. */
pith_status paper_run(const pith_context *c, const paper *p, const paper_run_options *o, json_t **result,
                      bool *complete, pith_error *err);

/* One row of a result alone, every step once; what it uses is made where it is not given. Nothing else is kept. */
pith_status paper_run_row(const pith_context *c, const paper *p, const paper_run_options *o, const char *arm, int seed,
                          json_t **row, pith_error *err);

#endif
