/* token/decode.c - ids to text, also as a stream: a character is given out only once all its bytes are there. */
#include "base/memory.h"
#include "token/tokenizer_parts.h"
#include "token/unicode.h"

#include <string.h>

token_decoder token_decoder_new(const tokenizer *t, bool specials) {
    return (token_decoder){.t = t, .specials = specials};
}

size_t token_decoder_room(const tokenizer *t) { return t->longest_piece + 4; }

/* What a token adds to the text before characters are completed. */
static pith_bytes added(token_decoder *d, int32_t id) {
    pith_bytes piece = tokenizer_piece(d->t, id);
    const token_vocab *v = &d->t->vocab;
    if (piece.size == 0) return piece;
    uint8_t type = v->tokens[id].type;
    if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN) {
        if (!d->specials) piece.size = 0;
        return piece;
    }
    if (!d->started && v->prefix != TOKEN_PREFIX_NEVER && type != TOKEN_BYTE && piece.data[0] == ' ')
        piece.data++, piece.size--;
    d->started = true;
    return piece;
}

size_t token_decoder_push(token_decoder *d, int32_t id, uint8_t *out, size_t capacity) {
    pith_bytes piece = added(d, id);
    if (piece.size == 0 || capacity < d->waiting_count + piece.size)
        return piece.size ? d->waiting_count + piece.size : 0;
    memcpy(out, d->waiting, d->waiting_count);
    memcpy(out + d->waiting_count, piece.data, piece.size);
    size_t all = d->waiting_count + piece.size, whole = unicode_complete(out, all);
    d->waiting_count = (uint32_t)(all - whole);
    memcpy(d->waiting, out + whole, d->waiting_count);
    return whole;
}

size_t token_decoder_end(token_decoder *d, uint8_t out[4]) {
    size_t n = d->waiting_count;
    memcpy(out, d->waiting, n);
    d->waiting_count = 0;
    return n;
}

pith_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, bool specials, pith_bytes *out,
                             pith_error *err) {
    token_decoder d = token_decoder_new(t, specials);
    size_t total = 4, at = 0;
    for (size_t i = 0; i < count; i++) total += tokenizer_piece(t, ids[i]).size;
    *out = (pith_bytes){memory_alloc(total + 4), 0};
    if (!out->data) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t i = 0; i < count; i++) at += token_decoder_push(&d, ids[i], out->data + at, total + 4 - at);
    out->size = at + token_decoder_end(&d, out->data + at);
    return PITH_OK;
}
