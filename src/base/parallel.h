/* base/parallel.h - one parallel loop, over OpenMP or a plain pthread pool (PITH_THREADS=openmp|pthread at configure).
 *
 * Chunks are cut by `grain` alone, never by the number of threads: work whose result depends on where it is cut is
 * the same for every thread count. One compute thread owns all parallel regions; a nested call runs serially. */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stdint.h>

/* Does items [begin, end). `worker` is 0..parallel_threads()-1 and may index per-thread scratch, nothing else. */
typedef void (*parallel_fn)(void *user, int64_t begin, int64_t end, int worker);

/* Cuts [0, n) into chunks of `grain` items (the last may be shorter) and runs fn on each. Returns when all are done.
 * Each thread begins with its own stretch of chunks, in order, and helps the others when that is done. */
void parallel_for(int64_t n, int64_t grain, parallel_fn fn, void *user);

/* Runs fn(user) on the calling thread while the others stand by: a parallel_for in it then starts and ends within a
 * microsecond. For long rows of short loops, a decoded token is some two hundred; while they wait for long, the others
 * sleep. */
void parallel_team(void (*fn)(void *user), void *user);

/* What the loop after the next one will read, in the order of its items: threads that are done with the next loop fetch
 * the beginning of their stretch into their caches while the caller works alone. Forgotten with that loop's end. */
typedef struct parallel_range {
    const void *begin;
    int64_t size;
} parallel_range;
enum { PARALLEL_RANGES = 4 };
void parallel_expect(const parallel_range *ranges, int count); /* at most PARALLEL_RANGES */

void parallel_set_threads(int threads); /* 0: all cores this process may use; at most 64 */
int parallel_threads(void);

#endif
