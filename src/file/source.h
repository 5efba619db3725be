/* file/source.h - what a method of pack reads: an array of pictures with the path it came from.
 *
 * Models have a view of their own (model_source.h), whose tensors come one at a time. */
#ifndef FILE_SOURCE_H
#define FILE_SOURCE_H

#include "pith/method.h"
#include "tensor/tensor.h"

struct pith_source {
    pith_kind kind;
    const char *path;
    uint64_t file_bytes; /* of the input as it lies on disk */
    pith_tensor array;   /* pictures: (N,H,W,C) of u8 */
};

/* Pictures as pictures.h reads them: an IDX file, a folder, one picture. `path` must outlive the source. */
pith_status pith_source_open(pith_source **s, const char *path, const pith_context *c, pith_error *err);
void pith_source_close(pith_source *s); /* safe on NULL */
/* Does this path look like something pith_source_open reads? */
bool pith_source_is(const char *path);

#endif
