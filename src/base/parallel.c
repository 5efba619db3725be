/* base/parallel.c - the two backends of parallel_for.
 *
 * OpenMP is the one that runs beside oneDNN and OpenBLAS (one pool for all). The pthread pool is for ThreadSanitizer
 * and for hosts with their own threads. Both hand out chunks dynamically; results never depend on who ran a chunk. */
#include "base/parallel.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#if defined(PITH_OPENMP)
#include <omp.h>
#else
#include <pthread.h>
#endif

static int wanted; /* 0: all cores */

static int cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int parallel_threads(void) { return wanted > 0 ? wanted : cores(); }

static _Thread_local bool inside;

static void run_serial(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    for (int64_t i = 0; i < n; i += grain) fn(user, i, i + grain < n ? i + grain : n, 0);
}

#if defined(PITH_OPENMP)

void parallel_set_threads(int threads) {
    wanted = threads > 0 ? threads : 0;
    omp_set_num_threads(parallel_threads());
}

void parallel_for(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t chunks = (n + grain - 1) / grain;
    int threads = parallel_threads();
    if (threads == 1 || chunks == 1 || inside) {
        run_serial(n, grain, fn, user);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        inside = true;
#pragma omp for schedule(dynamic, 1)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t begin = c * grain, end = begin + grain < n ? begin + grain : n;
            fn(user, begin, end, omp_get_thread_num());
        }
        inside = false;
    }
}

#else

enum { MAX_THREADS = 63 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    pthread_t thread[MAX_THREADS];
    int count; /* workers running besides the caller */
    uint64_t generation;
    int busy;
    bool quit;
    int64_t n, grain, chunks;
    atomic_llong next;
    parallel_fn fn;
    void *user;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .start = PTHREAD_COND_INITIALIZER, .finish = PTHREAD_COND_INITIALIZER};

static void take_chunks(int worker) {
    inside = true;
    for (;;) {
        int64_t c = atomic_fetch_add(&pool.next, 1);
        if (c >= pool.chunks) break;
        int64_t begin = c * pool.grain, end = begin + pool.grain < pool.n ? begin + pool.grain : pool.n;
        pool.fn(pool.user, begin, end, worker);
    }
    inside = false;
}

static void *work(void *arg) {
    int worker = (int)(intptr_t)arg;
    pthread_mutex_lock(&pool.lock);
    uint64_t seen = 0;
    for (;;) {
        while (pool.generation == seen && !pool.quit) pthread_cond_wait(&pool.start, &pool.lock);
        if (pool.quit) break;
        seen = pool.generation;
        pthread_mutex_unlock(&pool.lock);
        take_chunks(worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.busy == 0) pthread_cond_signal(&pool.finish);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void stop_pool(void) {
    pthread_mutex_lock(&pool.lock);
    pool.quit = true;
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < pool.count; i++) pthread_join(pool.thread[i], NULL);
    pool.count = 0;
    pool.quit = false;
    pool.generation = 0;
}

/* Fewer threads than asked for (the system refuses some) is slower, not wrong. */
static void start_pool(int workers) {
    if (workers > MAX_THREADS) workers = MAX_THREADS;
    if (pool.count == workers) return;
    stop_pool();
    for (int i = 0; i < workers; i++) {
        if (pthread_create(&pool.thread[i], NULL, work, (void *)(intptr_t)(i + 1)) != 0) break;
        pool.count++;
    }
}

void parallel_set_threads(int threads) { wanted = threads > 0 ? threads : 0; }

void parallel_for(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t chunks = (n + grain - 1) / grain;
    int threads = parallel_threads();
    if (threads == 1 || chunks == 1 || inside) {
        run_serial(n, grain, fn, user);
        return;
    }
    start_pool(threads - 1);
    pthread_mutex_lock(&pool.lock);
    pool.n = n, pool.grain = grain, pool.chunks = chunks, pool.fn = fn, pool.user = user;
    atomic_store(&pool.next, 0);
    pool.busy = pool.count;
    pool.generation++;
    pthread_cond_broadcast(&pool.start);
    pthread_mutex_unlock(&pool.lock);
    take_chunks(0);
    pthread_mutex_lock(&pool.lock);
    while (pool.busy > 0) pthread_cond_wait(&pool.finish, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

#endif
