/* file/source.h - what a method of pack reads: pictures, one at a time or all of one size as an array.
 *
 * Models have a view of their own (model_source.h), whose tensors come one at a time. */
#ifndef FILE_SOURCE_H
#define FILE_SOURCE_H

#include "file/picture.h"
#include "pith/method.h"

struct pith_source {
    pith_kind kind;
    const char *path;  /* the first one asked for */
    const char *model; /* the caller's choice for methods that need one; NULL: none */
    const pith_context *context;
    uint64_t file_bytes; /* of the input as it lies on disk */
    char **files;        /* of pictures, in order; NULL: `array` came from one file */
    size_t count;        /* pictures */
    pith_tensor array;   /* (N,H,W,C) of u8; empty until pith_source_array where there are files */
};

/* paths: pictures, folders of pictures (taken in the order of their names' bytes), or one IDX file, which is read at
 * once. They and the context must outlive the source. PITH_NOT_FOUND where a folder holds none. */
pith_status pith_source_open(pith_source **s, const char *const *paths, size_t count, const pith_context *c,
                             pith_error *err);
void pith_source_close(pith_source *s); /* safe on NULL */
/* All of them as s->array. PITH_MISMATCH, PITH_UNSUPPORTED as pictures.h says where they are not of one size and 8 bit.
 */
pith_status pith_source_array(pith_source *s, pith_error *err);
/* Picture k, as it stands in its file; the caller frees it. */
pith_status pith_source_picture(const pith_source *s, size_t k, picture *out, pith_error *err);
/* What picture k is called: its file's name without folder and ending, or its number. */
void pith_source_name(const pith_source *s, size_t k, char *name, size_t room);
/* Does this path look like something pith_source_open reads? */
bool pith_source_is(const char *path);

#endif
