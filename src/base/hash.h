/* base/hash.h - XXH3, 64 bit: the one checksum of pith's files. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size);

typedef struct hash_state hash_state; /* running hash of a stream */
hash_state *hash_new(void);           /* NULL without memory */
void hash_reset(hash_state *h);
void hash_update(hash_state *h, const void *data, size_t size);
uint64_t hash_digest(const hash_state *h);
void hash_free(hash_state *h);

#endif
