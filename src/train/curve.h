/* train/curve.h - the loss curve of a run: kept as text, drawn in the terminal and as SVG.
 *
 * A line of text is "step loss rate norm" for training (mean over the steps since the last line) and "step loss value"
 * after "eval" for an evaluation. At most about 2,000 training lines are kept, so that memory does not grow with the
 * run. */
#ifndef TRAIN_CURVE_H
#define TRAIN_CURVE_H

#include "pith/status.h"

typedef struct curve curve;

pith_status curve_new(curve **c, int64_t steps, const char *text,
                      pith_error *err); /* text: of an earlier run, may be NULL */
void curve_free(curve *c);              /* safe on NULL */
pith_status curve_step(curve *c, int64_t step, double loss, double rate, double norm, pith_error *err);
pith_status curve_evaluation(curve *c, int64_t step, double loss, double value, pith_error *err);
const char *curve_text(const curve *c);
double curve_latest(const curve *c); /* mean loss of the latest line, NaN when there is none */
void curve_print(const curve *c);    /* a plot of 60 x 12 characters on standard error */
pith_status curve_write(const curve *c, const char *folder, pith_error *err); /* curve.tsv and curve.svg */

#endif
