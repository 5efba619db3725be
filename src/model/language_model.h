/* model/language_model.h - a model and its tokenizer, ready to run. */
#ifndef MODEL_LANGUAGE_MODEL_H
#define MODEL_LANGUAGE_MODEL_H

#include "model/open.h"
#include "token/tokenizer.h"

typedef struct language_model {
    llama *model;
    tokenizer *tokens;
} language_model;

/* The tokenizer that travels with a source: its tokenizer.json, its llama2.c tokenizer, or the one in its metadata.
 * PITH_NOT_FOUND when there is none. */
pith_status model_tokenizer(tokenizer **t, const model_source *s, pith_error *err);
/* options may be NULL. PITH_MISMATCH when the tokenizer has more tokens than the model. */
pith_status language_model_open(language_model *m, const char *path, const model_options *options,
                                const pith_context *c, pith_error *err);
void language_model_close(language_model *m); /* safe on zeroed */

#endif
