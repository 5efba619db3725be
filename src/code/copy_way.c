/* code/copy_way.c - greedy search for repeated words by a hash of pairs; about 20 ns a word, 8 bytes of memory. */
#include "code/copy_way.h"

#include "base/bytes.h"

#include <string.h>

enum { HASH_BITS = 16, CHAIN = 24 };

typedef struct words { /* magnitudes */
    const uint8_t *data;
    size_t count;
    int width;
} words;

static uint32_t word_at(const words *w, size_t i) {
    return w->width == 4 ? get32(w->data + 4 * i) & 0x7fffffff : get16(w->data + 2 * i) & 0x7fff;
}

static uint32_t pair_hash(uint32_t a, uint32_t b) { return (a * 2654435761u ^ b * 2246822519u) >> (32 - HASH_BITS); }

typedef struct match {
    size_t from, length;
    bool backward;
} match;

static size_t match_length(const words *w, size_t at, size_t from, bool backward) {
    size_t most = w->count - at, n = 0;
    if (backward && most > from + 1) most = from + 1;
    while (n < most && word_at(w, at + n) == word_at(w, backward ? from - n : from + n)) n++;
    return n;
}

/* The longest repeat at `at`, forward from a pair (a, b) seen before or backward from (b, a). */
static match find(const words *w, size_t at, const int32_t *head, const int32_t *before) {
    match best = {0, 0, false};
    if (at + 1 >= w->count) return best;
    uint32_t a = word_at(w, at), b = word_at(w, at + 1);
    for (int backward = 0; backward < 2; backward++) {
        int32_t p = head[backward ? pair_hash(b, a) : pair_hash(a, b)];
        for (int tries = 0; p >= 0 && tries < CHAIN; tries++, p = before[p]) {
            size_t from = (size_t)p + (size_t)backward, n = from < at ? match_length(w, at, from, backward) : 0;
            if (n > best.length) best = (match){from, n, backward};
        }
    }
    return best;
}

enum { NUMBERS = 3 * VARINT_MOST };

static bool push(pith_bytes *script, size_t *capacity, uint64_t literals, const match *m, size_t at) {
    if (memory_reserve((void **)&script->data, capacity, script->size + NUMBERS, 1) != 0) return false;
    uint8_t *p = script->data + script->size;
    p += put_varint(p, literals);
    p += put_varint(p, m->length);
    if (m->length) p += put_varint(p, (uint64_t)(at - m->from) * 2 + m->backward);
    script->size = (size_t)(p - script->data);
    return true;
}

static void put_literals(const words *w, size_t from, size_t count, pith_bytes *out) {
    size_t n = count * (size_t)w->width;
    if (n) memcpy(out->data + out->size, w->data + from * (size_t)w->width, n);
    out->size += n;
}

static unsigned sign_at(const words *w, size_t i) { return w->data[(i + 1) * (size_t)w->width - 1] >> 7; }

/* Which of the copied words have another sign than their source. */
static void put_signs(const words *w, size_t at, const match *m, pith_bytes *signs, size_t *count) {
    for (size_t i = 0; i < m->length; i++, ++*count) {
        unsigned other = sign_at(w, at + i) ^ sign_at(w, m->backward ? m->from - i : m->from + i);
        signs->data[*count / 8] |= (uint8_t)(other << (*count % 8));
    }
    signs->size = (*count + 7) / 8;
}

static bool search(const words *w, copy_parts *out, int32_t *head, int32_t *before) {
    size_t least = w->width == 4 ? 3 : 5, capacity = 0, start = 0, at = 0, copied = 0;
    while (at < w->count) {
        match m = find(w, at, head, before);
        size_t step = m.length >= least ? m.length : 1;
        if (step > 1) {
            if (!push(&out->script, &capacity, at - start, &m, at)) return false;
            put_literals(w, start, at - start, &out->literals);
            put_signs(w, at, &m, &out->signs, &copied);
            start = at + step;
        }
        for (size_t end = at + step; at < end; at++)
            if (at + 1 < w->count) {
                uint32_t h = pair_hash(word_at(w, at), word_at(w, at + 1));
                before[at] = head[h];
                head[h] = (int32_t)at;
            }
    }
    put_literals(w, start, at - start, &out->literals);
    return push(&out->script, &capacity, at - start, &(match){0, 0, false}, at);
}

pith_status copy_encode(pith_bytes in, int width, copy_parts *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    words w = {in.data, in.size / (size_t)width, width};
    if (w.count > INT32_MAX) return pith_fail(err, PITH_LIMIT, NULL, -1, "expected fewer than 2^31 words");
    int32_t *head = memory_alloc(sizeof *head << HASH_BITS), *before = memory_alloc(sizeof *before * w.count);
    out->literals.data = memory_alloc(in.size);
    out->signs.data = memory_zero(w.count / 8 + 1, 1);
    bool ok = head && before && out->literals.data && out->signs.data;
    if (ok) {
        memset(head, 0xff, sizeof *head << HASH_BITS);
        ok = search(&w, out, head, before);
    }
    memory_free(head);
    memory_free(before);
    return ok ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

/* One word from its source, its sign turned where `other` is set. */
static void copy_word(uint8_t *to, const uint8_t *from, size_t width, unsigned other) {
    memmove(to, from, width);
    to[width - 1] ^= (uint8_t)(other << 7);
}

/* False where the script does not fill `out` exactly from all literals and signs. */
static bool run_script(const copy_parts *in, size_t width, pith_bytes out) {
    size_t count = out.size / width, at = 0, read = 0, copied = 0;
    pith_bytes script = in->script;
    for (;;) {
        uint64_t literals, length, source;
        if (!bytes_take_varint(&script, &literals) || !bytes_take_varint(&script, &length)) return false;
        if (literals > count - at || literals > in->literals.size / width - read) return false;
        if (literals) memcpy(out.data + at * width, in->literals.data + read * width, (size_t)literals * width);
        at += (size_t)literals;
        read += (size_t)literals;
        if (!length) break;
        if (length > count - at || !bytes_take_varint(&script, &source)) return false;
        bool backward = source & 1;
        uint64_t distance = source >> 1;
        if (distance < 1 || distance > at || (backward && length > at - distance + 1)) return false;
        if (length > 8 * (uint64_t)in->signs.size - copied) return false;
        const uint8_t *from = out.data + (at - (size_t)distance) * width;
        for (size_t i = 0; i < length; i++, at++, copied++) { /* a word may repeat one this copy has just written */
            copy_word(out.data + at * width, from, width, in->signs.data[copied / 8] >> (copied % 8) & 1);
            if (i + 1 < length) from += backward ? -(ptrdiff_t)width : (ptrdiff_t)width;
        }
    }
    return at == count && read * width == in->literals.size && !script.size && in->signs.size == (copied + 7) / 8;
}

pith_status copy_decode(const copy_parts *in, int width, pith_bytes out, pith_error *err) {
    if (run_script(in, (size_t)width, out)) return PITH_OK;
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected a script of copies that fills %zu bytes", out.size);
}
