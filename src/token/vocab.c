/* token/vocab.c - filling the plain arrays of a tokenizer. */
#include "token/vocab.h"

#include "base/memory.h"

#include <string.h>

token_vocab token_vocab_empty(token_model model) {
    return (token_vocab){.model = model, .bos = -1, .eos = -1, .eot = -1, .unknown = -1, .pad = -1};
}

void token_vocab_free(token_vocab *v) {
    memory_free(v->tokens);
    memory_free(v->merges);
    memory_free(v->text);
    memory_free(v->chat_template);
    *v = token_vocab_empty(v->model);
}

static pith_status store(token_vocab *v, const char *text, size_t size, token_text *out, pith_error *err) {
    if (size > UINT32_MAX - v->text_size)
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected less than 4 GiB of token text");
    if (memory_reserve((void **)&v->text, &v->text_capacity, v->text_size + size + 1, 1) != 0)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (size) memcpy(v->text + v->text_size, text, size);
    *out = (token_text){(uint32_t)v->text_size, (uint32_t)size};
    v->text_size += size;
    return PITH_OK;
}

pith_status token_vocab_add(token_vocab *v, const char *text, size_t size, float score, int type, pith_error *err) {
    if (v->count >= INT32_MAX / 4) return pith_fail(err, PITH_LIMIT, NULL, -1, "expected fewer than 2^29 tokens");
    if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
        return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected a token type 1 to 6, found %d for token %zu", type,
                         v->count);
    token_entry e = {.score = score, .type = (uint8_t)type};
    pith_status s = store(v, text, size, &e.text, err);
    if (s != PITH_OK) return s;
    if (memory_reserve((void **)&v->tokens, &v->capacity, v->count + 1, sizeof *v->tokens) != 0)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    v->tokens[v->count++] = e;
    return PITH_OK;
}

pith_status token_vocab_add_merge(token_vocab *v, const char *left, size_t left_size, const char *right,
                                  size_t right_size, pith_error *err) {
    token_merge m;
    pith_status s = store(v, left, left_size, &m.left, err);
    if (s == PITH_OK) s = store(v, right, right_size, &m.right, err);
    if (s != PITH_OK) return s;
    if (memory_reserve((void **)&v->merges, &v->merge_capacity, v->merge_count + 1, sizeof m) != 0)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    v->merges[v->merge_count++] = m;
    return PITH_OK;
}

pith_status token_vocab_add_merge_line(token_vocab *v, const char *line, size_t size, pith_error *err) {
    const char *space = size > 2 ? memchr(line + 1, ' ', size - 2) : NULL;
    if (!space)
        return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected merge %zu as \"left right\", found \"%.*s\"",
                         v->merge_count, size > 60 ? 60 : (int)size, line);
    size_t left = (size_t)(space - line);
    return token_vocab_add_merge(v, line, left, space + 1, size - left - 1, err);
}

const char *token_vocab_text(const token_vocab *v, token_text t) { return v->text + t.at; }

int32_t token_vocab_find(const token_vocab *v, const char *text) {
    size_t size = strlen(text);
    for (size_t i = 0; i < v->count; i++)
        if (v->tokens[i].text.size == size && memcmp(token_vocab_text(v, v->tokens[i].text), text, size) == 0)
            return (int32_t)i;
    return -1;
}

/* Printable Latin-1 bytes are their own letters; the other 68 take U+0100 and on, in order. */
static int own_letter(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

uint32_t token_byte_letter(uint8_t byte) {
    if (own_letter(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xad ? 0x143 : 0x121u + byte - 0x7f;
}

int token_letter_byte(uint32_t point) {
    if (point < 256) return own_letter(point) ? (int)point : -1;
    if (point <= 0x120) return (int)(point - 0x100);
    if (point <= 0x142) return (int)(point - 0x121 + 0x7f);
    return point == 0x143 ? 0xad : -1;
}
