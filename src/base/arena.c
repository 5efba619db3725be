/* base/arena.c - an arena is one mapping without reservation: address space is free, pages come when touched. */
#include "base/arena.h"

#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, PAGE = 4096 };

int arena_open(arena *a, size_t capacity) {
    memset(a, 0, sizeof *a);
    capacity = (capacity + PAGE - 1) / PAGE * PAGE;
    void *p = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return -1;
    madvise(p, capacity, MADV_HUGEPAGE); /* fewer page faults on fresh activations; a refusal costs nothing */
    a->base = p;
    a->capacity = capacity;
    return 0;
}

void arena_close(arena *a) {
    if (a->base) munmap(a->base, a->capacity);
    memset(a, 0, sizeof *a);
}

void *arena_alloc(arena *a, size_t size) {
    if (size > a->capacity - a->used) return NULL;
    size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (rounded > a->capacity - a->used) return NULL;
    void *p = a->base + a->used;
    a->used += rounded;
    if (a->used > a->high) a->high = a->used;
    return p;
}

void *arena_zero(arena *a, size_t size) {
    void *p = arena_alloc(a, size);
    if (p) memset(p, 0, size);
    return p;
}

size_t arena_mark(const arena *a) { return a->used; }

void arena_release(arena *a, size_t mark) {
    if (mark < a->used) a->used = mark;
}
