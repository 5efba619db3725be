/* model/export.c - tokenizer and dequantization for the sinks of file/. */
#include "model/export.h"

#include "base/memory.h"
#include "model/language_model.h"
#include "quant/format.h"
#include "token/gguf_vocab.h"

#include <string.h>

static pith_status to_f32(const pith_tensor *t, int64_t row, int64_t rows, float *out, pith_error *err) {
    pith_packed p;
    pith_status s = pith_packed_from_tensor(&p, t, err);
    if (s != PITH_OK) return s;
    p.format->to_f32(&p, row, rows, out);
    pith_packed_release(&p);
    return PITH_OK;
}

static size_t embedding_rows(const model_source *s) {
    int64_t at = model_source_find(s, "token_embd.weight");
    return at >= 0 && s->tensors[at].layout.rank == 2 ? (size_t)s->tensors[at].layout.shape[0] : 0;
}

/* Keys that name a token for every row of the embedding. */
static bool has_keys(const model_source *s) {
    meta_array tokens;
    return meta_has(s->meta, "tokenizer.ggml.model") &&
           (!meta_get_array(s->meta, "tokenizer.ggml.tokens", &tokens) || tokens.count >= embedding_rows(s));
}

/* The tokenizer's keys beside those the source has; a chat template that travels apart from it is kept. */
static pith_status tokenizer_keys(model_export *e, const model_source *s, const tokenizer *t, pith_error *err) {
    size_t size;
    const char *chat = meta_text(s->meta, "tokenizer.chat_template", &size);
    pith_status status = meta_copy(&e->meta, s->meta, err);
    if (status == PITH_OK) status = token_vocab_to_meta(tokenizer_vocab(t), embedding_rows(s), e->meta, err);
    if (status == PITH_OK && chat && !meta_has(e->meta, "tokenizer.chat_template"))
        status = meta_set_text_n(e->meta, "tokenizer.chat_template", chat, size, err);
    e->options.meta = e->meta;
    return status;
}

static pith_status tokenizer_file(model_export *e, const tokenizer *t, pith_error *err) {
    pith_status status = token_vocab_to_json(tokenizer_vocab(t), &e->tokenizer.bytes, err);
    if (status != PITH_OK) return status;
    e->tokenizer.name = "tokenizer.json";
    e->options.extras = &e->tokenizer;
    e->options.extra_count = 1;
    return PITH_OK;
}

pith_status model_export_prepare(model_export *e, const char *path, const model_source *s, pith_error *err) {
    model_target target = model_target_of(path);
    memset(e, 0, sizeof *e);
    e->options.file_type = -1;
    e->options.to_f32 = to_f32;
    bool keys = target != MODEL_SAFETENSORS && !has_keys(s);
    bool file = target == MODEL_FOLDER && !model_source_extra(s, "tokenizer.json");
    if (!keys && !file) return PITH_OK;
    tokenizer *t = NULL;
    pith_error none = {0};
    pith_status status = model_tokenizer(&t, s, &none);
    if (status == PITH_NOT_FOUND) return PITH_OK;
    if (status != PITH_OK) return pith_fail(err, status, none.where, none.offset, "%s", none.text);
    if (keys) status = tokenizer_keys(e, s, t, err);
    if (status == PITH_OK && file) status = tokenizer_file(e, t, err);
    tokenizer_free(t);
    if (status != PITH_OK) model_export_release(e);
    return status;
}

void model_export_release(model_export *e) {
    meta_free(e->meta);
    memory_free(e->tokenizer.bytes.data);
    memset(e, 0, sizeof *e);
}

pith_status model_convert(const char *path, model_source *s, bool replace, const pith_context *c, pith_error *err) {
    model_export e;
    pith_status status = model_export_prepare(&e, path, s, err);
    if (status != PITH_OK) return status;
    e.options.replace = replace;
    status = model_sink_copy(path, s, &e.options, c, err);
    model_export_release(&e);
    return status;
}
