/* token/gguf_vocab.h - tokenizers in model metadata (GGUF's tokenizer.ggml.* keys). */
#ifndef TOKEN_GGUF_VOCAB_H
#define TOKEN_GGUF_VOCAB_H

#include "file/meta.h"
#include "token/tokenizer.h"

/* PITH_NOT_FOUND: the metadata holds no tokenizer. PITH_UNSUPPORTED names the tokenizer or pre-tokenizer. */
pith_status tokenizer_from_meta(tokenizer **t, const meta *m, pith_error *err);
pith_status token_vocab_from_meta(token_vocab *v, const meta *m, pith_error *err);
/* Replaces every tokenizer.* key. */
pith_status token_vocab_to_meta(const token_vocab *v, meta *m, pith_error *err);

#endif
