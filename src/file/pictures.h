/* file/pictures.h - a set of equal-sized 8-bit pictures as one tensor (N,H,W,C) of u8. */
#ifndef FILE_PICTURES_H
#define FILE_PICTURES_H

#include "tensor/tensor.h"

/* path: an IDX file, plain or gzipped, of (N,H,W) or (N,H,W,C); a folder, whose pictures are taken in the order of
 * their names' bytes (other files are passed over); or one picture. PITH_MISMATCH, with the file's name, when sizes or
 * channels differ; PITH_UNSUPPORTED for 16-bit samples; PITH_LIMIT as c->memory_limit says (c may be NULL). */
pith_status pictures_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err);

/* path ends in .png, .pgm, .ppm or .pnm: one picture (N must be 1). Ends in "/": a new or empty folder of 000000.png,
 * 000001.png ..., which appears whole or not at all. Else IDX, gzipped for ".gz", of rank 3 when C is 1. */
pith_status pictures_write(const char *path, bool replace, const pith_tensor *t, pith_error *err);

#endif
