/* judge/verdict.h - what a result says: values by name, and claims held against it. */
#ifndef JUDGE_VERDICT_H
#define JUDGE_VERDICT_H

#include "judge/paper.h"

typedef struct verdict_of { /* what expressions look names up in */
    const paper *paper;
    const json_t *result;
    const char *arm; /* what a name that begins with "." belongs to; may be NULL */
} verdict_of;

/* The number an expression comes to. Names: a setting, or ARM.STEP.seconds (the median), .peak_kib, .bytes or one of
 * the step's values. */
pith_status verdict_value(const verdict_of *v, const char *expression, double *value, bool *missing, pith_error *err);

/* The claims as an array of {"text", "holds" (the expression), "left", "right", "verdict"}: "holds", "falls short", or
 * "open" where a value is missing (then without left and right) or the run was a smoke run. */
pith_status verdict_claims(const paper *p, const json_t *result, json_t **out, pith_error *err);

/* The row of an arm and seed in a result; NULL: none. */
json_t *verdict_row(const json_t *result, const char *arm, int seed);
double verdict_median(const json_t *numbers); /* NaN of an empty array */

#endif
