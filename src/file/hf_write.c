/* file/hf_write.c - config.json, generation_config.json and tokenizer_config.json out of metadata in GGUF's terms.
 *
 * Written so that transformers loads the folder: rope_theta and rope_scaling as in version 4, which version 5 reads
 * too. A GGUF file has llama-3's rotary scaling as a tensor of divisors only; its numbers are found again by trying
 * those that are published, and refused when none gives the tensor. */
#include "file/hf_config.h"

#include "base/memory.h"
#include "file/hf_names.h"
#include "file/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer { /* an object being made, and the first failure */
    json_t *json;
    const meta *meta;
    pith_status status;
    pith_error *err;
} writer;

static void put(writer *w, const char *key, json_t *value) {
    if (json_object_set_new(w->json, key, value) != 0 && w->status == PITH_OK)
        w->status = pith_fail(w->err, PITH_NO_MEMORY, key, -1, "out of memory");
}

static void refuse(writer *w, const char *what) {
    if (w->status == PITH_OK) w->status = pith_fail(w->err, PITH_UNSUPPORTED, "config.json", -1, "%s", what);
}

/* A float of the metadata with the digits that tell it from its neighbors, not those of its double. */
static json_t *short_real(double value) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if ((float)strtod(text, NULL) == (float)value) break;
    }
    return json_real(strtod(text, NULL));
}

/* The model's key as this member; without a fallback (-1) it has to be there. */
static uint64_t put_count(writer *w, const char *key, const char *from, int64_t fallback) {
    uint64_t v = (uint64_t)fallback;
    if (!meta_model_u64(w->meta, from, &v) && fallback < 0 && w->status == PITH_OK)
        w->status = pith_fail(w->err, PITH_NOT_FOUND, from, -1, "expected the metadata to hold %s", from);
    put(w, key, json_integer((json_int_t)v));
    return v;
}

static void put_real(writer *w, const char *key, const char *from, double fallback) {
    double v = fallback;
    meta_model_f64(w->meta, from, &v);
    put(w, key, short_real(v));
}

static pith_status finish(writer *w, pith_bytes *out) {
    char *text = w->status == PITH_OK ? json_print(w->json, 2) : NULL;
    json_decref(w->json);
    if (w->status != PITH_OK) return w->status;
    if (!text) return pith_fail(w->err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    *out = (pith_bytes){(uint8_t *)text, strlen(text)};
    return PITH_OK;
}

static bool start(writer *w, const meta *m, pith_error *err) {
    memory_adopt_jansson();
    *w = (writer){.json = json_object(), .meta = m, .status = PITH_OK, .err = err};
    if (!w->json) w->status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return w->json != NULL;
}

/* ---- rotary scaling ---- */

static bool gives_factors(const pith_tensor *t, double base, double factor, double original) {
    const float *f = t->data;
    int64_t pairs = t->shape[0];
    for (int64_t i = 0; i < pairs; i++) {
        double wave = 2 * M_PI * pow(base, (double)i / (double)pairs), smooth = (original / wave - 1) / 3;
        double want = wave < original / 4 ? 1 : wave > original ? factor : 1 / ((1 - smooth) / factor + smooth);
        if (!(fabs(f[i] - want) <= 1e-3 * want)) return false;
    }
    return true;
}

/* Llama-3 scaling out of the tensor of divisors: contexts of 2^3 to 2^17 with factors 1 and 4 for low and high. */
static json_t *scaling_of_factors(writer *w, model_source *s, int64_t i) {
    pith_tensor t = {0};
    double base = 10000, factor = 1, original;
    meta_model_f64(w->meta, "rope.freq_base", &base);
    pith_status st = model_source_load(s, (size_t)i, &t, w->err);
    if (st != PITH_OK) {
        w->status = st;
        return NULL;
    }
    json_t *found = NULL;
    if (t.type == PITH_F32 && t.rank == 1 && ((uintptr_t)t.data & 3) == 0) {
        for (int64_t k = 0; k < t.shape[0]; k++) factor = fmax(factor, ((const float *)t.data)[k]);
        for (original = 8; original <= 131072 && !found; original *= 2)
            if (gives_factors(&t, base, factor, original))
                found =
                    json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", factor, "low_freq_factor",
                              1.0, "high_freq_factor", 4.0, "original_max_position_embeddings", (int)original);
    }
    pith_tensor_release(&t);
    if (!found) refuse(w, "expected rope_freqs.weight to be llama-3's scaling");
    return found;
}

static json_t *scaling_of_keys(writer *w, const char *type) {
    writer r = {.json = json_object(), .meta = w->meta, .status = w->status, .err = w->err};
    put(&r, "rope_type", json_string(type));
    put_real(&r, "factor", "rope.scaling.factor", 1);
    if (strcmp(type, "linear") != 0)
        put_count(&r, "original_max_position_embeddings", "rope.scaling.original_context_length", -1);
    if (strcmp(type, "llama3") == 0) {
        put_real(&r, "low_freq_factor", "rope.scaling.low_freq_factor", 1);
        put_real(&r, "high_freq_factor", "rope.scaling.high_freq_factor", 4);
    } else if (strcmp(type, "yarn") == 0) {
        double factor;
        put_real(&r, "beta_fast", "rope.scaling.yarn_beta_fast", 32);
        put_real(&r, "beta_slow", "rope.scaling.yarn_beta_slow", 1);
        if (meta_model_f64(w->meta, "rope.scaling.attn_factor", &factor))
            put(&r, "attention_factor", short_real(factor));
    } else if (strcmp(type, "linear") != 0) {
        refuse(&r, "expected rotary scaling linear, yarn or llama3");
    }
    w->status = r.status;
    return r.json;
}

static void put_rope(writer *w, model_source *s, uint64_t head_dim) {
    const char *type = meta_model_text(w->meta, "rope.scaling.type");
    int64_t factors = model_source_find(s, "rope_freqs.weight");
    uint64_t dims = head_dim;
    put_real(w, "rope_theta", "rope.freq_base", 10000);
    if (meta_model_u64(w->meta, "rope.dimension_count", &dims) && dims != head_dim)
        put(w, "partial_rotary_factor", json_real((double)dims / (double)head_dim));
    if (factors >= 0 && !type) put(w, "rope_scaling", scaling_of_factors(w, s, factors));
    else if (type && strcmp(type, "none") != 0) put(w, "rope_scaling", scaling_of_keys(w, type));
}

/* ---- config.json ---- */

static bool has(const model_source *s, const char *canonical) { return model_source_find(s, canonical) >= 0; }

static void put_tokens(writer *w) {
    static const char *const keys[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                          {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                          {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    for (int i = 0; i < 3; i++) { /* null, said aloud, keeps transformers from its defaults for other vocabularies */
        uint64_t id;
        bool there = meta_u64(w->meta, keys[i][1], &id) && id <= INT32_MAX;
        put(w, keys[i][0], there ? json_integer((json_int_t)id) : json_null());
    }
}

static void put_llama(writer *w, model_source *s, const char *architecture) {
    uint64_t window, heads, width, head_dim, interval;
    bool windowed = meta_model_u64(w->meta, "attention.sliding_window", &window) && window > 0;
    bool mistral = windowed && strcmp(architecture, "llama") == 0;
    const struct {
        const char *architecture, *class;
    } classes[] = {{"llama", "LlamaForCausalLM"},
                   {"qwen2", "Qwen2ForCausalLM"},
                   {"qwen3", "Qwen3ForCausalLM"},
                   {"smollm3", "SmolLM3ForCausalLM"}};
    const char *class = "MistralForCausalLM";
    for (int i = 0; i < 4 && !mistral; i++)
        if (strcmp(architecture, classes[i].architecture) == 0) class = classes[i].class;
    put(w, "architectures", json_pack("[s]", class));
    put(w, "model_type", json_string(mistral ? "mistral" : architecture));
    put(w, "hidden_act", json_string("silu"));
    width = put_count(w, "hidden_size", "embedding_length", -1);
    put_count(w, "num_hidden_layers", "block_count", -1);
    heads = put_count(w, "num_attention_heads", "attention.head_count", -1);
    put_count(w, "num_key_value_heads", "attention.head_count_kv", (int64_t)heads);
    put_count(w, "intermediate_size", "feed_forward_length", -1);
    put_count(w, "max_position_embeddings", "context_length", -1);
    put_real(w, "rms_norm_eps", "attention.layer_norm_rms_epsilon", 1e-6);
    head_dim = put_count(w, "head_dim", "attention.key_length", heads ? (int64_t)(width / heads) : 0);
    put_rope(w, s, head_dim ? head_dim : 1);
    if (windowed) put(w, "sliding_window", json_integer((json_int_t)window));
    if (windowed && !mistral) {
        put(w, "use_sliding_window", json_true());
        put(w, "max_window_layers", json_integer(0));
    }
    if (strcmp(architecture, "qwen2") != 0 && has(s, "blk.0.attn_q.bias")) put(w, "attention_bias", json_true());
    if (has(s, "blk.0.ffn_gate.bias")) put(w, "mlp_bias", json_true());
    if (strcmp(architecture, "smollm3") == 0) {
        if (!meta_model_u64(w->meta, "no_rope_layer_interval", &interval)) interval = 4;
        put(w, "no_rope_layer_interval", json_integer((json_int_t)interval));
    }
}

static void put_gpt2(writer *w) {
    put(w, "architectures", json_pack("[s]", "GPT2LMHeadModel"));
    put(w, "model_type", json_string("gpt2"));
    put(w, "activation_function", json_string("gelu_new"));
    put_count(w, "n_embd", "embedding_length", -1);
    put_count(w, "n_layer", "block_count", -1);
    put_count(w, "n_head", "attention.head_count", -1);
    put_count(w, "n_inner", "feed_forward_length", -1);
    put_count(w, "n_positions", "context_length", -1);
    put_real(w, "layer_norm_epsilon", "attention.layer_norm_epsilon", 1e-5);
}

pith_status hf_config_write(model_source *s, const meta *m, pith_bytes *out, pith_error *err) {
    writer w;
    const char *architecture = meta_text(m, "general.architecture", NULL);
    int64_t embedding = model_source_find(s, "token_embd.weight");
    if (!start(&w, m, err)) return w.status;
    if (!architecture || embedding < 0 || s->tensors[embedding].layout.rank != 2) {
        refuse(&w, "expected a language model of an architecture that has a HuggingFace form");
    } else if (!hf_architecture(architecture)) {
        if (w.status == PITH_OK)
            w.status = pith_fail(err, PITH_UNSUPPORTED, "config.json", -1,
                                 "architecture %.40s has no HuggingFace form that pith knows", architecture);
    } else {
        if (strcmp(architecture, "gpt2") == 0) put_gpt2(&w);
        else put_llama(&w, s, architecture);
        put(&w, "vocab_size", json_integer(s->tensors[embedding].layout.shape[0]));
        put(&w, "tie_word_embeddings", json_boolean(!has(s, "output.weight")));
        put_tokens(&w);
        put(&w, "torch_dtype", json_string("float32"));
    }
    return finish(&w, out);
}

/* ---- tokens ---- */

pith_status hf_generation_write(const meta *m, pith_bytes *out, pith_error *err) {
    writer w;
    if (!meta_has(m, "tokenizer.ggml.tokens")) return PITH_OK;
    if (!start(&w, m, err)) return w.status;
    put_tokens(&w);
    return finish(&w, out);
}

static void put_token_text(writer *w, const char *key, const char *id_key) {
    meta_array tokens;
    uint64_t id;
    if (!meta_get_array(w->meta, "tokenizer.ggml.tokens", &tokens) || !meta_u64(w->meta, id_key, &id) ||
        id >= tokens.count)
        return;
    meta_string text = meta_array_text(&tokens, id);
    json_t *name = json_stringn(text.data, text.size); /* NULL also for what is no UTF-8: then it stays unnamed */
    if (name) put(w, key, name);
}

pith_status hf_tokenizer_config_write(const meta *m, pith_bytes *out, pith_error *err) {
    writer w;
    bool add_bos;
    size_t size;
    const char *chat = meta_text(m, "tokenizer.chat_template", &size);
    if (!meta_has(m, "tokenizer.ggml.tokens")) return PITH_OK;
    if (!start(&w, m, err)) return w.status;
    put(&w, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    put(&w, "clean_up_tokenization_spaces", json_false());
    put_token_text(&w, "bos_token", "tokenizer.ggml.bos_token_id");
    put_token_text(&w, "eos_token", "tokenizer.ggml.eos_token_id");
    put_token_text(&w, "unk_token", "tokenizer.ggml.unknown_token_id");
    put_token_text(&w, "pad_token", "tokenizer.ggml.padding_token_id");
    if (meta_flag(m, "tokenizer.ggml.add_bos_token", &add_bos)) put(&w, "add_bos_token", json_boolean(add_bos));
    if (chat) put(&w, "chat_template", json_stringn(chat, size));
    return finish(&w, out);
}
