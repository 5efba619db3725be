/* file/model_sink.h - writing a model, one tensor at a time: a GGUF file, a safetensors file or a HuggingFace folder.
 *
 * A sink is opened for a source, whose names, metadata and small files it takes, and a type for every tensor. Then the
 * tensors are put in the source's order. Memory: the largest tensor. Nothing appears under the final name before
 * commit; an abort leaves what was there. */
#ifndef FILE_MODEL_SINK_H
#define FILE_MODEL_SINK_H

#include "file/model_source.h"
#include "file/output.h"

typedef struct model_sink_options {
    bool replace;
    bool plan_only;            /* nothing is written: model_sink_planned and model_sink_abort alone follow */
    const meta *meta;          /* instead of the source's: with the tokenizer's keys, a changed name ... */
    const uint16_t *types;     /* of each tensor as it will be put; NULL: as in the source */
    int file_type;             /* GGUF's general.file_type; -1: as the metadata have it */
    const model_extra *extras; /* files for a folder, before those of the source: tokenizer.json ... */
    size_t extra_count;
    /* For targets that hold plain types only: rows [row, row + rows) of a block tensor as f32. NULL: block types are
     * refused there. */
    pith_status (*to_f32)(const pith_tensor *t, int64_t row, int64_t rows, float *out, pith_error *err);
} model_sink_options;

typedef struct model_sink model_sink;

/* What PATH means: "x.gguf", "x.safetensors", "-" (safetensors on standard output), and anything else a folder. */
typedef enum model_target { MODEL_GGUF, MODEL_SAFETENSORS, MODEL_FOLDER } model_target;
model_target model_target_of(const char *path);

/* The source must stay open until commit or abort. GGUF: canonical names and, where the architecture's GGUF form pairs
 * rotary dimensions side by side, reordered query and key rows. Folder: HuggingFace's names and order; config.json,
 * generation_config.json and tokenizer_config.json are made from the metadata when the source has none. Both:
 * PITH_UNSUPPORTED names the tensor or setting that has no such form. Single safetensors: names as in the source, and
 * the very header the source had if nothing changed. */
pith_status model_sink_open(model_sink **k, const char *path, model_source *s, const model_sink_options *o,
                            pith_error *err);
/* What tensor i will be: its layout, and its name, which is NULL if the target leaves it out. */
const char *model_sink_planned(const model_sink *k, size_t i, pith_tensor *layout);
/* Tensor i (0, 1, 2 ... in turn). GGUF: in canonical orientation, of the type announced. Else: as model_source_load
 * gives it; block types are written as f32. */
pith_status model_sink_put(model_sink *k, size_t i, const pith_tensor *t, pith_error *err);
/* Frees k always. check: see output.h; of GGUF files alone. */
pith_status model_sink_commit(model_sink *k, const output_check *check, pith_error *err);
void model_sink_abort(model_sink *k); /* safe on NULL */

/* Everything at once, tensors as they are: unpack. Types in *o must be NULL. */
pith_status model_sink_copy(const char *path, model_source *s, const model_sink_options *o, const pith_context *c,
                            pith_error *err);

/* Rows of each head from halves to adjacent pairs (in: [heads][2][half], out: [heads][half][2]), or back. Works on any
 * row-wise type; a vector's rows are its elements. `out` holds as many bytes as t. PITH_MISMATCH when the rows do not
 * divide into heads of an even number of rows. */
pith_status model_reorder_rows(const pith_tensor *t, uint64_t heads, bool to_adjacent, uint8_t *out, pith_error *err);

#endif
