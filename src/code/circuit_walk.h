/* code/circuit_walk.h - one picture of each of many rows through the tree of a circuit. */
#ifndef CODE_CIRCUIT_WALK_H
#define CODE_CIRCUIT_WALK_H

#include "code/circuit.h"
#include "code/circuit_segment.h"

enum { CIRCUIT_ROWS = 96 }; /* at most, that go through a node together */

typedef struct circuit_walk { /* what all walks of a circuit share; read only */
    const circuit *c;
    const struct circuit_kernels *kernels;
    bool decode;
    int32_t levels;
    int32_t *level; /* of each node, the root's being 1 */
    int32_t *width; /* of each level: its widest node's */
} circuit_walk;

typedef struct circuit_batch circuit_batch; /* scratch of one walk at a time */

/* False: out of memory; circuit_walk_close either way. */
bool circuit_walk_open(circuit_walk *w, const circuit *c, bool decode);
void circuit_walk_close(circuit_walk *w);

circuit_batch *circuit_batch_new(const circuit_walk *w); /* NULL: out of memory */
void circuit_batch_free(circuit_batch *b);               /* safe on NULL */

/* Codes the picture each of `rows` segments (at most CIRCUIT_ROWS) stands at. */
void circuit_walk_pictures(const circuit_walk *w, circuit_batch *b, circuit_segment *row, int32_t rows);

#endif
