/* base/memory.h - heap allocation, in one place so that tests can make the n-th one fail.
 *
 * All of pith's own heap memory comes from here (and jansson's, see memory_adopt_jansson in file/). Sizes are checked
 * for overflow; a request of zero bytes returns a unique pointer. All return NULL when there is no memory. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *memory_alloc(size_t size);
void *memory_zero(size_t count, size_t size);            /* zeroed array */
void *memory_grow(void *old, size_t count, size_t size); /* realloc of an array; `old` is kept on failure */
void *memory_aligned(size_t size);                       /* 64-byte aligned; freed with memory_free */
char *memory_text(const char *text);                     /* strdup */
char *memory_text_n(const char *text, size_t length);    /* first `length` bytes, terminated */
void memory_free(void *p);

/* Tests: the n-th allocation from now on (1 = the next) fails, and every later one too; 0 switches this off.
 * Thread-safe. memory_count tells how many allocations were asked for since the last call of memory_fail_at. */
void memory_fail_at(int64_t n);
int64_t memory_count(void);

/* Ensures room for one more element in a growing array; doubles. Returns 0 on success, -1 without memory. */
int memory_reserve(void **array, size_t *capacity, size_t needed, size_t size);

#endif
