/* token/gguf_vocab.c - a tokenizer from a model's metadata (GGUF's tokenizer.ggml.* keys) and back into it.
 *
 * Where a file does not say whether a start token is added, what llama.cpp assumes is assumed: yes for SentencePiece,
 * by the pre-tokenizer's row for byte-level BPE. Of other tokenizers (WordPiece, unigram) the name is refused. */
#include "token/gguf_vocab.h"

#include "base/memory.h"
#include "token/pretoken.h"

#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status read_model(token_vocab *v, const meta *m, const pretoken **row, pith_error *err) {
    const char *model = meta_text(m, KEY("model"), NULL), *pre = meta_text(m, KEY("pre"), NULL);
    if (!model)
        return pith_fail(err, PITH_NOT_FOUND, KEY("model"), -1, "expected a tokenizer in the model, found none");
    *row = NULL;
    if (strcmp(model, "llama") == 0) {
        v->model = TOKEN_SPM;
        return PITH_OK;
    }
    if (strcmp(model, "gpt2") != 0)
        return pith_fail(err, PITH_UNSUPPORTED, KEY("model"), -1,
                         "expected a tokenizer gpt2 (byte-level BPE) or llama (SentencePiece BPE), found %s%s", model,
                         strcmp(model, "bert") == 0 ? " (WordPiece)"
                         : strcmp(model, "t5") == 0 ? " (unigram)"
                                                    : "");
    v->model = TOKEN_BPE;
    if (!pre) pre = "default";
    *row = pretoken_find(pre);
    if (!*row)
        return pith_fail(err, PITH_UNSUPPORTED, KEY("pre"), -1, "expected a pre-tokenizer among %s; found %s",
                         pretoken_names(), pre);
    memcpy(v->pre, (*row)->name, strlen((*row)->name) + 1);
    return PITH_OK;
}

/* A companion array of the tokens; absent is fine, a wrong length is not. */
static pith_status companion(const meta *m, const char *key, uint64_t count, meta_array *a, pith_error *err) {
    *a = (meta_array){0};
    if (!meta_get_array(m, key, a)) return PITH_OK;
    if (a->count != count)
        return pith_fail(err, PITH_CORRUPT, key, -1, "expected %llu elements, as many as tokens, found %llu",
                         (unsigned long long)count, (unsigned long long)a->count);
    return PITH_OK;
}

static pith_status read_tokens(token_vocab *v, const meta *m, pith_error *err) {
    meta_array tokens, scores, types;
    if (!meta_get_array(m, KEY("tokens"), &tokens) || tokens.type != META_TEXT)
        return pith_fail(err, PITH_CORRUPT, KEY("tokens"), -1, "expected an array of texts, found none");
    pith_status s = companion(m, KEY("scores"), tokens.count, &scores, err);
    if (s == PITH_OK) s = companion(m, KEY("token_type"), tokens.count, &types, err);
    for (uint64_t i = 0; i < tokens.count && s == PITH_OK; i++) {
        meta_string text = meta_array_text(&tokens, i);
        double score = 0;
        int64_t type = TOKEN_NORMAL;
        if (scores.count && !meta_array_f64(&scores, i, &score))
            return pith_fail(err, PITH_CORRUPT, KEY("scores"), -1, "expected numbers");
        if (types.count && !meta_array_i64(&types, i, &type))
            return pith_fail(err, PITH_CORRUPT, KEY("token_type"), -1, "expected whole numbers");
        if (type < 0 || type > TOKEN_BYTE) type = -1;
        if (type == 0) type = TOKEN_NORMAL; /* "undefined" */
        s = token_vocab_add(v, text.data, text.size, (float)score, (int)type, err);
    }
    return s;
}

static pith_status read_merges(token_vocab *v, const meta *m, pith_error *err) {
    meta_array merges;
    if (!meta_get_array(m, KEY("merges"), &merges) || merges.type != META_TEXT)
        return pith_fail(err, PITH_CORRUPT, KEY("merges"), -1, "expected an array of texts, found none");
    pith_status s = PITH_OK;
    for (uint64_t i = 0; i < merges.count && s == PITH_OK; i++) {
        meta_string line = meta_array_text(&merges, i);
        s = token_vocab_add_merge_line(v, line.data, line.size, err);
    }
    return s;
}

static int32_t read_id(const meta *m, const char *key, int32_t fallback) {
    uint64_t id;
    return meta_u64(m, key, &id) && id <= INT32_MAX ? (int32_t)id : fallback;
}

/* Phi-3's special tokens swallow the white space after them, which GGUF has no key for. */
static void strip_phi3(token_vocab *v, const meta *m) {
    const char *name = meta_text(m, "general.name", NULL);
    if (!name || !(strcasestr(name, "phi-3") || strcasestr(name, "phi3"))) return;
    for (size_t i = 0; i < v->count; i++) {
        token_text t = v->tokens[i].text;
        const char *text = token_vocab_text(v, t);
        bool kept = (t.size == 3 && memcmp(text, "<s>", 3) == 0) || (t.size == 5 && memcmp(text, "<unk>", 5) == 0) ||
                    (t.size == 13 && memcmp(text, "<|endoftext|>", 13) == 0);
        if (v->tokens[i].type == TOKEN_CONTROL && !kept) v->tokens[i].strip |= TOKEN_STRIP_RIGHT;
    }
}

static void read_flags(token_vocab *v, const meta *m, const pretoken *row) {
    bool spm = v->model == TOKEN_SPM, prefix = spm;
    v->bos = read_id(m, KEY("bos_token_id"), spm && v->count > 1 ? 1 : -1);
    v->eos = read_id(m, KEY("eos_token_id"), spm && v->count > 2 ? 2 : -1);
    v->eot = read_id(m, KEY("eot_token_id"), -1);
    v->unknown = read_id(m, KEY("unknown_token_id"), spm ? 0 : -1);
    v->pad = read_id(m, KEY("padding_token_id"), -1);
    v->add_bos = spm || row->add_bos;
    meta_flag(m, KEY("add_bos_token"), &v->add_bos);
    meta_flag(m, KEY("add_eos_token"), &v->add_eos);
    meta_flag(m, KEY("add_space_prefix"), &prefix);
    v->prefix = prefix ? TOKEN_PREFIX_ALWAYS : TOKEN_PREFIX_NEVER;
    v->byte_fallback = spm;
    v->ignore_merges = row && row->ignore_merges;
    strip_phi3(v, m);
}

pith_status token_vocab_from_meta(token_vocab *v, const meta *m, pith_error *err) {
    const pretoken *row;
    *v = token_vocab_empty(TOKEN_SPM);
    pith_status s = read_model(v, m, &row, err);
    if (s == PITH_OK) s = read_tokens(v, m, err);
    if (s == PITH_OK && v->model == TOKEN_BPE) s = read_merges(v, m, err);
    if (s == PITH_OK) read_flags(v, m, row);
    const char *chat = meta_text(m, "tokenizer.chat_template", NULL);
    if (s == PITH_OK && chat && !(v->chat_template = memory_text(chat))) s = no_memory(err);
    if (s != PITH_OK) token_vocab_free(v);
    return s;
}

pith_status tokenizer_from_meta(tokenizer **t, const meta *m, pith_error *err) {
    *t = NULL;
    token_vocab v;
    pith_status s = token_vocab_from_meta(&v, m, err);
    return s == PITH_OK ? tokenizer_new(t, &v, err) : s;
}

static pith_status write_tokens(const token_vocab *v, size_t rows, meta *m, pith_error *err) {
    enum { PAD = 32 };
    size_t n = rows > v->count ? rows : v->count, pads = n - v->count;
    meta_string *texts = memory_alloc(n * sizeof *texts);
    float *scores = memory_alloc(n * sizeof *scores);
    int32_t *types = memory_alloc(n * sizeof *types);
    char *pad = memory_alloc(pads * PAD);
    pith_status s = texts && scores && types && pad ? PITH_OK : no_memory(err);
    for (size_t i = 0; i < n && s == PITH_OK; i++) {
        if (i < v->count) {
            texts[i] = (meta_string){token_vocab_text(v, v->tokens[i].text), v->tokens[i].text.size};
            scores[i] = v->tokens[i].score;
            types[i] = v->tokens[i].type;
            continue;
        }
        char *name = pad + (i - v->count) * PAD;
        texts[i] = (meta_string){name, (size_t)snprintf(name, PAD, "[PAD%zu]", i)};
        scores[i] = -1000;
        types[i] = TOKEN_UNUSED;
    }
    if (s == PITH_OK) s = meta_set_texts(m, KEY("tokens"), texts, n, err);
    if (s == PITH_OK && v->model == TOKEN_SPM) s = meta_set_f32s(m, KEY("scores"), scores, n, err);
    if (s == PITH_OK) s = meta_set_i32s(m, KEY("token_type"), types, n, err);
    memory_free(pad);
    memory_free(texts);
    memory_free(scores);
    memory_free(types);
    return s;
}

static pith_status write_merges(const token_vocab *v, meta *m, pith_error *err) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < v->merge_count; i++) total += v->merges[i].left.size + v->merges[i].right.size + 1;
    char *lines = memory_alloc(total);
    meta_string *texts = memory_alloc(v->merge_count * sizeof *texts);
    pith_status s = lines && texts ? PITH_OK : no_memory(err);
    for (size_t i = 0; i < v->merge_count && s == PITH_OK; i++) {
        token_merge e = v->merges[i];
        texts[i] = (meta_string){lines + at, e.left.size + e.right.size + 1};
        memcpy(lines + at, token_vocab_text(v, e.left), e.left.size);
        lines[at + e.left.size] = ' ';
        memcpy(lines + at + e.left.size + 1, token_vocab_text(v, e.right), e.right.size);
        at += texts[i].size;
    }
    if (s == PITH_OK) s = meta_set_texts(m, KEY("merges"), texts, v->merge_count, err);
    memory_free(lines);
    memory_free(texts);
    return s;
}

pith_status token_vocab_to_meta(const token_vocab *v, size_t rows, meta *m, pith_error *err) {
    meta_remove_prefix(m, "tokenizer.");
    pith_status s = meta_set_text(m, KEY("model"), v->model == TOKEN_BPE ? "gpt2" : "llama", err);
    if (s == PITH_OK) s = meta_set_text(m, KEY("pre"), v->model == TOKEN_BPE ? v->pre : "default", err);
    if (s == PITH_OK) s = write_tokens(v, rows, m, err);
    if (s == PITH_OK && v->model == TOKEN_BPE) s = write_merges(v, m, err);
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{KEY("bos_token_id"), v->bos},
               {KEY("eos_token_id"), v->eos},
               {KEY("eot_token_id"), v->eot},
               {KEY("unknown_token_id"), v->unknown},
               {KEY("padding_token_id"), v->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids && s == PITH_OK; i++)
        if (ids[i].id >= 0) s = meta_set_u32(m, ids[i].key, (uint32_t)ids[i].id, err);
    if (s == PITH_OK) s = meta_set_flag(m, KEY("add_bos_token"), v->add_bos, err);
    if (s == PITH_OK) s = meta_set_flag(m, KEY("add_eos_token"), v->add_eos, err);
    if (s == PITH_OK) s = meta_set_flag(m, KEY("add_space_prefix"), v->prefix != TOKEN_PREFIX_NEVER, err);
    if (s == PITH_OK && v->chat_template) s = meta_set_text(m, "tokenizer.chat_template", v->chat_template, err);
    return s;
}
