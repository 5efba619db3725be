/* token/gguf_vocab.h - tokenizers in model metadata (GGUF's tokenizer.ggml.* keys). */
#ifndef TOKEN_GGUF_VOCAB_H
#define TOKEN_GGUF_VOCAB_H

#include "file/meta.h"
#include "token/tokenizer.h"

/* PITH_NOT_FOUND: the metadata holds no tokenizer. PITH_UNSUPPORTED names the tokenizer or pre-tokenizer. */
pith_status tokenizer_from_meta(tokenizer **t, const meta *m, pith_error *err);
pith_status token_vocab_from_meta(token_vocab *v, const meta *m, pith_error *err);
/* Replaces every tokenizer.* key. rows: of the embedding; where it has more than there are tokens, unused ones named
 * [PADn] fill the list, since other programs take its length for the number of rows. */
pith_status token_vocab_to_meta(const token_vocab *v, size_t rows, meta *m, pith_error *err);

#endif
