/* judge/expression.h - arithmetic over what commands came to: "m32.pack.bytes * 8 / (784 * pictures)".
 *
 * sum := product {(+|-) product}   product := sign {(*|/) sign}   sign := [-] atom
 * atom := number | name | (sum) | min(sum) | max(sum) | apart(sum, sum)      comparison := sum (<=|>=|<|>) sum
 *
 * A name is looked up by the caller, for one seed. Outside min() and max() a name stands for its mean over all seeds;
 * inside them the sum is taken seed by seed, and the least or greatest counts. apart(a, b) is a/b or b/a, whichever is
 * greater. */
#ifndef JUDGE_EXPRESSION_H
#define JUDGE_EXPRESSION_H

#include "pith/status.h"

typedef enum expression_found {
    EXPRESSION_FOUND,
    EXPRESSION_MISSING, /* a name the caller knows, without a number: its arm was skipped */
    EXPRESSION_NO_SEED, /* it has fewer seeds than this */
    EXPRESSION_UNKNOWN  /* no such name: the recipe is wrong */
} expression_found;

/* What `name` is at `seed` (0 always exists; names without seeds say NO_SEED from 1 on). */
typedef expression_found expression_lookup(void *user, const char *name, int seed, double *value);

/* *missing tells that a value was missing and *value (or both sides) is NaN. PITH_CORRUPT with the place, counted in
 * bytes, where the text is no expression or holds an unknown name. */
pith_status expression_value(const char *text, expression_lookup *lookup, void *user, double *value, bool *missing,
                             pith_error *err);
/* Both sides and whether the comparison holds (false where something is missing). */
pith_status expression_compare(const char *text, expression_lookup *lookup, void *user, double *left, double *right,
                               bool *holds, bool *missing, pith_error *err);

#endif
