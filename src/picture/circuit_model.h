/* picture/circuit_model.h - finding the model of a circuit: a file named, or one that comes with pith. */
#ifndef PICTURE_CIRCUIT_MODEL_H
#define PICTURE_CIRCUIT_MODEL_H

#include "code/circuit.h"
#include "tensor/tensor.h"

enum { CIRCUIT_PATH = 4096 + 300 };

typedef struct circuit_model { /* a model and the bytes it was read from */
    circuit *circuit;
    pith_bytes file;
    pith_buffer *owner; /* of file; NULL: borrowed */
} circuit_model;

/* What is looked for: a path, or (path NULL) among *.circuit in the shared folders the model of a name, or (name 0) the
 * largest for pictures of this shape. PITH_NOT_FOUND says where was looked; PITH_MISMATCH when the file of `path` has
 * another name or shape (0: any). */
typedef struct circuit_wanted {
    const char *path;
    uint64_t name;
    int32_t width, height, channels;
} circuit_wanted;

pith_status circuit_model_find(const pith_context *c, const circuit_wanted *w, circuit_model *out, pith_error *err);
/* The path of the file circuit_model_find would read for w->path NULL; looks at heads and ends of files only. */
pith_status circuit_model_path(const circuit_wanted *w, char path[CIRCUIT_PATH], pith_error *err);
/* From bytes that stay where they are. */
pith_status circuit_model_read(const pith_context *c, const circuit_wanted *w, pith_bytes file, const char *where,
                               circuit_model *out, pith_error *err);
void circuit_model_close(circuit_model *m); /* safe on zeroed */

#endif
