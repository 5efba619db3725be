/* tensor/tensor.h - contiguous rows, outermost dimension first. Pictures N,H,W,C; conv O,kh,kw,I; linear out,in.
 *
 * A tensor is a small value: type, shape, pointer, and the buffer that keeps the bytes alive. Copies are by value; a
 * copy that outlives its scope must retain. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "pith/status.h"
#include "tensor/types.h"

enum { PITH_MAX_RANK = 6 };

/* Counted bytes: heap, pages of their own, file map or borrowed; data 64-byte aligned when made by pith_buffer_new.
 * Counting is atomic. */
typedef struct pith_buffer pith_buffer;

pith_status pith_buffer_new(pith_buffer **b, uint64_t size, pith_error *err); /* zeroed */
/* Wraps memory of another owner; `release` (may be NULL) is called with `user` when the last reference goes. */
/* Zeroed bytes for what lives as long as a model and is read in order over and over: laid side by side on large pages,
 * which are freed when the last of a stretch is. */
pith_status pith_buffer_new_lasting(pith_buffer **b, uint64_t size, pith_error *err);
pith_status pith_buffer_wrap(pith_buffer **b, void *data, uint64_t size, void (*release)(void *user), void *user,
                             pith_error *err);
/* Maps a whole file read-only. An empty file gives a buffer of size 0. */
pith_status pith_buffer_map(pith_buffer **b, const char *path, pith_error *err);
/* Gives the pages of a file map that lie in [data, data + size) back to the system; they return when touched. Nothing
 * happens for other kinds of memory. */
void pith_buffer_forget(const pith_buffer *b, const void *data, uint64_t size);
void pith_buffer_retain(pith_buffer *b);  /* NULL is fine */
void pith_buffer_release(pith_buffer *b); /* NULL is fine */
void *pith_buffer_data(const pith_buffer *b);
uint64_t pith_buffer_size(const pith_buffer *b);

typedef struct pith_tensor {
    uint16_t type;                /* row of pith_types[] */
    uint8_t rank;                 /* 0 = scalar */
    bool read_only;               /* file maps: writing is a programming error (assert) */
    int64_t shape[PITH_MAX_RANK]; /* elements, >= 0; last one a multiple of the type's block */
    int64_t row_bytes;            /* one run of the last dimension; rows are adjacent */
    void *data;
    pith_buffer *owner; /* holds data; NULL inside a step arena (dies at release) or borrowed */
} pith_tensor;

/* Fills type, rank, shape, row_bytes (data and owner NULL) and *bytes = rows * row_bytes. PITH_LIMIT on overflow,
 * PITH_UNSUPPORTED for a bad type, PITH_MISMATCH when the last dimension is no multiple of the block.
 * The only place sizes are computed. */
pith_status pith_tensor_layout(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, uint64_t *bytes,
                               pith_error *err);
pith_status pith_tensor_new(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, pith_error *err);
/* A view into b, bounds checked; retains b. */
pith_status pith_tensor_wrap(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, pith_buffer *b,
                             uint64_t offset, pith_error *err);
pith_tensor pith_tensor_rows(const pith_tensor *t, int64_t first, int64_t count); /* view of a matrix, no retain */
void pith_tensor_retain(pith_tensor *t);
void pith_tensor_release(pith_tensor *t); /* safe on zeroed; zeroes */

int64_t pith_tensor_elements(const pith_tensor *t);
int64_t pith_tensor_row_count(const pith_tensor *t); /* product of all but the last dimension (1 for scalars) */
int64_t pith_tensor_cols(const pith_tensor *t);      /* last dimension (1 for scalars) */
uint64_t pith_tensor_bytes(const pith_tensor *t);

/* Plain types to and from f32, exact where the type allows; rounding is to nearest even. Integers convert by value.
 * False for block types. */
bool pith_to_f32(uint16_t type, const void *in, int64_t n, float *out);
bool pith_from_f32(uint16_t type, const float *in, int64_t n, void *out);

float pith_f16_to_f32(uint16_t h);
uint16_t pith_f32_to_f16(float f); /* nearest even; NaN stays NaN (quiet, payload truncated) */
float pith_bf16_to_f32(uint16_t h);
uint16_t pith_f32_to_bf16(float f);

#endif
