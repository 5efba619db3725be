/* token/pretoken.c - the pre-tokenizers' regular expressions as hand-written scanners, and the table of rows.
 *
 * Scanners give what a leftmost, greedy, backtracking engine gives (alternatives in order), in time linear in the
 * text: a run that cannot match is reported as a gap whole. Facts from the published tokenizer.json files and from
 * llama.cpp's test vectors. Combined expressions live in pretoken_gpt.c, single classes here. */
#include "token/pretoken.h"
#include "token/pretoken_gpt.h"
#include "token/unicode.h"

#include <string.h>

size_t pretoken_run(const uint8_t *text, size_t size, uint32_t mask, bool inside) {
    size_t at = 0;
    while (at < size) {
        unicode_char c = unicode_read(text + at, size - at);
        if (((c.class & mask) != 0) != inside) break;
        at += c.bytes;
    }
    return at;
}

/* [mask]+ */
static ptrdiff_t match_class(const uint8_t *text, size_t size, uint32_t mask) {
    size_t n = pretoken_run(text, size, mask, true);
    return n ? (ptrdiff_t)n : -(ptrdiff_t)pretoken_run(text, size, mask, false);
}

static ptrdiff_t match_digits(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    return match_class(text, size, UNICODE_NUMBER);
}

/* \p{N}{1,number} */
static ptrdiff_t match_few_digits(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    size_t n = pretoken_few(text, size, UNICODE_NUMBER, pass->number);
    return n ? (ptrdiff_t)n : -(ptrdiff_t)pretoken_run(text, size, UNICODE_NUMBER, false);
}

/* [0-9][0-9][0-9] */
static ptrdiff_t match_three_ascii(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    size_t n = 0, digits = 0;
    while (n < size && digits < 3) digits = text[n] >= '0' && text[n] <= '9' ? digits + 1 : 0, n++;
    if (digits == 3 && n == 3) return 3;
    return -(ptrdiff_t)(digits == 3 ? n - 3 : n);
}

static bool falcon_punctuation(unicode_char c) {
    return c.class == UNICODE_PUNCTUATION || (c.point < 128 && c.class == UNICODE_SYMBOL);
}

/* [\p{P}$+<=>^~|`]+ */
static ptrdiff_t match_punctuation(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    bool first = falcon_punctuation(unicode_read(text, size));
    size_t at = 0;
    while (at < size) {
        unicode_char c = unicode_read(text + at, size - at);
        if (falcon_punctuation(c) != first) break;
        at += c.bytes;
    }
    return first ? (ptrdiff_t)at : -(ptrdiff_t)at;
}

/* [\r\n], each alone */
static ptrdiff_t match_line_end(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    size_t n = 0;
    while (n < size && text[n] != '\r' && text[n] != '\n') n++;
    return n ? -(ptrdiff_t)n : 1;
}

/* Whether a point is in a set written as in a regular expression: characters and ranges a-z, nothing escaped. ASCII
 * members stand first, so that most text needs no walk through the rest. */
static bool in_set(const char *set, uint32_t point) {
    const uint8_t *s = (const uint8_t *)set;
    for (size_t left = strlen(set); left > 0;) {
        unicode_char low = unicode_read(s, left), high = low;
        s += low.bytes, left -= low.bytes;
        if (left > 1 && *s == '-') {
            high = unicode_read(s + 1, left - 1);
            s += 1 + high.bytes, left -= 1 + high.bytes;
        }
        if (point >= low.point && point <= high.point) return true;
        if (point < 128 && high.point >= 128) return false;
    }
    return false;
}

static bool in_pass(const pretoken_pass *pass, unicode_char c) {
    return pass->set ? in_set(pass->set, c.point) : (c.class & pass->number) != 0;
}

static size_t set_run(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        unicode_char c = unicode_read(text + at, size - at);
        if (!in_pass(pass, c)) break;
        at += c.bytes;
    }
    return at;
}

/* [set]+ */
static ptrdiff_t match_set(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    size_t n = set_run(pass, text, size);
    return n ? (ptrdiff_t)n : -(ptrdiff_t)unicode_read(text, size).bytes;
}

/* \s?[set]+; the set may hold spaces itself, and then the run just goes on. */
static ptrdiff_t match_space_set(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    unicode_char c = unicode_read(text, size);
    if (c.class == UNICODE_SPACE) {
        size_t n = set_run(pass, text + c.bytes, size - c.bytes);
        if (n) return (ptrdiff_t)(c.bytes + n);
    }
    return match_set(pass, text, size);
}

/* \s+$ */
static ptrdiff_t match_last_space(const pretoken_pass *pass, const uint8_t *text, size_t size) {
    (void)pass;
    size_t n = pretoken_run(text, size, UNICODE_SPACE, true);
    if (n == size) return (ptrdiff_t)n;
    return -(ptrdiff_t)(n + pretoken_run(text + n, size - n, UNICODE_SPACE, false));
}

#define CASED_LETTERS \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
#define WIDE_PUNCTUATION "!-/:-~！-／：-～‘-‟　-。"
#define EAST_ASIAN "一-龥ࠀ-一가-퟿"
#define KANA_HAN "一-龥぀-ゟ゠-ヿ"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT4_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER_SET "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER_SET "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(end) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER_SET "*" LOWER_SET "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER_SET "+" LOWER_SET "*" end
#define O200K_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const pretoken_pass pretoken_byte_level =
                        {pretoken_match_gpt2, 0, NULL,
                         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
                    pretoken_each_digit = {match_few_digits, 1, NULL, "\\p{N}"},
                    pretoken_digits = {match_digits, 0, NULL, "\\p{N}+"},
                    pretoken_punctuation = {match_punctuation, 0, NULL, "[\\p{P}\\$\\+<=>\\^~\\|`]+"};
static const pretoken_pass
    three_ascii = {match_three_ascii, 0, NULL, "[0-9][0-9][0-9]"},
    three_digits = {match_few_digits, 3, NULL, "\\p{N}{1,3}"}, line_end = {match_line_end, 0, NULL, "[\r\n]"},
    space_letters = {match_space_set, UNICODE_ANY_LETTER, NULL, "\\s?\\p{L}+"},
    space_punctuation = {match_space_set, UNICODE_PUNCTUATION, NULL, "\\s?\\p{P}+"},
    space_cased = {match_space_set, 0, CASED_LETTERS, "\\s?[" CASED_LETTERS "]+"},
    space_wide = {match_space_set, 0, WIDE_PUNCTUATION, "\\s?[" WIDE_PUNCTUATION "]+"},
    last_space = {match_last_space, 0, NULL, "\\s+$"}, east_asian = {match_set, 0, EAST_ASIAN, "[" EAST_ASIAN "]+"},
    kana_han = {match_set, 0, KANA_HAN, "[" KANA_HAN "]+"},
    deepseek = {pretoken_match_deepseek, 0, NULL,
                "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
    llama3 = {pretoken_match_gpt4, 3, NULL, CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" GPT4_TAIL},
    qwen2 = {pretoken_match_gpt4, 1, NULL, CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" GPT4_TAIL},
    tekken = {pretoken_match_tekken, 1, NULL, O200K("") "|\\p{N}" O200K_TAIL},
    gpt4o = {pretoken_match_o200k, 3, NULL, O200K(CONTRACTIONS "?") "|\\p{N}{1,3}" O200K_TAIL};

#define BYTE_LEVEL &pretoken_byte_level
#define EACH_DIGIT &pretoken_each_digit

static const pretoken rows[] = {
    {"gpt-2", {BYTE_LEVEL}, false, false},
    {"starcoder", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"refact", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"smollm", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"command-r", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"codeshell", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"exaone", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"minerva-7b", {EACH_DIGIT, BYTE_LEVEL}, false, false},
    {"falcon", {&pretoken_punctuation, BYTE_LEVEL, &three_ascii}, false, false},
    {"default", {&pretoken_punctuation, BYTE_LEVEL, &pretoken_digits, &three_ascii}, false, false},
    {"deepseek-coder", {&line_end, &space_letters, &space_punctuation, &east_asian, EACH_DIGIT}, false, false},
    {"deepseek-llm", {&line_end, &space_cased, &space_wide, &last_space, &east_asian, EACH_DIGIT}, false, false},
    {"deepseek-v3", {&three_digits, &kana_han, &deepseek}, false, false},
    {"llama-bpe", {&llama3}, true, true},
    {"llama3", {&llama3}, true, true},
    {"llama-v3", {&llama3}, true, true},
    {"falcon3", {&llama3}, true, true},
    {"pixtral", {&llama3}, true, true},
    {"dbrx", {&llama3}, false, false},
    {"smaug-bpe", {&llama3}, false, false},
    {"qwen2", {&qwen2}, false, false},
    {"deepseek-r1-qwen", {&qwen2}, false, false},
    {"stablelm2", {&qwen2}, false, false},
    {"hunyuan", {&qwen2}, false, false},
    {"tekken", {&tekken}, true, true},
    {"gpt-4o", {&gpt4o}, false, false},
    {"llama4", {&gpt4o}, false, false},
    {"phi-2", {BYTE_LEVEL}, false, false},
    {"mpt", {BYTE_LEVEL}, false, false},
    {"olmo", {BYTE_LEVEL}, false, false},
    {"jais", {BYTE_LEVEL}, false, false},
    {"trillion", {BYTE_LEVEL}, false, false},
    {"roberta-bpe", {BYTE_LEVEL}, false, true},
    {"gigachat", {BYTE_LEVEL}, false, false},
    {"modern-bert", {BYTE_LEVEL}, false, false},
};
enum { ROWS = sizeof rows / sizeof *rows };

static const pretoken_pass *const with_regex[] = {
    &pretoken_byte_level,
    &pretoken_each_digit,
    &pretoken_digits,
    &pretoken_punctuation,
    &three_ascii,
    &three_digits,
    &line_end,
    &space_letters,
    &space_punctuation,
    &space_cased,
    &space_wide,
    &last_space,
    &east_asian,
    &kana_han,
    &deepseek,
    &llama3,
    &qwen2,
    &tekken,
    &gpt4o,
};

const pretoken *pretoken_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

const pretoken *pretoken_find_passes(const pretoken_pass *const *passes) {
    for (size_t i = 0; i < ROWS; i++) {
        size_t k = 0;
        while (passes[k] && passes[k] == rows[i].passes[k]) k++;
        if (passes[k] == rows[i].passes[k]) return &rows[i];
    }
    return NULL;
}

const pretoken_pass *pretoken_find_regex(const char *regex) {
    for (size_t i = 0; i < sizeof with_regex / sizeof *with_regex; i++)
        if (strcmp(with_regex[i]->regex, regex) == 0) return with_regex[i];
    return NULL;
}

const char *pretoken_names(void) {
    return "gpt-2, starcoder, refact, smollm, command-r, falcon, deepseek-coder, deepseek-llm, deepseek-v3, llama-bpe, "
           "qwen2, stablelm2, tekken, gpt-4o";
}

static bool split_from(const pretoken_pass *const *pass, const uint8_t *text, size_t size, pretoken_piece piece,
                       void *user) {
    if (!*pass) return size == 0 || piece(user, text, size);
    size_t start = 0, at = 0; /* text[start..at) is the gap being gathered */
    while (at < size) {
        ptrdiff_t n = (*pass)->match(*pass, text + at, size - at);
        if (n <= 0) {
            at += (size_t)-n;
            continue;
        }
        if (at > start && !split_from(pass + 1, text + start, at - start, piece, user)) return false;
        if (!split_from(pass + 1, text + at, (size_t)n, piece, user)) return false;
        start = at += (size_t)n;
    }
    return at == start || split_from(pass + 1, text + start, at - start, piece, user);
}

bool pretoken_split(const pretoken *row, const uint8_t *text, size_t size, pretoken_piece piece, void *user) {
    return split_from(row->passes, text, size, piece, user);
}
