/* code/tensor_ways.h - lossless coding of tensors: for each the smallest of several ways, whole groups at once.
 *
 * A group is what goes into one section of a file: all tensors of a small model, or some dozens of MB of a large one.
 * Tables and headers are shared in it, so many small tensors cost little; its parts decode in parallel. Shapes and
 * types are not stored: who decodes must know them. The format stands in docs/format.md. */
#ifndef CODE_TENSOR_WAYS_H
#define CODE_TENSOR_WAYS_H

#include "pith/status.h"

enum tensor_way { /* numbers stand in files: append only */
                  TENSOR_RAW,
                  TENSOR_SMALL,  /* a few bytes, joined with those of others */
                  TENSOR_SAME,   /* as an earlier tensor of the group */
                  TENSOR_ZSTD,   /* LZ over the bytes */
                  TENSOR_PLANES, /* bytes of elements or blocks apart, each plane by its smallest coder */
                  TENSOR_FLOAT,  /* float_way.h */
                  TENSOR_COPY,   /* copy_way.h, what is left by float_way.h */
                  TENSOR_BASE,   /* as in the base */
                  TENSOR_DELTA,  /* delta_way.h against the base */
                  TENSOR_WAYS
};

const char *tensor_way_name(int way); /* "float", for people; NULL if unknown */

typedef struct tensor_item {
    uint16_t type; /* row of pith_types[] */
    int rank;
    const int64_t *shape; /* rank sizes, checked by pith_tensor_layout */
    pith_bytes bytes;     /* encoding: what to code; decoding: memory of exactly the tensor's size to fill */
    pith_bytes base;      /* the same tensor of a base, of the same size; empty: none. The decoder needs the same */
} tensor_item;

/* Any number of items, in any order of types. out->data: caller's to memory_free. ways, where not NULL: the way taken
 * for each. Needs about 12 bytes an element of memory meanwhile; reports progress in bytes. */
pith_status tensor_ways_encode(const pith_context *c, const tensor_item *items, size_t count, pith_bytes *out,
                               uint8_t *ways, pith_error *err);

/* Fills every item's bytes. TRUNCATED, CORRUPT for what no encoder wrote; nothing is written outside the items. */
pith_status tensor_ways_decode(const pith_context *c, pith_bytes in, const tensor_item *items, size_t count,
                               pith_error *err);

/* Only the ways, and in sizes (may be NULL) the bytes each takes; tensors coded together share theirs by elements. */
pith_status tensor_ways_list(pith_bytes in, const tensor_item *items, size_t count, uint8_t *ways, uint64_t *sizes,
                             pith_error *err);

#endif
