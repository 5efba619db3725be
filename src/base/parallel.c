/* base/parallel.c - the loop all threads share, and the two ways to have threads.
 *
 * OpenMP is the one that runs beside oneDNN and OpenBLAS (one pool for all). The pthread pool is for ThreadSanitizer
 * and for hosts with their own threads. A backend only runs a function on every thread; the loop is dealt out here, and
 * results never depend on who ran a chunk. */
#include "base/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#if defined(PITH_OPENMP)
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MAX_THREADS = 64, SPINS = 1000 }; /* a spin is some 20 to 40 ns: longer waits sleep */

static int wanted; /* 0: all cores */

/* Asked of the system once: it opens a file each time, and a decoded token is two hundred loops. */
static int cores(void) {
    static atomic_int known;
    int count = atomic_load_explicit(&known, memory_order_relaxed);
    if (count) return count;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    count = n < 1 ? 1 : n < MAX_THREADS ? (int)n : MAX_THREADS;
    atomic_store_explicit(&known, count, memory_order_relaxed);
    return count;
}

int parallel_threads(void) { return wanted > 0 ? wanted : cores(); }

/* --- waiting: spin a little, then sleep
 * ------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t news;
    atomic_int sleepers;
} bed = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

/* Sequentially consistent on both sides: either the sleeper sees the new value or the writer sees the sleeper. */
static void wait_while(atomic_uint *value, unsigned old) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(value, memory_order_acquire) != old) return;
#if defined(__x86_64__)
        _mm_pause();
#endif
    }
    pthread_mutex_lock(&bed.lock);
    atomic_fetch_add(&bed.sleepers, 1);
    while (atomic_load(value) == old) pthread_cond_wait(&bed.news, &bed.lock);
    atomic_fetch_sub(&bed.sleepers, 1);
    pthread_mutex_unlock(&bed.lock);
}

static void wake_all(void) {
    if (atomic_load(&bed.sleepers) == 0) return;
    pthread_mutex_lock(&bed.lock);
    pthread_cond_broadcast(&bed.news);
    pthread_mutex_unlock(&bed.lock);
}

/* --- one loop for a team
 * ---------------------------------------------------------------------------------------------- */

typedef struct expectation {
    parallel_range range[PARALLEL_RANGES];
    int count;
} expectation;

static struct {
    int64_t n, grain;
    parallel_fn fn;
    void *user;
    int threads;
    expectation expected;
    struct {
        _Alignas(64) atomic_llong next;
        int64_t end;
    } part[MAX_THREADS];              /* chunks of each thread, on a cache line of its own */
    _Alignas(64) atomic_uint loops;   /* published so far */
    atomic_bool open;                 /* the last one may be entered */
    _Alignas(64) atomic_uint members; /* threads in it besides the leader */
    atomic_bool over;                 /* no more will come */
} team;

static _Thread_local bool inside; /* a chunk */
static bool standing;             /* the others stand by */

static void deal(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    int64_t chunks = (n + grain - 1) / grain;
    team.n = n, team.grain = grain, team.fn = fn, team.user = user, team.threads = parallel_threads();
    for (int t = 0; t < team.threads; t++) {
        atomic_store_explicit(&team.part[t].next, chunks * t / team.threads, memory_order_relaxed);
        team.part[t].end = chunks * (t + 1) / team.threads;
    }
}

static void take_chunks(int worker) {
    inside = true;
    for (int k = 0; k < team.threads; k++) {
        int t = (worker + k) % team.threads;
        for (;;) {
            int64_t c = atomic_fetch_add_explicit(&team.part[t].next, 1, memory_order_relaxed);
            if (c >= team.part[t].end) break;
            int64_t begin = c * team.grain, end = begin + team.grain < team.n ? begin + team.grain : team.n;
            team.fn(team.user, begin, end, worker);
        }
    }
    inside = false;
}

/* The leader goes through all parts itself, so that a chunk not done then is with a thread that has entered. One that
 * comes late finds the loop closed and holds nobody up: the leader closes, then counts; they count, then look. */
static void lead(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    deal(n, grain, fn, user);
    atomic_store(&team.open, true);
    atomic_fetch_add(&team.loops, 1);
    wake_all();
    take_chunks(0);
    atomic_store(&team.open, false);
    for (unsigned m; (m = atomic_load(&team.members)) > 0;) wait_while(&team.members, m);
    team.expected.count = 0;
}

/* Until the next loop begins: what a thread reads while the leader works alone it need not wait for afterwards. */
static void fetch_stretch(const expectation *e, int worker, int threads, unsigned loop) {
    enum { MOST = 48 << 10, LINE = 64, STEP = 2048 };
    int64_t total = 0, from, left = MOST;
    for (int k = 0; k < e->count; k++) total += e->range[k].size;
    from = total / threads * worker;
    for (int k = 0; k < e->count; from -= e->range[k].size, k++)
        for (int64_t at = from > 0 ? from : 0; at < e->range[k].size && left > 0; at += STEP, left -= STEP) {
            if (atomic_load_explicit(&team.loops, memory_order_relaxed) != loop) return;
            for (int i = 0; i < STEP; i += LINE) __builtin_prefetch((const char *)e->range[k].begin + at + i, 0, 2);
        }
}

static void stand_by(int worker) {
    for (unsigned seen = 0;;) {
        wait_while(&team.loops, seen);
        seen = atomic_load(&team.loops);
        expectation next = {.count = 0};
        int threads = 1;
        atomic_fetch_add(&team.members, 1);
        bool over = atomic_load(&team.over);
        if (atomic_load(&team.open)) {
            take_chunks(worker);
            next = team.expected;
            threads = team.threads;
        }
        atomic_fetch_sub(&team.members, 1);
        wake_all();
        if (over) return;
        fetch_stretch(&next, worker, threads, seen);
    }
}

static void dismiss(void) {
    atomic_store(&team.over, true);
    atomic_fetch_add(&team.loops, 1);
    wake_all();
}

static void muster(void) {
    atomic_store(&team.over, false);
    atomic_store(&team.loops, 0);
}

/* --- the two backends
 * ------------------------------------------------------------------------------------------------- */

#if defined(PITH_OPENMP)

static void threads_changed(void) { omp_set_num_threads(parallel_threads()); }

static void with_team(void (*fn)(void *user), void *user) {
    muster();
#pragma omp parallel num_threads(parallel_threads())
    {
        if (omp_get_thread_num() == 0) {
            fn(user);
            dismiss();
        } else stand_by(omp_get_thread_num());
    }
}

#else

static struct {
    pthread_t thread[MAX_THREADS];
    int count; /* workers running besides the caller */
} pool;

static void *work(void *worker) {
    stand_by((int)(intptr_t)worker);
    return NULL;
}

static void stop_pool(void) {
    dismiss();
    for (int i = 0; i < pool.count; i++) pthread_join(pool.thread[i], NULL);
    pool.count = 0;
}

/* Fewer threads than asked for (the system refuses some) is slower, not wrong. */
static void start_pool(int workers) {
    if (pool.count == workers) return;
    stop_pool();
    muster();
    for (int i = 0; i < workers; i++) {
        if (pthread_create(&pool.thread[i], NULL, work, (void *)(intptr_t)(i + 1)) != 0) break;
        pool.count++;
    }
}

static void threads_changed(void) {}

static void with_team(void (*fn)(void *user), void *user) {
    start_pool(parallel_threads() - 1);
    fn(user);
}

#endif

void parallel_set_threads(int threads) {
    wanted = threads < 1 ? 0 : threads < MAX_THREADS ? threads : MAX_THREADS;
    threads_changed();
}

void parallel_team(void (*fn)(void *user), void *user) {
    if (parallel_threads() == 1 || inside || standing) {
        fn(user);
        return;
    }
    standing = true;
    with_team(fn, user);
    standing = false;
}

/* --- the loop
 * --------------------------------------------------------------------------------------------------------- */

typedef struct single {
    int64_t n, grain;
    parallel_fn fn;
    void *user;
} single;

static void lead_single(void *user) {
    const single *s = user;
    lead(s->n, s->grain, s->fn, s->user);
}

void parallel_expect(const parallel_range *ranges, int count) {
    if (!standing || inside) return;
    for (int k = 0; k < count; k++) team.expected.range[k] = ranges[k];
    team.expected.count = count;
}

void parallel_for(int64_t n, int64_t grain, parallel_fn fn, void *user) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    if (parallel_threads() == 1 || n <= grain || inside) {
        for (int64_t i = 0; i < n; i += grain) fn(user, i, i + grain < n ? i + grain : n, 0);
    } else if (standing) lead(n, grain, fn, user);
    else parallel_team(lead_single, &(single){n, grain, fn, user});
}
