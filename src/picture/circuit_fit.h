/* picture/circuit_fit.h - learned parameters as a model file of a wanted size. */
#ifndef PICTURE_CIRCUIT_FIT_H
#define PICTURE_CIRCUIT_FIT_H

#include "picture/circuit_learn.h"

/* Writes the model as precisely as `budget` bytes allow; 0: so precisely that it hardly costs anything. pictures: how
 * many the parameters were learned from. PITH_LIMIT when no precision makes it that small. out->data is the caller's to
 * memory_free. Costs some ten times circuit_write. */
pith_status circuit_fit(const circuit_tree *tree, const circuit_parameters *p, int64_t pictures, uint64_t budget,
                        pith_bytes *out, pith_error *err);

#endif
