/* token/tokenizer.c - a tokenizer from its arrays: pieces, special tokens, stop tokens, and the questions one asks. */
#include "token/tokenizer.h"

#include "base/memory.h"
#include "token/tokenizer_parts.h"
#include "token/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char *const stop_names[] = {
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|eot|>",
    "<|return|>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "</s>",
    "<EOT>",
    "<|endofturn|>",
    "<|EOT|>",
    "<|end_of_turn|>",
    "<end_of_utterance>",
    "<|end_of_sentence|>",
    "<｜end▁of▁sentence｜>",
    "<|END_OF_TURN_TOKEN|>",
};

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    token_vocab_free(&t->vocab);
    symbol_table_free(&t->symbols);
    memory_free(t->pieces);
    memory_free(t->piece_at);
    memory_free(t->specials);
    memory_free(t->stop);
    memory_free(t);
}

static bool is_special(const token_entry *e) {
    return e->type == TOKEN_CONTROL || e->type == TOKEN_USER || e->type == TOKEN_UNKNOWN;
}

/* What a token decodes to, into `out`; a SentencePiece mark becomes a space. */
static size_t write_piece(const tokenizer *t, size_t id, uint8_t *out) {
    token_text s = t->symbols.spelling[id];
    const uint8_t *text = t->symbols.bytes + s.at;
    if (t->vocab.model != TOKEN_SPM || is_special(&t->vocab.tokens[id])) {
        memcpy(out, text, s.size);
        return s.size;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.size;) {
        bool mark = s.size - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        out[n++] = mark ? ' ' : text[i];
        i += mark ? 3 : 1;
    }
    return n;
}

static bool make_pieces(tokenizer *t) {
    size_t total = 1, count = t->vocab.count;
    for (size_t i = 0; i < count; i++) total += t->symbols.spelling[i].size;
    t->pieces = memory_alloc(total);
    t->piece_at = memory_alloc((count + 1) * sizeof *t->piece_at);
    if (!t->pieces || !t->piece_at) return false;
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        t->piece_at[i] = at;
        size_t n = write_piece(t, i, t->pieces + at);
        if (n > t->longest_piece) t->longest_piece = n;
        at += (uint32_t)n;
    }
    t->piece_at[count] = at;
    return true;
}

static int by_first_byte(const void *a, const void *b, void *tokenizer_ptr) {
    const tokenizer *t = tokenizer_ptr;
    pith_bytes x = tokenizer_piece(t, *(const int32_t *)a), y = tokenizer_piece(t, *(const int32_t *)b);
    if (x.data[0] != y.data[0]) return (int)x.data[0] - (int)y.data[0];
    if (x.size != y.size) return x.size > y.size ? -1 : 1;
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

static bool make_specials(tokenizer *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->vocab.count; i++) n += is_special(&t->vocab.tokens[i]);
    t->specials = memory_alloc(n * sizeof *t->specials);
    if (!t->specials) return false;
    n = 0;
    for (size_t i = 0; i < t->vocab.count; i++)
        if (is_special(&t->vocab.tokens[i]) && tokenizer_piece(t, (int32_t)i).size > 0) t->specials[n++] = (int32_t)i;
    qsort_r(t->specials, n, sizeof *t->specials, by_first_byte, t);
    size_t at = 0;
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < n && tokenizer_piece(t, t->specials[at]).data[0] < byte) at++;
        t->special_at[byte] = (uint32_t)at;
    }
    return true;
}

static void mark_stop(tokenizer *t, int32_t id) {
    if (id >= 0) t->stop[id] = 1;
}

static bool make_stops(tokenizer *t) {
    t->stop = memory_zero(t->vocab.count, 1);
    if (!t->stop) return false;
    mark_stop(t, t->vocab.eos);
    for (size_t i = 0; i < t->special_at[256]; i++) {
        pith_bytes piece = tokenizer_piece(t, t->specials[i]);
        for (size_t k = 0; k < sizeof stop_names / sizeof *stop_names; k++)
            if (strlen(stop_names[k]) == piece.size && memcmp(stop_names[k], piece.data, piece.size) == 0)
                mark_stop(t, t->specials[i]);
    }
    if (t->vocab.eot < 0) { /* the turn's end by its usual names */
        static const char *const turn[] = {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"};
        for (size_t k = 0; k < sizeof turn / sizeof *turn && t->vocab.eot < 0; k++)
            t->vocab.eot = tokenizer_find(t, turn[k]);
    }
    mark_stop(t, t->vocab.eot);
    return true;
}

static pith_status check(const token_vocab *v, pith_error *err) {
    if (v->count == 0) return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected a vocabulary, found no tokens");
    const struct {
        const char *name;
        int32_t id;
    } named[] = {
        {"start", v->bos}, {"end", v->eos}, {"turn end", v->eot}, {"unknown", v->unknown}, {"padding", v->pad}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i].id < -1 || named[i].id >= (int64_t)v->count)
            return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected the %s token below %zu, found %d", named[i].name,
                             v->count, named[i].id);
    if (v->model == TOKEN_BPE && !pretoken_find(v->pre))
        return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected a pre-tokenizer among %s; found \"%s\"",
                         pretoken_names(), v->pre);
    return PITH_OK;
}

pith_status tokenizer_new(tokenizer **out, token_vocab *v, pith_error *err) {
    *out = NULL;
    tokenizer *t = memory_zero(1, sizeof *t);
    pith_status s = t ? check(v, err) : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s != PITH_OK) {
        token_vocab_free(v);
        memory_free(t);
        return s;
    }
    t->vocab = *v;
    *v = token_vocab_empty(v->model);
    if (t->vocab.model == TOKEN_BPE) t->pre = pretoken_find(t->vocab.pre);
    s = symbol_table_build(&t->symbols, &t->vocab, err);
    if (s == PITH_OK && !(make_pieces(t) && make_specials(t) && make_stops(t)))
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s != PITH_OK) tokenizer_free(t);
    else *out = t;
    return s;
}

pith_status tokenizer_new_bytes(tokenizer **t, const char *const *specials, size_t count, pith_error *err) {
    *t = NULL;
    token_vocab v = token_vocab_empty(TOKEN_BPE);
    memcpy(v.pre, "gpt-2", sizeof "gpt-2");
    pith_status s = PITH_OK;
    for (unsigned i = 0; i < 256 && s == PITH_OK; i++) {
        uint8_t letter[4];
        uint32_t size = unicode_write(token_byte_letter((uint8_t)i), letter);
        s = token_vocab_add(&v, (const char *)letter, size, 0, TOKEN_NORMAL, err);
    }
    if (s == PITH_OK) s = token_vocab_add(&v, "<|endoftext|>", 13, 0, TOKEN_CONTROL, err);
    for (size_t i = 0; i < count && s == PITH_OK; i++)
        s = token_vocab_add(&v, specials[i], strlen(specials[i]), 0, TOKEN_CONTROL, err);
    v.bos = v.eos = 256;
    if (s == PITH_OK) return tokenizer_new(t, &v, err);
    token_vocab_free(&v);
    return s;
}

pith_bytes tokenizer_piece(const tokenizer *t, int32_t id) {
    if (id < 0 || (size_t)id >= t->vocab.count) return (pith_bytes){t->pieces, 0};
    return (pith_bytes){t->pieces + t->piece_at[id], t->piece_at[id + 1] - t->piece_at[id]};
}

size_t tokenizer_count(const tokenizer *t) { return t->vocab.count; }

int32_t tokenizer_find(const tokenizer *t, const char *text) {
    size_t size = strlen(text);
    for (int32_t i = 0; (size_t)i < t->vocab.count; i++) {
        pith_bytes piece = tokenizer_piece(t, i);
        if (piece.size == size && memcmp(piece.data, text, size) == 0) return i;
    }
    return -1;
}

bool tokenizer_is_stop(const tokenizer *t, int32_t id) { return id >= 0 && (size_t)id < t->vocab.count && t->stop[id]; }

bool tokenizer_is_special(const tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->vocab.count && is_special(&t->vocab.tokens[id]);
}

const token_vocab *tokenizer_vocab(const tokenizer *t) { return &t->vocab; }

pith_status tokenizer_set_chat_template(tokenizer *t, pith_bytes jinja, pith_error *err) {
    char *copy = memory_text_n((const char *)jinja.data, jinja.size);
    if (!copy) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    memory_free(t->vocab.chat_template);
    t->vocab.chat_template = copy;
    return PITH_OK;
}
