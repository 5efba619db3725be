/* model/session.c - the forward pass of a decoder over its cache.
 *
 * A batch of up to BATCH positions goes through the blocks together; each matrix is read once per batch. Activations
 * are [position][feature] rows in one scratch allocation made when the session opens, so that a token allocates
 * nothing. */
#include "model/llama.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "model/attention.h"
#include "model/rows.h"

#include <string.h>

enum { BATCH = 512, ROWS_A_TASK = 4 };

struct llama_session {
    const llama *m;
    int64_t context, length;
    cache_block *cache;                           /* [blocks] */
    uint8_t *cache_bytes;                         /* keys and values of all blocks */
    float *x, *h, *q, *k, *v, *mixed, *gate, *up; /* [BATCH][...] */
    float *cosine, *sine;                         /* [BATCH][pairs] */
    float *attention;                             /* scratch of attention_run */
    void *linear;                                 /* scratch of linear_apply */
    float *floats;                                /* the allocation behind all of the above */
    llama_observer observe;                       /* or NULL */
    void *observer;
};

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static pith_status open_cache(llama_session *s, uint16_t type, pith_error *err) {
    const decoder_config *c = &s->m->config;
    const pith_type_row *row = &pith_types[type];
    if (c->head_dim % row->block)
        return pith_fail(err, PITH_UNSUPPORTED, "cache", -1,
                         "expected heads of a multiple of %u elements for %s, found %lld", row->block, row->name,
                         (long long)c->head_dim);
    int64_t row_bytes = c->head_dim / row->block * row->block_bytes, half;
    size_t total;
    if (__builtin_mul_overflow(c->kv_heads * s->context, row_bytes, &half) ||
        __builtin_mul_overflow(half, 2 * c->blocks, &total))
        return pith_fail(err, PITH_LIMIT, "cache", -1, "context of %lld positions is too large", (long long)s->context);
    s->cache_bytes = memory_aligned(total); /* 64 bytes: at 16 half of all loads would touch two cache lines */
    s->cache = memory_zero((size_t)c->blocks, sizeof *s->cache);
    if (!s->cache_bytes || !s->cache)
        return pith_fail(err, PITH_NO_MEMORY, "cache", -1, "no memory for a cache of %zu bytes", total);
    for (int64_t b = 0; b < c->blocks; b++)
        s->cache[b] = (cache_block){.type = type,
                                    .kv_heads = c->kv_heads,
                                    .capacity = s->context,
                                    .head_dim = c->head_dim,
                                    .row_bytes = row_bytes,
                                    .keys = s->cache_bytes + 2 * b * half,
                                    .values = s->cache_bytes + (2 * b + 1) * half};
    return PITH_OK;
}

/* Cuts one allocation into the arrays; called with base NULL it only adds up. */
static size_t cut_scratch(llama_session *s, float *base, int64_t batch) {
    const decoder_config *c = &s->m->config;
    int64_t queries = c->heads * c->head_dim, keys = c->kv_heads * c->head_dim, at = 0;
#define CUT(field, floats)                            \
    do {                                              \
        s->field = base ? (void *)(base + at) : NULL; \
        at += ((floats) + 15) / 16 * 16;              \
    } while (0)
    CUT(x, batch * c->width);
    CUT(h, batch * c->width);
    CUT(q, batch * (c->qkv_fused ? queries + 2 * keys : queries));
    CUT(k, batch * keys);
    CUT(v, batch * keys);
    CUT(mixed, batch * larger(queries, c->width));
    CUT(gate, batch * c->ffn);
    CUT(up, batch * c->ffn);
    CUT(cosine, batch * s->m->rope.pairs);
    CUT(sine, batch * s->m->rope.pairs);
    CUT(attention, attention_scratch(&s->cache[0], c->heads));
    CUT(linear, (int64_t)(linear_scratch(batch, larger(larger(c->width, c->ffn), queries)) / 4));
#undef CUT
    return (size_t)at;
}

pith_status llama_session_new(llama_session **out, const llama *m, int64_t context, uint16_t cache_type,
                              pith_error *err) {
    llama_session *s = memory_zero(1, sizeof *s);
    if (!s) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    s->m = m;
    s->context = context;
    pith_status status = open_cache(s, cache_type, err);
    if (status == PITH_OK) {
        size_t floats = cut_scratch(s, NULL, BATCH);
        s->floats = memory_aligned(floats * sizeof(float));
        if (s->floats) cut_scratch(s, s->floats, BATCH);
        else status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    if (status != PITH_OK) llama_session_free(s);
    else *out = s;
    return status;
}

void llama_session_free(llama_session *s) {
    if (!s) return;
    memory_free(s->floats);
    memory_free(s->cache);
    memory_free(s->cache_bytes);
    memory_free(s);
}

void llama_session_observe(llama_session *s, llama_observer observe, void *user) {
    s->observe = observe;
    s->observer = user;
}

int64_t llama_session_length(const llama_session *s) { return s->length; }
int64_t llama_session_context(const llama_session *s) { return s->context; }
void llama_session_rewind(llama_session *s, int64_t length) {
    if (length < s->length) s->length = length;
}

/* --- rows in parallel ------------------------------------------------------------------------------------------------
 */

typedef struct row_job {
    llama_session *s;
    const llama_block *b;
    const llama_norm *norm;
    const float *in;
    float *out;
    bool rotate;
} row_job;

static void norm_row(const decoder_config *c, const llama_norm *n, const float *x, int64_t width, float *out) {
    if (c->layer_norm) rows_active()->layer_norm(x, n->weight, n->bias, width, c->norm_epsilon, out);
    else rows_active()->rms_norm(x, n->weight, width, c->norm_epsilon, out);
}

static void norm_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const row_job *j = user;
    const decoder_config *c = &j->s->m->config;
    for (int64_t i = begin; i < end; i++) norm_row(c, j->norm, j->in + i * c->width, c->width, j->out + i * c->width);
}

static void add_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const llama_session *s = user;
    int64_t width = s->m->config.width;
    rows_active()->add(s->x + begin * width, s->h + begin * width, (end - begin) * width);
}

static void add_back(llama_session *s, int64_t n) { parallel_for(n, ROWS_A_TASK, add_rows, s); }

static void activate_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const row_job *j = user;
    int64_t ffn = j->s->m->config.ffn;
    if (j->s->m->config.gated)
        rows_active()->silu_times(j->s->gate + begin * ffn, j->s->up + begin * ffn, (end - begin) * ffn);
    else rows_active()->gelu(j->s->up + begin * ffn, (end - begin) * ffn);
}

static void norm_heads(const decoder_config *c, const llama_norm *n, float *x, int64_t heads) {
    for (int64_t h = 0; h < heads; h++)
        rows_active()->rms_norm(x + h * c->head_dim, n->weight, c->head_dim, c->norm_epsilon, x + h * c->head_dim);
}

/* Head norms and rotation of one position's queries and keys. */
static void place_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const row_job *j = user;
    llama_session *s = j->s;
    const decoder_config *c = &s->m->config;
    int64_t pairs = s->m->rope.pairs;
    for (int64_t i = begin; i < end; i++) {
        float *q = s->q + i * c->heads * c->head_dim, *k = s->k + i * c->kv_heads * c->head_dim;
        if (c->qk_norm) {
            norm_heads(c, &j->b->query_norm, q, c->heads);
            norm_heads(c, &j->b->key_norm, k, c->kv_heads);
        }
        if (!j->rotate) continue;
        rope_apply(&s->m->rope, s->cosine + i * pairs, s->sine + i * pairs, q, c->heads, c->head_dim);
        rope_apply(&s->m->rope, s->cosine + i * pairs, s->sine + i * pairs, k, c->kv_heads, c->head_dim);
    }
}

/* --- one batch through the blocks
 * ------------------------------------------------------------------------------------- */

static void apply(llama_session *s, const linear *const *w, int count, const float *x, int64_t n, float *const *y) {
    for (int k = 0; s->observe && k < count; k++) s->observe(s->observer, w[k], x, n);
    linear_apply(w, count, x, n, y, s->linear);
}

static void one_linear(llama_session *s, const linear *l, const float *x, int64_t n, float *y) {
    apply(s, &l, 1, x, n, &y);
}

/* Fused rows [q | k | v] to three arrays; q moves within its own array, front to back, so nothing is overwritten early.
 */
static void split_fused(llama_session *s, int64_t n) {
    const decoder_config *c = &s->m->config;
    int64_t queries = c->heads * c->head_dim, keys = c->kv_heads * c->head_dim, width = queries + 2 * keys;
    for (int64_t i = 0; i < n; i++) {
        const float *row = s->q + i * width;
        memcpy(s->k + i * keys, row + queries, (size_t)keys * sizeof *row);
        memcpy(s->v + i * keys, row + queries + keys, (size_t)keys * sizeof *row);
        memmove(s->q + i * queries, row, (size_t)queries * sizeof *row);
    }
}

/* Decoding: what comes after the next products. */
static void expect(const llama_session *s, int64_t n, const linear *const *w, int count) {
    if (n == 1 && !s->observe) linear_expect(w, count);
}

static void expect_attention(const llama_session *s, int64_t n, int64_t index) {
    const llama_block *b = &s->m->blocks[index];
    if (index == s->m->config.blocks) expect(s, n, (const linear *const[]){&s->m->head}, 1);
    else expect(s, n, (const linear *const[]){&b->query, &b->key, &b->value}, s->m->config.qkv_fused ? 1 : 3);
}

static void attention_half(llama_session *s, int64_t index, int64_t n) {
    const decoder_config *c = &s->m->config;
    const llama_block *b = &s->m->blocks[index];
    row_job j = {.s = s, .b = b, .norm = &b->attention_norm, .in = s->x, .out = s->h};
    parallel_for(n, ROWS_A_TASK, norm_rows, &j);
    expect(s, n, (const linear *const[]){&b->output}, 1);
    if (n == 1) cache_expect(&s->cache[index], s->length);
    if (c->qkv_fused) {
        one_linear(s, &b->query, s->h, n, s->q);
        split_fused(s, n);
    } else
        apply(s, (const linear *const[]){&b->query, &b->key, &b->value}, 3, s->h, n,
              (float *const[]){s->q, s->k, s->v});
    j.rotate = !c->learned_positions && !(c->no_rope_every && (index + 1) % c->no_rope_every == 0);
    if (c->qk_norm || j.rotate) parallel_for(n, ROWS_A_TASK, place_rows, &j);
    cache_store(&s->cache[index], s->length, n, s->k, s->v);
    attention_run(&s->cache[index], c->heads, s->length, n, c->window, s->q, s->mixed, s->attention);
    if (c->gated) expect(s, n, (const linear *const[]){&b->gate, &b->up}, 2);
    else expect(s, n, (const linear *const[]){&b->up}, 1);
    one_linear(s, &b->output, s->mixed, n, s->h);
    add_back(s, n);
}

static void ffn_half(llama_session *s, int64_t index, int64_t n) {
    const decoder_config *c = &s->m->config;
    const llama_block *b = &s->m->blocks[index];
    row_job j = {.s = s, .b = b, .norm = &b->ffn_norm, .in = s->x, .out = s->h};
    parallel_for(n, ROWS_A_TASK, norm_rows, &j);
    expect(s, n, (const linear *const[]){&b->down}, 1);
    if (c->gated) apply(s, (const linear *const[]){&b->gate, &b->up}, 2, s->h, n, (float *const[]){s->gate, s->up});
    else one_linear(s, &b->up, s->h, n, s->up);
    parallel_for(n, ROWS_A_TASK, activate_rows, &j);
    expect_attention(s, n, index + 1);
    one_linear(s, &b->down, c->gated ? s->gate : s->up, n, s->h);
    add_back(s, n);
}

static void embed(llama_session *s, const int32_t *tokens, int64_t n) {
    const llama *m = s->m;
    const decoder_config *c = &m->config;
    for (int64_t i = 0; i < n; i++) {
        llama_embedding(m, tokens[i], s->x + i * c->width, s->linear);
        if (m->positions) rows_active()->add(s->x + i * c->width, m->positions + (s->length + i) * c->width, c->width);
        rope_angles(&m->rope, s->length + i, s->cosine + i * m->rope.pairs, s->sine + i * m->rope.pairs);
    }
}

static void run_batch(llama_session *s, const int32_t *tokens, int64_t n, int64_t wanted, float *logits) {
    const llama *m = s->m;
    embed(s, tokens, n);
    for (int64_t b = 0; b < m->config.blocks; b++) {
        attention_half(s, b, n);
        ffn_half(s, b, n);
    }
    s->length += n;
    if (wanted == 0) return;
    row_job j = {.s = s, .norm = &m->output_norm, .in = s->x + (n - wanted) * m->config.width, .out = s->h};
    parallel_for(wanted, ROWS_A_TASK, norm_rows, &j);
    if (logits) one_linear(s, &m->head, s->h, wanted, logits);
    else if (s->observe) s->observe(s->observer, &m->head, s->h, wanted);
}

typedef struct appending {
    llama_session *s;
    const int32_t *tokens;
    int64_t n, wanted;
    float *logits;
} appending;

static void append(void *user) {
    const appending *a = user;
    float *logits = a->logits;
    for (int64_t done = 0; done < a->n;) {
        int64_t batch = a->n - done < BATCH ? a->n - done : BATCH, first = a->n - a->wanted;
        int64_t rows = done + batch > first ? done + batch - larger(first, done) : 0;
        run_batch(a->s, a->tokens + done, batch, rows, logits);
        if (logits) logits += rows * a->s->m->config.vocab;
        done += batch;
    }
}

pith_status llama_session_append(llama_session *s, const int32_t *tokens, int64_t n, int64_t wanted, float *logits,
                                 pith_error *err) {
    const decoder_config *c = &s->m->config;
    if (n > s->context - s->length)
        return pith_fail(err, PITH_LIMIT, NULL, -1,
                         "expected at most %lld positions, found %lld: a larger --context holds more",
                         (long long)s->context, (long long)(s->length + n));
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab)
            return pith_fail(err, PITH_MISMATCH, NULL, -1,
                             "expected token ids below %lld, found %d: the tokenizer does not fit the model",
                             (long long)c->vocab, tokens[i]);
    parallel_team(append, &(appending){s, tokens, n, wanted, logits});
    return PITH_OK;
}
