/* model/linear.h - a packed weight matrix with its optional bias, multiplied by rows of inputs. */
#ifndef MODEL_LINEAR_H
#define MODEL_LINEAR_H

#include "quant/format.h"

typedef struct linear {
    pith_packed w;     /* rows outputs, cols inputs */
    pith_buffer *fast; /* w repacked for the active instruction set, or NULL */
    float *bias;       /* [rows] or NULL; owned */
} linear;

enum { LINEAR_TOGETHER = 3 }; /* at most so many matrices share one input */

/* Repacks w for the active instruction set, where its format wants that, and lets go of what it was made from: what is
 * kept in memory stays the size of the weights. */
pith_status linear_prepare(linear *l, pith_error *err);
/* One row of w. scratch: linear_scratch bytes. */
void linear_row(const linear *l, int64_t row, float *out, void *scratch);
void linear_free(linear *l); /* safe on zeroed; zeroes */

/* y[k] [n][rows of w[k]] = x [n][cols] * w[k]^T + bias, for `count` matrices that share x, in one parallel region.
 * scratch: linear_scratch bytes for the largest n and cols. */
void linear_apply(const linear *const *w, int count, const float *x, int64_t n, float *const *y, void *scratch);
/* Those applied after the next linear_apply: waiting threads may fetch their beginnings. At most LINEAR_TOGETHER. */
void linear_expect(const linear *const *w, int count);
uint64_t linear_scratch(int64_t n, int64_t cols);

#endif
