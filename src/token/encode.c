/* token/encode.c - text to ids: special tokens are found first, what lies between is cut into words, words merge.
 *
 * Specials are found leftmost, longest first. Words repeat, so a small direct-mapped table of words already merged is
 * kept for the length of a call (the tokenizer itself stays immutable, for threads). A SentencePiece model merges over
 * whole texts; where no pair of its vocabulary merges across the start of a word, cutting there changes nothing and is
 * what makes the table and short heaps possible. */
#include "base/hash.h"
#include "base/memory.h"
#include "token/tokenizer_parts.h"
#include "token/unicode.h"

#include <string.h>

enum {
    CACHE_PLACES = 1 << 14,
    CACHE_WORD = 22,
    CACHE_IDS = 10,
    CACHE_FROM = 4096, /* bytes of text from which the table pays */
    LONGEST_RUN = 1 << 30
};

typedef struct cached_word { /* one cache line */
    uint8_t size, count;     /* size 0: free */
    uint8_t word[CACHE_WORD];
    int32_t ids[CACHE_IDS];
} cached_word;

typedef struct encoder {
    const tokenizer *t;
    token_list *out;
    pith_error *err;
    pith_status status;
    merge_work work;
    cached_word *cache; /* NULL for short texts */
    uint8_t *text;      /* a run with its spaces escaped or prefixed */
    size_t text_size, text_capacity;
} encoder;

static bool no_memory(encoder *e) {
    e->status = pith_fail(e->err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return false;
}

static bool put(encoder *e, int32_t id) {
    token_list *o = e->out;
    if (o->count == o->capacity && memory_reserve((void **)&o->ids, &o->capacity, o->count + 1, sizeof *o->ids) != 0)
        return no_memory(e);
    o->ids[o->count++] = id;
    return true;
}

/* A piece that is no token: its bytes, or the unknown token once for neighbors. */
static bool put_bytes(encoder *e, const uint8_t *text, size_t size) {
    const symbol_table *s = &e->t->symbols;
    bool all = true;
    for (size_t i = 0; i < size; i++) all &= s->byte[text[i]] >= 0;
    for (size_t i = 0; all && i < size; i++)
        if (!put(e, s->byte[text[i]])) return false;
    if (all) return true;
    int32_t unknown = e->t->vocab.unknown;
    if (unknown < 0) {
        e->status =
            pith_fail(e->err, PITH_MISMATCH, NULL, -1,
                      "expected text this vocabulary can spell, found the byte 0x%02x without a token", text[0]);
        return false;
    }
    if (e->out->count > 0 && e->out->ids[e->out->count - 1] == unknown) return true;
    return put(e, unknown);
}

static bool put_merged(encoder *e, const uint8_t *word) {
    const merge_piece *p = e->work.pieces;
    for (int32_t i = 0; i >= 0; i = p[i].after) {
        bool token = p[i].symbol >= 0 && (size_t)p[i].symbol < e->t->vocab.count;
        if (!(token ? put(e, p[i].symbol) : put_bytes(e, word + p[i].at, p[i].size))) return false;
    }
    return true;
}

static bool encode_new_word(encoder *e, const uint8_t *word, size_t size) {
    const tokenizer *t = e->t;
    if (t->vocab.ignore_merges) {
        int32_t whole = symbol_find(&t->symbols, word, size);
        if (whole >= 0 && (size_t)whole < t->vocab.count) return put(e, whole);
    }
    if (!merge_word(&e->work, &t->symbols, t->vocab.model, word, size)) return no_memory(e);
    return put_merged(e, word);
}

static bool encode_word(void *encoder_ptr, const uint8_t *word, size_t size) {
    encoder *e = encoder_ptr;
    if (!e->cache || size > CACHE_WORD) return encode_new_word(e, word, size);
    cached_word *c = &e->cache[hash_bytes(word, size) & (CACHE_PLACES - 1)];
    if (c->size == size && memcmp(c->word, word, size) == 0) {
        for (int i = 0; i < c->count; i++)
            if (!put(e, c->ids[i])) return false;
        return true;
    }
    size_t before = e->out->count;
    if (!encode_new_word(e, word, size)) return false;
    size_t n = e->out->count - before;
    if (n == 0 || n > CACHE_IDS) return true;
    c->size = (uint8_t)size;
    c->count = (uint8_t)n;
    memcpy(c->word, word, size);
    memcpy(c->ids, e->out->ids + before, n * sizeof *c->ids);
    return true;
}

static bool append(encoder *e, const void *bytes, size_t size) {
    if (e->text_capacity - e->text_size < size &&
        memory_reserve((void **)&e->text, &e->text_capacity, e->text_size + size, 1) != 0)
        return no_memory(e);
    memcpy(e->text + e->text_size, bytes, size);
    e->text_size += size;
    return true;
}

static bool escape_spaces(encoder *e, const uint8_t *text, size_t size) {
    for (size_t at = 0; at < size;) {
        const uint8_t *space = memchr(text + at, ' ', size - at);
        size_t n = space ? (size_t)(space - text) - at : size - at;
        if (!append(e, text + at, n)) return false;
        at += n;
        if (at < size && !append(e, "\xe2\x96\x81", 3)) return false;
        at += at < size;
    }
    return true;
}

static bool is_mark(const uint8_t *text, size_t size) { return size >= 3 && memcmp(text, "\xe2\x96\x81", 3) == 0; }

static bool encode_spm(encoder *e, const uint8_t *text, size_t size, bool prefix) {
    e->text_size = 0;
    if (prefix && !append(e, "\xe2\x96\x81", 3)) return false;
    if (!escape_spaces(e, text, size)) return false;
    if (!e->t->symbols.splits_at_space) return encode_word(e, e->text, e->text_size);
    for (size_t start = 0, at = 0; start < e->text_size; start = at) {
        while (is_mark(e->text + at, e->text_size - at)) at += 3;
        while (at < e->text_size && !is_mark(e->text + at, e->text_size - at)) at++;
        if (!encode_word(e, e->text + start, at - start)) return false;
    }
    return true;
}

static bool encode_bpe(encoder *e, const uint8_t *text, size_t size, bool prefix) {
    if (!prefix) return pretoken_split(e->t->pre, text, size, encode_word, e);
    e->text_size = 0;
    return append(e, " ", 1) && append(e, text, size) &&
           pretoken_split(e->t->pre, e->text, e->text_size, encode_word, e);
}

/* Text between specials; `first`: it starts the whole text. */
static bool encode_run(encoder *e, const uint8_t *text, size_t size, bool first) {
    const token_vocab *v = &e->t->vocab;
    if (size == 0) return true;
    if (size > LONGEST_RUN) {
        e->status = pith_fail(e->err, PITH_LIMIT, NULL, -1, "expected at most 1 GiB of text at once");
        return false;
    }
    bool prefix = v->prefix == TOKEN_PREFIX_ALWAYS || (v->prefix == TOKEN_PREFIX_FIRST && first);
    if (v->model == TOKEN_SPM) {
        if (v->prefix == TOKEN_PREFIX_FIRST && (text[0] == ' ' || is_mark(text, size))) prefix = false;
        return encode_spm(e, text, size, prefix);
    }
    return encode_bpe(e, text, size, prefix && text[0] != ' ');
}

static bool word_char(const uint8_t *text, size_t size) {
    unicode_char c = unicode_read(text, size);
    return c.point == '_' || (c.class & (UNICODE_ANY_LETTER | UNICODE_NUMBER | UNICODE_MARK));
}

static bool stands_alone(const uint8_t *text, size_t size, size_t at, size_t length) {
    size_t before = at;
    while (before > 0 && at - before < 4) {
        before--;
        if ((text[before] & 0xc0) != 0x80) break;
    }
    return !(before < at && word_char(text + before, at - before)) &&
           !(at + length < size && word_char(text + at + length, size - at - length));
}

/* The special token at a place of the text, or -1. */
static int32_t special_at(const tokenizer *t, const uint8_t *text, size_t size, size_t at, unsigned flags) {
    for (uint32_t k = t->special_at[text[at]]; k < t->special_at[text[at] + 1]; k++) {
        const token_entry *entry = &t->vocab.tokens[t->specials[k]];
        if (entry->type != TOKEN_USER && !(flags & TOKEN_PARSE_SPECIAL)) continue;
        pith_bytes piece = tokenizer_piece(t, t->specials[k]);
        if (piece.size > size - at || memcmp(piece.data, text + at, piece.size) != 0) continue;
        if (entry->strip & TOKEN_SINGLE_WORD && !stands_alone(text, size, at, piece.size)) continue;
        return t->specials[k];
    }
    return -1;
}

static bool encode_all(encoder *e, const uint8_t *text, size_t size, unsigned flags) {
    const tokenizer *t = e->t;
    size_t start = 0;
    for (size_t at = 0; at < size;) {
        int32_t special = special_at(t, text, size, at, flags);
        if (special < 0) {
            at++;
            continue;
        }
        size_t end = at, strip = t->vocab.tokens[special].strip;
        while (strip & TOKEN_STRIP_LEFT && end > start && (unicode_class(text[end - 1]) & UNICODE_SPACE)) end--;
        if (!encode_run(e, text + start, end - start, start == 0) || !put(e, special)) return false;
        at += tokenizer_piece(t, special).size;
        if (strip & TOKEN_STRIP_RIGHT)
            while (at < size && unicode_read(text + at, size - at).class == UNICODE_SPACE)
                at += unicode_read(text + at, size - at).bytes;
        start = at;
    }
    return encode_run(e, text + start, size - start, start == 0);
}

pith_status tokenizer_encode(const tokenizer *t, const void *text, size_t size, unsigned flags, token_list *out,
                             pith_error *err) {
    encoder e = {.t = t, .out = out, .err = err, .status = PITH_OK};
    const token_vocab *v = &t->vocab;
    if (size >= CACHE_FROM) {
        e.cache = memory_zero(CACHE_PLACES, sizeof *e.cache);
        if (!e.cache) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    bool ok = !(flags & TOKEN_ADD_START && v->add_bos && v->bos >= 0) || put(&e, v->bos);
    ok = ok && encode_all(&e, text, size, flags);
    ok = ok && (!(flags & TOKEN_ADD_START && v->add_eos && v->eos >= 0) || put(&e, v->eos));
    merge_work_free(&e.work);
    memory_free(e.cache);
    memory_free(e.text);
    return ok ? PITH_OK : e.status;
}
