/* token/bpe_merge.c - byte-pair encoding (Sennrich et al., arXiv:1508.07909): merge the most frequent pair, again and
 * again, over unique words with their counts.
 *
 * Pairs wait in a heap with the count they had when pushed; one whose count has fallen since is pushed back with the
 * new count when it comes up. Each entry knows the words it was seen in, so a merge touches only those. Ties go to the
 * pair of lowest ids. Order of events, and with it every tie and the rare token that two different merges make, is that
 * of the BpeTrainer of HuggingFace's tokenizers: the same text gives the same vocabulary. Cost: n log n in the words'
 * bytes, about 40 bytes of memory for each. */
#include "token/bpe_merge.h"

#include "base/memory.h"
#include "token/vocab.h"

#include <string.h>

typedef struct places { /* word numbers, ascending */
    uint32_t *words;
    size_t count, capacity;
} places;

typedef struct candidate {
    uint64_t pair;
    int64_t count;
    places in;
} candidate;

typedef struct pair_count {
    uint64_t pair; /* UINT64_MAX: free */
    int64_t count;
    int32_t fresh; /* place in learner.fresh of this step, -1: none */
} pair_count;

typedef struct learner {
    const word_table *words;
    uint32_t *symbols; /* all words' symbols; a word's stand at the start of its stretch */
    size_t *start;     /* words + 1 */
    uint32_t *length;
    pair_count *counts; /* open addressing */
    size_t count_places, count_used;
    candidate *heap, *fresh;
    size_t heap_count, heap_capacity, fresh_count, fresh_capacity;
    bool failed; /* out of memory */
} learner;

static size_t count_place(const learner *l, uint64_t pair) {
    size_t mask = l->count_places - 1, at = (size_t)(pair * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (l->counts[at].pair != pair && l->counts[at].pair != UINT64_MAX) at = (at + 1) & mask;
    return at;
}

static bool grow_counts(learner *l) {
    size_t places_new = l->count_places ? 2 * l->count_places : 1 << 12, old_places = l->count_places;
    pair_count *old = l->counts, *counts = memory_alloc(places_new * sizeof *counts);
    if (!counts) return false;
    memset(counts, 0xff, places_new * sizeof *counts);
    l->counts = counts;
    l->count_places = places_new;
    for (size_t i = 0; i < old_places; i++)
        if (old[i].pair != UINT64_MAX) counts[count_place(l, old[i].pair)] = old[i];
    memory_free(old);
    return true;
}

/* Changes a pair's count by `by`; a rise notes the word for the pair's next entry in the heap. */
static void change(learner *l, uint32_t left, uint32_t right, int64_t by, uint32_t word) {
    if (l->failed || (2 * l->count_used >= l->count_places && !grow_counts(l))) {
        l->failed = true;
        return;
    }
    uint64_t pair = (uint64_t)left << 32 | right;
    pair_count *p = &l->counts[count_place(l, pair)];
    if (p->pair == UINT64_MAX) {
        *p = (pair_count){pair, 0, -1};
        l->count_used++;
    }
    p->count += by;
    if (by < 0) return;
    if (p->fresh < 0) {
        if (memory_reserve((void **)&l->fresh, &l->fresh_capacity, l->fresh_count + 1, sizeof *l->fresh) != 0) {
            l->failed = true;
            return;
        }
        p->fresh = (int32_t)l->fresh_count;
        l->fresh[l->fresh_count++] = (candidate){.pair = pair};
    }
    places *in = &l->fresh[p->fresh].in;
    if (in->count && in->words[in->count - 1] == word) return;
    if (memory_reserve((void **)&in->words, &in->capacity, in->count + 1, sizeof *in->words) != 0) l->failed = true;
    else in->words[in->count++] = word;
}

static bool better(const candidate *a, const candidate *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static void push(learner *l, candidate c) {
    if (memory_reserve((void **)&l->heap, &l->heap_capacity, l->heap_count + 1, sizeof c) != 0) {
        memory_free(c.in.words);
        l->failed = true;
        return;
    }
    size_t at = l->heap_count++;
    for (; at > 0 && better(&c, &l->heap[(at - 1) / 2]); at = (at - 1) / 2) l->heap[at] = l->heap[(at - 1) / 2];
    l->heap[at] = c;
}

static candidate pop(learner *l) {
    candidate top = l->heap[0], last = l->heap[--l->heap_count];
    size_t at = 0, n = l->heap_count;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && better(&l->heap[child + 1], &l->heap[child])) child++;
        if (!better(&l->heap[child], &last)) break;
        l->heap[at] = l->heap[child];
        at = child;
    }
    l->heap[at] = last;
    return top;
}

/* Pairs that rose in this step enter the heap with the count they have at its end. */
static void push_fresh(learner *l) {
    for (size_t i = 0; i < l->fresh_count; i++) {
        pair_count *p = &l->counts[count_place(l, l->fresh[i].pair)];
        p->fresh = -1;
        l->fresh[i].count = p->count;
        if (p->count > 0 && !l->failed) push(l, l->fresh[i]);
        else memory_free(l->fresh[i].in.words);
    }
    l->fresh_count = 0;
}

/* Merges the pair wherever it stands in one word, left to right. */
static void merge_in_word(learner *l, uint32_t word, uint32_t left, uint32_t right, uint32_t both) {
    uint32_t *s = l->symbols + l->start[word], n = l->length[word], kept = 0;
    int64_t times = (int64_t)l->words->words[word].count;
    for (uint32_t i = 0; i < n; i++, kept++) {
        bool here = s[i] == left && i + 1 < n && s[i + 1] == right;
        s[kept] = here ? both : s[i];
        if (!here) continue;
        if (kept > 0) {
            change(l, s[kept - 1], left, -times, word);
            change(l, s[kept - 1], both, times, word);
        }
        i++;
        if (i + 1 < n) {
            change(l, right, s[i + 1], -times, word);
            change(l, both, s[i + 1], times, word);
        }
    }
    l->length[word] = kept;
}

static bool begin(learner *l, const word_table *words, const uint32_t id_of_byte[256]) {
    l->words = words;
    l->symbols = memory_alloc(words->bytes_size * sizeof *l->symbols);
    l->start = memory_alloc((words->count + 1) * sizeof *l->start);
    l->length = memory_alloc(words->count * sizeof *l->length);
    if (!l->symbols || !l->start || !l->length || !grow_counts(l)) return false;
    for (size_t w = 0, at = 0; w < words->count; w++) {
        const word_entry *e = &words->words[w];
        l->start[w] = at;
        l->length[w] = e->size;
        for (uint32_t i = 0; i < e->size; i++) l->symbols[at++] = id_of_byte[words->bytes[e->at + i]];
        for (uint32_t i = 0; i + 1 < e->size; i++)
            change(l, l->symbols[l->start[w] + i], l->symbols[l->start[w] + i + 1], (int64_t)e->count, (uint32_t)w);
    }
    push_fresh(l);
    return !l->failed;
}

static void end(learner *l) {
    for (size_t i = 0; i < l->heap_count; i++) memory_free(l->heap[i].in.words);
    for (size_t i = 0; i < l->fresh_count; i++) memory_free(l->fresh[i].in.words);
    memory_free(l->heap);
    memory_free(l->fresh);
    memory_free(l->counts);
    memory_free(l->symbols);
    memory_free(l->start);
    memory_free(l->length);
}

/* The id of two tokens put together, entered if new; -1 without memory. */
static int64_t join_tokens(word_table *tokens, uint32_t left, uint32_t right) {
    word_entry a = tokens->words[left], b = tokens->words[right];
    size_t size = (size_t)a.size + b.size;
    uint8_t *text = memory_alloc(size);
    if (!text) return -1;
    memcpy(text, tokens->bytes + a.at, a.size);
    memcpy(text + a.size, tokens->bytes + b.at, b.size);
    int64_t id = word_table_add(tokens, text, size, 1);
    memory_free(text);
    return id;
}

static void apply(learner *l, bpe_learned *out, uint32_t first, const candidate *c) {
    uint32_t left = (uint32_t)(c->pair >> 32), right = (uint32_t)c->pair;
    int64_t both = join_tokens(&out->tokens, left - first, right - first);
    if (both < 0 ||
        memory_reserve((void **)&out->merges, &out->merge_capacity, out->merge_count + 1, sizeof *out->merges) != 0) {
        l->failed = true;
        return;
    }
    out->merges[out->merge_count][0] = left;
    out->merges[out->merge_count++][1] = right;
    for (size_t i = 0; i < c->in.count; i++) merge_in_word(l, c->in.words[i], left, right, first + (uint32_t)both);
    push_fresh(l);
}

static pith_status learn_all(const pith_context *c, learner *l, uint32_t first, size_t vocab, int64_t least,
                             bpe_learned *out, pith_error *err) {
    while (first + out->tokens.count < vocab && l->heap_count > 0 && !l->failed) {
        candidate top = pop(l);
        int64_t now = l->counts[count_place(l, top.pair)].count;
        if (top.count != now) {
            top.count = now;
            push(l, top);
            continue;
        }
        bool enough = top.count >= least;
        if (enough) apply(l, out, first, &top);
        memory_free(top.in.words);
        if (!enough) break;
        if (out->merge_count % 64 == 0) {
            pith_status s = pith_progress(c, (double)(first + out->tokens.count), (double)vocab, "tokens", err);
            if (s != PITH_OK) return s;
        }
    }
    return l->failed ? pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory") : PITH_OK;
}

pith_status bpe_learn(const pith_context *c, const word_table *words, uint32_t first, size_t vocab,
                      uint64_t min_frequency, bpe_learned *out, pith_error *err) {
    uint32_t id_of_byte[256], next = first;
    learner l = {0};
    *out = (bpe_learned){0};
    for (uint32_t letter = 0; letter < 0x144 && !l.failed; letter++) {
        int byte = token_letter_byte(letter);
        if (byte < 0) continue;
        uint8_t b = (uint8_t)byte;
        id_of_byte[b] = next++;
        l.failed = word_table_add(&out->tokens, &b, 1, 1) < 0;
    }
    l.failed = l.failed || !begin(&l, words, id_of_byte);
    pith_status s = learn_all(c, &l, first, vocab, min_frequency ? (int64_t)min_frequency : 1, out, err);
    end(&l);
    if (s != PITH_OK) bpe_learned_free(out);
    return s;
}

void bpe_learned_free(bpe_learned *l) {
    word_table_free(&l->tokens);
    memory_free(l->merges);
    *l = (bpe_learned){0};
}
