/* token/word_table.c - open addressing over XXH3. */
#include "token/word_table.h"

#include "base/hash.h"
#include "base/memory.h"

#include <string.h>

void word_table_free(word_table *t) {
    memory_free(t->bytes);
    memory_free(t->words);
    memory_free(t->places);
    *t = (word_table){0};
}

static size_t place_of(const word_table *t, const uint8_t *word, size_t size) {
    size_t mask = t->place_count - 1, at = hash_bytes(word, size) & mask;
    for (; t->places[at]; at = (at + 1) & mask) {
        const word_entry *w = &t->words[t->places[at] - 1];
        if (w->size == size && memcmp(t->bytes + w->at, word, size) == 0) break;
    }
    return at;
}

static bool grow(word_table *t) {
    size_t count = t->place_count ? t->place_count * 2 : 1024;
    uint32_t *places = memory_zero(count, sizeof *places);
    if (!places) return false;
    memory_free(t->places);
    t->places = places;
    t->place_count = count;
    for (size_t i = 0; i < t->count; i++)
        places[place_of(t, t->bytes + t->words[i].at, t->words[i].size)] = (uint32_t)i + 1;
    return true;
}

int64_t word_table_find(const word_table *t, const uint8_t *word, size_t size) {
    return t->place_count ? (int64_t)t->places[place_of(t, word, size)] - 1 : -1;
}

int64_t word_table_add(word_table *t, const uint8_t *word, size_t size, uint64_t times) {
    if (2 * t->count >= t->place_count && !grow(t)) return -1;
    size_t at = place_of(t, word, size);
    if (t->places[at]) {
        t->words[t->places[at] - 1].count += times;
        return t->places[at] - 1;
    }
    if (t->count >= INT32_MAX || size > INT32_MAX ||
        memory_reserve((void **)&t->bytes, &t->bytes_capacity, t->bytes_size + size + 1, 1) != 0 ||
        memory_reserve((void **)&t->words, &t->capacity, t->count + 1, sizeof *t->words) != 0)
        return -1;
    memcpy(t->bytes + t->bytes_size, word, size);
    t->words[t->count++] = (word_entry){t->bytes_size, (uint32_t)size, times};
    t->bytes_size += size;
    t->places[at] = (uint32_t)t->count;
    return (int64_t)t->count - 1;
}
