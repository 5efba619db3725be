/* model/export.h - writing a model in another program's format, with what the sinks of file/ cannot know by themselves:
 * the tokenizer in the target's form, and how block types become floats. */
#ifndef MODEL_EXPORT_H
#define MODEL_EXPORT_H

#include "file/model_sink.h"

typedef struct model_export {   /* start from model_export_prepare */
    model_sink_options options; /* for model_sink_open; types, file_type and replace are the caller's to set */
    meta *meta;
    model_extra tokenizer;
} model_export;

/* For a GGUF target the metadata get the tokenizer's keys where they lack them or have too few tokens, for a folder a
 * tokenizer.json is made where the source has none. A source without a tokenizer is written without one. */
pith_status model_export_prepare(model_export *e, const char *path, const model_source *s, pith_error *err);
void model_export_release(model_export *e); /* safe on zeroed */

/* The whole of unpack: every tensor as it is, into whatever PATH names. */
pith_status model_convert(const char *path, model_source *s, bool replace, const pith_context *c, pith_error *err);

#endif
