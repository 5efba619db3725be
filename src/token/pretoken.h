/* token/pretoken.h - cuts text into the pieces within which byte-level BPE merges: one row a published pre-tokenizer.
 *
 * A row is a list of passes. A pass stands for one regular expression (or one of HuggingFace's named splitters) and
 * cuts each chunk the pass before left into matches and the gaps between them; look-ahead sees the chunk's end, not
 * what follows it. */
#ifndef TOKEN_PRETOKEN_H
#define TOKEN_PRETOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PRETOKEN_PASSES = 6 };

typedef struct pretoken_pass {
    /* Bytes of the match at the start of `size` >= 1 bytes; or, negative, of text in which no match starts. */
    ptrdiff_t (*match)(const struct pretoken_pass *pass, const uint8_t *text, size_t size);
    uint32_t number;   /* GPT4-like passes: most digits in a match */
    const char *set;   /* passes over an explicit set of characters, as in its regular expression */
    const char *regex; /* as tokenizer.json spells it; NULL where it has a name instead */
} pretoken_pass;

typedef struct pretoken {
    const char *name;                                 /* GGUF's tokenizer.ggml.pre */
    const pretoken_pass *passes[PRETOKEN_PASSES + 1]; /* NULL ends */
    bool ignore_merges, add_bos;                      /* what readers of GGUF assume where the file does not say */
} pretoken;

/* The passes tokenizer.json names without a regular expression. */
extern const pretoken_pass pretoken_byte_level, pretoken_each_digit, pretoken_digits, pretoken_punctuation;

const pretoken *pretoken_find(const char *name); /* NULL: unknown */
/* The row with exactly these passes, NULL-terminated. */
const pretoken *pretoken_find_passes(const pretoken_pass *const *passes);
const pretoken_pass *pretoken_find_regex(const char *regex);
const char *pretoken_names(void); /* "gpt-2, llama-bpe, ..." for messages */

/* Calls `piece` for every piece of text, in order; the pieces are the text. Stops and returns false when it does. */
typedef bool (*pretoken_piece)(void *user, const uint8_t *text, size_t size);
bool pretoken_split(const pretoken *row, const uint8_t *text, size_t size, pretoken_piece piece, void *user);

#endif
