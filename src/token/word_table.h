/* token/word_table.h - counted byte strings, numbered in order of arrival. */
#ifndef TOKEN_WORD_TABLE_H
#define TOKEN_WORD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct word_entry {
    size_t at; /* in bytes */
    uint32_t size;
    uint64_t count;
} word_entry;

typedef struct word_table { /* start from {0} */
    uint8_t *bytes;
    size_t bytes_size, bytes_capacity;
    word_entry *words;
    size_t count, capacity;
    uint32_t *places; /* open addressing: number + 1 */
    size_t place_count;
} word_table;

/* Adds `times` to a word's count, entering it if new. Its number, or -1 without memory (or past 2^31 words). */
int64_t word_table_add(word_table *t, const uint8_t *word, size_t size, uint64_t times);
int64_t word_table_find(const word_table *t, const uint8_t *word, size_t size); /* -1: not there */
void word_table_free(word_table *t);

#endif
