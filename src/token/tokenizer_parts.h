/* token/tokenizer_parts.h - inside of a tokenizer, for tokenizer.c, encode.c and decode.c. */
#ifndef TOKEN_TOKENIZER_PARTS_H
#define TOKEN_TOKENIZER_PARTS_H

#include "token/pretoken.h"
#include "token/symbols.h"
#include "token/tokenizer.h"

struct tokenizer {
    token_vocab vocab;
    symbol_table symbols;
    const pretoken *pre; /* TOKEN_BPE */
    uint8_t *pieces;     /* what each token decodes to */
    uint32_t *piece_at;  /* count + 1 */
    size_t longest_piece;
    int32_t *specials;        /* control, user and unknown tokens by first byte, then longest first */
    uint32_t special_at[257]; /* range of each first byte */
    uint8_t *stop;            /* one per token */
};

#endif
