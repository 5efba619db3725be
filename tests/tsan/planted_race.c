/* Two workers of a loop add to one number without a lock: ThreadSanitizer must say so, or its silence about the other
 * tests means nothing. Built and run in the tsan preset alone. */
#include "base/parallel.h"

#include <stdatomic.h>
#include <stdio.h>

typedef struct race {
    atomic_int arrived;
    int total; /* the race */
} race;

static void add(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    race *r = user;
    atomic_fetch_add_explicit(&r->arrived, 1, memory_order_relaxed);
    while (atomic_load_explicit(&r->arrived, memory_order_relaxed) < 2) continue; /* so that both take part */
    r->total += (int)(end - begin);
}

int main(void) {
    race r = {0};
    parallel_set_threads(2);
    parallel_for(2, 1, add, &r);
    printf("%d\n", r.total);
    return 0;
}
