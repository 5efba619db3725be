/* file/hf_config.c - config.json of a HuggingFace folder into metadata in GGUF's terms.
 *
 * Sources: transformers' configuration files, of versions 4 (rope_theta, rope_scaling) and 5 (rope_parameters), and
 * llama.cpp's conversion script for the keys. Llama-3 scaling, which GGUF has as a tensor of factors, is kept as
 * <arch>.rope.scaling.type "llama3" with its four numbers; the GGUF writer makes the tensor of it. */
#include "file/hf_config.h"

#include "file/hf_names.h"
#include "file/json.h"

#include <stdio.h>
#include <string.h>

typedef struct config { /* what is being read, and the first failure */
    meta *meta;
    const json_t *json;
    const char *where, *architecture;
    pith_status status;
    pith_error *err;
} config;

static const char *key_of(const config *c, const char *key, char full[128]) {
    snprintf(full, 128, "%.40s.%s", c->architecture, key);
    return full;
}

static void set_u32(config *c, const char *key, int64_t value) {
    char full[128];
    if (c->status == PITH_OK) c->status = meta_set_u32(c->meta, key_of(c, key, full), (uint32_t)value, c->err);
}

static void set_f32(config *c, const char *key, double value) {
    char full[128];
    if (c->status == PITH_OK) c->status = meta_set_f32(c->meta, key_of(c, key, full), (float)value, c->err);
}

static void set_text(config *c, const char *key, const char *value) {
    char full[128];
    if (c->status == PITH_OK) c->status = meta_set_text(c->meta, key_of(c, key, full), value, c->err);
}

static void refuse(config *c, pith_status status, const char *what) {
    if (c->status == PITH_OK) c->status = pith_fail(c->err, status, c->where, -1, "%s", what);
}

/* A count from 1 to 2^28; without a fallback (0) it has to be there. */
static int64_t count(config *c, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(c->json, key);
    if ((!v || json_is_null(v)) && fallback) return fallback;
    int64_t n = json_is_integer(v) ? (int64_t)json_integer_value(v) : 0;
    if (n >= 1 && n <= 1 << 28) return n;
    if (c->status == PITH_OK)
        c->status = pith_fail(c->err, PITH_CORRUPT, c->where, -1, "expected %s to be a count from 1 to 2^28%s", key,
                              v ? "" : ", found none");
    return 1;
}

/* ---- rotary embedding ---- */

static void read_scaling(config *c, const json_t *rope) {
    const char *type = json_get_text(rope, "rope_type", json_get_text(rope, "type", "default"));
    double factor = json_get_real(rope, "factor", 0);
    int64_t context = json_get_int(c->json, "max_position_embeddings", 2048);
    int64_t original = json_get_int(rope, "original_max_position_embeddings",
                                    json_get_int(c->json, "original_max_position_embeddings", context));
    /* "dynamic" changes nothing up to the context the model states. */
    if (strcmp(type, "default") == 0 || strcmp(type, "dynamic") == 0) return;
    set_text(c, "rope.scaling.type", type);
    if (factor > 0) set_f32(c, "rope.scaling.factor", factor);
    if (strcmp(type, "linear") == 0) return;
    if (original < 1 || original > 1 << 28) refuse(c, PITH_CORRUPT, "original_max_position_embeddings is absurd");
    set_u32(c, "rope.scaling.original_context_length", original);
    if (strcmp(type, "llama3") == 0) {
        set_f32(c, "rope.scaling.low_freq_factor", json_get_real(rope, "low_freq_factor", 1));
        set_f32(c, "rope.scaling.high_freq_factor", json_get_real(rope, "high_freq_factor", 4));
    } else if (strcmp(type, "yarn") == 0) {
        set_f32(c, "rope.scaling.yarn_beta_fast", json_get_real(rope, "beta_fast", 32));
        set_f32(c, "rope.scaling.yarn_beta_slow", json_get_real(rope, "beta_slow", 1));
        if (json_get_real(rope, "attention_factor", 0) > 0)
            set_f32(c, "rope.scaling.attn_factor", json_get_real(rope, "attention_factor", 0));
    }
}

static void read_rope(config *c, int64_t head_dim) {
    const json_t *rope = json_object_get(c->json, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(c->json, "rope_scaling");
    double base = json_get_real(c->json, "rope_theta", strcmp(c->architecture, "smollm3") == 0 ? 2e6 : 1e4);
    double part = json_get_real(rope, "partial_rotary_factor", json_get_real(c->json, "partial_rotary_factor", 1));
    if (!(part > 0 && part <= 1)) part = 1;
    set_u32(c, "rope.dimension_count", (int64_t)(part * (double)head_dim));
    set_f32(c, "rope.freq_base", json_get_real(rope, "rope_theta", base));
    if (json_is_object(rope)) read_scaling(c, rope);
}

/* ---- attention ---- */

static void read_window(config *c, int64_t blocks) {
    int64_t window = json_get_int(c->json, "sliding_window", 0);
    bool qwen = strncmp(c->architecture, "qwen", 4) == 0 || strcmp(c->architecture, "smollm3") == 0;
    if (window <= 0 || window > 1 << 28 || (qwen && !json_get_flag(c->json, "use_sliding_window", false))) return;
    int64_t first = qwen ? json_get_int(c->json, "max_window_layers", 0) : 0;
    if (first >= blocks) return;
    if (first > 0) refuse(c, PITH_UNSUPPORTED, "a sliding window in some of the blocks only (max_window_layers)");
    set_u32(c, "attention.sliding_window", window);
}

/* SmolLM3: every n-th block does not rotate. The list no_rope_layers (0: does not) goes before the interval. */
static void read_unrotated(config *c, int64_t blocks) {
    int64_t every = count(c, "no_rope_layer_interval", 4);
    const json_t *list = json_object_get(c->json, "no_rope_layers");
    if (json_is_array(list) && json_array_size(list) == (size_t)blocks) {
        for (every = 1; every <= blocks; every++)
            if (json_integer_value(json_array_get(list, (size_t)every - 1)) == 0) break;
        for (int64_t i = 0; i < blocks; i++)
            if ((json_integer_value(json_array_get(list, (size_t)i)) == 0) != ((i + 1) % every == 0))
                refuse(c, PITH_UNSUPPORTED, "expected no_rope_layers to name every n-th block");
    }
    set_u32(c, "no_rope_layer_interval", every);
}

static void check_activation(config *c, const char *key, const char *wanted) {
    const char *name = json_get_text(c->json, key, wanted);
    if (strcmp(name, wanted) != 0 && c->status == PITH_OK)
        c->status =
            pith_fail(c->err, PITH_UNSUPPORTED, c->where, -1, "expected %s \"%s\", found \"%.40s\"", key, wanted, name);
}

static void read_llama(config *c) {
    int64_t width = count(c, "hidden_size", 0), heads = count(c, "num_attention_heads", 0);
    int64_t blocks = count(c, "num_hidden_layers", 0), kv_heads = count(c, "num_key_value_heads", heads);
    bool qwen3 = strcmp(c->architecture, "qwen3") == 0;
    int64_t head_dim = count(c, "head_dim", qwen3 ? 128 : width / heads ? width / heads : 1);
    check_activation(c, "hidden_act", "silu");
    set_u32(c, "block_count", blocks);
    set_u32(c, "context_length", count(c, "max_position_embeddings", 2048));
    set_u32(c, "embedding_length", width);
    set_u32(c, "feed_forward_length", count(c, "intermediate_size", 0));
    set_u32(c, "attention.head_count", heads);
    set_u32(c, "attention.head_count_kv", kv_heads);
    set_f32(c, "attention.layer_norm_rms_epsilon", json_get_real(c->json, "rms_norm_eps", 1e-6));
    if (head_dim * heads != width) {
        set_u32(c, "attention.key_length", head_dim);
        set_u32(c, "attention.value_length", head_dim);
    }
    read_rope(c, head_dim);
    read_window(c, blocks);
    if (strcmp(c->architecture, "smollm3") == 0) read_unrotated(c, blocks);
}

static void read_gpt2(config *c) {
    int64_t width = count(c, "n_embd", 0);
    check_activation(c, "activation_function", "gelu_new");
    set_u32(c, "block_count", count(c, "n_layer", 0));
    set_u32(c, "context_length", count(c, "n_positions", 1024));
    set_u32(c, "embedding_length", width);
    set_u32(c, "feed_forward_length", count(c, "n_inner", 4 * width));
    set_u32(c, "attention.head_count", count(c, "n_head", 0));
    set_f32(c, "attention.layer_norm_epsilon", json_get_real(c->json, "layer_norm_epsilon", 1e-5));
}

pith_status hf_config_read(meta *m, pith_bytes text, const char *where, pith_error *err) {
    json_t *json;
    pith_status s = json_parse(&json, text.data, text.size, where, err);
    if (s != PITH_OK) return s;
    const char *type = json_get_text(json, "model_type", NULL);
    config c = {.meta = m, .json = json, .where = where, .err = err, .status = PITH_OK};
    if (!type) refuse(&c, PITH_CORRUPT, "expected model_type");
    else c.architecture = hf_architecture(type);
    if (type && c.status == PITH_OK)
        c.status = meta_set_text(m, "general.architecture", c.architecture ? c.architecture : type, err);
    if (c.architecture && c.status == PITH_OK) {
        if (strcmp(c.architecture, "gpt2") == 0) read_gpt2(&c);
        else read_llama(&c);
        set_u32(&c, "vocab_size", count(&c, "vocab_size", 0));
    }
    json_decref(json);
    return c.status;
}
