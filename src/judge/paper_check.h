/* judge/paper_check.h - does a published result still stand? What a reviewer asks first. */
#ifndef JUDGE_PAPER_CHECK_H
#define JUDGE_PAPER_CHECK_H

#include "judge/paper_run.h"

typedef struct paper_check_options {
    paper_run_options run; /* command, work, data, made; arms: rows of these are measured again, whatever they use */
    size_t rows;           /* without arms: as many rows, drawn among those that use nothing made but what is given */
    uint64_t seed;         /* of the draw */
} paper_check_options;

/* Holds the paper's result.json against its recipe (hash, commands, claims computed anew from the raw rows), the files
 * it was measured on (hashes), the README (tables), and against rows measured again: bytes and values, not times.
 * *report: array of {"check", "verdict": "same", "differs" or "not checked", "text"}, the caller's to json_decref;
 * *differing: how many differ. A command that fails differs; failures to check at all are errors. */
pith_status paper_check(const pith_context *c, const paper *p, const paper_check_options *o, json_t **report,
                        int *differing, pith_error *err);

#endif
