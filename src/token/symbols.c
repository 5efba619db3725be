/* token/symbols.c - builds the tables by which words are merged.
 *
 * Ranked merges are taken as listed. Where a SentencePiece model has scores only, every way to make a token of two
 * symbols becomes a pair whose rank is the place of the token's score: merging the best score first is then merging
 * the lowest rank first, and one engine serves both. Control, unknown, unused and byte tokens are never merged to: text
 * cannot spell them by accident. */
#include "token/symbols.h"

#include "base/hash.h"
#include "base/memory.h"
#include "token/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SCORED = 1024 }; /* bytes; splits of a token cost their square, and no trained token comes near */

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581 */

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

void symbol_table_free(symbol_table *s) {
    memory_free(s->bytes);
    memory_free(s->spelling);
    memory_free(s->places);
    memory_free(s->pairs);
    *s = (symbol_table){0};
}

static size_t place_of(const symbol_table *s, const uint8_t *text, size_t size) {
    size_t mask = s->place_count - 1, at = hash_bytes(text, size) & mask;
    for (; s->places[at]; at = (at + 1) & mask) {
        token_text t = s->spelling[s->places[at] - 1];
        if (t.size == size && memcmp(s->bytes + t.at, text, size) == 0) break;
    }
    return at;
}

int32_t symbol_find(const symbol_table *s, const uint8_t *text, size_t size) {
    if (size == 1) return s->single[text[0]];
    return (int32_t)s->places[place_of(s, text, size)] - 1;
}

static bool grow_places(symbol_table *s) {
    size_t count = s->place_count ? s->place_count * 2 : 1024;
    uint32_t *old = s->places, *places = memory_zero(count, sizeof *places);
    if (!places) return false;
    size_t old_count = s->place_count;
    s->places = places;
    s->place_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (!old[i]) continue;
        token_text t = s->spelling[old[i] - 1];
        places[place_of(s, s->bytes + t.at, t.size)] = old[i];
    }
    memory_free(old);
    return true;
}

/* Adds a spelling; `found` makes it one that text can have, unless an earlier symbol is spelled the same. */
static bool add_symbol(symbol_table *s, const uint8_t *text, size_t size, bool found) {
    if (size > UINT32_MAX - s->bytes_size ||
        memory_reserve((void **)&s->bytes, &s->bytes_capacity, s->bytes_size + size + 1, 1) != 0 ||
        memory_reserve((void **)&s->spelling, &s->capacity, s->count + 1, sizeof *s->spelling) != 0)
        return false;
    if (size) memcpy(s->bytes + s->bytes_size, text, size);
    s->spelling[s->count] = (token_text){(uint32_t)s->bytes_size, (uint32_t)size};
    s->bytes_size += size;
    uint32_t number = (uint32_t)s->count++;
    if (!found || size == 0) return true;
    if (2 * s->used >= s->place_count && !grow_places(s)) return false;
    size_t at = place_of(s, text, size);
    if (s->places[at]) return true;
    s->places[at] = number + 1;
    s->used++;
    if (size == 1) s->single[text[0]] = (int32_t)number;
    return true;
}

/* The symbol of a spelling, made if there is none. The text must not lie in s->bytes. */
static int32_t intern(symbol_table *s, const uint8_t *text, size_t size) {
    int32_t found = symbol_find(s, text, size);
    if (found != SYMBOL_NONE || s->count >= INT32_MAX) return found;
    return add_symbol(s, text, size, true) ? (int32_t)s->count - 1 : SYMBOL_NONE;
}

static size_t pair_place(const symbol_table *s, uint64_t key) {
    size_t mask = s->pair_places - 1, at = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (s->pairs[at].key != key && s->pairs[at].key != UINT64_MAX) at = (at + 1) & mask;
    return at;
}

const symbol_pair *symbol_pair_find(const symbol_table *s, int32_t left, int32_t right) {
    if (left == SYMBOL_NONE || right == SYMBOL_NONE) return NULL;
    const symbol_pair *p = &s->pairs[pair_place(s, (uint64_t)left << 32 | (uint32_t)right)];
    return p->key == UINT64_MAX ? NULL : p;
}

static bool grow_pairs(symbol_table *s) {
    size_t count = s->pair_places ? s->pair_places * 2 : 1024, old_count = s->pair_places;
    symbol_pair *old = s->pairs, *pairs = memory_alloc(count * sizeof *pairs);
    if (!pairs) return false;
    memset(pairs, 0xff, count * sizeof *pairs);
    s->pairs = pairs;
    s->pair_places = count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i].key != UINT64_MAX) pairs[pair_place(s, old[i].key)] = old[i];
    memory_free(old);
    return true;
}

static bool ends_in_mark(const symbol_table *s, int32_t symbol) {
    token_text t = s->spelling[symbol];
    return t.size >= 3 && memcmp(s->bytes + t.at + t.size - 3, space_mark, 3) == 0;
}

static bool starts_with_mark(const symbol_table *s, int32_t symbol) {
    token_text t = s->spelling[symbol];
    return t.size >= 3 && memcmp(s->bytes + t.at, space_mark, 3) == 0;
}

static bool add_pair(symbol_table *s, int32_t left, int32_t right, uint32_t rank, int32_t result) {
    if (2 * s->pair_count >= s->pair_places && !grow_pairs(s)) return false;
    uint64_t key = (uint64_t)left << 32 | (uint32_t)right;
    symbol_pair *p = &s->pairs[pair_place(s, key)];
    if (p->key != UINT64_MAX) return true; /* the first of equal merges counts */
    *p = (symbol_pair){key, rank, (uint32_t)result};
    s->pair_count++;
    if (starts_with_mark(s, right) && !ends_in_mark(s, left)) s->splits_at_space = false;
    return true;
}

/* Spelling of a token in the symbols' terms, into `out` (room for the text's bytes). *spelled: text can have it, which
 * is not so for byte-level tokens with characters outside the alphabet. */
static size_t spell(const token_vocab *v, token_text t, bool letters, uint8_t *out, bool *spelled) {
    const uint8_t *text = (const uint8_t *)token_vocab_text(v, t);
    *spelled = true;
    if (letters && v->model == TOKEN_BPE) {
        size_t n = 0, at = 0;
        while (at < t.size) {
            unicode_char c = unicode_read(text + at, t.size - at);
            int byte = token_letter_byte(c.point);
            if (byte < 0) break;
            out[n++] = (uint8_t)byte;
            at += c.bytes;
        }
        if (at == t.size) return n;
    }
    if (t.size) memcpy(out, text, t.size);
    *spelled = !letters || v->model != TOKEN_BPE;
    return t.size;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0x1F>", or -1. */
static int byte_name(const uint8_t *text, size_t size) {
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static pith_status add_tokens(symbol_table *s, const token_vocab *v, uint8_t *spelled, pith_error *err) {
    for (size_t i = 0; i < v->count; i++) {
        const token_entry *e = &v->tokens[i];
        bool plain = e->type == TOKEN_NORMAL || e->type == TOKEN_USER, possible;
        size_t size = spell(v, e->text, e->type == TOKEN_NORMAL, spelled, &possible);
        plain = plain && possible;
        if (e->type == TOKEN_BYTE) {
            int byte = byte_name(spelled, size);
            if (byte < 0)
                return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected byte token %zu as <0x00> to <0xFF>, found %.*s",
                                 i, size > 40 ? 40 : (int)size, (const char *)spelled);
            s->byte[byte] = (int32_t)i;
            spelled[0] = (uint8_t)byte;
            size = 1;
        }
        if (!add_symbol(s, spelled, size, plain)) return no_memory(err);
        if (v->model != TOKEN_SPM && plain && size == 1 && s->byte[spelled[0]] < 0) s->byte[spelled[0]] = (int32_t)i;
    }
    return PITH_OK;
}

static pith_status add_ranked(symbol_table *s, const token_vocab *v, uint8_t *spelled, pith_error *err) {
    for (size_t i = 0; i < v->merge_count; i++) {
        bool possible[2];
        size_t left = spell(v, v->merges[i].left, true, spelled, &possible[0]);
        size_t right = spell(v, v->merges[i].right, true, spelled + left, &possible[1]);
        if (!possible[0] || !possible[1]) continue;
        if (left == 0 || right == 0)
            return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected two strings in merge %zu, found an empty one", i);
        int32_t a = intern(s, spelled, left), b = intern(s, spelled + left, right);
        int32_t both = intern(s, spelled, left + right);
        if (a < 0 || b < 0 || both < 0 || !add_pair(s, a, b, (uint32_t)i, both)) return no_memory(err);
    }
    return PITH_OK;
}

/* A part of a token: a symbol, or one character, for which a symbol is made; SYMBOL_NONE where it can be neither. */
static int32_t part(symbol_table *s, const uint8_t *text, size_t size, bool *failed) {
    int32_t found = symbol_find(s, text, size);
    if (found != SYMBOL_NONE || unicode_read(text, size).bytes != size) return found;
    found = intern(s, text, size);
    *failed |= found == SYMBOL_NONE;
    return found;
}

static bool add_splits(symbol_table *s, int32_t token, const uint8_t *text, size_t size, uint32_t rank) {
    bool failed = false;
    for (size_t at = unicode_read(text, size).bytes; at < size; at += unicode_read(text + at, size - at).bytes) {
        int32_t left = part(s, text, at, &failed), right = part(s, text + at, size - at, &failed);
        if (left == SYMBOL_NONE || right == SYMBOL_NONE) continue;
        if (!add_pair(s, left, right, rank, token)) return false;
    }
    return !failed;
}

static int by_score(const void *a, const void *b, void *vocab) {
    const token_entry *t = ((const token_vocab *)vocab)->tokens;
    float x = t[*(const uint32_t *)a].score, y = t[*(const uint32_t *)b].score;
    return x > y ? -1 : x < y;
}

static pith_status add_scored(symbol_table *s, const token_vocab *v, uint8_t *spelled, pith_error *err) {
    uint32_t *order = memory_alloc(v->count * sizeof *order), n = 0, rank = 0;
    if (!order) return no_memory(err);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < v->count && status == PITH_OK; i++) {
        if (isnan(v->tokens[i].score))
            status = pith_fail(err, PITH_NOT_FINITE, NULL, -1, "expected a score for token %zu, found NaN", i);
        if (v->tokens[i].type == TOKEN_NORMAL || v->tokens[i].type == TOKEN_USER) order[n++] = (uint32_t)i;
    }
    if (status == PITH_OK) qsort_r(order, n, sizeof *order, by_score, (void *)(uintptr_t)v);
    for (uint32_t k = 0; k < n && status == PITH_OK; k++) {
        const token_entry *e = &v->tokens[order[k]];
        if (k > 0 && e->score != v->tokens[order[k - 1]].score) rank = k;
        bool possible;
        size_t size = spell(v, e->text, false, spelled, &possible);
        if (size == 0 || size > LONGEST_SCORED) continue;
        if (symbol_find(s, spelled, size) != (int32_t)order[k]) continue; /* spelled like an earlier one */
        if (!add_splits(s, (int32_t)order[k], spelled, size, rank)) status = no_memory(err);
    }
    memory_free(order);
    return status;
}

static size_t longest_text(const token_vocab *v) {
    size_t most = 0;
    for (size_t i = 0; i < v->count; i++)
        if (v->tokens[i].text.size > most) most = v->tokens[i].text.size;
    for (size_t i = 0; i < v->merge_count; i++) {
        size_t both = (size_t)v->merges[i].left.size + v->merges[i].right.size;
        if (both > most) most = both;
    }
    return most + 1;
}

pith_status symbol_table_build(symbol_table *s, const token_vocab *v, pith_error *err) {
    *s = (symbol_table){.splits_at_space = true};
    for (int i = 0; i < 256; i++) s->single[i] = s->byte[i] = -1;
    uint8_t *spelled = memory_alloc(longest_text(v));
    if (!spelled || !grow_places(s) || !grow_pairs(s)) {
        memory_free(spelled);
        symbol_table_free(s);
        return no_memory(err);
    }
    pith_status status = add_tokens(s, v, spelled, err);
    if (status == PITH_OK && v->model == TOKEN_SPM && v->merge_count == 0) status = add_scored(s, v, spelled, err);
    else if (status == PITH_OK) status = add_ranked(s, v, spelled, err);
    memory_free(spelled);
    if (status != PITH_OK) symbol_table_free(s);
    return status;
}
