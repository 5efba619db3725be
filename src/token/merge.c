/* token/merge.c - merges the pieces of one word: a linked list of pieces and a heap of possible merges.
 *
 * A step in the heap is not removed when one of its pieces changes; it is dropped when it comes up and the symbols it
 * was made for are no longer there. Ties go to the leftmost, as in every other implementation. */
#include "token/symbols.h"

#include "base/memory.h"
#include "token/unicode.h"

void merge_work_free(merge_work *w) {
    memory_free(w->pieces);
    memory_free(w->heap);
    *w = (merge_work){0};
}

static bool sooner(merge_step a, merge_step b) { return a.rank != b.rank ? a.rank < b.rank : a.left < b.left; }

static bool heap_push(merge_work *w, merge_step step) {
    if (w->heap_count == w->heap_capacity &&
        memory_reserve((void **)&w->heap, &w->heap_capacity, w->heap_count + 1, sizeof step) != 0)
        return false;
    size_t at = w->heap_count++;
    for (; at > 0 && sooner(step, w->heap[(at - 1) / 2]); at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = step;
    return true;
}

static merge_step heap_pop(merge_work *w) {
    merge_step top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0, n = w->heap_count;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && sooner(w->heap[child + 1], w->heap[child])) child++;
        if (!sooner(w->heap[child], last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

/* Considers merging a piece with the one after it. */
static bool consider(merge_work *w, const symbol_table *s, int32_t left) {
    if (left < 0 || w->pieces[left].after < 0) return true;
    const merge_piece *a = &w->pieces[left];
    const symbol_pair *p = symbol_pair_find(s, a->symbol, w->pieces[a->after].symbol);
    return !p || heap_push(w, (merge_step){p->rank, left, a->symbol, w->pieces[a->after].symbol});
}

static bool cut(merge_work *w, const symbol_table *s, token_model model, const uint8_t *text, size_t size) {
    w->count = w->heap_count = 0;
    if (w->capacity < size && memory_reserve((void **)&w->pieces, &w->capacity, size, sizeof *w->pieces) != 0)
        return false;
    for (size_t at = 0; at < size;) {
        uint32_t n = model == TOKEN_BPE ? 1 : unicode_read(text + at, size - at).bytes;
        int32_t i = (int32_t)w->count++;
        w->pieces[i] = (merge_piece){symbol_find(s, text + at, n), i - 1, i + 1, (uint32_t)at, n};
        at += n;
    }
    if (w->count) w->pieces[w->count - 1].after = -1;
    return true;
}

bool merge_word(merge_work *w, const symbol_table *s, token_model model, const uint8_t *text, size_t size) {
    if (!cut(w, s, model, text, size)) return false;
    for (size_t i = 0; i + 1 < w->count; i++)
        if (!consider(w, s, (int32_t)i)) return false;
    while (w->heap_count > 0) {
        merge_step step = heap_pop(w);
        merge_piece *a = &w->pieces[step.left];
        if (a->size == 0 || a->symbol != step.left_symbol || a->after < 0) continue;
        merge_piece *b = &w->pieces[a->after];
        if (b->symbol != step.right_symbol) continue;
        a->symbol = (int32_t)symbol_pair_find(s, a->symbol, b->symbol)->result;
        a->size += b->size;
        b->size = 0;
        a->after = b->after;
        if (a->after >= 0) w->pieces[a->after].before = step.left;
        if (!consider(w, s, a->before) || !consider(w, s, step.left)) return false;
    }
    return true;
}
