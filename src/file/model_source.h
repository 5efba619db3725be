/* file/model_source.h - one view of a model, whatever file it comes from.
 *
 * Formats: GGUF (first file of a split stands for all), safetensors, a HuggingFace folder, a llama2.c checkpoint, and
 * .pith. Each offers its tensors under two names (the file's own and GGUF's), metadata in GGUF's terms, and the small
 * files that travel with it. A tokenizer that is not in GGUF form is among those files: the room token/ reads it. Who
 * runs, packs, converts or describes models needs nothing else. */
#ifndef FILE_MODEL_SOURCE_H
#define FILE_MODEL_SOURCE_H

#include "file/meta.h"
#include "tensor/tensor.h"

typedef struct model_tensor {
    const char *name;      /* as in the file */
    const char *canonical; /* GGUF's name ("blk.0.attn_q.weight"); the same as `name` where none is known */
    pith_tensor layout;    /* as in the file: type, rank, shape, row_bytes; no data */
    bool transposed;       /* the file holds [in][out] (GPT-2's projections); GGUF's order is [out][in] */
} model_tensor;

#define MODEL_HEADER "header.json" /* extra: the header of a single safetensors file, byte for byte */

typedef struct model_extra { /* a small file beside the weights, or MODEL_HEADER */
    const char *name;        /* "config.json", "tokenizer.json", "tokenizer.bin" (llama2.c) ... */
    pith_bytes bytes;        /* borrowed from the source */
} model_extra;

typedef struct model_source model_source;
struct model_source {
    const char *format; /* "gguf", "safetensors", "huggingface", "llama2.c", "pith" */
    char *path;
    meta *meta; /* never NULL; may be empty */
    model_tensor *tensors;
    size_t count;
    model_extra *extras;
    size_t extra_count;
    /* Query and key rows pair dimension i of a head with i + d/2 (HuggingFace). False: as the architecture's GGUF form
     * has it, which for llama, smollm3 is adjacent pairs, for qwen2 and qwen3 halves too (hf_names.h tells). */
    bool rope_halves;
    uint64_t file_bytes; /* of all files that hold tensors */

    /* Reader's own. `load` gives tensor i as in the file; the caller releases it. */
    pith_status (*load)(model_source *s, size_t i, pith_tensor *out, pith_error *err);
    void (*close)(model_source *s); /* frees self, which may be NULL after a failed open */
    void *self;
};

typedef struct model_options {
    const char *tokenizer;       /* llama2.c: tokenizer file; NULL: the one tok*.bin beside it that fits */
    const char *base;            /* .pith that holds the difference to another model: that model; NULL: none */
    const pith_context *context; /* NULL: defaults */
} model_options;

/* What a format brings. The table of all stands in src/model_readers.c. */
typedef struct model_reader {
    const char *format;
    /* Does this path look like the format? head: first `size` (up to 64) bytes, none for a folder. */
    bool (*fits)(const char *path, bool folder, const uint8_t *head, size_t size);
    /* s is zeroed but for path and an empty meta. On failure `close` is called by the caller. */
    pith_status (*open)(model_source *s, const char *path, const model_options *o, pith_error *err);
} model_reader;
extern const model_reader *const model_readers[]; /* ends in NULL */

/* PITH_UNSUPPORTED, naming what was found, when no reader fits. options may be NULL. */
pith_status model_source_open(model_source **s, const char *path, const model_options *options, pith_error *err);
void model_source_close(model_source *s); /* safe on NULL; loaded tensors stay valid */
/* Tensor i as in the file (zero-copy where the file is mapped); the caller releases it. */
pith_status model_source_load(model_source *s, size_t i, pith_tensor *out, pith_error *err);
/* The same in GGUF's orientation: a `transposed` matrix is turned over into memory. Row order of queries and keys is
 * left alone (see rope_halves). */
pith_status model_source_canonical(model_source *s, size_t i, pith_tensor *out, pith_error *err);
int64_t model_source_find(const model_source *s, const char *canonical);        /* -1 if absent; linear */
const model_extra *model_source_extra(const model_source *s, const char *name); /* NULL if absent */

/* For readers: append, keeping a copy of the names. `bytes` of an extra are taken over (memory_free). */
pith_status model_source_add(model_source *s, const char *name, const char *canonical, const pith_tensor *layout,
                             bool transposed, pith_error *err);
pith_status model_source_add_extra(model_source *s, const char *name, pith_bytes bytes, pith_error *err);
/* Number of elements, bytes of tensor i as in the file. */
int64_t model_tensor_elements(const model_tensor *t);
uint64_t model_tensor_bytes(const model_tensor *t);

#endif
