/* base/memory.c - the heap, with a counter tests can trip. */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_llong asked;
static atomic_llong fail_at; /* 0: never */

static int refuse(void) {
    long long n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    long long at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return at != 0 && n >= at;
}

void memory_fail_at(int64_t n) {
    atomic_store(&asked, 0);
    atomic_store(&fail_at, n);
}

int64_t memory_count(void) { return atomic_load(&asked); }

void *memory_alloc(size_t size) { return refuse() ? NULL : malloc(size ? size : 1); }

void *memory_zero(size_t count, size_t size) {
    if (refuse()) return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *memory_grow(void *old, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || refuse()) return NULL;
    return realloc(old, bytes ? bytes : 1);
}

void *memory_aligned(size_t size) {
    if (refuse() || size > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, (size + 63) / 64 * 64 + (size == 0) * 64);
}

char *memory_text_n(const char *text, size_t length) {
    char *copy = memory_alloc(length + 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

char *memory_text(const char *text) { return memory_text_n(text, strlen(text)); }

void memory_free(void *p) { free(p); }

int memory_reserve(void **array, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return 0;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    if (wanted < needed) wanted = needed;
    void *p = memory_grow(*array, wanted, size);
    if (!p) return -1;
    *array = p;
    *capacity = wanted;
    return 0;
}
