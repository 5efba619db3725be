/* train/corpus.c - documents to tokens. Tokenizing runs in parallel, a document a task; order in memory is that of the
 * files. */
#include "train/corpus.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct document {
    int file;
    bool held;
    bool tail; /* the last `held_out` share of it is held out: its file has too few documents to spare a whole one */
    pith_bytes text; /* borrowed from its file */
    token_list tokens;
} document;

typedef struct build {
    const recipe *r;
    const pith_values *v;
    const tokenizer *t;
    pith_bytes file[CORPUS_FILES];
    int files;
    document *docs;
    size_t count, capacity;
    bool chat;
    int32_t separator;
    pith_error *failures; /* one a document */
} build;

static void close_build(build *b) {
    for (int i = 0; i < b->files; i++) memory_free(b->file[i].data);
    for (size_t i = 0; i < b->count; i++) memory_free(b->docs[i].tokens.ids);
    memory_free(b->docs);
    memory_free(b->failures);
}

void corpus_close(corpus *c) {
    memory_free(c->tokens);
    memset(c, 0, sizeof *c);
}

static pith_status resolve(const build *b, const char *name, char path[4096], pith_error *err) {
    const char *root = getenv("PITH_DATA");
    if (name[0] == '/') snprintf(path, 4096, "%s", name);
    else if (root && *root) snprintf(path, 4096, "%s/%s", root, name);
    else
        return recipe_fail(b->r, err, PITH_NOT_FOUND, "data.files",
                           "%s: expected the environment's PITH_DATA to name the folder of data sets (see pith data)",
                           name);
    return PITH_OK;
}

static pith_status read_files(build *b, const pith_context *c, bool check_only, pith_error *err) {
    size_t n = pith_value_count(b->v, "data.files"), hashes = pith_value_count(b->v, "data.hashes");
    if (n == 0 || n > CORPUS_FILES)
        return recipe_fail(b->r, err, PITH_USAGE, "data.files", "expected 1 to %d files, found %zu", CORPUS_FILES, n);
    if (hashes && hashes != n)
        return recipe_fail(b->r, err, PITH_USAGE, "data.hashes", "expected %zu hashes, one a file, found %zu", n,
                           hashes);
    for (size_t i = 0; i < n; i++) {
        char path[4096];
        uint64_t hash;
        pith_error inner = {0};
        pith_status s = resolve(b, pith_value_item(b->v, "data.files", i), path, err);
        if (s != PITH_OK) return s;
        s = corpus_read_file(path, c->memory_limit, &b->file[b->files], &hash, &inner);
        if (s != PITH_OK) return recipe_fail(b->r, err, s, "data.files", "%s: %s", path, inner.text);
        b->files++;
        char found[24];
        snprintf(found, sizeof found, "%016llx", (unsigned long long)hash);
        const char *expected = hashes ? pith_value_item(b->v, "data.hashes", i) : found;
        if (strcmp(expected, found) != 0)
            return recipe_fail(b->r, err, PITH_MISMATCH, "data.hashes",
                               "%s: expected the hash %s, found %s: the file is another one", path, expected, found);
        if (check_only) memory_free(b->file[--b->files].data);
    }
    return PITH_OK;
}

static pith_status add_document(build *b, int file, const uint8_t *text, size_t size, pith_error *err) {
    if (size == 0) return PITH_OK;
    if (memory_reserve((void **)&b->docs, &b->capacity, b->count + 1, sizeof *b->docs))
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    b->docs[b->count++] = (document){.file = file, .text = {(uint8_t *)text, size}};
    return PITH_OK;
}

/* Documents end at lines of one form feed. Every k-th of a file is held out, k = 1 / held_out. */
static pith_status cut_documents(build *b, int file, pith_error *err) {
    pith_bytes all = b->file[file];
    size_t first = b->count, start = 0;
    pith_status s = PITH_OK;
    for (size_t i = 0; i + 1 < all.size && s == PITH_OK; i++) {
        bool line = all.data[i] == '\f' && (i == 0 || all.data[i - 1] == '\n') && all.data[i + 1] == '\n';
        if (!line) continue;
        s = add_document(b, file, all.data + start, i - start, err);
        start = i + 2;
    }
    if (s == PITH_OK && start < all.size) s = add_document(b, file, all.data + start, all.size - start, err);
    double share = pith_value_real(b->v, "data.held_out");
    if (share <= 0 || s != PITH_OK || b->count == first) return s;
    size_t every = (size_t)(1 / share + 0.5);
    for (size_t i = first + every / 2; i < b->count; i += every) b->docs[i].held = true;
    if (b->count - first <= every / 2) b->docs[b->count - 1].tail = true;
    return PITH_OK;
}

static void tokenize(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    build *b = user;
    for (int64_t i = begin; i < end; i++) {
        document *d = &b->docs[i];
        pith_bytes text = d->text, chat = {0};
        pith_status s = b->chat ? corpus_chat(d->text, &chat, &b->failures[i]) : PITH_OK;
        if (b->chat && s == PITH_OK && chat.size) text = chat; /* prose among dialogues stays prose */
        if (s == PITH_OK)
            tokenizer_encode(b->t, text.data, text.size, b->chat ? TOKEN_PARSE_SPECIAL : 0, &d->tokens,
                             &b->failures[i]);
        memory_free(chat.data);
    }
}

static pith_status tokenize_all(build *b, pith_error *err) {
    b->failures = memory_zero(b->count, sizeof *b->failures);
    if (!b->failures) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    parallel_for((int64_t)b->count, 1, tokenize, b);
    for (size_t i = 0; i < b->count; i++)
        if (b->failures[i].status != PITH_OK)
            return pith_fail(err, b->failures[i].status, b->failures[i].where, b->failures[i].offset, "%s",
                             b->failures[i].text);
    return PITH_OK;
}

static size_t kept_of(const build *b, const document *d, bool held) {
    if (!d->tail) return d->held == held ? d->tokens.count + 1 : 0;
    size_t spare = (size_t)((double)d->tokens.count * pith_value_real(b->v, "data.held_out"));
    return held ? spare : d->tokens.count - spare;
}

static void copy_tokens(const build *b, const document *d, bool held, corpus *c) {
    size_t n = kept_of(b, d, held), from = d->tail && held ? d->tokens.count - n : 0;
    for (size_t i = 0; i < n; i++)
        c->tokens[c->count++] = (uint16_t)(from + i < d->tokens.count ? d->tokens.ids[from + i] : b->separator);
}

static pith_status lay_out(build *b, corpus *c, pith_error *err) {
    size_t total = 0;
    for (size_t i = 0; i < b->count; i++) total += kept_of(b, &b->docs[i], false) + kept_of(b, &b->docs[i], true);
    c->tokens = memory_zero(total, sizeof *c->tokens);
    if (!c->tokens) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    c->parts = b->files;
    double sum = 0;
    size_t at = 0;
    for (int f = 0; f < b->files; f++) {
        c->part[f].first = c->count;
        for (; at < b->count && b->docs[at].file == f; at++) copy_tokens(b, &b->docs[at], false, c);
        c->part[f].count = c->count - c->part[f].first;
        const char *weight = pith_value_item(b->v, "data.weights", (size_t)f);
        sum += (double)c->part[f].count * (weight ? strtod(weight, NULL) : 1);
        c->part[f].weight = sum;
    }
    for (int f = 0; f < b->files; f++) c->part[f].weight /= sum > 0 ? sum : 1;
    c->held_first = c->count;
    for (size_t i = 0; i < b->count; i++) copy_tokens(b, &b->docs[i], true, c);
    return PITH_OK;
}

static pith_status check_lengths(const build *b, const corpus *c, pith_error *err) {
    int64_t context = pith_value_int(b->v, "data.context");
    for (int f = 0; f < c->parts; f++)
        if (c->part[f].count <= context + 1)
            return recipe_fail(
                b->r, err, PITH_USAGE, "data.files", "%s: expected more than %lld tokens to train on, found %lld",
                pith_value_item(b->v, "data.files", (size_t)f), (long long)context + 1, (long long)c->part[f].count);
    if (c->count - c->held_first <= context + 1)
        return recipe_fail(b->r, err, PITH_USAGE, "data.held_out", "leaves too little text to evaluate on");
    return PITH_OK;
}

pith_status corpus_open(corpus *c, const recipe *r, const tokenizer *t, const pith_context *context, bool check_only,
                        pith_error *err) {
    memset(c, 0, sizeof *c);
    build b = {.r = r, .v = recipe_values(r), .t = t, .separator = tokenizer_vocab(t)->eos};
    b.chat = pith_value_flag(b.v, "data.chat");
    pith_status s = PITH_OK;
    if (tokenizer_count(t) > 65536)
        s = recipe_fail(r, err, PITH_UNSUPPORTED, "data.tokenizer", "expected at most 65536 tokens, found %zu",
                        tokenizer_count(t));
    if (s == PITH_OK) s = read_files(&b, context, check_only, err);
    for (int f = 0; f < b.files && s == PITH_OK; f++) s = cut_documents(&b, f, err);
    if (s == PITH_OK && !check_only) s = tokenize_all(&b, err);
    if (s == PITH_OK && !check_only) s = lay_out(&b, c, err);
    if (s == PITH_OK && !check_only) s = check_lengths(&b, c, err);
    close_build(&b);
    if (s != PITH_OK) corpus_close(c);
    return s;
}

const uint16_t *corpus_sample(const corpus *c, uint64_t seed, uint64_t draw, int64_t row, int64_t length) {
    rng r = rng_new(seed, 0x636f72707573u ^ draw << 16);
    r.counter = (uint64_t)row;
    double which = rng_double(&r);
    int f = 0;
    while (f + 1 < c->parts && which >= c->part[f].weight) f++;
    return c->tokens + c->part[f].first + (int64_t)(rng_u64(&r) % (uint64_t)(c->part[f].count - length + 1));
}
