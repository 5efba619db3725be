/* model/pack_payload.h - the payload of models in .pith, version 0: what pack_writer.c and pack_reader.c share.
 *
 * docs/format.md has it byte by byte. Sections: BASE "model" where it is the difference to another, META "model", then
 * TENS "0", "1" ... with the tensors' bytes in groups, then FILE by name. META and FILE are zstd frames where that is
 * shorter: raw and stored sizes then differ. */
#ifndef MODEL_PACK_PAYLOAD_H
#define MODEL_PACK_PAYLOAD_H

#include "file/container.h"
#include "file/model_source.h"

enum { PACK_METHOD = 1, PACK_VERSION = 0, PACK_GROUP_BYTES = 1 << 23, PACK_BASE_GROUP_BYTES = 1 << 26 };

enum { PACK_RAW, PACK_CODED, PACK_CODERS }; /* first byte of a group */

/* ---- META ---- */

typedef struct pack_head {
    char origin[32]; /* format the model was packed from */
    bool rope_halves;
    bool as_header; /* the tensors are those of `header`, in its order */
    uint32_t group_bytes;
    const meta *meta;
    pith_bytes header; /* of the safetensors file packed losslessly; empty: none */
    uint64_t header_data;
} pack_head;

/* The caller frees out->data. */
pith_status pack_head_write(const pack_head *h, const model_tensor *tensors, size_t count, pith_bytes *out,
                            pith_error *err);
/* Fills head, s->meta, s->tensors and the extra MODEL_HEADER. h->meta and h->header are borrowed from s. */
pith_status pack_head_read(pack_head *h, pith_bytes in, model_source *s, pith_error *err);

/* ---- BASE ---- */

typedef struct pack_base_name { /* what a file tells of its base */
    uint64_t hash;              /* pack_base.h */
    char name[256];             /* of its file, without folders: for people */
} pack_base_name;

pith_status pack_base_name_write(pith_writer *w, const pack_base_name *b, pith_error *err);
/* *found false where the file is no difference. */
pith_status pack_base_name_read(pith_reader *r, bool *found, pack_base_name *b, pith_error *err);

/* ---- groups ---- */

typedef struct pack_piece { /* rows [row, row + rows) of a tensor; a tensor cut in pieces counts as a matrix */
    size_t tensor;
    int64_t row, rows;
    bool whole;
} pack_piece;

typedef struct pack_groups {
    pack_piece *piece;
    size_t piece_count;
    size_t *first; /* first piece of each group; [count] is piece_count */
    size_t count;
} pack_groups;

/* Tensors in order: a group closes before the tensor that would make it larger than group_bytes. A tensor larger than
 * that is cut into runs of rows, each a group. PITH_CORRUPT when there would be more than `most`. */
pith_status pack_groups_make(pack_groups *g, const model_tensor *tensors, size_t count, uint64_t group_bytes,
                             size_t most, pith_error *err);
void pack_groups_free(pack_groups *g);
uint64_t pack_piece_bytes(const pack_piece *p, const model_tensor *tensors);

typedef struct pack_item { /* a piece and its bytes: to be coded, or to be filled */
    const pith_tensor *layout;
    const pack_piece *piece;
    pith_bytes bytes;
    pith_bytes base; /* the same piece of the base; empty: none */
} pack_item;

typedef struct pack_coding { /* for people */
    const char *coder;       /* static text */
    uint64_t bytes;
} pack_coding;

/* out->data: the caller's to memory_free. */
pith_status pack_group_encode(const pith_context *c, const pack_item *items, size_t count, pith_bytes *out,
                              pith_error *err);
pith_status pack_group_decode(const pith_context *c, pith_bytes in, const pack_item *items, size_t count,
                              pith_error *err);
/* Coder and bytes of each item; the items' bytes need a size, no data. */
pith_status pack_group_list(pith_bytes in, const pack_item *items, size_t count, pack_coding *coding, pith_error *err);

/* Block types by planes (pack_blocks.c): slices of rows, each split into its fields, coded in parallel. */
pith_status pack_blocks_encode(const pith_context *c, const pack_item *item, pith_bytes *out, pith_error *err);
const char *pack_blocks_way(pith_bytes coded); /* for people */
pith_status pack_blocks_decode(const pith_context *c, pith_bytes in, const pack_item *item, pith_error *err);

/* ---- small sections ---- */

/* A section that is a zstd frame if that is shorter. prefix: bytes it probably resembles, which the reader has, too. */
pith_status pack_section_write(pith_writer *w, const char kind[4], const char *name, pith_bytes bytes,
                               pith_bytes prefix, pith_error *err);
/* The caller frees out->data. */
pith_status pack_section_read(pith_reader *r, size_t i, pith_bytes prefix, pith_bytes *out, pith_error *err);

#endif
