/* token/bpe_train.h - trains a byte-level BPE vocabulary on text files. */
#ifndef TOKEN_BPE_TRAIN_H
#define TOKEN_BPE_TRAIN_H

#include "token/tokenizer.h"

typedef struct bpe_train_options {
    size_t vocab;                /* tokens in all: specials, 256 bytes, merges. Fewer when nothing is left to merge */
    uint64_t min_frequency;      /* a pair seen less often is not merged; 0 is 1 */
    const char *const *specials; /* take the first ids, in order, and are never merged to */
    size_t special_count;
    bool documents; /* a line holding only a form feed ends a document and is not text */
    bool replace;   /* overwrite an existing output */
} bpe_train_options;

bpe_train_options bpe_train_defaults(void); /* 8192 tokens, frequency 2, <|endoftext|>, documents */

/* Trains on the files (plain or gzip) and writes a tokenizer.json. Result depends on text and options alone. */
pith_status bpe_train_run(const pith_context *c, const char *const *paths, size_t n, const bpe_train_options *o,
                          const char *out, pith_error *err);
/* The same on text in memory; the caller frees *v. */
pith_status bpe_train_text(const pith_context *c, pith_bytes text, const bpe_train_options *o, token_vocab *v,
                           pith_error *err);

#endif
