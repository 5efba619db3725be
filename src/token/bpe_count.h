/* token/bpe_count.h - the words of a training text and how often each occurs. */
#ifndef TOKEN_BPE_COUNT_H
#define TOKEN_BPE_COUNT_H

#include "pith/status.h"
#include "token/word_table.h"

/* Adds the words of `text`, as gpt-2's pre-tokenizer cuts them, to *words. Counts do not depend on threads; the order
 * of words does. `documents`: lines holding only a form feed separate texts and are not counted. */
pith_status bpe_count_words(word_table *words, pith_bytes text, bool documents, pith_error *err);

#endif
