/* base/hash.c - XXH3 from libxxhash. */
#include "base/hash.h"

#include "base/memory.h"

#include <xxhash.h>

struct hash_state {
    XXH3_state_t *x;
};

uint64_t hash_bytes(const void *data, size_t size) { return XXH3_64bits(data, size); }

hash_state *hash_new(void) {
    hash_state *h = memory_alloc(sizeof *h);
    if (!h) return NULL;
    h->x = XXH3_createState();
    if (!h->x) {
        memory_free(h);
        return NULL;
    }
    XXH3_64bits_reset(h->x);
    return h;
}

void hash_reset(hash_state *h) { XXH3_64bits_reset(h->x); }
void hash_update(hash_state *h, const void *data, size_t size) { XXH3_64bits_update(h->x, data, size); }
uint64_t hash_digest(const hash_state *h) { return XXH3_64bits_digest(h->x); }

void hash_free(hash_state *h) {
    if (!h) return;
    XXH3_freeState(h->x);
    memory_free(h);
}
