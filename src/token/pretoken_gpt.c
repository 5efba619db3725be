/* token/pretoken_gpt.c - the combined expressions of gpt-2, gpt-4 (llama-3, qwen2), o200k (tekken, gpt-4o) and
 * deepseek-v3. Each function tries the alternatives in the expression's order; the expression stands above it. */
#include "token/pretoken_gpt.h"
#include "token/unicode.h"

#include <string.h>

enum { WORD = UNICODE_ANY_LETTER | UNICODE_NUMBER, NOT_SIGN = UNICODE_SPACE | WORD };

size_t pretoken_few(const uint8_t *text, size_t size, uint32_t mask, uint32_t most) {
    size_t at = 0;
    for (uint32_t k = 0; k < most && at < size; k++) {
        unicode_char c = unicode_read(text + at, size - at);
        if (!(c.class & mask)) break;
        at += c.bytes;
    }
    return at;
}

/* 's|'t|'re|'ve|'m|'ll|'d at the start; 0: none. `fold`: in either case, also U+017F, which folds to s. */
static size_t contraction(const uint8_t *text, size_t size, bool fold) {
    if (size < 2 || text[0] != '\'') return 0;
    uint8_t a = text[1], b = size > 2 ? text[2] : 0;
    if (fold) {
        if (a == 0xc5 && b == 0xbf) return 3;
        if (a >= 'A' && a <= 'Z') a |= 32;
        if (b >= 'A' && b <= 'Z') b |= 32;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ at a run of spaces: all of it at the end of the chunk, else all but its last character, if any. */
static size_t spaces(const uint8_t *text, size_t size) {
    size_t n = pretoken_run(text, size, UNICODE_SPACE, true), last = n;
    if (n == size || n == 0) return n;
    do last--;
    while ((text[last] & 0xc0) == 0x80);
    return last ? last : n;
}

/* \s*[\r\n]+ : to the last line end of the run of spaces; 0: none in it. */
static size_t line_ends(const uint8_t *text, size_t size) {
    size_t n = pretoken_run(text, size, UNICODE_SPACE, true);
    while (n > 0 && text[n - 1] != '\r' && text[n - 1] != '\n') n--;
    return n;
}

static bool is_line_end(uint8_t b) { return b == '\r' || b == '\n'; }

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
ptrdiff_t pretoken_match_gpt2(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    size_t n = contraction(text, size, false);
    if (n) return (ptrdiff_t)n;
    size_t blank = text[0] == ' ' && size > 1;
    unicode_char c = unicode_read(text + blank, size - blank);
    if (c.class & UNICODE_SPACE) return (ptrdiff_t)spaces(text, size);
    const uint8_t *p = text + blank;
    if (c.class & UNICODE_ANY_LETTER) n = pretoken_run(p, size - blank, UNICODE_ANY_LETTER, true);
    else if (c.class & UNICODE_NUMBER) n = pretoken_run(p, size - blank, UNICODE_NUMBER, true);
    else n = pretoken_run(p, size - blank, NOT_SIGN, false);
    return (ptrdiff_t)(blank + n);
}

/* The alternatives the newer expressions share:  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * `slash`: [\r\n/]* instead. The caller has excluded letters and numbers at the start. */
static size_t sign_or_space(const uint8_t *text, size_t size, bool slash) {
    size_t blank = text[0] == ' ';
    size_t n = pretoken_run(text + blank, size - blank, NOT_SIGN, false);
    if (n) {
        n += blank;
        while (n < size && (is_line_end(text[n]) || (slash && text[n] == '/'))) n++;
        return n;
    }
    n = line_ends(text, size);
    return n ? n : spaces(text, size);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,number}| ...sign_or_space */
ptrdiff_t pretoken_match_gpt4(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    size_t n = contraction(text, size, true);
    if (n) return (ptrdiff_t)n;
    unicode_char c = unicode_read(text, size);
    if (c.class & UNICODE_NUMBER) return (ptrdiff_t)pretoken_few(text, size, UNICODE_NUMBER, pass->number);
    size_t skip = c.class & UNICODE_ANY_LETTER || is_line_end(text[0]) ? 0 : c.bytes;
    n = pretoken_run(text + skip, size - skip, UNICODE_ANY_LETTER, true);
    return (ptrdiff_t)(n ? skip + n : sign_or_space(text, size, false));
}

enum {
    CASELESS = UNICODE_MODIFIER | UNICODE_LETTER | UNICODE_MARK,
    UPPER_SET = UNICODE_UPPER | UNICODE_TITLE | CASELESS,
    LOWER_SET = UNICODE_LOWER | CASELESS
};

/* UPPER_SET*LOWER_SET+ : greedy, then giving back what the second part needs. 0: no match. */
static size_t capitalized(const uint8_t *text, size_t size) {
    size_t upper = pretoken_run(text, size, UPPER_SET, true);
    size_t lower = pretoken_run(text + upper, size - upper, LOWER_SET, true);
    if (lower) return upper + lower;
    while (upper > 0) { /* the last character of the first part that may also stand in the second */
        size_t end = upper;
        do upper--;
        while ((text[upper] & 0xc0) == 0x80);
        if (unicode_read(text + upper, end - upper).class & LOWER_SET)
            return upper + pretoken_run(text + upper, size - upper, LOWER_SET, true);
    }
    return 0;
}

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+ | [^\r\n\p{L}\p{N}]?UPPER+LOWER* ; 0: no match. */
static size_t cased_word(const uint8_t *text, size_t size, unicode_char c) {
    size_t skip = c.class & WORD || is_line_end(text[0]) ? 0 : c.bytes, n;
    if (skip && (n = capitalized(text + skip, size - skip)) > 0) return skip + n;
    if ((n = capitalized(text, size)) > 0) return n;
    if (skip && (n = pretoken_run(text + skip, size - skip, UPPER_SET, true)) > 0) return skip + n;
    return pretoken_run(text, size, UPPER_SET, true);
}

static ptrdiff_t match_cased(const pretoken_pass *pass, const uint8_t *text, size_t size, bool contractions) {
    unicode_char c = unicode_read(text, size);
    if (c.class & UNICODE_NUMBER) return (ptrdiff_t)pretoken_few(text, size, UNICODE_NUMBER, pass->number);
    size_t n = cased_word(text, size, c);
    if (n == 0) return (ptrdiff_t)sign_or_space(text, size, true);
    if (contractions && n < size) n += contraction(text + n, size - n, true);
    return (ptrdiff_t)n;
}

ptrdiff_t pretoken_match_tekken(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    return match_cased(pass, text, size, false);
}

ptrdiff_t pretoken_match_o200k(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    return match_cased(pass, text, size, true);
}

static bool ascii_letter(uint8_t b) { return (b | 32) >= 'a' && (b | 32) <= 'z'; }

/* [ASCII sign][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
ptrdiff_t pretoken_match_deepseek(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    enum { SIGN = UNICODE_PUNCTUATION | UNICODE_SYMBOL, LETTER = UNICODE_ANY_LETTER | UNICODE_MARK };
    unicode_char c = unicode_read(text, size);
    size_t n = 1;
    if (c.point < 128 && c.class & SIGN) {
        while (n < size && ascii_letter(text[n])) n++;
        if (n > 1) return (ptrdiff_t)n;
    }
    size_t skip = c.class & (UNICODE_ANY_LETTER | SIGN) || is_line_end(text[0]) ? 0 : c.bytes;
    if (skip && (n = pretoken_run(text + skip, size - skip, LETTER, true)) > 0) return (ptrdiff_t)(skip + n);
    if ((n = pretoken_run(text, size, LETTER, true)) > 0) return (ptrdiff_t)n;
    size_t blank = text[0] == ' ';
    if ((n = pretoken_run(text + blank, size - blank, SIGN, true)) > 0) {
        for (n += blank; n < size && is_line_end(text[n]);) n++;
        return (ptrdiff_t)n;
    }
    if ((n = line_ends(text, size)) > 0 || (n = spaces(text, size)) > 0) return (ptrdiff_t)n;
    return -(ptrdiff_t)c.bytes; /* numbers and what has no class match nothing here */
}
