/* model/calibrate.h - how much each input of each matrix matters, measured by running the model over a text. */
#ifndef MODEL_CALIBRATE_H
#define MODEL_CALIBRATE_H

#include "file/imatrix.h"
#include "file/model_source.h"

/* Mean squares of the inputs of every matrix while the model reads the text, under GGUF's names, as llama.cpp's imatrix
 * tool collects them; the head is among them (as token_embd.weight where the embedding is the head). The text is cut
 * into windows of 512 tokens, the rest dropped; a text shorter than that is one window. The source must be a model that
 * pith runs, with its tokenizer. `out` is overwritten; the caller frees it. PITH_USAGE for a text of less than 4
 * tokens, PITH_NOT_FINITE where the model overflows. */
pith_status calibrate(const pith_context *c, model_source *s, const char *text_path, imatrix *out, pith_error *err);

#endif
