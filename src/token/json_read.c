/* token/json_read.c - reads tokenizer.json (HuggingFace tokenizers) with the two small files that travel with it.
 *
 * Byte-level BPE: the pre-tokenizer's parts are recognized by name or by their regular expression, and their sequence
 * must be one of the rows of pretoken.c. BPE over characters (Replace " " by U+2581, or Metaspace) is SentencePiece's,
 * with ranked merges. What is not recognized is refused by name. Unicode normalization (NFC) is passed over: bytes
 * come back as they went in, and text that is already normalized, as nearly all is, gets the same ids. */
#include "base/memory.h"
#include "file/json.h"
#include "token/pretoken.h"
#include "token/tokenizer.h"
#include "token/unicode.h"

#include <string.h>

typedef struct json_entry {
    json_t *text;
    uint8_t type, strip;
} json_entry;

typedef struct json_reader {
    const char *where;
    pith_error *err;
    token_vocab v;
    json_entry *entries; /* by id; text NULL: no such token */
    size_t count;
    bool space_mark; /* the text is SentencePiece's */
    const pretoken_pass *passes[PRETOKEN_PASSES + 1];
    size_t pass_count;
} json_reader;

static pith_status refuse(json_reader *r, pith_status s, const char *what, const char *found) {
    return pith_fail(r->err, s, r->where, -1, "expected %s, found %s", what, found ? found : "nothing");
}

static const char *text_of(json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }
static const char *type_of(json_t *object) {
    const char *type = text_of(object, "type");
    return type ? type : "";
}
static bool flag_of(json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }

static pith_status load(const char *where, pith_bytes bytes, json_t **out, pith_error *err) {
    pith_status s = json_parse(out, bytes.data, bytes.size, where, err);
    if (s != PITH_OK || json_is_object(*out)) return s;
    json_decref(*out);
    *out = NULL;
    return pith_fail(err, PITH_CORRUPT, where, 0, "expected a JSON object");
}

/* --- tokens */

static pith_status make_room(json_reader *r, json_t *vocab, json_t *added) {
    json_int_t most = -1;
    const char *key;
    json_t *value;
    size_t i, known = json_object_size(vocab) + json_array_size(added);
    json_object_foreach(vocab, key, value) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return refuse(r, PITH_CORRUPT, "a number of 0 or more for every token", key);
        if (json_integer_value(value) > most) most = json_integer_value(value);
    }
    json_array_foreach(added, i, value) {
        json_t *id = json_object_get(value, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0 || !json_is_string(json_object_get(value, "content")))
            return refuse(r, PITH_CORRUPT, "an id of 0 or more and a content in every added token", "another");
        if (json_integer_value(id) > most) most = json_integer_value(id);
    }
    if (most < 0 || most > (json_int_t)(2 * known + 65536))
        return refuse(r, PITH_CORRUPT, "token ids without wide gaps",
                      most < 0 ? "no tokens" : "an id far above the count");
    r->count = (size_t)most + 1;
    r->entries = memory_zero(r->count, sizeof *r->entries);
    return r->entries ? PITH_OK : pith_fail(r->err, PITH_NO_MEMORY, r->where, -1, "out of memory");
}

static void place_added(json_reader *r, json_t *added) {
    size_t i;
    json_t *a;
    json_array_foreach(added, i, a) {
        json_entry *e = &r->entries[json_integer_value(json_object_get(a, "id"))];
        e->text = json_object_get(a, "content");
        e->type = flag_of(a, "special") ? TOKEN_CONTROL : TOKEN_USER;
        e->strip =
            (uint8_t)((flag_of(a, "lstrip") ? TOKEN_STRIP_LEFT : 0) | (flag_of(a, "rstrip") ? TOKEN_STRIP_RIGHT : 0) |
                      (flag_of(a, "single_word") ? TOKEN_SINGLE_WORD : 0));
    }
}

static bool byte_name(const char *s, size_t size) {
    return size == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>' && strspn(s + 3, "0123456789ABCDEFabcdef") == 2;
}

static pith_status add_tokens(json_reader *r, json_t *vocab, json_t *model) {
    const char *key, *unknown = text_of(model, "unk_token");
    json_t *value;
    const char **names = memory_zero(r->count, sizeof *names);
    if (!names) return pith_fail(r->err, PITH_NO_MEMORY, r->where, -1, "out of memory");
    json_object_foreach(vocab, key, value) names[json_integer_value(value)] = key;
    pith_status s = PITH_OK;
    for (size_t i = 0; i < r->count && s == PITH_OK; i++) {
        const json_entry *e = &r->entries[i];
        const char *text = e->text ? json_string_value(e->text) : names[i];
        size_t size = e->text ? json_string_length(e->text) : text ? strlen(text) : 0;
        int type = e->text ? e->type : text ? TOKEN_NORMAL : TOKEN_UNUSED;
        if (!e->text && text && r->space_mark && byte_name(text, size)) type = TOKEN_BYTE;
        if (text && unknown && strcmp(text, unknown) == 0) {
            type = TOKEN_UNKNOWN;
            r->v.unknown = (int32_t)i;
        }
        s = token_vocab_add(&r->v, text ? text : "", size, 0, type, r->err);
        if (s == PITH_OK) r->v.tokens[i].strip = e->strip;
    }
    memory_free(names);
    return s;
}

static pith_status add_merge(json_reader *r, json_t *merge) {
    if (json_is_string(merge))
        return token_vocab_add_merge_line(&r->v, json_string_value(merge), json_string_length(merge), r->err);
    json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (!json_is_string(left) || !json_is_string(right) || json_array_size(merge) != 2)
        return refuse(r, PITH_CORRUPT, "every merge as \"left right\" or [left, right]", "another");
    return token_vocab_add_merge(&r->v, json_string_value(left), json_string_length(left), json_string_value(right),
                                 json_string_length(right), r->err);
}

/* GGUF knows no ranked merges for SentencePiece: a token's score is minus the rank of the first merge that makes it. */
static void score_merge(json_reader *r, json_t *vocab, size_t rank) {
    token_merge m = r->v.merges[rank];
    char both[256];
    size_t size = (size_t)m.left.size + m.right.size;
    if (size >= sizeof both) return;
    memcpy(both, token_vocab_text(&r->v, m.left), m.left.size);
    memcpy(both + m.left.size, token_vocab_text(&r->v, m.right), m.right.size);
    both[size] = 0;
    json_t *id = json_object_get(vocab, both);
    if (id && r->v.tokens[json_integer_value(id)].score == 0)
        r->v.tokens[json_integer_value(id)].score = -(float)(rank + 1);
}

static pith_status read_model(json_reader *r, json_t *root) {
    json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab"),
           *merges = json_object_get(model, "merges"), *added = json_object_get(root, "added_tokens"), *merge;
    const char *type = text_of(model, "type");
    if (!json_is_object(model)) return refuse(r, PITH_CORRUPT, "a tokenizer.json with a \"model\"", "none");
    if (type && strcmp(type, "BPE") != 0) return refuse(r, PITH_UNSUPPORTED, "a tokenizer of type BPE", type);
    if (!json_is_object(vocab) || !json_is_array(merges))
        return refuse(r, PITH_UNSUPPORTED, "a BPE model with \"vocab\" and \"merges\"", "another");
    const char *affix[] = {text_of(model, "continuing_subword_prefix"), text_of(model, "end_of_word_suffix")};
    for (int i = 0; i < 2; i++)
        if (affix[i] && *affix[i]) return refuse(r, PITH_UNSUPPORTED, "BPE without prefixes or suffixes", affix[i]);
    r->v.model = r->space_mark ? TOKEN_SPM : TOKEN_BPE;
    r->v.byte_fallback = flag_of(model, "byte_fallback");
    r->v.ignore_merges = flag_of(model, "ignore_merges");
    pith_status s = make_room(r, vocab, added);
    if (s != PITH_OK) return s;
    place_added(r, added);
    s = add_tokens(r, vocab, model);
    size_t i;
    json_array_foreach(merges, i, merge) {
        if (s != PITH_OK) break;
        s = add_merge(r, merge);
        if (s == PITH_OK && r->space_mark) score_merge(r, vocab, i);
    }
    return s;
}

/* --- how text is prepared */

static pith_status add_pass(json_reader *r, const pretoken_pass *pass) {
    if (r->pass_count == PRETOKEN_PASSES) return refuse(r, PITH_UNSUPPORTED, "fewer pre-tokenizer steps", "more");
    r->passes[r->pass_count++] = pass;
    return PITH_OK;
}

static pith_status read_split(json_reader *r, json_t *p) {
    const char *regex = text_of(json_object_get(p, "pattern"), "Regex"), *behavior = text_of(p, "behavior");
    bool isolated = behavior && (strcmp(behavior, "Isolated") == 0) && !flag_of(p, "invert");
    bool kept = behavior && strcmp(behavior, "Removed") == 0 && flag_of(p, "invert");
    const pretoken_pass *pass = regex && (isolated || kept) ? pretoken_find_regex(regex) : NULL;
    if (!pass)
        return refuse(r, PITH_UNSUPPORTED, "a pre-tokenizer pith knows", regex ? regex : "a Split without regex");
    return add_pass(r, pass);
}

static pith_status read_pre(json_reader *r, json_t *p) {
    const char *type = type_of(p);
    if (!p || json_is_null(p)) return PITH_OK;
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *part;
        pith_status s = PITH_OK;
        json_array_foreach(json_object_get(p, "pretokenizers"), i, part) {
            if (!json_is_object(part) || strcmp(type_of(part), "Sequence") == 0)
                return refuse(r, PITH_UNSUPPORTED, "a plain sequence of pre-tokenizers", "a nested one");
            if (s == PITH_OK) s = read_pre(r, part);
        }
        return s;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        if (flag_of(p, "add_prefix_space")) r->v.prefix = TOKEN_PREFIX_ALWAYS;
        json_t *use = json_object_get(p, "use_regex");
        return use && json_is_false(use) ? PITH_OK : add_pass(r, &pretoken_byte_level);
    }
    if (strcmp(type, "Digits") == 0)
        return add_pass(r, flag_of(p, "individual_digits") ? &pretoken_each_digit : &pretoken_digits);
    if (strcmp(type, "Punctuation") == 0) return add_pass(r, &pretoken_punctuation);
    if (strcmp(type, "Split") == 0) return read_split(r, p);
    if (strcmp(type, "Metaspace") == 0) {
        const char *scheme = text_of(p, "prepend_scheme");
        r->space_mark = true;
        r->v.prefix = scheme && strcmp(scheme, "never") == 0                  ? TOKEN_PREFIX_NEVER
                      : scheme && strcmp(scheme, "first") == 0                ? TOKEN_PREFIX_FIRST
                      : json_is_false(json_object_get(p, "add_prefix_space")) ? TOKEN_PREFIX_NEVER
                                                                              : TOKEN_PREFIX_ALWAYS;
        return PITH_OK;
    }
    return refuse(r, PITH_UNSUPPORTED, "a pre-tokenizer pith knows", type);
}

static pith_status read_normalizer(json_reader *r, json_t *n) {
    const char *type = type_of(n);
    if (!n || json_is_null(n) || strcmp(type, "NFC") == 0) return PITH_OK;
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *part;
        pith_status s = PITH_OK;
        json_array_foreach(json_object_get(n, "normalizers"), i, part) {
            if (!json_is_object(part) || strcmp(type_of(part), "Sequence") == 0)
                return refuse(r, PITH_UNSUPPORTED, "a plain sequence of normalizers", "a nested one");
            if (s == PITH_OK) s = read_normalizer(r, part);
        }
        return s;
    }
    static const char mark[] = "\xe2\x96\x81";
    const char *prepend = text_of(n, "prepend"), *from = text_of(json_object_get(n, "pattern"), "String"),
               *to = text_of(n, "content");
    if (strcmp(type, "Prepend") == 0 && prepend && strcmp(prepend, mark) == 0) {
        r->v.prefix = TOKEN_PREFIX_ALWAYS;
        return PITH_OK;
    }
    if (strcmp(type, "Replace") == 0 && from && to && strcmp(from, " ") == 0 && strcmp(to, mark) == 0) {
        r->space_mark = true;
        return PITH_OK;
    }
    return refuse(r, PITH_UNSUPPORTED, "a normalizer Prepend or Replace of spaces, or NFC", type);
}

static pith_status name_row(json_reader *r) {
    if (r->space_mark) return PITH_OK;
    const pretoken *row = r->pass_count ? pretoken_find_passes(r->passes) : NULL;
    if (!row) return refuse(r, PITH_UNSUPPORTED, "a sequence of pre-tokenizers pith knows", "another");
    memcpy(r->v.pre, row->name, strlen(row->name) + 1);
    return PITH_OK;
}

/* --- start and end tokens */

static int32_t find(json_reader *r, const char *text) { return text ? token_vocab_find(&r->v, text) : -1; }

/* TemplateProcessing: what stands before the text is the start token, what stands after it the end token. */
static void read_template(json_reader *r, json_t *p) {
    size_t i;
    json_t *part;
    json_array_foreach(json_object_get(p, "processors"), i, part) {
        if (strcmp(type_of(part), "TemplateProcessing") == 0) read_template(r, part);
    }
    bool seen = false;
    json_array_foreach(json_object_get(p, "single"), i, part) {
        json_t *special = json_object_get(part, "SpecialToken");
        int32_t id = find(r, text_of(special, "id"));
        if (!special) seen = true;
        else if (id >= 0 && seen) r->v.eos = id, r->v.add_eos = true;
        else if (id >= 0) r->v.bos = id, r->v.add_bos = true;
    }
}

static int32_t named_token(json_reader *r, json_t *config, const char *key) {
    json_t *value = json_object_get(config, key);
    return find(r, json_is_object(value) ? text_of(value, "content") : json_string_value(value));
}

static const char *find_chat_template(json_t *config) {
    json_t *chat = json_object_get(config, "chat_template"), *one;
    size_t i;
    json_array_foreach(chat, i, one) {
        const char *name = text_of(one, "name");
        if (name && strcmp(name, "default") == 0) return text_of(one, "template");
    }
    return json_string_value(chat);
}

static pith_status read_config(json_reader *r, json_t *config) {
    int32_t bos = named_token(r, config, "bos_token"), eos = named_token(r, config, "eos_token");
    if (bos >= 0 && !r->v.add_bos) r->v.bos = bos;
    if (eos >= 0) r->v.eos = eos;
    r->v.pad = named_token(r, config, "pad_token");
    if (flag_of(config, "add_bos_token") && r->v.bos >= 0) r->v.add_bos = true;
    const char *chat = find_chat_template(config);
    if (chat && !(r->v.chat_template = memory_text(chat)))
        return pith_fail(r->err, PITH_NO_MEMORY, r->where, -1, "out of memory");
    return PITH_OK;
}

/* eos_token_id is a number or a list; what is not the end token already becomes the end of a turn. */
static void read_generation(json_reader *r, json_t *generation) {
    json_t *list = json_object_get(generation, "eos_token_id");
    size_t n = json_is_array(list) ? json_array_size(list) : 1;
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_is_array(list) ? json_array_get(list, i) : list;
        if (!json_is_integer(value)) continue;
        json_int_t id = json_integer_value(value);
        if (id < 0 || id >= (json_int_t)r->v.count) continue;
        if (r->v.eos < 0) r->v.eos = (int32_t)id;
        else if (r->v.eos != id && r->v.eot < 0) r->v.eot = (int32_t)id;
    }
}

/* A tokenizer.json alone does not say which token ends a text: then by its usual names. */
static void guess_end(json_reader *r) {
    static const char *const names[] = {"<|endoftext|>", "<|end_of_text|>", "</s>"};
    for (size_t i = 0; i < sizeof names / sizeof *names && r->v.eos < 0; i++) r->v.eos = find(r, names[i]);
}

static pith_status read_all(json_reader *r, json_t *root, json_t *config, json_t *generation) {
    pith_status s = read_normalizer(r, json_object_get(root, "normalizer"));
    if (s == PITH_OK) s = read_pre(r, json_object_get(root, "pre_tokenizer"));
    if (s == PITH_OK) s = read_model(r, root);
    if (s == PITH_OK) s = name_row(r);
    if (s == PITH_OK) read_template(r, json_object_get(root, "post_processor"));
    if (s == PITH_OK) s = read_config(r, config);
    if (s == PITH_OK) read_generation(r, generation);
    if (s == PITH_OK) guess_end(r);
    return s;
}

pith_status tokenizer_from_json(tokenizer **t, const char *where, pith_bytes json, pith_bytes config,
                                pith_bytes generation, pith_error *err) {
    *t = NULL;
    json_reader r = {.where = where, .err = err, .v = token_vocab_empty(TOKEN_BPE)};
    json_t *root = NULL, *c = NULL, *g = NULL;
    pith_status s = load(where, json, &root, err);
    if (s == PITH_OK && config.size) s = load("tokenizer_config.json", config, &c, err);
    if (s == PITH_OK && generation.size) s = load("generation_config.json", generation, &g, err);
    if (s == PITH_OK) s = read_all(&r, root, c, g);
    json_decref(root);
    json_decref(c);
    json_decref(g);
    memory_free(r.entries);
    if (s == PITH_OK) return tokenizer_new(t, &r.v, err);
    token_vocab_free(&r.v);
    return s;
}
