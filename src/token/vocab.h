/* token/vocab.h - a tokenizer as plain arrays: what every file format is read into and written from. */
#ifndef TOKEN_VOCAB_H
#define TOKEN_VOCAB_H

#include "pith/status.h"

typedef enum token_model {
    TOKEN_BPE, /* byte-level: tokens spelled in gpt-2's alphabet of 256 letters; GGUF "gpt2" */
    TOKEN_SPM, /* SentencePiece BPE: characters, U+2581 for a space, <0x00> .. <0xFF> for bytes; GGUF "llama" */
} token_model;

typedef enum token_type { /* GGUF's numbers */
                          TOKEN_NORMAL = 1,
                          TOKEN_UNKNOWN,
                          TOKEN_CONTROL, /* found in text only where specials are asked for; decodes to nothing */
                          TOKEN_USER,    /* always found whole in text */
                          TOKEN_UNUSED,
                          TOKEN_BYTE
} token_type;

enum { /* bits of token_entry.strip, of specials */
       TOKEN_STRIP_LEFT = 1,
       TOKEN_STRIP_RIGHT = 2,
       TOKEN_SINGLE_WORD = 4
};

typedef enum token_prefix { TOKEN_PREFIX_NEVER, TOKEN_PREFIX_FIRST, TOKEN_PREFIX_ALWAYS } token_prefix;

typedef struct token_text { /* a run of token_vocab.text */
    uint32_t at, size;
} token_text;

typedef struct token_entry {
    token_text text;
    float score;
    uint8_t type, strip;
} token_entry;

typedef struct token_merge {
    token_text left, right;
} token_merge;

typedef struct token_vocab { /* start from token_vocab_empty */
    token_model model;
    char pre[32]; /* row of the pre-tokenizers, TOKEN_BPE only */
    token_entry *tokens;
    size_t count, capacity;
    token_merge *merges; /* first has the highest priority; TOKEN_SPM: may be empty, scores decide then */
    size_t merge_count, merge_capacity;
    char *text;
    size_t text_size, text_capacity;
    int32_t bos, eos, eot, unknown, pad; /* -1: none */
    bool add_bos, add_eos, ignore_merges, byte_fallback;
    token_prefix prefix; /* a space before text: never, before the first run, before every run between specials */
    char *chat_template; /* Jinja as found beside the tokenizer, or NULL */
} token_vocab;

token_vocab token_vocab_empty(token_model model);
void token_vocab_free(token_vocab *v); /* leaves it empty */
pith_status token_vocab_add(token_vocab *v, const char *text, size_t size, float score, int type, pith_error *err);
pith_status token_vocab_add_merge(token_vocab *v, const char *left, size_t left_size, const char *right,
                                  size_t right_size, pith_error *err);
/* "left right", cut at the first space after the first byte; PITH_CORRUPT without one. */
pith_status token_vocab_add_merge_line(token_vocab *v, const char *line, size_t size, pith_error *err);
const char *token_vocab_text(const token_vocab *v, token_text t); /* not terminated */
int32_t token_vocab_find(const token_vocab *v, const char *text); /* by looking at all; -1 */

/* gpt-2's alphabet: the letter that spells a byte, and back (-1: not of the alphabet). */
uint32_t token_byte_letter(uint8_t byte);
int token_letter_byte(uint32_t point);

#endif
