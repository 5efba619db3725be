/* file/idx.h - the IDX files of MNIST and its kin: one array, big-endian, plain or gzipped. */
#ifndef FILE_IDX_H
#define FILE_IDX_H

#include "tensor/tensor.h"

/* u8, i8, i16, i32, f32, f64; rank 1 to PITH_MAX_RANK. Gzip is told by its first bytes. The caller releases *out.
 * PITH_LIMIT when the array exceeds c->memory_limit, which is looked at before anything is allocated; c may be NULL. */
pith_status idx_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err);
/* The same from memory; `where` is for messages. */
pith_status idx_parse(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out, pith_error *err);
/* Do these bytes begin like an IDX file, gzipped or not? */
bool idx_is(pith_bytes file);
/* u8 and i8 only (PITH_UNSUPPORTED else), rank 1 or more, dimensions below 2^32. Gzipped when path ends in ".gz". */
pith_status idx_write(const char *path, bool replace, const pith_tensor *t, pith_error *err);

#endif
