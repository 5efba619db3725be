/* model/pack_writer.h - writing a model as .pith, tensor by tensor.
 *
 * Memory: one group of tensors (64 MiB) and what coding it needs, or the largest tensor. */
#ifndef MODEL_PACK_WRITER_H
#define MODEL_PACK_WRITER_H

#include "file/output.h"
#include "model/pack_base.h"

typedef struct pack_contents { /* must outlive the writer */
    const char *origin;        /* format of the source */
    const meta *meta;
    bool rope_halves;
    pith_bytes header; /* of a safetensors file whose tensors are kept as they are; empty: none */
    const model_tensor *tensors;
    size_t count;
    const model_extra *extras; /* MODEL_HEADER among them is passed over */
    size_t extra_count;
    const pack_base *base; /* what is written is the difference to it; NULL: none */
    const char *base_name; /* for people */
} pack_contents;

typedef struct pack_writer pack_writer;
/* path "-": standard output. Refuses an existing path unless `replace`. */
pith_status pack_writer_open(pack_writer **w, const char *path, bool replace, const pack_contents *what,
                             const pith_context *c, pith_error *err);
/* Tensor i (0, 1, 2 ... in turn), of the layout announced. Retained until its group is written; file maps are let go of
 * behind it. */
pith_status pack_writer_put(pack_writer *w, size_t i, const pith_tensor *t, pith_error *err);
/* Frees w always. check: see output.h. */
pith_status pack_writer_commit(pack_writer *w, const output_check *check, pith_error *err);
void pack_writer_abort(pack_writer *w); /* safe on NULL */

#endif
