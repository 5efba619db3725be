/* model/sampler.c - the usual filters, in the usual order: penalty, top-k, top-p, min-p, temperature, draw.
 *
 * A vocabulary of 150,000 is not sorted: candidates are cut to the top k by a bounded heap; without top-k a heap of all
 * gives the best one by one until the other filters have enough. Probabilities of the filters are those at
 * temperature 1, as in other runners. */
#include "model/sampler.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    float logit, probability;
    int32_t token;
} candidate;

struct sampler {
    sampler_settings set;
    int64_t vocab;
    candidate *list;
    int32_t *recent; /* ring of the last repeat_last tokens */
    int recent_count, recent_next;
    rng random;
};

sampler_settings sampler_defaults(void) {
    return (sampler_settings){
        .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1, .repeat_last = 64};
}

pith_status sampler_new(sampler **out, const sampler_settings *settings, int64_t vocab, pith_error *err) {
    sampler *s = memory_zero(1, sizeof *s);
    if (s) {
        s->set = *settings;
        s->vocab = vocab;
        s->random = rng_new(settings->seed, 0x73616d70);
        s->list = memory_zero((size_t)vocab, sizeof *s->list);
        s->recent = memory_zero((size_t)(settings->repeat_last > 0 ? settings->repeat_last : 1), sizeof *s->recent);
    }
    if (!s || !s->list || !s->recent) {
        sampler_free(s);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    *out = s;
    return PITH_OK;
}

void sampler_free(sampler *s) {
    if (!s) return;
    memory_free(s->list);
    memory_free(s->recent);
    memory_free(s);
}

void sampler_accept(sampler *s, int32_t token) {
    if (s->set.repeat_last <= 0) return;
    s->recent[s->recent_next] = token;
    s->recent_next = (s->recent_next + 1) % s->set.repeat_last;
    if (s->recent_count < s->set.repeat_last) s->recent_count++;
}

static bool is_recent(const sampler *s, int32_t token) {
    for (int i = 0; i < s->recent_count; i++)
        if (s->recent[i] == token) return true;
    return false;
}

static float penalized(const sampler *s, float logit, int32_t token) {
    if (s->set.repeat_penalty == 1.0f || !is_recent(s, token)) return logit;
    return logit > 0 ? logit / s->set.repeat_penalty : logit * s->set.repeat_penalty;
}

/* Ties go to the lower token, so that equal logits give equal text everywhere. */
static bool above(const candidate *a, const candidate *b) {
    return a->logit != b->logit ? a->logit > b->logit : a->token < b->token;
}

static int by_logit(const void *a, const void *b) { return above(a, b) ? -1 : 1; }

static void swap(candidate *a, candidate *b) {
    candidate t = *a;
    *a = *b;
    *b = t;
}

/* best: the best is at the root, else the worst */
static void sift_down(candidate *heap, int64_t n, int64_t i, bool best) {
    for (;;) {
        int64_t up = i, l = 2 * i + 1, r = l + 1;
        if (l < n && above(&heap[up], &heap[l]) != best) up = l;
        if (r < n && above(&heap[up], &heap[r]) != best) up = r;
        if (up == i) return;
        swap(&heap[i], &heap[up]);
        i = up;
    }
}

static void make_heap(candidate *list, int64_t n, bool best) {
    for (int64_t i = n / 2; i-- > 0;) sift_down(list, n, i, best);
}

enum { STRETCH = 64 };

/* The first logit from t on whose stretch holds one above `low`; NaN is not. */
static int64_t next_above(const float *logits, int64_t t, int64_t vocab, float low) {
    for (; t + STRETCH <= vocab; t += STRETCH) {
        int any = 0;
        for (int i = 0; i < STRETCH; i++) any |= logits[t + i] > low;
        if (any) break;
    }
    return t;
}

/* The k best candidates, best first; returns how many. NaN logits never enter. */
static int64_t best_candidates(sampler *s, const float *logits, int64_t k) {
    int64_t n = 0, looked = 0;
    bool plain = s->set.repeat_penalty == 1.0f;
    for (int64_t t = 0; t < s->vocab; t++) {
        if (plain && n == k && t >= looked) {
            t = next_above(logits, t, s->vocab, s->list[0].logit);
            looked = t + STRETCH;
            if (t >= s->vocab) break;
        }
        if (plain && n == k && !(logits[t] > s->list[0].logit)) continue; /* nearly all; of equals the first stays */
        candidate c = {.logit = penalized(s, logits[t], (int32_t)t), .token = (int32_t)t};
        if (isnan(c.logit)) continue;
        if (n < k) {
            s->list[n++] = c;
            if (n == k) make_heap(s->list, k, false);
        } else if (above(&c, &s->list[0])) {
            s->list[0] = c;
            sift_down(s->list, k, 0, false);
        }
    }
    qsort(s->list, (size_t)n, sizeof *s->list, by_logit);
    return n;
}

static double fill_probabilities(candidate *list, int64_t n, float temperature) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        list[i].probability = expf((list[i].logit - list[0].logit) / temperature);
        sum += list[i].probability;
    }
    return sum;
}

/* Whether the filters stop before a candidate, of `kept` before it with the sum `seen` of `all`. */
static bool enough(const sampler *s, int64_t kept, double probability, double seen, double all) {
    if (kept == 0) return false;
    return probability < s->set.min_p || (s->set.top_p < 1.0f && seen >= s->set.top_p * all);
}

/* Of n candidates, best first. */
static int64_t keep_likely(const sampler *s, int64_t n) {
    double all = fill_probabilities(s->list, n, 1.0f), seen = 0;
    int64_t kept = 0;
    while (kept < n && !enough(s, kept, s->list[kept].probability, seen, all)) seen += s->list[kept++].probability;
    return kept;
}

static int64_t all_candidates(sampler *s, const float *logits) {
    int64_t n = 0;
    for (int64_t t = 0; t < s->vocab; t++) {
        candidate c = {.logit = penalized(s, logits[t], (int32_t)t), .token = (int32_t)t};
        if (isnan(c.logit)) continue;
        s->list[n] = c;
        if (above(&c, &s->list[0])) swap(&s->list[0], &s->list[n]);
        n++;
    }
    return n;
}

/* The same of n candidates of which only the first is in its place: those kept are brought to the front. */
static int64_t bring_likely(const sampler *s, int64_t n) {
    if (!(s->set.min_p > 0) && !(s->set.top_p < 1.0f)) return n; /* all, in any order */
    double all = s->set.top_p < 1.0f ? fill_probabilities(s->list, n, 1.0f) : 0, seen = 0;
    float best = s->list[0].logit;
    int64_t kept = 0;
    make_heap(s->list, n, true);
    while (kept < n) { /* the best so far stand at the end, the very best last */
        double probability = expf(s->list[0].logit - best);
        if (enough(s, kept, probability, seen, all)) break;
        seen += probability;
        swap(&s->list[0], &s->list[n - ++kept]);
        sift_down(s->list, n - kept, 0, true);
    }
    for (int64_t i = 0; i < kept && i < n / 2; i++) swap(&s->list[i], &s->list[n - 1 - i]);
    return kept;
}

int32_t sampler_draw(sampler *s, const float *logits) {
    bool greedy = s->set.temperature <= 0, some = greedy || (s->set.top_k > 0 && s->set.top_k < s->vocab);
    int64_t n = some ? best_candidates(s, logits, greedy ? 1 : s->set.top_k) : all_candidates(s, logits);
    int32_t token = n ? s->list[0].token : 0;
    if (!greedy && n > 1) {
        n = some ? keep_likely(s, n) : bring_likely(s, n);
        double left = fill_probabilities(s->list, n, s->set.temperature) * rng_double(&s->random);
        int64_t i = 0;
        while (i + 1 < n && (left -= s->list[i].probability) >= 0) i++;
        token = s->list[i].token;
    }
    sampler_accept(s, token);
    return token;
}
