/* token/bpe_count.c - counts words in parallel, one table a thread, joined at the end.
 *
 * Text is cut where the pre-tokenizer would cut anyway whatever surrounds it: before a line end that follows a visible
 * ASCII character. So the words are those of the whole text. */
#include "token/bpe_count.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "token/pretoken.h"

#include <stdatomic.h>
#include <string.h>

enum { STRETCH = 1 << 20 }; /* bytes between two cuts, about */

typedef struct counting {
    const uint8_t *text;
    const size_t *cuts; /* stretches + 1 */
    bool documents;
    const pretoken *row;
    word_table *tables; /* one a worker */
    atomic_bool failed;
} counting;

static bool count_word(void *table, const uint8_t *word, size_t size) {
    return word_table_add(table, word, size, 1) >= 0;
}

/* The next line holding only a form feed in [at, end); *after is behind it. `end` where there is none. */
static size_t find_separator(const uint8_t *text, size_t at, size_t end, size_t *after) {
    for (size_t i = at; i < end; i++) {
        const uint8_t *feed = memchr(text + i, '\f', end - i);
        if (!feed) break;
        i = (size_t)(feed - text);
        bool starts = i == 0 || text[i - 1] == '\n', ends = i + 1 == end || text[i + 1] == '\n';
        if (!starts || !ends) continue;
        *after = i + 1 == end ? end : i + 2;
        return i;
    }
    *after = end;
    return end;
}

static void count_stretches(void *user, int64_t begin, int64_t end, int worker) {
    counting *c = user;
    for (int64_t k = begin; k < end && !atomic_load(&c->failed); k++) {
        size_t at = c->cuts[k], stop = c->cuts[k + 1], after = stop;
        for (; at < stop; at = after) {
            size_t document_end = c->documents ? find_separator(c->text, at, stop, &after) : stop;
            if (!pretoken_split(c->row, c->text + at, document_end - at, count_word, &c->tables[worker]))
                atomic_store(&c->failed, true);
        }
    }
}

/* Where a stretch may end at or after `at`; never inside the form feed's own line. */
static size_t safe_cut(const uint8_t *text, size_t size, size_t at) {
    for (; at < size; at++)
        if (text[at] == '\n' && text[at - 1] > ' ' && text[at - 1] < 127) return at;
    return size;
}

static size_t *make_cuts(pith_bytes text, int64_t *stretches) {
    size_t *cuts = memory_alloc((text.size / STRETCH + 3) * sizeof *cuts), n = 0, at = 0;
    if (!cuts) return NULL;
    for (cuts[n++] = 0; at < text.size; cuts[n++] = at)
        at = text.size - at > STRETCH ? safe_cut(text.data, text.size, at + STRETCH) : text.size;
    *stretches = (int64_t)n - 1;
    return cuts;
}

static bool join(word_table *words, const word_table *from) {
    for (size_t i = 0; i < from->count; i++)
        if (word_table_add(words, from->bytes + from->words[i].at, from->words[i].size, from->words[i].count) < 0)
            return false;
    return true;
}

pith_status bpe_count_words(word_table *words, pith_bytes text, bool documents, pith_error *err) {
    int64_t stretches = 0;
    int workers = parallel_threads();
    size_t *cuts = make_cuts(text, &stretches);
    counting c = {.text = text.data, .cuts = cuts, .documents = documents, .row = pretoken_find("gpt-2")};
    c.tables = memory_zero((size_t)workers, sizeof *c.tables);
    bool ok = cuts && c.tables;
    if (ok) parallel_for(stretches, 1, count_stretches, &c);
    ok = ok && !atomic_load(&c.failed);
    for (int i = 0; c.tables && i < workers; i++) {
        ok = ok && join(words, &c.tables[i]);
        word_table_free(&c.tables[i]);
    }
    memory_free(c.tables);
    memory_free(cuts);
    return ok ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}
