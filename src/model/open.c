/* model/open.c - configuration from metadata, tensors by their GGUF names. */
#include "model/open.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What differs between architectures and stands in no metadata. */
typedef struct architecture {
    const char *name;
    bool layer_norm, plain_ffn, fused, learned_positions, qk_norm;
    bool always_halves; /* rotates halves in GGUF too */
    int64_t no_rope_every;
} architecture;

static const architecture architectures[] = {
    {.name = "llama"},
    {.name = "mistral"},
    {.name = "smollm3", .no_rope_every = 4},
    {.name = "qwen2", .always_halves = true},
    {.name = "qwen3", .always_halves = true, .qk_norm = true},
    {.name = "gpt2", .layer_norm = true, .plain_ffn = true, .fused = true, .learned_positions = true},
};

static const architecture *find_architecture(const char *name) {
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (strcmp(architectures[i].name, name) == 0) return &architectures[i];
    return NULL;
}

static pith_status need_count(const model_source *s, const char *key, int64_t low, int64_t high, int64_t *out,
                              pith_error *err) {
    uint64_t v;
    meta_array list;
    bool found = meta_model_u64(s->meta, key, &v) ||
                 (meta_model_array(s->meta, key, &list) && list.count && meta_array_u64(&list, 0, &v));
    if (!found) return pith_fail(err, PITH_NOT_FOUND, s->path, -1, "expected the metadata key %s", key);
    if (v < (uint64_t)low || v > (uint64_t)high)
        return pith_fail(err, PITH_CORRUPT, s->path, -1, "%s: expected %lld to %lld, found %llu", key, (long long)low,
                         (long long)high, (unsigned long long)v);
    *out = (int64_t)v;
    return PITH_OK;
}

static float real_or(const model_source *s, const char *key, float otherwise) {
    double v;
    return meta_model_f64(s->meta, key, &v) && isfinite(v) ? (float)v : otherwise;
}

static pith_status read_scaling(decoder_config *c, const model_source *s, pith_error *err) {
    const char *type = meta_model_text(s->meta, "rope.scaling.type");
    c->scaling_factor = real_or(s, "rope.scaling.factor", 0);
    if (!type) { /* old files: a bare factor means linear */
        c->scaling = c->scaling_factor > 0 ? ROPE_LINEAR : ROPE_PLAIN;
        return PITH_OK;
    }
    c->original_context = real_or(s, "rope.scaling.original_context_length", (float)c->context);
    c->beta_fast = real_or(s, "rope.scaling.yarn_beta_fast", 32);
    c->beta_slow = real_or(s, "rope.scaling.yarn_beta_slow", 1);
    c->attention_factor = real_or(s, "rope.scaling.attn_factor", 0);
    c->low_frequency = real_or(s, "rope.scaling.low_freq_factor", 1);
    c->high_frequency = real_or(s, "rope.scaling.high_freq_factor", 4);
    static const struct {
        const char *name;
        rope_scaling kind;
    } kinds[] = {{"none", ROPE_PLAIN},
                 {"default", ROPE_PLAIN},
                 {"linear", ROPE_LINEAR},
                 {"yarn", ROPE_YARN},
                 {"llama3", ROPE_LLAMA3}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].name) != 0) continue;
        c->scaling = kinds[i].kind;
        if (c->scaling != ROPE_PLAIN && !(c->scaling_factor > 0))
            return pith_fail(err, PITH_NOT_FOUND, s->path, -1,
                             "expected a positive rope.scaling.factor beside rope.scaling.type \"%s\"", type);
        return PITH_OK;
    }
    return pith_fail(err, PITH_UNSUPPORTED, s->path, -1,
                     "expected rope scaling none, linear, yarn or llama3, found \"%s\"", type);
}

static pith_status read_heads(decoder_config *c, const model_source *s, pith_error *err) {
    pith_status status = need_count(s, "attention.head_count", 1, 4096, &c->heads, err);
    if (status != PITH_OK) return status;
    uint64_t v;
    c->kv_heads = c->heads;
    if (meta_model_u64(s->meta, "attention.head_count_kv", &v) && v > 0) c->kv_heads = (int64_t)v;
    if (c->kv_heads > c->heads || c->heads % c->kv_heads)
        return pith_fail(err, PITH_CORRUPT, s->path, -1,
                         "expected key-value heads that divide the %lld query heads, found %lld", (long long)c->heads,
                         (long long)c->kv_heads);
    c->head_dim = c->width / c->heads;
    if (meta_model_u64(s->meta, "attention.key_length", &v)) c->head_dim = (int64_t)v;
    if (c->head_dim < 2 || c->head_dim > 512 || c->head_dim % 2)
        return pith_fail(err, PITH_UNSUPPORTED, s->path, -1, "expected heads of an even size up to 512, found %lld",
                         (long long)c->head_dim);
    c->rope_dims = c->head_dim;
    if (meta_model_u64(s->meta, "rope.dimension_count", &v) && v > 0 && v <= (uint64_t)c->head_dim)
        c->rope_dims = (int64_t)v / 2 * 2;
    return PITH_OK;
}

pith_status llama_read_config(decoder_config *c, const model_source *s, pith_error *err) {
    memset(c, 0, sizeof *c);
    const char *name = meta_text(s->meta, "general.architecture", NULL);
    if (!name)
        return pith_fail(err, PITH_UNSUPPORTED, s->path, -1,
                         "expected a language model; this %s file says nothing of its architecture", s->format);
    const architecture *a = find_architecture(name);
    if (!a)
        return pith_fail(
            err, PITH_UNSUPPORTED, s->path, -1,
            "expected an architecture pith runs (llama, mistral, qwen2, qwen3, smollm3, gpt2), found \"%s\"", name);
    snprintf(c->architecture, sizeof c->architecture, "%s", name);
    pith_status status = need_count(s, "block_count", 1, 10000, &c->blocks, err);
    if (status == PITH_OK) status = need_count(s, "embedding_length", 1, 1 << 20, &c->width, err);
    if (status == PITH_OK) status = need_count(s, "feed_forward_length", 1, 1 << 22, &c->ffn, err);
    if (status == PITH_OK) status = need_count(s, "context_length", 1, INT32_MAX, &c->context, err);
    if (status == PITH_OK) status = read_heads(c, s, err);
    if (status == PITH_OK) status = read_scaling(c, s, err);
    if (status != PITH_OK) return status;
    c->layer_norm = a->layer_norm, c->gated = !a->plain_ffn, c->qkv_fused = a->fused, c->qk_norm = a->qk_norm;
    c->learned_positions = a->learned_positions;
    c->rope_halves = a->always_halves || s->rope_halves;
    uint64_t v;
    c->no_rope_every = meta_model_u64(s->meta, "no_rope_layer_interval", &v) ? (int64_t)v : a->no_rope_every;
    if (meta_model_u64(s->meta, "attention.sliding_window", &v) && v < (uint64_t)c->context) c->window = (int64_t)v;
    c->norm_epsilon =
        real_or(s, a->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5f);
    c->rope_base = real_or(s, "rope.freq_base", 10000);
    int64_t at = model_source_find(s, "token_embd.weight");
    if (at < 0 || s->tensors[at].layout.rank != 2)
        return pith_fail(err, PITH_NOT_FOUND, s->path, -1, "expected a matrix token_embd.weight");
    c->vocab = s->tensors[at].layout.shape[0];
    c->tied = model_source_find(s, "output.weight") < 0;
    return PITH_OK;
}

/* --- tensors -------------------------------------------------------------------------------------------------------
 */

typedef struct loader {
    model_source *s;
    const pith_context *context;
    llama *m;
    pith_error *err;
    bool pair_rows; /* queries and keys come as halves and are to be adjacent pairs */
} loader;

static void say_shape(char *out, size_t size, const pith_tensor *t) {
    int n = 0;
    for (int i = 0; i < t->rank && n < (int)size; i++)
        n += snprintf(out + n, size - (size_t)n, "%s%lld", i ? "x" : "", (long long)t->shape[i]);
    if (t->rank == 0) snprintf(out, size, "scalar");
}

/* cols 0: a vector of `rows`. *found false, and PITH_OK, when it is optional and absent. */
static pith_status fetch(loader *l, const char *name, int64_t rows, int64_t cols, bool optional, pith_tensor *out,
                         bool *found) {
    int64_t i = model_source_find(l->s, name);
    *found = i >= 0;
    if (i < 0)
        return optional ? PITH_OK : pith_fail(l->err, PITH_NOT_FOUND, l->s->path, -1, "expected a tensor %s", name);
    pith_status s = model_source_canonical(l->s, (size_t)i, out, l->err);
    if (s != PITH_OK) return s;
    bool fits = cols ? out->rank == 2 && out->shape[0] == rows && out->shape[1] == cols
                     : out->rank == 1 && out->shape[0] == rows;
    if (fits) return PITH_OK;
    char shape[96];
    say_shape(shape, sizeof shape, out);
    pith_tensor_release(out);
    if (cols)
        return pith_fail(l->err, PITH_MISMATCH, l->s->path, -1, "%s: expected %lldx%lld, found %s", name,
                         (long long)rows, (long long)cols, shape);
    return pith_fail(l->err, PITH_MISMATCH, l->s->path, -1, "%s: expected %lld, found %s", name, (long long)rows,
                     shape);
}

static pith_status load_vector(loader *l, const char *name, int64_t n, int64_t cols, bool optional, float **out) {
    pith_tensor t;
    bool found;
    pith_status s = fetch(l, name, n, cols, optional, &t, &found);
    if (s != PITH_OK || !found) return s;
    int64_t count = cols ? n * cols : n;
    float *v = memory_aligned((size_t)count * sizeof *v);
    if (!v) s = pith_fail(l->err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    else if (!pith_to_f32(t.type, t.data, count, v)) {
        memory_free(v);
        s = pith_fail(l->err, PITH_UNSUPPORTED, l->s->path, -1, "%s: expected a plain type, found %s", name,
                      pith_types[t.type].name);
    } else *out = v;
    pith_tensor_release(&t);
    return s;
}

static pith_status load_matrix(loader *l, const char *name, int64_t rows, int64_t cols, pith_packed *out) {
    pith_tensor t;
    bool found;
    pith_status s = fetch(l, name, rows, cols, false, &t, &found);
    if (s != PITH_OK) return s;
    s = pith_packed_from_tensor(out, &t, l->err);
    pith_tensor_release(&t);
    return s;
}

/* Rows of each head from (i, i + d/2) to (2i, 2i + 1): one form for all files, so that they round alike. */
static pith_status pair_rows(loader *l, pith_packed *p) {
    pith_tensor *from = &p->part[0], to;
    pith_status s = pith_tensor_new(&to, from->type, from->rank, from->shape, l->err);
    if (s != PITH_OK) return s;
    int64_t d = l->m->config.head_dim;
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t i = r % d, source = r - i + i / 2 + (i % 2) * (d / 2);
        memcpy((uint8_t *)to.data + r * to.row_bytes, (const uint8_t *)from->data + source * from->row_bytes,
               (size_t)to.row_bytes);
    }
    pith_tensor_release(from);
    *from = to;
    return PITH_OK;
}

/* "blk.3.attn_q" + ".weight" / ".bias" */
static pith_status load_linear(loader *l, int64_t block, const char *part, int64_t rows, int64_t cols, linear *out) {
    char name[64];
    snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)block, part);
    pith_status s = load_matrix(l, name, rows, cols, &out->w);
    bool turned = strcmp(part, "attn_q") == 0 || strcmp(part, "attn_k") == 0;
    if (s == PITH_OK && turned && l->pair_rows) s = pair_rows(l, &out->w);
    if (s == PITH_OK) s = linear_prepare(out, l->err);
    snprintf(name, sizeof name, "blk.%lld.%s.bias", (long long)block, part);
    if (s == PITH_OK) s = load_vector(l, name, rows, 0, true, &out->bias);
    return s;
}

static pith_status load_norm(loader *l, const char *stem, int64_t n, llama_norm *out) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", stem);
    pith_status s = load_vector(l, name, n, 0, false, &out->weight);
    snprintf(name, sizeof name, "%s.bias", stem);
    if (s == PITH_OK && l->m->config.layer_norm) s = load_vector(l, name, n, 0, true, &out->bias);
    return s;
}

static pith_status load_block_norm(loader *l, int64_t block, const char *part, int64_t n, llama_norm *out) {
    char stem[48];
    snprintf(stem, sizeof stem, "blk.%lld.%s", (long long)block, part);
    return load_norm(l, stem, n, out);
}

static pith_status load_block(loader *l, int64_t i) {
    const decoder_config *c = &l->m->config;
    llama_block *b = &l->m->blocks[i];
    int64_t queries = c->heads * c->head_dim, keys = c->kv_heads * c->head_dim;
    pith_status s = load_block_norm(l, i, "attn_norm", c->width, &b->attention_norm);
    if (s == PITH_OK) s = load_block_norm(l, i, "ffn_norm", c->width, &b->ffn_norm);
    if (s == PITH_OK && c->qk_norm) s = load_block_norm(l, i, "attn_q_norm", c->head_dim, &b->query_norm);
    if (s == PITH_OK && c->qk_norm) s = load_block_norm(l, i, "attn_k_norm", c->head_dim, &b->key_norm);
    if (s == PITH_OK && c->qkv_fused) s = load_linear(l, i, "attn_qkv", queries + 2 * keys, c->width, &b->query);
    const struct {
        bool wanted;
        const char *part;
        int64_t rows, cols;
        linear *to;
    } rows[] = {
        {!c->qkv_fused, "attn_q", queries, c->width, &b->query}, {!c->qkv_fused, "attn_k", keys, c->width, &b->key},
        {!c->qkv_fused, "attn_v", keys, c->width, &b->value},    {true, "attn_output", c->width, queries, &b->output},
        {c->gated, "ffn_gate", c->ffn, c->width, &b->gate},      {true, "ffn_up", c->ffn, c->width, &b->up},
        {true, "ffn_down", c->width, c->ffn, &b->down},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows && s == PITH_OK; k++)
        if (rows[k].wanted) s = load_linear(l, i, rows[k].part, rows[k].rows, rows[k].cols, rows[k].to);
    return s;
}

static pith_status load_ends(loader *l) {
    llama *m = l->m;
    const decoder_config *c = &m->config;
    pith_status s = load_matrix(l, "token_embd.weight", c->vocab, c->width, &m->embedding);
    if (s == PITH_OK && c->tied) {
        m->head.w = m->embedding;
        pith_tensor_retain(&m->head.w.part[0]);
    } else if (s == PITH_OK) s = load_matrix(l, "output.weight", c->vocab, c->width, &m->head.w);
    if (s == PITH_OK) s = linear_prepare(&m->head, l->err);
    if (s == PITH_OK && c->tied && !m->head.w.part[0].data) pith_packed_let_go(&m->embedding);
    if (s == PITH_OK) s = load_norm(l, "output_norm", c->width, &m->output_norm);
    if (s == PITH_OK && c->learned_positions)
        s = load_vector(l, "position_embd.weight", c->context, c->width, false, &m->positions);
    return s;
}

static pith_status load_rope(loader *l) {
    float *factors = NULL;
    pith_status s = load_vector(l, "rope_freqs.weight", l->m->config.rope_dims / 2, 0, true, &factors);
    if (s == PITH_OK) s = rope_new(&l->m->rope, &l->m->config, factors, l->err);
    memory_free(factors);
    return s;
}

pith_status llama_open(llama **out, model_source *s, const pith_context *c, pith_error *err) {
    llama *m = memory_zero(1, sizeof *m);
    if (!m) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    loader l = {.s = s, .context = c, .m = m, .err = err};
    pith_status status = llama_read_config(&m->config, s, err);
    if (status == PITH_OK && !(m->blocks = memory_zero((size_t)m->config.blocks, sizeof *m->blocks)))
        status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    const architecture *a = find_architecture(m->config.architecture);
    l.pair_rows = status == PITH_OK && s->rope_halves && !a->always_halves &&
                  m->config.rope_dims == m->config.head_dim && !(model_source_find(s, "blk.0.attn_q.bias") >= 0);
    if (l.pair_rows) m->config.rope_halves = false;
    if (status == PITH_OK) status = load_rope(&l);
    if (status == PITH_OK) status = load_ends(&l);
    for (int64_t i = 0; status == PITH_OK && i < m->config.blocks; i++) {
        status = load_block(&l, i);
        if (status == PITH_OK) status = pith_progress(c, (double)(i + 1), (double)m->config.blocks, "blocks", err);
    }
    if (status == PITH_OK) *out = m;
    else llama_free(m);
    return status;
}

static void free_norm(llama_norm *n) {
    memory_free(n->weight);
    memory_free(n->bias);
}

static void free_block(llama_block *b) {
    llama_norm *norms[] = {&b->attention_norm, &b->ffn_norm, &b->query_norm, &b->key_norm};
    linear *matrices[] = {&b->query, &b->key, &b->value, &b->output, &b->gate, &b->up, &b->down};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) free_norm(norms[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) linear_free(matrices[i]);
}

void llama_free(llama *m) {
    if (!m) return;
    for (int64_t i = 0; m->blocks && i < m->config.blocks; i++) free_block(&m->blocks[i]);
    memory_free(m->blocks);
    pith_packed_release(&m->embedding);
    linear_free(&m->head);
    free_norm(&m->output_norm);
    memory_free(m->positions);
    rope_free(&m->rope);
    memory_free(m);
}

void llama_embedding(const llama *m, int32_t token, float *out, void *scratch) {
    const pith_packed *p = &m->embedding;
    if (p->part[0].data) p->format->to_f32(p, token, 1, out);
    else linear_row(&m->head, token, out, scratch);
}

uint64_t llama_bytes_per_token(const llama *m) {
    uint64_t bytes = pith_packed_bytes(&m->head.w);
    for (int64_t i = 0; i < m->config.blocks; i++) {
        const llama_block *b = &m->blocks[i];
        const linear *matrices[] = {&b->query, &b->key, &b->value, &b->output, &b->gate, &b->up, &b->down};
        for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++)
            if (matrices[k]->w.format) bytes += pith_packed_bytes(&matrices[k]->w);
    }
    return bytes;
}
