/* judge/run_parts.h - what paper_run.c and its parts share: the state of one run. */
#ifndef JUDGE_RUN_PARTS_H
#define JUDGE_RUN_PARTS_H

#include "judge/paper_run.h"
#include "judge/process.h"

typedef struct runner {
    const pith_context *context;
    const paper *paper;
    const paper_run_options *options;
    environment variables; /* of every command; $out and $seed change from arm to arm */
    json_t *result;        /* the document; its rows grow */
    int threads;           /* that commands are told to use */
    double deadline;       /* clock_seconds() after which nothing more starts; 0: none */
    char work[4096];       /* absolute */
    char kept[4096 + 16];  /* WORK/result.json */
} runner;

typedef struct run_place { /* of one arm and seed */
    const paper_arm *arm;
    int seed;
    char folder[4096 + 256]; /* WORK/arms/ARM-SEED: what its commands print goes there */
    char out[4096 + 264];    /* $out, in it */
} run_place;

/* ---- run_inputs.c ---- */

enum { RUN_PATH = 4096 + 256 };
/* Where an input lies; data: the folder of data sets, may be NULL. PITH_NOT_FOUND: not there. */
pith_status run_find_input(const paper_input *in, const char *data, char path[RUN_PATH], pith_error *err);
/* Finds every input, sets its variable, and returns {"name": {"path", "bytes", "hash"}}. */
pith_status run_inputs(runner *r, json_t **out, pith_error *err);
/* Sees that `name` is made for this seed, sets its variable, and enters it in the result's "made". */
pith_status run_made(runner *r, const char *name, int seed, pith_error *err);

/* ---- run_key.c ---- */

/* What a made thing depends on: its command, and what the settings, inputs and seed it names are. Not the command's
 * version, or every change of a comment would cost hours; result.json tells the commit that made it. */
pith_status run_made_key(const runner *r, const paper_made *m, char key[17], pith_error *err);
/* What a row depends on: its commands and what they name, what was made for it, the machine and threads, and, where its
 * commands call pith, this pith. */
pith_status run_row_key(runner *r, const paper_arm *a, int seed, char key[17], pith_error *err);

/* ---- run_arm.c ---- */

void run_find_place(const runner *r, const paper_arm *arm, int seed, run_place *p);
/* All steps of an arm from an empty folder, after what it uses is made. *row is the caller's to json_decref. */
pith_status run_arm_first(runner *r, const run_place *p, json_t **row, pith_error *err);
/* A timed step once more; its time is added to the row. */
pith_status run_arm_again(runner *r, const run_place *p, const paper_step *step, json_t *row, pith_error *err);
/* Runs a command of a recipe in `folder`; what it prints goes to LOG.out and LOG.err. Its failure is PITH_MISMATCH with
 * the last line it wrote. `where` is for messages: "circuit m32 pack". */
pith_status run_command(const runner *r, const char *line, const char *folder, const char *log, const char *where,
                        process_end *end, pith_error *err);
pith_status run_set_number(runner *r, const char *name, double value, pith_error *err); /* the variable $name */

#endif
