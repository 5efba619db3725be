/* file/model_sink_parts.h - what the targets of model_sink.c share; for model_sink*.c only. */
#ifndef FILE_MODEL_SINK_PARTS_H
#define FILE_MODEL_SINK_PARTS_H

#include "file/gguf.h"
#include "file/hf_names.h"
#include "file/model_sink.h"
#include "file/safetensors.h"

typedef struct sink_tensor { /* what becomes of tensor i of the source */
    char name[2 * HF_NAME];  /* in the target */
    pith_tensor layout;      /* in the target; no data */
    uint64_t heads;          /* rows are reordered head by head; 0: not */
    bool skip, turn;
} sink_tensor;

struct model_sink {
    model_target target;
    model_source *source;
    model_sink_options options;
    const meta *meta; /* the options' or the source's */
    char *path;       /* final, no slash at its end */
    sink_tensor *plan;
    size_t next;
    gguf_writer *gguf;
    safetensors_writer *plain;
    char *folder;         /* temporary name of a folder */
    const float *factors; /* of rotation, to be put first into a GGUF file; NULL: none */
};

pith_status sink_no_memory(const model_sink *k, pith_error *err);

/* model_sink_gguf.c */
pith_status sink_gguf_open(model_sink *k, pith_error *err);
/* model_sink_plain.c: one safetensors file at `path`, with HuggingFace's names and order if `hf`. */
pith_status sink_plain_open(model_sink *k, const char *path, bool hf, pith_error *err);
pith_status sink_plain_put(model_sink *k, size_t i, const pith_tensor *t, pith_error *err);
/* model_sink_folder.c */
pith_status sink_folder_open(model_sink *k, pith_error *err);
pith_status sink_folder_commit(model_sink *k, pith_error *err);
void sink_folder_abort(model_sink *k);

#endif
