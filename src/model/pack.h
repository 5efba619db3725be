/* model/pack.h - making a model smaller: from any source to .gguf or .pith, tensor by tensor.
 *
 * A plan says what each tensor becomes; running it streams the tensors through. Memory: a slab of weights as f32
 * (16 MiB), the largest packed tensor, and for .pith a group of 64 MiB with what its coding needs. Packing without
 * importance gives the same bytes for every PITH_ISA and thread count. */
#ifndef MODEL_PACK_H
#define MODEL_PACK_H

#include "model/export.h"
#include "model/pack_payload.h"

typedef struct pack_options {
    const char *type;         /* a format ("q4_k"), a mix ("q4_k_m") or "lossless"; NULL: lossless */
    const char *const *rules; /* "REGEX=FORMAT" */
    size_t rule_count;
    const char *base; /* model whose difference is written (.pith only); NULL: none */
    bool replace, verify;
    /* Mean square of the inputs of a matrix, by GGUF name and columns; NULL function or result: none known. */
    const float *(*importance)(void *user, const char *canonical, int64_t cols);
    void *user;
} pack_options;

typedef struct pack_plan {
    bool gguf;             /* else .pith */
    int file_type;         /* GGUF's; -1: as the metadata have it */
    model_export export;   /* metadata with the tokenizer's keys */
    model_tensor *tensors; /* [count] as they will be; names borrowed from the source */
    uint16_t *types;       /* [count] */
    uint16_t *wanted;      /* [count] type asked for where columns do not divide; else the type */
    size_t count;
    bool unchanged;      /* every tensor stays as it is */
    model_extra *extras; /* small files that go along (.pith); borrowed */
    size_t extra_count;
    uint64_t bytes; /* of all tensors, before entropy coding */
} pack_plan;

/* `out` decides: x.gguf, x.pith or "-" (.pith on standard output); anything else is PITH_USAGE. The source must outlive
 * the plan. */
pith_status pack_plan_make(pack_plan *p, model_source *s, const char *out, const pack_options *o, pith_error *err);
void pack_plan_free(pack_plan *p); /* safe on zeroed */
/* Writes the file under a temporary name; if o->verify, opens it there, decodes every tensor and compares with what was
 * meant: PITH_CORRUPT where it differs, and what stood under the name before stays. */
pith_status pack_run(const pith_context *c, const pack_plan *p, model_source *s, const char *out, const pack_options *o,
                     pith_error *err);

/* Coder and bytes of every tensor of a source of any format: coding [s->count]. */
pith_status model_codings(model_source *s, pack_coding *coding, pith_error *err);

#endif
