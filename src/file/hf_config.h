/* file/hf_config.h - config.json into metadata and back. */
#ifndef FILE_HF_CONFIG_H
#define FILE_HF_CONFIG_H

#include "file/model_source.h"

/* Adds the model's keys to *m. A model_type pith does not know gives general.architecture alone (its own name), so that
 * its tensors can still be packed. PITH_CORRUPT for a missing or absurd key. `where` is for error texts. */
pith_status hf_config_read(meta *m, pith_bytes json, const char *where, pith_error *err);
/* A config.json for a source that came without one, from its metadata and tensors; the caller frees out->data with
 * memory_free. `dtype`: of the weights written ("float32"). PITH_UNSUPPORTED names what has no HuggingFace form. */
pith_status hf_config_write(model_source *s, const char *dtype, pith_bytes *out, pith_error *err);

#endif
