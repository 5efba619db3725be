/* file/hf_config.h - config.json into metadata and back. */
#ifndef FILE_HF_CONFIG_H
#define FILE_HF_CONFIG_H

#include "file/model_source.h"

/* Adds the model's keys to *m. A model_type pith does not know gives general.architecture alone (its own name), so that
 * its tensors can still be packed. PITH_CORRUPT for a missing or absurd key. `where` is for error texts. */
pith_status hf_config_read(meta *m, pith_bytes json, const char *where, pith_error *err);
/* The three files for a source that came without them; the caller frees out->data with memory_free. config.json is made
 * of the metadata and what tensors there are; PITH_UNSUPPORTED names what has no HuggingFace form. The others are about
 * the tokenizer and stay empty (data NULL) when the metadata hold none. */
pith_status hf_config_write(model_source *s, const meta *m, pith_bytes *out, pith_error *err);
pith_status hf_generation_write(const meta *m, pith_bytes *out, pith_error *err);
pith_status hf_tokenizer_config_write(const meta *m, pith_bytes *out, pith_error *err);

#endif
