/* file/container.h - .pith: header 64 B, sections (64-byte aligned), index, trailer. Streams forward, one seek to open.
 *
 * Layout byte by byte in docs/format.md. Everything is little-endian; the header ends in a hash of its own bytes,
 * padding and reserved bytes must be zero, every section and the index carry XXH3: any flipped bit is refused. A file
 * is written under a temporary name in the same folder and renamed when whole. A reader never trusts a length. */
#ifndef FILE_CONTAINER_H
#define FILE_CONTAINER_H

#include "file/output.h"
#include "tensor/tensor.h"

enum { PITH_CONTAINER_MAJOR = 1, PITH_CONTAINER_MINOR = 0, PITH_SECTION_MUST_UNDERSTAND = 1 };

typedef struct pith_section { /* 96-byte index entry + name; unknown kinds are skipped, unknown flags refused */
    char kind[4];             /* "META" JSON, "TENS", "STRM", "ITEM" (offsets of frames/images), "FILE", "ORIG" ... */
    uint16_t method, version; /* who wrote the payload: registry id, its own format version */
    uint32_t flags;           /* bit 0: must understand */
    uint64_t offset, stored, raw, xxh3; /* raw: bytes after decoding, checked against context.memory_limit first */
    const char *name;                   /* <= 255 bytes UTF-8, unique in its kind */
} pith_section;

typedef struct pith_writer pith_writer;
/* path "-" streams to standard output (the header then holds no index position: readers use the trailer).
 * Refuses an existing path with PITH_USAGE unless `replace`. */
pith_status pith_writer_open(pith_writer **w, const char *path, bool replace, pith_error *err);
/* kind, method, version, flags, raw and name of *s are used; offset, stored and xxh3 are found while writing. */
pith_status pith_writer_begin(pith_writer *w, const pith_section *s, pith_error *err);
pith_status pith_writer_write(pith_writer *w, const void *p, size_t n, pith_error *err);
pith_status pith_writer_end(pith_writer *w, pith_error *err);
pith_status pith_writer_commit(pith_writer *w,
                               pith_error *err); /* index, fsync, rename, fsync folder; frees w always */
pith_status pith_writer_commit_checked(pith_writer *w, const output_check *check, pith_error *err); /* see output.h */
void pith_writer_abort(pith_writer *w); /* unlinks, frees; safe on NULL */

bool pith_file_is_packed(const char *path); /* by its first bytes; false where it cannot be read */

typedef struct pith_reader pith_reader;
pith_status pith_reader_open(pith_reader **r, const char *path, const pith_context *c,
                             pith_error *err); /* index verified */
size_t pith_reader_count(const pith_reader *r);
const pith_section *pith_reader_section(const pith_reader *r, size_t i);
int64_t pith_reader_find(const pith_reader *r, const char kind[4], const char *name); /* name NULL: first; -1: none */
/* Borrowed view into the map, alive until close; payload hash checked at first view. */
pith_status pith_reader_view(pith_reader *r, size_t i, pith_bytes *out, pith_error *err);
pith_status pith_reader_buffer(pith_reader *r, size_t i, pith_buffer **b, uint64_t *offset,
                               pith_error *err); /* outlives close */
/* Checks every byte of the file: all hashes, all padding. */
pith_status pith_reader_verify(pith_reader *r, const pith_context *c, pith_error *err);
void pith_reader_close(pith_reader *r); /* safe on NULL */

#endif
