/* base/arena.h - bump allocation with mark and release: no malloc in steady state.
 *
 * An arena reserves address space once and commits pages as they are touched. Memory given out is 64-byte aligned and
 * NOT zeroed after a release (arena_zero clears). Not thread-safe: one owner at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct arena {
    uint8_t *base;
    size_t capacity; /* bytes reserved */
    size_t used;
    size_t high; /* largest `used` so far: the high-water mark */
} arena;

int arena_open(arena *a, size_t capacity); /* 0, or -1 when the address space cannot be reserved */
void arena_close(arena *a);                /* safe on zeroed */
void *arena_alloc(arena *a, size_t size);  /* NULL when the arena is full */
void *arena_zero(arena *a, size_t size);   /* the same, zeroed */
size_t arena_mark(const arena *a);
void arena_release(arena *a, size_t mark); /* everything allocated since `mark` is gone */

#endif
