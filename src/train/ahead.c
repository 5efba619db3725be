/* train/ahead.c - two slots that change places: one is read, the other is being filled. */
#include "train/ahead.h"

#include "base/memory.h"

#include <pthread.h>

typedef enum state { IDLE, WANTED, READY, ENDING } state;

struct ahead {
    ahead_fn fn;
    void *user, *front, *back; /* back belongs to the thread while WANTED */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    state state;
    uint64_t seed; /* of the back slot's batch */
    int64_t first;
    pith_status status;
    pith_error error;
};

static void *work(void *user) {
    ahead *a = user;
    pthread_mutex_lock(&a->lock);
    while (a->state != ENDING) {
        if (a->state != WANTED) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        uint64_t seed = a->seed;
        int64_t first = a->first;
        pith_error error = {0};
        pthread_mutex_unlock(&a->lock);
        pith_status s = a->fn(a->user, seed, first, a->back, &error);
        pthread_mutex_lock(&a->lock);
        a->status = s, a->error = error;
        if (a->state == WANTED) a->state = READY;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

pith_status ahead_new(ahead **out, size_t bytes, ahead_fn fn, void *user, pith_error *err) {
    ahead *a = *out = memory_zero(1, sizeof *a);
    if (a) a->front = memory_zero(1, bytes), a->back = memory_zero(1, bytes);
    if (!a || !a->front || !a->back) {
        if (a) memory_free(a->front), memory_free(a->back);
        memory_free(a);
        *out = NULL;
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    a->fn = fn, a->user = user;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    a->has_thread = pthread_create(&a->thread, NULL, work, a) == 0;
    return PITH_OK;
}

static void set_state(ahead *a, state s) {
    pthread_mutex_lock(&a->lock);
    a->state = s;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

void ahead_free(ahead *a) {
    if (!a) return;
    set_state(a, ENDING);
    if (a->has_thread) pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    memory_free(a->front);
    memory_free(a->back);
    memory_free(a);
}

/* Waits for the thread; true when it made the batch asked for, which is in front then. */
static bool take_ready(ahead *a, uint64_t seed, int64_t first) {
    pthread_mutex_lock(&a->lock);
    while (a->state == WANTED) pthread_cond_wait(&a->changed, &a->lock);
    bool here = a->state == READY && a->seed == seed && a->first == first;
    a->state = IDLE;
    pthread_mutex_unlock(&a->lock);
    if (!here) return false;
    void *swap = a->front;
    a->front = a->back, a->back = swap;
    return true;
}

pith_status ahead_take(ahead *a, uint64_t seed, int64_t first, int64_t next, const void **slot, pith_error *err) {
    bool here = take_ready(a, seed, first);
    pith_status s = here ? a->status : a->fn(a->user, seed, first, a->front, err);
    if (s != PITH_OK && here) pith_fail(err, s, a->error.where, a->error.offset, "%s", a->error.text);
    if (s != PITH_OK) return s;
    *slot = a->front;
    if (!a->has_thread) return PITH_OK;
    a->seed = seed, a->first = next; /* the thread reads them once WANTED */
    set_state(a, WANTED);
    return PITH_OK;
}
