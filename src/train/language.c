/* train/language.c - the task of predicting the next token: packed text, a decoder, cross-entropy.
 *
 * The model is saved as a HuggingFace folder, rotary halves as there, so that every reader of such folders can run it.
 */
#include "train/task.h"

#include "base/memory.h"
#include "file/hf_names.h"
#include "file/output.h"
#include "net/decoder.h"
#include "train/corpus.h"
#include "train/weights_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EVALUATED = 512 }; /* windows of held-out text an evaluation looks at, spread over all of it */

typedef struct language {
    const pith_values *v;
    tokenizer *tokens;
    corpus corpus;
    decoder net;
    int64_t batch, context;
} language;

static void language_close(void *self) {
    language *l = self;
    if (!l) return;
    decoder_close(&l->net);
    corpus_close(&l->corpus);
    tokenizer_free(l->tokens);
    memory_free(l);
}

static pith_status open_tokenizer(language *l, const recipe *r, pith_error *err) {
    const char *name = pith_value_text(l->v, "data.tokenizer");
    if (strcmp(name, "bytes") == 0) return tokenizer_new_bytes(&l->tokens, NULL, 0, err);
    const char *slash = name[0] == '/' ? NULL : strrchr(recipe_path(r), '/');
    char path[4096];
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - recipe_path(r) + 1) : 0, recipe_path(r), name);
    pith_error inner = {0};
    pith_status s = tokenizer_open_json(&l->tokens, path, &inner);
    if (s != PITH_OK) return recipe_fail(r, err, s, "data.tokenizer", "%s: %s", path, inner.text);
    if (tokenizer_vocab(l->tokens)->eos < 0)
        return recipe_fail(r, err, PITH_USAGE, "data.tokenizer", "%s: expected a token that ends a text", name);
    return PITH_OK;
}

static pith_status read_net(const language *l, const recipe *r, decoder_config *c, pith_error *err) {
    const pith_values *v = l->v;
    int64_t tokens = (int64_t)tokenizer_count(l->tokens);
    *c = (decoder_config){.architecture = "llama",
                          .vocab = pith_value_int(v, "net.vocab"),
                          .width = pith_value_int(v, "net.width"),
                          .blocks = pith_value_int(v, "net.blocks"),
                          .heads = pith_value_int(v, "net.heads"),
                          .kv_heads = pith_value_int(v, "net.kv_heads"),
                          .ffn = pith_value_int(v, "net.ffn"),
                          .context = l->context,
                          .norm_epsilon = 1e-5f,
                          .gated = true,
                          .tied = pith_value_flag(v, "net.tied"),
                          .rope_halves = true,
                          .rope_base = (float)pith_value_real(v, "net.rope_base")};
    if (c->vocab == 0) c->vocab = tokens;
    if (c->vocab < tokens)
        return recipe_fail(r, err, PITH_MISMATCH, "net.vocab",
                           "expected at least the tokenizer's %lld tokens, found %lld", (long long)tokens,
                           (long long)c->vocab);
    if (c->kv_heads == 0) c->kv_heads = c->heads;
    if (c->width % c->heads)
        return recipe_fail(r, err, PITH_MISMATCH, "net.heads", "expected a divisor of the width %lld, found %lld",
                           (long long)c->width, (long long)c->heads);
    c->head_dim = c->rope_dims = c->width / c->heads;
    return PITH_OK;
}

static pith_status language_open(void **self, const recipe *r, const pith_context *c, bool dry_run, grad_params *p,
                                 pith_error *err) {
    language *l = memory_zero(1, sizeof *l);
    if (!l) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    *self = l;
    l->v = recipe_values(r);
    l->batch = pith_value_int(l->v, "batch");
    l->context = pith_value_int(l->v, "data.context");
    if (strcmp(pith_value_text(l->v, "net.kind"), "decoder") != 0)
        return recipe_fail(r, err, PITH_USAGE, "net.kind", "expected decoder for the task language, found %s",
                           pith_value_text(l->v, "net.kind"));
    decoder_config config;
    pith_status s = open_tokenizer(l, r, err);
    if (s == PITH_OK) s = read_net(l, r, &config, err);
    if (s == PITH_OK) s = corpus_open(&l->corpus, r, l->tokens, c, dry_run, err);
    if (s == PITH_OK) s = decoder_open(&l->net, &config, p, err);
    l->net.recompute = pith_value_flag(l->v, "recompute");
    return s;
}

static void language_start(void *self, grad_params *p, uint64_t seed) {
    language *l = self;
    decoder_start(&l->net, p, seed);
}

/* Inputs and the tokens that follow them, from rows of context + 1 tokens. */
static bool batch_tensors(const language *l, tape *t, int64_t rows, pith_tensor *ids, pith_tensor *labels) {
    uint64_t bytes;
    int64_t shape[2] = {rows, l->context};
    pith_tensor_layout(ids, PITH_I32, 2, shape, &bytes, NULL);
    *labels = *ids;
    ids->data = tape_alloc(t, bytes);
    labels->data = tape_alloc(t, bytes);
    return ids->data && labels->data;
}

static void fill_row(const language *l, int64_t row, const uint16_t *tokens, pith_tensor *ids, pith_tensor *labels) {
    int32_t *x = (int32_t *)ids->data + row * l->context, *y = (int32_t *)labels->data + row * l->context;
    for (int64_t i = 0; i < l->context; i++) x[i] = tokens[i], y[i] = tokens[i + 1];
}

static var language_loss(void *self, tape *t, uint64_t seed, int64_t step, int64_t part) {
    language *l = self;
    pith_tensor ids, labels;
    if (!batch_tensors(l, t, l->batch, &ids, &labels)) return VAR_FAILED;
    static const uint16_t blank[65536]; /* a dry run has no text */
    uint64_t draw = (uint64_t)step * (uint64_t)pith_value_int(l->v, "accumulate") + (uint64_t)part;
    for (int64_t i = 0; i < l->batch; i++)
        fill_row(l, i, l->corpus.tokens ? corpus_sample(&l->corpus, seed, draw, i, l->context + 1) : blank, &ids,
                 &labels);
    return grad_cross_entropy(t, decoder_logits(&l->net, t, grad_constant(t, &ids)), grad_constant(t, &labels), -1, 0);
}

static pith_status language_evaluate(void *self, tape *t, train_score *out, pith_error *err) {
    language *l = self;
    int64_t held = l->corpus.count - l->corpus.held_first, all = (held - 1) / l->context,
            windows = all < EVALUATED ? all : EVALUATED, scored = 0;
    double nats = 0, bytes = 0;
    for (int64_t first = 0; first < windows; first += l->batch) {
        int64_t rows = windows - first < l->batch ? windows - first : l->batch;
        tape_begin(t, 0, 0);
        pith_tensor ids, labels;
        if (!batch_tensors(l, t, rows, &ids, &labels)) break;
        for (int64_t i = 0; i < rows; i++)
            fill_row(l, i, l->corpus.tokens + l->corpus.held_first + (first + i) * all / windows * l->context, &ids,
                     &labels);
        var loss =
            grad_cross_entropy(t, decoder_logits(&l->net, t, grad_constant(t, &ids)), grad_constant(t, &labels), -1, 0);
        nats += (double)grad_scalar(t, loss) * (double)(rows * l->context);
        for (int64_t i = 0; i < rows * l->context; i++) {
            int32_t id = ((int32_t *)labels.data)[i];
            if (!tokenizer_is_special(l->tokens, id)) bytes += (double)tokenizer_piece(l->tokens, id).size;
        }
        scored += rows * l->context;
    }
    *out = (train_score){.loss = scored ? nats / (double)scored : NAN,
                         .metric = "bits_per_byte",
                         .value = bytes > 0 ? nats / log(2.0) / bytes : NAN};
    return tape_status(t, err);
}

static train_cost language_cost(const void *self) {
    const language *l = self;
    return (train_cost){.flops = 3 * decoder_flops(&l->net.config, l->batch, l->context),
                        .samples = (double)(l->batch * l->context),
                        .unit = "tokens"};
}

/* --- the folder ------------------------------------------------------------------------------------------------------
 */

static void hf_namer(const char *own, char *name) {
    char hf[HF_NAME];
    bool transposed, known = hf_from_canonical("llama", own, hf, &transposed);
    snprintf(name, WEIGHT_NAME, "%s", known ? hf : own);
}

static pith_status write_json(const char *dir, const char *name, json_t *o, pith_error *err) {
    char path[4096];
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (!text) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    snprintf(path, sizeof path, "%s/%s", dir, name);
    pith_status s = output_file(path, true, text, strlen(text), err);
    memory_free(text);
    return s;
}

static json_t *config_json(const language *l) {
    const decoder_config *c = &l->net.config;
    const token_vocab *v = tokenizer_vocab(l->tokens);
    json_t *o = json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:s, s:s, s:I}",
                          "architectures", "LlamaForCausalLM", "model_type", "llama", "vocab_size",
                          (json_int_t)c->vocab, "hidden_size", (json_int_t)c->width, "intermediate_size",
                          (json_int_t)c->ffn, "num_hidden_layers", (json_int_t)c->blocks, "num_attention_heads",
                          (json_int_t)c->heads, "num_key_value_heads", (json_int_t)c->kv_heads, "head_dim",
                          (json_int_t)c->head_dim, "max_position_embeddings", (json_int_t)c->context, "rms_norm_eps",
                          (double)c->norm_epsilon, "rope_theta", (double)c->rope_base, "tie_word_embeddings", c->tied,
                          "hidden_act", "silu", "torch_dtype", "float32", "eos_token_id", (json_int_t)v->eos);
    if (o && v->bos >= 0) json_object_set_new(o, "bos_token_id", json_integer(v->bos));
    return o;
}

/* A vocabulary with the turn marks of corpus_chat talks in them: the template that Phi-3 made known. */
static json_t *tokenizer_config_json(const language *l) {
    static const char template[] =
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";
    const token_vocab *v = tokenizer_vocab(l->tokens);
    bool chat = tokenizer_find(l->tokens, "<|end|>") >= 0 && tokenizer_find(l->tokens, "<|assistant|>") >= 0;
    pith_bytes end = tokenizer_piece(l->tokens, v->eos);
    json_t *o = json_pack("{s:s, s:b, s:s%}", "tokenizer_class", "PreTrainedTokenizerFast", "add_bos_token", v->add_bos,
                          "eos_token", (const char *)end.data, end.size);
    if (o && chat) json_object_set_new(o, "chat_template", json_string(template));
    return o;
}

static pith_status language_save(void *self, const grad_params *p, const char *dir, pith_error *err) {
    language *l = self;
    char path[4096];
    pith_bytes json = {0};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    pith_status s = weights_write(path, p, hf_namer, "{\"format\":\"pt\"}", err);
    if (s == PITH_OK) s = write_json(dir, "config.json", config_json(l), err);
    if (s == PITH_OK) s = token_vocab_to_json(tokenizer_vocab(l->tokens), &json, err);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (s == PITH_OK) s = output_file(path, true, json.data, json.size, err);
    memory_free(json.data);
    if (s == PITH_OK) s = write_json(dir, "tokenizer_config.json", tokenizer_config_json(l), err);
    return s;
}

const train_task train_language = {"language",    language_open,     language_close, language_start,
                                   language_loss, language_evaluate, language_save,  language_cost};
