/* token/json_write.c - writes a tokenizer.json that HuggingFace's tokenizers loads with the same ids for the same text.
 */
#include "base/memory.h"
#include "file/json.h"
#include "token/pretoken.h"
#include "token/symbols.h"
#include "token/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static json_t *text_json(const token_vocab *v, token_text t) { return json_stringn(token_vocab_text(v, t), t.size); }

static json_t *added_tokens(const token_vocab *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->count && list; i++) {
        const token_entry *e = &v->tokens[i];
        if (e->type != TOKEN_CONTROL && e->type != TOKEN_USER && e->type != TOKEN_UNKNOWN) continue;
        json_t *one =
            json_pack("{s:i,s:o,s:b,s:b,s:b,s:b,s:b}", "id", (int)i, "content", text_json(v, e->text), "single_word",
                      e->strip & TOKEN_SINGLE_WORD, "lstrip", e->strip & TOKEN_STRIP_LEFT, "rstrip",
                      e->strip & TOKEN_STRIP_RIGHT, "normalized", 0, "special", e->type != TOKEN_USER);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The passes of a row as tokenizers spells them, then the mapping of bytes to letters. */
static json_t *pre_tokenizer(const pretoken *row, bool prefix) {
    json_t *list = json_array();
    bool regex = false; /* gpt-2's own expression comes with the mapping */
    for (int i = 0; row->passes[i] && list; i++) {
        const pretoken_pass *p = row->passes[i];
        if (p == &pretoken_byte_level && !row->passes[i + 1]) regex = true;
        else if (p == &pretoken_each_digit)
            json_array_append_new(list, json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1));
        else if (p == &pretoken_digits)
            json_array_append_new(list, json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 0));
        else if (p == &pretoken_punctuation)
            json_array_append_new(list, json_pack("{s:s,s:s}", "type", "Punctuation", "behavior", "Contiguous"));
        else
            json_array_append_new(list, json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex",
                                                  p->regex, "behavior", "Isolated", "invert", 0));
    }
    json_t *bytes = json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", prefix, "trim_offsets", 1,
                              "use_regex", regex);
    if (json_array_size(list) == 0) {
        json_decref(list);
        return bytes;
    }
    json_array_append_new(list, bytes);
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
}

/* Before the text the start token, after it the end token, where they are added; null where none is. */
static json_t *post_processor(const token_vocab *v) {
    bool bos = v->add_bos && v->bos >= 0, eos = v->add_eos && v->eos >= 0;
    if (!bos && !eos) return json_null();
    json_t *single = json_array(), *pair = json_array(), *tokens = json_object();
    for (int sequence = 0; sequence < 2; sequence++)
        for (int place = 0; place < 3; place++) {
            if ((place == 0 && !bos) || (place == 2 && !eos)) continue;
            json_t *part;
            if (place == 1)
                part = json_pack("{s:{s:s,s:i}}", "Sequence", "id", sequence ? "B" : "A", "type_id", sequence);
            else {
                int32_t id = place == 0 ? v->bos : v->eos;
                json_t *name = text_json(v, v->tokens[id].text);
                part = json_pack("{s:{s:O,s:i}}", "SpecialToken", "id", name, "type_id", sequence);
                if (name)
                    json_object_set_new(tokens, json_string_value(name),
                                        json_pack("{s:O,s:[i],s:[O]}", "id", name, "ids", (int)id, "tokens", name));
                json_decref(name);
            }
            if (sequence == 0) json_array_append(single, part);
            json_array_append_new(pair, part);
        }
    return json_pack("{s:s,s:o,s:o,s:o}", "type", "TemplateProcessing", "single", single, "pair", pair,
                     "special_tokens", tokens);
}

static json_t *vocab_json(const token_vocab *v) {
    json_t *vocab = json_object();
    for (size_t i = 0; i < v->count && vocab; i++) {
        token_text t = v->tokens[i].text;
        if (v->tokens[i].type == TOKEN_UNUSED && t.size == 0) continue;
        if (json_object_setn_new(vocab, token_vocab_text(v, t), t.size, json_integer((json_int_t)i)) != 0) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

static json_t *merges_json(const token_vocab *v) {
    json_t *list = json_array();
    for (size_t i = 0; i < v->merge_count && list; i++) {
        json_t *one = json_pack("[o,o]", text_json(v, v->merges[i].left), text_json(v, v->merges[i].right));
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int by_rank(const void *a, const void *b) {
    const symbol_pair *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* A SentencePiece model that has scores only: all its pairs of tokens, best score first. */
static pith_status rank_scores(const token_vocab *v, json_t **out, pith_error *err) {
    symbol_table s;
    pith_status status = symbol_table_build(&s, v, err);
    if (status != PITH_OK) return status;
    qsort(s.pairs, s.pair_places, sizeof *s.pairs, by_rank); /* free places have the highest rank */
    *out = json_array();
    for (size_t i = 0; i < s.pair_count && status == PITH_OK; i++) {
        uint32_t left = (uint32_t)(s.pairs[i].key >> 32), right = (uint32_t)s.pairs[i].key;
        if (left >= v->count || right >= v->count) continue;
        json_t *one = json_pack("[o,o]", text_json(v, v->tokens[left].text), text_json(v, v->tokens[right].text));
        if (json_array_append_new(*out, one) != 0) status = no_memory(err);
    }
    symbol_table_free(&s);
    return status;
}

static json_t *byte_level_root(const token_vocab *v, json_t *merges) {
    json_t *pre = pre_tokenizer(pretoken_find(v->pre), v->prefix != TOKEN_PREFIX_NEVER);
    json_t *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token",
                              "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", v->ignore_merges, "vocab", vocab_json(v), "merges", merges);
    return json_pack("{s:s,s:n,s:n,s:o,s:n,s:o,s:o,s:{s:s,s:b,s:b,s:b},s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added_tokens(v), "normalizer", "pre_tokenizer", pre, "post_processor",
                     post_processor(v), "decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1,
                     "use_regex", 1, "model", model);
}

static json_t *sentencepiece_root(const token_vocab *v, json_t *merges) {
    static const char mark[] = "\xe2\x96\x81";
    json_t *replace = json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String", " ", "content", mark);
    json_t *normalizers = json_array(),
           *unknown = v->unknown < 0 ? json_null() : text_json(v, v->tokens[v->unknown].text);
    json_t *decoders = json_pack("[{s:s,s:{s:s},s:s},{s:s},{s:s}]", "type", "Replace", "pattern", "String", mark,
                                 "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (v->prefix != TOKEN_PREFIX_NEVER) {
        json_array_append_new(normalizers, json_pack("{s:s,s:s}", "type", "Prepend", "prepend", mark));
        json_array_append_new(decoders,
                              json_pack("{s:s,s:s,s:i,s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    }
    json_array_append_new(normalizers, replace);
    json_t *model =
        json_pack("{s:s,s:n,s:o,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout", "unk_token", unknown,
                  "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", v->byte_fallback,
                  "ignore_merges", 0, "vocab", vocab_json(v), "merges", merges);
    return json_pack("{s:s,s:n,s:n,s:o,s:{s:s,s:o},s:n,s:o,s:{s:s,s:o},s:o}", "version", "1.0", "truncation", "padding",
                     "added_tokens", added_tokens(v), "normalizer", "type", "Sequence", "normalizers", normalizers,
                     "pre_tokenizer", "post_processor", post_processor(v), "decoder", "type", "Sequence", "decoders",
                     decoders, "model", model);
}

pith_status token_vocab_to_json(const token_vocab *v, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    json_t *merges = NULL;
    memory_adopt_jansson();
    if (v->model == TOKEN_SPM && v->merge_count == 0) {
        pith_status s = rank_scores(v, &merges, err);
        if (s != PITH_OK) {
            json_decref(merges);
            return s;
        }
    } else merges = merges_json(v);
    json_t *root = v->model == TOKEN_SPM ? sentencepiece_root(v, merges) : byte_level_root(v, merges);
    if (!root) return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected tokens in UTF-8 (or out of memory)");
    char *text = json_print(root, 1);
    if (text) *out = (pith_bytes){(uint8_t *)text, strlen(text)};
    json_decref(root);
    return out->data ? PITH_OK : no_memory(err);
}
