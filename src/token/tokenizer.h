/* token/tokenizer.h - text to token ids and back.
 *
 * A tokenizer is immutable once made: any number of threads may use one. Encoding keeps every byte, also of broken
 * UTF-8, wherever the vocabulary can spell it (byte-level, plain bytes, byte fallback). */
#ifndef TOKEN_TOKENIZER_H
#define TOKEN_TOKENIZER_H

#include "token/vocab.h"

typedef struct tokenizer tokenizer;

/* Takes over *v (leaves it empty), also on failure. PITH_UNSUPPORTED names an unknown pre-tokenizer;
 * PITH_CORRUPT a vocabulary that contradicts itself. */
pith_status tokenizer_new(tokenizer **t, token_vocab *v, pith_error *err);
void tokenizer_free(tokenizer *t); /* safe on NULL */

/* Plain bytes, as a byte-level BPE without merges: ids 0..255 are the bytes, then <|endoftext|> (256, also the start
 * token) and whatever `specials` names. */
pith_status tokenizer_new_bytes(tokenizer **t, const char *const *specials, size_t count, pith_error *err);
/* A tokenizer.json in memory, and optionally tokenizer_config.json and generation_config.json, which name the start
 * and end tokens and hold the chat template (NULL, 0: none). `where` is for messages. */
pith_status tokenizer_from_json(tokenizer **t, const char *where, pith_bytes json, pith_bytes config,
                                pith_bytes generation, pith_error *err);
/* A tokenizer.json, or the folder that holds one; its neighbors are read too. */
pith_status tokenizer_open_json(tokenizer **t, const char *path, pith_error *err);
/* A llama2.c tokenizer (tok512.bin, tokenizer.bin) for a model of `vocab` tokens. */
pith_status tokenizer_from_llama2c(tokenizer **t, const char *where, pith_bytes file, size_t vocab, pith_error *err);
pith_status tokenizer_open_llama2c(tokenizer **t, const char *path, size_t vocab, pith_error *err);

typedef struct token_list { /* start from {0}; the caller frees ids with memory_free */
    int32_t *ids;
    size_t count, capacity;
} token_list;

enum {
    TOKEN_ADD_START = 1,     /* start and end token where the vocabulary asks for them */
    TOKEN_PARSE_SPECIAL = 2, /* control tokens spelled in the text become those tokens; else they are plain text */
};

/* Appends the ids of `size` bytes of text to *out. PITH_MISMATCH: a character the vocabulary cannot spell. */
pith_status tokenizer_encode(const tokenizer *t, const void *text, size_t size, unsigned flags, token_list *out,
                             pith_error *err);

/* Text of a token as it stands in decoded text; control tokens by their name. Valid as long as the tokenizer; empty
 * for an id outside the vocabulary. */
pith_bytes tokenizer_piece(const tokenizer *t, int32_t id);

/* Decoding a stream: bytes of a character cut by a token's end wait for the next token. */
typedef struct token_decoder {
    const tokenizer *t;
    bool started;  /* something was decoded: a leading space is no longer the one encoding added */
    bool specials; /* control tokens by their name instead of nothing */
    uint8_t waiting[4];
    uint32_t waiting_count;
} token_decoder;
token_decoder token_decoder_new(const tokenizer *t, bool specials);
/* What this token adds; may be empty. Writes at most `capacity` bytes, returns the bytes there are
 * (token_decoder_room is always enough). */
size_t token_decoder_push(token_decoder *d, int32_t id, uint8_t *out, size_t capacity);
size_t token_decoder_end(token_decoder *d, uint8_t out[4]); /* bytes that still waited, broken as they are */
size_t token_decoder_room(const tokenizer *t);              /* longest piece and 4 */
/* All at once; the caller frees out->data with memory_free. */
pith_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, bool specials, pith_bytes *out,
                             pith_error *err);

size_t tokenizer_count(const tokenizer *t);
int32_t tokenizer_find(const tokenizer *t, const char *text); /* token with this very text (as piece()), or -1 */
bool tokenizer_is_stop(const tokenizer *t, int32_t id);       /* end of text or of a turn: generation ends here */
bool tokenizer_is_special(const tokenizer *t, int32_t id);
const token_vocab *tokenizer_vocab(const tokenizer *t); /* bos, eos, add_bos, chat template, and all to write files */
/* A chat template that travels in a file of its own (chat_template.jinja) takes the place of the tokenizer's. For who
 * opens a tokenizer, before others use it. */
pith_status tokenizer_set_chat_template(tokenizer *t, pith_bytes jinja, pith_error *err);

/* Writes a tokenizer.json with the same ids for the same text. The caller frees out->data with memory_free. */
pith_status token_vocab_to_json(const token_vocab *v, pith_bytes *out, pith_error *err);

#endif
