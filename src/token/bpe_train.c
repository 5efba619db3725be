/* token/bpe_train.c - trains a byte-level BPE: texts are counted one by one, merges are learned, a tokenizer.json is
 * written. The counting is bpe_count.c, the learning bpe_merge.c. */
#include "token/bpe_train.h"

#include "base/memory.h"
#include "file/output.h"
#include "token/bpe_count.h"
#include "token/bpe_merge.h"
#include "token/unicode.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

static const char *const default_specials[] = {"<|endoftext|>"};

bpe_train_options bpe_train_defaults(void) {
    return (bpe_train_options){
        .vocab = 8192, .min_frequency = 2, .specials = default_specials, .special_count = 1, .documents = true};
}

static pith_status no_memory(const char *where, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory");
}

/* The whole file, unpacked if it is gzip; the caller frees. */
static pith_status read_text(const pith_context *c, const char *path, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    gzFile f = gzopen(path, "rb");
    if (!f) return pith_fail_errno(err, path, errno ? errno : ENOMEM, "cannot open the text");
    size_t capacity = 0;
    pith_status s = PITH_OK;
    for (int got = 1; got > 0 && s == PITH_OK;) {
        if (memory_reserve((void **)&out->data, &capacity, out->size + (1 << 20), 1) != 0) s = no_memory(path, err);
        else if (c && c->memory_limit && out->size > c->memory_limit / 2)
            s = pith_fail(err, PITH_LIMIT, path, -1, "expected text of at most half the memory limit");
        else {
            got = gzread(f, out->data + out->size, 1 << 20);
            if (got > 0) out->size += (size_t)got;
            if (got < 0)
                s = pith_fail(err, PITH_IO, path, (int64_t)out->size, "cannot read the text: %s", gzerror(f, &got));
        }
    }
    int broken = gzclose(f);
    if (s == PITH_OK && broken == Z_BUF_ERROR)
        s = pith_fail(err, PITH_TRUNCATED, path, -1, "expected the end of the gzip stream");
    if (s != PITH_OK) {
        memory_free(out->data);
        *out = (pith_bytes){NULL, 0};
    }
    return s;
}

static pith_status check(const bpe_train_options *o, pith_error *err) {
    if (o->vocab < 256 + o->special_count || o->vocab > 1 << 24)
        return pith_fail(err, PITH_USAGE, "--vocab", -1,
                         "expected %zu to %d tokens (256 bytes and the specials at least), found %zu",
                         256 + o->special_count, 1 << 24, o->vocab);
    for (size_t i = 0; i < o->special_count; i++) {
        if (!*o->specials[i])
            return pith_fail(err, PITH_USAGE, NULL, -1, "expected a name for special token %zu, found none", i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(o->specials[i], o->specials[k]) == 0)
                return pith_fail(err, PITH_USAGE, NULL, -1, "expected different special tokens, found %s twice",
                                 o->specials[i]);
    }
    return PITH_OK;
}

/* A token's bytes in gpt-2's letters; room for two bytes each. */
static size_t spell(const word_table *tokens, size_t i, char *out) {
    const word_entry *e = &tokens->words[i];
    size_t n = 0;
    for (uint32_t k = 0; k < e->size; k++)
        n += unicode_write(token_byte_letter(tokens->bytes[e->at + k]), (uint8_t *)out + n);
    return n;
}

/* Whether a later merge is of the same pair: then that one counts. `seen` is a table of pairs, filled from the end. */
static bool *last_of_equals(const bpe_learned *l) {
    bool *last = memory_alloc(l->merge_count);
    word_table seen = {0};
    bool ok = last != NULL;
    for (size_t i = l->merge_count; i-- > 0 && ok;) {
        size_t before = seen.count;
        ok = word_table_add(&seen, (const uint8_t *)l->merges[i], sizeof l->merges[i], 1) >= 0;
        last[i] = seen.count > before;
    }
    word_table_free(&seen);
    if (!ok) memory_free(last);
    return ok ? last : NULL;
}

static pith_status fill_vocab(token_vocab *v, const bpe_learned *l, const bpe_train_options *o, pith_error *err) {
    size_t longest = 0, first = o->special_count;
    for (size_t i = 0; i < l->tokens.count; i++)
        if (l->tokens.words[i].size > longest) longest = l->tokens.words[i].size;
    char *left = memory_alloc(2 * longest + 1), *right = memory_alloc(2 * longest + 1);
    bool *last = last_of_equals(l);
    pith_status s = left && right && last ? PITH_OK : no_memory(NULL, err);
    for (size_t i = 0; i < first && s == PITH_OK; i++)
        s = token_vocab_add(v, o->specials[i], strlen(o->specials[i]), 0, TOKEN_CONTROL, err);
    for (size_t i = 0; i < l->tokens.count && s == PITH_OK; i++)
        s = token_vocab_add(v, left, spell(&l->tokens, i, left), 0, TOKEN_NORMAL, err);
    for (size_t i = 0; i < l->merge_count && s == PITH_OK; i++) {
        if (!last[i]) continue;
        size_t a = spell(&l->tokens, l->merges[i][0] - first, left),
               b = spell(&l->tokens, l->merges[i][1] - first, right);
        s = token_vocab_add_merge(v, left, a, right, b, err);
    }
    memory_free(left);
    memory_free(right);
    memory_free(last);
    return s;
}

static pith_status learn(const pith_context *c, const word_table *words, const bpe_train_options *o, token_vocab *v,
                         pith_error *err) {
    bpe_learned l;
    *v = token_vocab_empty(TOKEN_BPE);
    memcpy(v->pre, "gpt-2", sizeof "gpt-2");
    pith_status s = bpe_learn(c, words, (uint32_t)o->special_count, o->vocab, o->min_frequency, &l, err);
    if (s == PITH_OK) s = fill_vocab(v, &l, o, err);
    bpe_learned_free(&l);
    if (s != PITH_OK) token_vocab_free(v);
    return s;
}

pith_status bpe_train_text(const pith_context *c, pith_bytes text, const bpe_train_options *o, token_vocab *v,
                           pith_error *err) {
    word_table words = {0};
    *v = token_vocab_empty(TOKEN_BPE);
    pith_status s = check(o, err);
    if (s == PITH_OK) s = bpe_count_words(&words, text, o->documents, err);
    if (s == PITH_OK) s = learn(c, &words, o, v, err);
    word_table_free(&words);
    return s;
}

pith_status bpe_train_run(const pith_context *c, const char *const *paths, size_t n, const bpe_train_options *o,
                          const char *out, pith_error *err) {
    word_table words = {0};
    token_vocab v = token_vocab_empty(TOKEN_BPE);
    pith_bytes json = {NULL, 0};
    pith_status s = n ? check(o, err) : pith_fail(err, PITH_USAGE, NULL, -1, "expected at least one text");
    for (size_t i = 0; i < n && s == PITH_OK; i++) {
        pith_bytes text;
        s = output_not_input(out, paths[i], err);
        if (s == PITH_OK) s = read_text(c, paths[i], &text, err);
        if (s != PITH_OK) break;
        s = bpe_count_words(&words, text, o->documents, err);
        memory_free(text.data);
        if (s == PITH_OK) s = pith_progress(c, (double)i + 1, (double)n, "texts", err);
    }
    if (s == PITH_OK) s = learn(c, &words, o, &v, err);
    if (s == PITH_OK) s = token_vocab_to_json(&v, &json, err);
    if (s == PITH_OK) s = output_file(out, o->replace, json.data, json.size, err);
    memory_free(json.data);
    token_vocab_free(&v);
    word_table_free(&words);
    return s;
}
