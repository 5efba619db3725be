/* model/pack.h - making a model smaller: from any source to .gguf or .pith, tensor by tensor.
 *
 * A plan says what each tensor becomes; running it streams the tensors through. Memory: a slab of weights as f32
 * (16 MiB), the largest packed tensor, and for .pith a group of 64 MiB with what its coding needs. Packing without
 * importance gives the same bytes for every PITH_ISA and thread count. */
#ifndef MODEL_PACK_H
#define MODEL_PACK_H

#include "file/model_source.h"
#include "model/pack_payload.h"

typedef struct pack_options {
    const char *type; /* a format ("q4_k"), a mix ("q4_k_m") or "lossless"; NULL: lossless for .pith */
    const char *const *rules; /* "REGEX=FORMAT" */
    size_t rule_count;
    bool replace, verify;
    /* Mean square of the inputs of a matrix, by GGUF name and columns; NULL function or result: none known. */
    const float *(*importance)(void *user, const char *canonical, int64_t cols);
    void *user;
} pack_options;

typedef struct pack_plan {
    bool gguf; /* else .pith */
    bool lossless;
    int file_type; /* GGUF's; -1: as the metadata have it */
    meta *meta;    /* the source's, with the tokenizer that came in another form */
    model_tensor *tensors; /* [count] names borrowed from the source; as they will be */
    uint16_t *wanted;      /* [count] type asked for where columns do not divide; else the type */
    size_t count;
    model_extra *extras; /* small files that go along (.pith); borrowed */
    size_t extra_count;
    uint64_t bytes; /* of all tensors, before entropy coding */
} pack_plan;

/* `out` decides between .gguf and .pith ("-" is .pith); anything else is PITH_USAGE. */
pith_status pack_plan_make(pack_plan *p, model_source *s, const char *out, const pack_options *o, pith_error *err);
void pack_plan_free(pack_plan *p); /* safe on zeroed */
/* Writes the file, then, if o->verify, opens it, decodes every tensor and compares with what was meant: PITH_CORRUPT,
 * and no file, where it differs. */
pith_status pack_run(const pith_context *c, const pack_plan *p, model_source *s, const char *out,
                     const pack_options *o, pith_error *err);

/* Tokenizer keys as GGUF has them for a model whose tokenizer came in another form; a copy of the source's metadata.
 * A model without tokenizer stays without. */
pith_status pack_meta(meta **out, const model_source *s, pith_error *err);
/* Coder and bytes of every tensor of a source of any format: coding [s->count]. */
pith_status model_codings(model_source *s, pack_coding *coding, pith_error *err);
/* Rows of a block type as f32, for model_sink. */
pith_status model_rows_to_f32(const pith_tensor *t, int64_t row, int64_t rows, float *out, pith_error *err);

#endif
