/* file/hf_names.h - HuggingFace's tensor names and GGUF's, and where the two lay tensors out differently. */
#ifndef FILE_HF_NAMES_H
#define FILE_HF_NAMES_H

#include "file/model_source.h"

enum { HF_NAME = 128 }; /* room for a name either way */

/* GGUF's architecture for config.json's model_type ("mistral" is "llama"); NULL where pith knows no mapping. */
const char *hf_architecture(const char *model_type);
/* False when the architecture or the name is not known (then the name is kept). *transposed: HuggingFace holds the
 * matrix [in][out]. */
bool hf_to_canonical(const char *architecture, const char *name, char out[HF_NAME], bool *transposed);
bool hf_from_canonical(const char *architecture, const char *canonical, char out[HF_NAME], bool *transposed);
/* Appends a tensor of a HuggingFace checkpoint to a source whose metadata are known, with its GGUF name and
 * orientation. PITH_CORRUPT where the architecture expects a matrix. */
pith_status hf_add_tensor(model_source *s, const char *name, const pith_tensor *layout, pith_error *err);
/* Tables that code computes (rotation speeds, masks): in checkpoints by accident, never in a GGUF file. */
bool hf_is_leftover(const char *name);
/* The architecture's GGUF form has rotary pairs side by side, HuggingFace's has halves. */
bool hf_pairs_adjacent(const char *architecture);
/* Heads whose rows are to be reordered when a tensor goes from one form to the other; 0: it stays as it is. */
uint64_t hf_reordered_heads(const meta *m, const char *canonical);

#endif
