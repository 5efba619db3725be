/* code/bulk_chunk.h - a chunk on its way into a stream, for bulk.c; others take bulk_encode_chunk. */
#ifndef CODE_BULK_CHUNK_H
#define CODE_BULK_CHUNK_H

#include "code/bulk.h"

typedef struct bulk_coded { /* a chunk somewhere in the memory that holds it */
    uint8_t *memory, *data; /* memory: the caller's to memory_free */
    size_t size;
} bulk_coded;

pith_status bulk_chunk_encode(pith_bytes in, int bits, bulk_coded *out, pith_error *err);

#endif
