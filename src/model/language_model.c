/* model/language_model.c - source, weights and tokenizer together. */
#include "model/language_model.h"

#include "token/gguf_vocab.h"

#include <string.h>

static pith_bytes bytes_of(const model_source *s, const char *name) {
    const model_extra *e = model_source_extra(s, name);
    return e ? e->bytes : (pith_bytes){0};
}

static pith_status tokenizer_of_folder(tokenizer **t, const model_source *s, pith_bytes json, pith_error *err) {
    pith_bytes jinja = bytes_of(s, "chat_template.jinja");
    pith_status status = tokenizer_from_json(t, s->path, json, bytes_of(s, "tokenizer_config.json"),
                                             bytes_of(s, "generation_config.json"), err);
    if (status != PITH_OK || !jinja.data) return status;
    status = tokenizer_set_chat_template(*t, jinja, err);
    if (status != PITH_OK) tokenizer_free(*t), *t = NULL;
    return status;
}

pith_status model_tokenizer(tokenizer **t, const model_source *s, pith_error *err) {
    pith_bytes json = bytes_of(s, "tokenizer.json"), llama2c = bytes_of(s, "tokenizer.bin");
    if (json.data) return tokenizer_of_folder(t, s, json, err);
    if (llama2c.data) {
        int64_t at = model_source_find(s, "token_embd.weight");
        return tokenizer_from_llama2c(t, s->path, llama2c, at >= 0 ? (size_t)s->tensors[at].layout.shape[0] : 0, err);
    }
    return tokenizer_from_meta(t, s->meta, err);
}

static pith_status check_fit(const language_model *m, const char *path, pith_error *err) {
    size_t tokens = tokenizer_count(m->tokens), vocab = (size_t)m->model->config.vocab;
    if (tokens <= vocab) return PITH_OK;
    return pith_fail(err, PITH_MISMATCH, path, -1,
                     "the tokenizer does not fit the model: expected at most %zu tokens, found %zu", vocab, tokens);
}

pith_status language_model_open(language_model *m, const char *path, const model_options *options,
                                const pith_context *c, pith_error *err) {
    memset(m, 0, sizeof *m);
    model_source *s = NULL;
    pith_status status = model_source_open(&s, path, options, err);
    if (status == PITH_OK) status = llama_open(&m->model, s, c, err);
    if (status == PITH_OK) status = model_tokenizer(&m->tokens, s, err);
    if (status == PITH_OK) status = check_fit(m, path, err);
    model_source_close(s);
    if (status != PITH_OK) language_model_close(m);
    return status;
}

void language_model_close(language_model *m) {
    llama_free(m->model);
    tokenizer_free(m->tokens);
    memset(m, 0, sizeof *m);
}
