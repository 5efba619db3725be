/* file/npy.h - NumPy's array file, versions 1 to 3: one array, C order, little-endian. */
#ifndef FILE_NPY_H
#define FILE_NPY_H

#include "file/output.h"
#include "tensor/tensor.h"

/* Maps the file; the tensor is a read-only view where the data is aligned for its type, else a copy. The caller
 * releases it. PITH_UNSUPPORTED, by name, for Fortran order, big-endian data, structured and complex types, and more
 * than PITH_MAX_RANK dimensions; PITH_LIMIT when a copy would exceed c->memory_limit. c may be NULL. */
pith_status npy_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err);
/* The same from memory, which is retained; `where` is for messages. */
pith_status npy_parse(pith_buffer *file, const char *where, const pith_context *c, pith_tensor *out, pith_error *err);
/* Version 1. PITH_UNSUPPORTED for types NumPy does not have (bf16, f8, blocks). */
pith_status npy_write(const char *path, bool replace, const pith_tensor *t, pith_error *err);
/* Writes the header of an array like `layout`; its bytes follow by output_write, then output_commit or output_abort. */
pith_status npy_begin(output **o, const char *path, bool replace, const pith_tensor *layout, pith_error *err);

#endif
