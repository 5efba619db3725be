/* base/rng.h - counter-based random numbers (Philox 4x32-10; Salmon et al., SC 2011).
 *
 * A generator is a key and a counter: copying it copies the stream, and the n-th number of a key is had without the
 * ones before it, which makes training resumable and parallel loops reproducible. Same key, same numbers, anywhere. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

typedef struct rng {
    uint64_t key, stream; /* who draws: e.g. seed, and step or node */
    uint64_t counter;     /* next block of four */
    uint32_t block[4];
    uint32_t left; /* unread words of block */
} rng;

rng rng_new(uint64_t key, uint64_t stream);
uint32_t rng_u32(rng *r);
uint64_t rng_u64(rng *r);
uint32_t rng_below(rng *r, uint32_t n);            /* uniform in [0, n), unbiased; n >= 1 */
float rng_float(rng *r);                           /* uniform in [0, 1), 24 bits */
double rng_double(rng *r);                         /* uniform in [0, 1), 53 bits */
double rng_normal(rng *r);                         /* mean 0, variance 1 (Box-Muller, one of the pair) */
void rng_shuffle(rng *r, uint32_t *v, uint32_t n); /* Fisher-Yates */
/* Four words at position `counter` of (key, stream), without state. */
void rng_block(uint64_t key, uint64_t stream, uint64_t counter, uint32_t out[4]);

#endif
