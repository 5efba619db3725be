/* model/pack_base.h - the model that a packed model is the difference to: tensors are found in it by name, and it is
 * told from any other by its hash.
 *
 * The hash covers all of it: description, small files, tensors. A lossless .pith of a base has the base's hash, so
 * either will do. */
#ifndef MODEL_PACK_BASE_H
#define MODEL_PACK_BASE_H

#include "model/pack_payload.h"

typedef struct pack_base {
    model_source *source; /* NULL: none */
    pith_bytes head;      /* its META: what a META beside it is coded against */
    uint64_t hash;
} pack_base;

/* Reads all of the model once. */
pith_status pack_base_open(pack_base *b, const char *path, const pith_context *c, pith_error *err);
void pack_base_close(pack_base *b); /* safe on zeroed */

typedef struct pack_base_rows { /* tensors of the base that items refer to */
    pith_tensor *tensor;
    size_t count;
} pack_base_rows;
/* Sets `base` of each item whose tensor the base has, too: of the same name, type and shape. Nothing without a base. */
pith_status pack_base_load(const pack_base *b, const model_tensor *tensors, pack_item *items, size_t count,
                           pack_base_rows *held, pith_error *err);
void pack_base_unload(pack_base_rows *held); /* safe on zeroed */
/* A small file of that name; empty if there is none. Borrowed. */
pith_bytes pack_base_extra(const pack_base *b, const char *name);

#endif
