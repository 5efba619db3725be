/* grad/each.h - what the files of operations share: reading a call, cutting loops, asserting shapes. */
#ifndef GRAD_EACH_H
#define GRAD_EACH_H

#include "base/parallel.h"
#include "grad/check.h"
#include "grad/op.h"

#include <assert.h>
#include <string.h>

enum { EACH_GRAIN = 1 << 14 }; /* elements of a chunk: 64 KiB, an L1 or two */

static inline float *f32(const pith_tensor *t) { return t ? (float *)t->data : NULL; }
static inline double *f64(const pith_tensor *t) { return t ? (double *)t->data : NULL; }
static inline const int32_t *i32(const pith_tensor *t) { return (const int32_t *)t->data; }

/* Rows of `cols` elements a chunk should hold. */
static inline int64_t row_grain(int64_t cols) { return cols >= EACH_GRAIN ? 1 : EACH_GRAIN / (cols > 0 ? cols : 1); }

/* Fails (prints both shapes, aborts) unless ok. */
void op_expect(bool ok, const char *op, const char *rule, const pith_tensor *a, const pith_tensor *b);
/* Sets type and shape of an output (data NULL); aborts on overflow. */
void op_output(pith_tensor *out, int type, int rank, const int64_t *shape);
/* Scratch memory of a call; aborts when the arena is full (its address space is a terabyte). */
void *op_scratch(const grad_call *c, size_t bytes);

/* y (+)= scale * sum over the middle of x (outer, middle, inner); the cut of the sum does not depend on the number of
 * threads. */
void sum_middle(const float *x, int64_t outer, int64_t middle, int64_t inner, double scale, float *y, bool add,
                arena *scratch);
/* to[j] (+)= sum over rows of x[row][j] */
void sum_rows(const float *x, int64_t rows, int64_t cols, float *to, bool add, arena *scratch);
/* to[i] (+)= sum of count parts of n floats, in their order */
void add_parts(const float *parts, int64_t count, int64_t n, float *to, bool add);

#endif
