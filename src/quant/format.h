/* quant/format.h - packed matrices: every way to hold a weight matrix in fewer bits, as rows of one table.
 *
 * A packed matrix is named parts plus integers; a GGUF block type is the case of one part. Codebooks, permutations,
 * rotations and per-tensor scales, which a fixed block row cannot hold, are parts too. The table is read by the GGUF
 * reader, the container, the runner and `pith info` alike. */
#ifndef QUANT_FORMAT_H
#define QUANT_FORMAT_H

#include "tensor/tensor.h"

enum { PITH_PARTS = 6, PITH_PARAMS = 8, PITH_PLANES = 8 };

typedef struct pith_packed {
    const struct pith_format *format;
    int64_t rows, cols;           /* logical, before any padding */
    pith_tensor part[PITH_PARTS]; /* codes, scales, codebook, permutation, ...; may be shared */
    uint32_t param[PITH_PARAMS];  /* D, K, group, stages ...: meaning in the format's file and docs/format.md */
} pith_packed;

typedef struct pith_pack_input { /* everything a one-matrix method may look at */
    const float *w;              /* rows x cols */
    const float *importance;     /* cols (mean square of the inputs) or NULL */
    const float *hessian;        /* cols x cols or NULL */
    int64_t rows, cols;
    uint64_t seed;
    const char *options; /* "key=value,..." checked against format->options; NULL: none */
} pith_pack_input;

typedef struct pith_format {
    const char *name; /* "q4_k" */
    const char *part_name[PITH_PARTS];
    const char *options;         /* help for `options`, NULL: takes none */
    uint16_t id;                 /* forever; for block types the pith_type number */
    uint16_t activation;         /* pith_type that x is turned into before mul: f32, q8_0, q8_k ... */
    int32_t gguf;                /* GGUF tensor type, -1: own files only */
    uint16_t block, block_bytes; /* 0 where there is no fixed block */

    /* Total: after it returns OK no kernel below can leave its buffers, whatever the bytes. */
    pith_status (*check)(const pith_packed *p, pith_error *err);
    /* Same input, same bytes, for every PITH_ISA and thread count. out is zeroed by the caller. */
    pith_status (*pack)(const pith_context *c, const pith_pack_input *in, pith_packed *out, pith_error *err);
    /* Rows [row, row + rows) as f32, cols each: the truth all else is judged by; scalar, pinned. */
    void (*to_f32)(const pith_packed *p, int64_t row, int64_t rows, float *out);
    /* Repacks for the active instruction set; NULL member: none needed. *fast may stay NULL. Never saved. */
    pith_status (*prepare)(const pith_packed *p, pith_buffer **fast, pith_error *err);
    /* Rows [row, row + rows) of part 0, adjacent, from what prepare made: mul does not need the parts beside it, and
     * who holds `fast` may let them go. NULL member: it does. */
    void (*restore)(const pith_packed *p, const pith_buffer *fast, int64_t row, int64_t rows, void *out);
    /* y[i*ldy + r] for i < n, row <= r < row+rows: x[i] . p[r]. x holds n rows of `activation` type, cols each,
     * adjacent. Called in row slices by the pool; `row` and `rows` are multiples of `row_align` except at the end. */
    void (*mul)(const pith_packed *p, const pith_buffer *fast, const void *x, int64_t n, int64_t row, int64_t rows,
                float *y, int64_t ldy);
    int row_align;
    /* For entropy coding: rows of part `part` as up to PITH_PLANES byte planes with like statistics (codes, scales,
     * mins ...), and back. split returns the number of planes; planes are allocated by split, freed by the caller;
     * join writes the same bytes split was given. NULL members: coded as raw bytes. */
    int (*split)(const pith_packed *p, int part, int64_t row, int64_t rows, pith_bytes plane[PITH_PLANES]);
    pith_status (*join)(pith_packed *p, int part, int64_t row, int64_t rows, const pith_bytes plane[PITH_PLANES],
                        pith_error *err);
} pith_format;

extern const pith_format *const pith_formats[]; /* ends in NULL */

const pith_format *pith_format_by_name(const char *name); /* any case; NULL if unknown */
const pith_format *pith_format_by_id(uint16_t id);

/* A packed view of a tensor of plain float or block type (rank 1 or more; leading dimensions are flattened to rows).
 * Retains t's buffer; release with pith_packed_release. Runs format->check. */
pith_status pith_packed_from_tensor(pith_packed *p, const pith_tensor *t, pith_error *err);
void pith_packed_release(pith_packed *p);         /* safe on zeroed; zeroes */
void pith_packed_let_go(pith_packed *p);          /* of the bytes of all parts; shapes stay */
uint64_t pith_packed_bytes(const pith_packed *p); /* all parts, held or let go */

#endif
