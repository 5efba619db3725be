/* token/llama2c.c - reads llama2.c's tokenizer: the longest token's size, then for each token score, size and bytes.
 *
 * The format (karpathy/llama2.c, export of tokenizer.py) states neither how many tokens there are nor which are
 * special; they are those of the SentencePiece models it is made from: 0 unknown, 1 start, 2 end, 3 to 258 the bytes,
 * and spaces are plain. */
#include "base/memory.h"
#include "token/tokenizer.h"

#include <string.h>

enum { FIRST_BYTE = 3, FIRST_NORMAL = 259, LONGEST = 256 };

static pith_status add_normal(token_vocab *v, const char *text, uint32_t size, float score, pith_error *err) {
    char spelled[3 * LONGEST];
    size_t n = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (text[i] == ' ') memcpy(spelled + n, "\xe2\x96\x81", 3), n += 3;
        else spelled[n++] = text[i];
    }
    return token_vocab_add(v, spelled, n, score, TOKEN_NORMAL, err);
}

/* Token i at f.data + *at, which moves past it. */
static pith_status read_token(token_vocab *v, const char *where, pith_bytes f, size_t *at, size_t i, pith_error *err) {
    static const char *const names[FIRST_BYTE] = {"<unk>", "<s>", "</s>"};
    float score;
    uint32_t size = 0;
    bool header = f.size - *at >= 8;
    if (header) {
        memcpy(&score, f.data + *at, 4);
        memcpy(&size, f.data + *at + 4, 4);
    }
    if (!header || size > f.size - *at - 8)
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)*at, "expected token %zu, found the end of the file", i);
    if (size > LONGEST)
        return pith_fail(err, PITH_CORRUPT, where, (int64_t)*at + 4, "expected at most %d bytes in token %zu, found %u",
                         LONGEST, i, size);
    const char *text = (const char *)f.data + *at + 8;
    *at += 8 + size;
    if (i < FIRST_BYTE)
        return token_vocab_add(v, names[i], strlen(names[i]), 0, i == 0 ? TOKEN_UNKNOWN : TOKEN_CONTROL, err);
    if (i < FIRST_NORMAL) return token_vocab_add(v, text, size, 0, TOKEN_BYTE, err);
    return add_normal(v, text, size, score, err);
}

pith_status tokenizer_from_llama2c(tokenizer **t, const char *where, pith_bytes f, size_t vocab, pith_error *err) {
    *t = NULL;
    token_vocab v = token_vocab_empty(TOKEN_SPM);
    pith_status s = PITH_OK;
    size_t at = 4;
    if (f.size < 4)
        s = pith_fail(err, PITH_TRUNCATED, where, 0, "expected a llama2.c tokenizer, found %zu bytes", f.size);
    for (size_t i = 0; i < vocab && s == PITH_OK; i++) s = read_token(&v, where, f, &at, i, err);
    if (s == PITH_OK && at != f.size)
        s = pith_fail(err, PITH_MISMATCH, where, (int64_t)at, "expected %zu tokens, found %zu more bytes after them",
                      vocab, f.size - at);
    if (s == PITH_OK && vocab < FIRST_NORMAL)
        s = pith_fail(err, PITH_CORRUPT, where, -1, "expected at least %d tokens, found %zu", FIRST_NORMAL, vocab);
    v.unknown = 0, v.bos = 1, v.eos = 2;
    v.add_bos = v.byte_fallback = true;
    v.prefix = TOKEN_PREFIX_ALWAYS;
    if (s == PITH_OK) return tokenizer_new(t, &v, err);
    token_vocab_free(&v);
    return s;
}
