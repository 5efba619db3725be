/* file/safetensors.h - the safetensors format: u64 header length, JSON header, tensors' bytes.
 *
 * Reading keeps the header's bytes as they are, so that the very same file can be written again. */
#ifndef FILE_SAFETENSORS_H
#define FILE_SAFETENSORS_H

#include "tensor/tensor.h"

typedef struct safetensors_entry {
    char *name;
    pith_tensor layout;  /* type, rank, shape, row_bytes; no data */
    uint64_t begin, end; /* of its bytes, from the start of the data */
} safetensors_entry;

typedef struct safetensors {
    pith_buffer *file;
    pith_bytes header; /* the JSON with its padding; borrowed from file, or from the caller of safetensors_parse */
    uint64_t data_at, data_size; /* where tensor bytes begin in the file; how many there are */
    safetensors_entry *entries;  /* in order of their bytes */
    size_t count;
} safetensors;

/* Maps and checks a file: header within bounds, names unique, known dtypes, sizes that fit, no overlap, no holes. */
pith_status safetensors_open(safetensors *s, const char *path, pith_error *err);
/* The same checks for a header alone, whose tensors hold data_size bytes. `where` is for messages. */
pith_status safetensors_parse(safetensors *s, const char *where, pith_bytes header, uint64_t data_size,
                              pith_error *err);
void safetensors_close(safetensors *s);                           /* safe on zeroed; zeroes */
int64_t safetensors_find(const safetensors *s, const char *name); /* -1: absent */
/* A view of entry i; the caller releases it. Stays valid after close. */
pith_status safetensors_load(const safetensors *s, size_t i, pith_tensor *out, pith_error *err);

/* A header for `count` tensors in the order given (names and layouts; begin and end are set here), padded to 8 bytes.
 * metadata: "__metadata__" as a JSON object, or NULL. Freed by the caller with memory_free. PITH_UNSUPPORTED for block
 * types. */
pith_status safetensors_header(safetensors_entry *entries, size_t count, const char *metadata, pith_bytes *out,
                               pith_error *err);

typedef struct safetensors_writer safetensors_writer;
/* Writes length and header; then every tensor's bytes in order through safetensors_write; then commit. */
pith_status safetensors_writer_open(safetensors_writer **w, const char *path, bool replace, pith_bytes header,
                                    pith_error *err);
pith_status safetensors_write(safetensors_writer *w, const void *data, size_t size, pith_error *err);
pith_status safetensors_writer_commit(safetensors_writer *w, pith_error *err); /* frees w always */
void safetensors_writer_abort(safetensors_writer *w);                          /* safe on NULL */

#endif
