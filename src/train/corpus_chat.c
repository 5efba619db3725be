/* train/corpus_chat.c - dialogues as files write them to dialogues as chat models read them. */
#include "train/corpus.h"

#include "base/memory.h"

#include <string.h>

typedef struct text {
    pith_bytes b;
    size_t capacity;
    bool failed;
} text;

static void add(text *t, const void *p, size_t n) {
    if (t->failed || memory_reserve((void **)&t->b.data, &t->capacity, t->b.size + n, 1)) {
        t->failed = true;
        return;
    }
    memcpy(t->b.data + t->b.size, p, n);
    t->b.size += n;
}

static void say(text *t, const char *words) { add(t, words, strlen(words)); }

/* Length of "A: ", "User: " ... at the start of a line, 0 if there is none; *role 0 asks, 1 answers. */
static size_t speaker(const uint8_t *line, size_t n, int *role) {
    static const char *const names[] = {"A: ", "User: ", "B: ", "Assistant: "};
    for (int i = 0; i < 4; i++) {
        size_t m = strlen(names[i]);
        if (n < m || memcmp(line, names[i], m) != 0) continue;
        *role = i / 2;
        return m;
    }
    return 0;
}

pith_status corpus_chat(pith_bytes in, pith_bytes *out, pith_error *err) {
    text t = {0};
    int open = -1, role = 0; /* the turn being written */
    for (size_t at = 0; at < in.size;) {
        const uint8_t *line = in.data + at, *end = memchr(line, '\n', in.size - at);
        size_t n = end ? (size_t)(end - line) : in.size - at, name = speaker(line, n, &role);
        at += n + 1;
        if (name == 0 && n > 0 && open >= 0) { /* a turn goes on */
            say(&t, "\n");
            add(&t, line, n);
            continue;
        }
        if (open >= 0) say(&t, "<|end|>\n");
        if (n == 0 && open >= 0) say(&t, "<|endoftext|>");
        open = name ? role : -1;
        if (!name) continue;
        say(&t, role ? "<|assistant|>\n" : "<|user|>\n");
        add(&t, line + name, n - name);
    }
    if (open >= 0) say(&t, "<|end|>\n");
    if (t.failed) {
        memory_free(t.b.data);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    *out = t.b;
    return PITH_OK;
}
