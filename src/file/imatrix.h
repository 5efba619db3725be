/* file/imatrix.h - importance of each input of each matrix, as llama.cpp's imatrix tool writes it: GGUF or the older
 * binary form, read and written. */
#ifndef FILE_IMATRIX_H
#define FILE_IMATRIX_H

#include "pith/status.h"

typedef struct imatrix_entry {
    char *name;       /* GGUF name of the matrix: "blk.0.attn_q.weight" */
    uint64_t inputs;  /* columns of the matrix */
    uint64_t experts; /* matrices held under the name; 1 but for mixtures of experts */
    float *mean;      /* [experts][inputs] mean square of the inputs; 1 for an expert nothing was routed to */
    double *count;    /* [experts] rows of input the mean was taken over (old form: calls) */
} imatrix_entry;

typedef struct imatrix { /* start from {0} */
    imatrix_entry *entries;
    size_t count, capacity;
    uint32_t chunks, chunk_size; /* how much text it was made from; 0 where unknown */
    char *dataset;               /* file name, or NULL */
} imatrix;

/* Either form, by its first bytes. Values must be finite and not negative: PITH_NOT_FINITE, PITH_CORRUPT. */
pith_status imatrix_read(imatrix *m, const char *path, pith_error *err);
/* The same for a file in memory; `where` is for error texts. */
pith_status imatrix_parse(imatrix *m, const char *where, const void *bytes, size_t size, pith_error *err);
/* PATH ending in ".dat": the older form, else GGUF. Names are at most 50 bytes in GGUF (PITH_UNSUPPORTED). */
pith_status imatrix_write(const imatrix *m, const char *path, bool replace, pith_error *err);
void imatrix_free(imatrix *m); /* leaves it empty */

const imatrix_entry *imatrix_find(const imatrix *m, const char *name); /* NULL if absent */
/* A new zeroed entry of a name that is not there yet; its arrays are the list's. */
pith_status imatrix_add(imatrix *m, const char *name, uint64_t inputs, uint64_t experts, imatrix_entry **out,
                        pith_error *err);

#endif
