/* model/open.h - from a model file of any format to a runnable llama. */
#ifndef MODEL_OPEN_H
#define MODEL_OPEN_H

#include "file/model_source.h"
#include "model/llama.h"

/* Reads the configuration out of the source's metadata; vocab comes from the embedding's rows. PITH_UNSUPPORTED names
 * an architecture that pith cannot run, PITH_NOT_FOUND a missing key. */
pith_status llama_read_config(decoder_config *c, const model_source *s, pith_error *err);
/* Weights stay mapped or packed as in the file; the source may be closed afterwards. PITH_NOT_FOUND and PITH_MISMATCH
 * name the tensor that is missing or has another shape. */
pith_status llama_open(llama **m, model_source *s, const pith_context *c, pith_error *err);

#endif
