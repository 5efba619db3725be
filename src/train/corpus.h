/* train/corpus.h - text files as one long row of tokens, some documents held out, and windows drawn from it.
 *
 * A document ends at a line that holds only a form feed, or at the end of its file. Files may be .xz or .gz. */
#ifndef TRAIN_CORPUS_H
#define TRAIN_CORPUS_H

#include "token/tokenizer.h"
#include "train/recipe.h"

enum { CORPUS_FILES = 64 };

typedef struct corpus_part { /* the training tokens of one file */
    int64_t first, count;
    double weight; /* share of samples drawn from it, cumulative, 0..1 */
} corpus_part;

typedef struct corpus {
    uint16_t *tokens; /* training tokens of all files, then held-out tokens of all files */
    int64_t count, held_first;
    corpus_part part[CORPUS_FILES];
    int parts;
} corpus;

/* Reads data.files (found under PITH_DATA unless absolute), checks data.hashes, tokenizes in parallel. With check_only
 * files are hashed and the corpus stays empty. Errors name the recipe's line. */
pith_status corpus_open(corpus *c, const recipe *r, const tokenizer *t, const pith_context *context, bool check_only,
                        pith_error *err);
void corpus_close(corpus *c);
/* `length` training tokens, a function of (seed, draw, row) alone. */
const uint16_t *corpus_sample(const corpus *c, uint64_t seed, uint64_t draw, int64_t row, int64_t length);

/* The text of a dialogue as turns of a chat: "A: Hi\nB: Hello" becomes
 * "<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n" and a blank line the end-of-text token's name. Caller frees
 * out->data with memory_free. */
pith_status corpus_chat(pith_bytes text, pith_bytes *out, pith_error *err);

/* A file whole, unpacked when its name ends in .xz or .gz; *hash is XXH3 of the file as it is. Caller frees with
 * memory_free. */
pith_status corpus_read_file(const char *path, uint64_t limit, pith_bytes *out, uint64_t *hash, pith_error *err);

#endif
