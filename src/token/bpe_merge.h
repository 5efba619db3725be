/* token/bpe_merge.h - from counted words to merges: the learning step of byte-level BPE. */
#ifndef TOKEN_BPE_MERGE_H
#define TOKEN_BPE_MERGE_H

#include "pith/status.h"
#include "token/word_table.h"

typedef struct bpe_learned { /* start from {0} */
    word_table tokens;       /* spelled in bytes, by id less `first` */
    uint32_t (*merges)[2];   /* ids of left and right; a pair learned twice stands twice, the later one counts */
    size_t merge_count, merge_capacity;
} bpe_learned;

/* ids below `first` are taken by specials; first .. first + 255 are the bytes in the order of gpt-2's letters. */
pith_status bpe_learn(const pith_context *c, const word_table *words, uint32_t first, size_t vocab,
                      uint64_t min_frequency, bpe_learned *out, pith_error *err);
void bpe_learned_free(bpe_learned *l);

#endif
