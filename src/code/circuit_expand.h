/* code/circuit_expand.h - from a model file's codes to what coding works with. */
#ifndef CODE_CIRCUIT_EXPAND_H
#define CODE_CIRCUIT_EXPAND_H

#include "code/circuit.h"

/* Makes room for all numbers of a circuit whose tree, states and widths are set: PITH_LIMIT beyond `limit` bytes. */
pith_status circuit_allocate(circuit *c, uint64_t limit, pith_error *err);
/* Fills them in. codes: node by node, see circuit_codes.h; precision: of version 1, 0: version 2. */
pith_status circuit_expand(circuit *c, const uint8_t *codes, int precision, pith_error *err);

#endif
