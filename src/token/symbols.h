/* token/symbols.h - what merging needs of a vocabulary: strings by number, numbers by string, and which neighbors
 * merge.
 *
 * A symbol is a token, or (numbers from the vocabulary's size up) a string that merging passes through without being
 * a token. Byte-level symbols are spelled in raw bytes, SentencePiece symbols in UTF-8 with U+2581 for spaces. */
#ifndef TOKEN_SYMBOLS_H
#define TOKEN_SYMBOLS_H

#include "token/vocab.h"

enum { SYMBOL_NONE = -1 };

typedef struct symbol_pair {
    uint64_t key;    /* left << 32 | right; UINT64_MAX: free place */
    uint32_t rank;   /* lower merges first; equal ranks merge left to right */
    uint32_t result; /* symbol of both together */
} symbol_pair;

typedef struct symbol_table {
    uint8_t *bytes; /* all spellings */
    size_t bytes_size, bytes_capacity;
    token_text *spelling; /* of each symbol; tokens that text never merges to have a spelling too, but are not found */
    size_t count, capacity;
    uint32_t *places; /* open addressing by spelling: symbol + 1 */
    size_t place_count, used;
    symbol_pair *pairs; /* open addressing by key */
    size_t pair_places, pair_count;
    int32_t single[256];  /* symbol of a one-byte spelling */
    int32_t byte[256];    /* token that stands for a byte, -1: none */
    bool splits_at_space; /* nothing merges from a letter into a following U+2581 */
} symbol_table;

pith_status symbol_table_build(symbol_table *s, const token_vocab *v, pith_error *err);
void symbol_table_free(symbol_table *s);
int32_t symbol_find(const symbol_table *s, const uint8_t *text, size_t size); /* SYMBOL_NONE */
const symbol_pair *symbol_pair_find(const symbol_table *s, int32_t left, int32_t right);

/* One word being merged. Fields grow as needed and are kept between words; start from {0}. */
typedef struct merge_piece {
    int32_t symbol; /* SYMBOL_NONE: a character no token spells */
    int32_t before, after;
    uint32_t at, size; /* its bytes in the word; size 0: merged into the one before */
} merge_piece;

typedef struct merge_step { /* a possible merge in the heap */
    uint32_t rank;
    int32_t left;
    int32_t left_symbol, right_symbol; /* as they were: a stale step is recognized by them */
} merge_step;

typedef struct merge_work {
    merge_piece *pieces;
    size_t count, capacity;
    merge_step *heap;
    size_t heap_count, heap_capacity;
} merge_work;

/* Cuts `size` < 2^31 bytes into bytes or characters and merges neighbors, lowest rank first, until none can. The result
 * is the list from pieces[0] along `after` (-1 ends). Cost n log n. False without memory. */
bool merge_word(merge_work *w, const symbol_table *s, token_model model, const uint8_t *text, size_t size);
void merge_work_free(merge_work *w);

#endif
