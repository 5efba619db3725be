/* file/gguf.h - GGUF, versions 2 and 3, little-endian: reading (mapped, split files as one) and streaming writing. */
#ifndef FILE_GGUF_H
#define FILE_GGUF_H

#include "file/meta.h"
#include "file/output.h"
#include "tensor/tensor.h"

typedef struct gguf_tensor {
    const char *name;
    pith_tensor layout; /* shape outermost first (the file has it reversed); no data */
    uint64_t offset;    /* of the data, from the start of its file */
    uint32_t part;      /* which file of a split */
} gguf_tensor;

typedef struct gguf gguf;
/* The first file of a split ("-00001-of-00003.gguf") opens all; the split.* keys are left out of the metadata then.
 * A tensor of a type pith cannot use is refused by the type's name. */
pith_status gguf_open(gguf **g, const char *path, pith_error *err);
/* One whole file in memory; `buffer` is retained. `where` is for error texts. */
pith_status gguf_open_buffer(gguf **g, pith_buffer *buffer, const char *where, pith_error *err);
void gguf_close(gguf *g); /* safe on NULL; loaded tensors stay valid */
const meta *gguf_meta(const gguf *g);
meta *gguf_take_meta(gguf *g); /* ownership goes to the caller; gguf_meta is NULL from then on */
size_t gguf_count(const gguf *g);
const gguf_tensor *gguf_at(const gguf *g, size_t i);
uint64_t gguf_file_bytes(const gguf *g);                                           /* all files of a split */
pith_status gguf_load(const gguf *g, size_t i, pith_tensor *out, pith_error *err); /* zero-copy; caller releases */

/* Name of a GGUF tensor type ("IQ2_XXS"), also of those pith cannot use; NULL for numbers nobody has given out. */
const char *gguf_type_name(uint32_t type);

/* Streaming writer: version 3. Declare every tensor, then hand over the bytes of each in that order, in pieces of any
 * size. Alignment is general.alignment of the metadata, else 32. */
typedef struct gguf_writer gguf_writer;
pith_status gguf_writer_open(gguf_writer **w, const char *path, bool replace, const meta *m, pith_error *err);
/* Rank at most 4, name 1 to 63 bytes and unique, a type that has a GGUF number: else PITH_UNSUPPORTED / PITH_USAGE. */
pith_status gguf_writer_declare(gguf_writer *w, const char *name, const pith_tensor *layout, pith_error *err);
pith_status gguf_writer_write(gguf_writer *w, const void *bytes, size_t size, pith_error *err);
/* PITH_USAGE unless exactly the declared bytes were written; frees w always. */
pith_status gguf_writer_commit(gguf_writer *w, pith_error *err);
pith_status gguf_writer_commit_checked(gguf_writer *w, const output_check *check, pith_error *err); /* see output.h */
void gguf_writer_abort(gguf_writer *w);                                                             /* safe on NULL */

#endif
