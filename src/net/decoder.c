/* net/decoder.c - llama-shaped decoder (Touvron et al., arXiv 2302.13971) on the tape. */
#include "net/decoder.h"

#include "base/memory.h"
#include "base/rng.h"
#include "net/start.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MATRIX = 0, VECTOR = 1 };

static pith_status add(grad_params *p, int *id, const char *name, int64_t rows, int64_t cols, int group,
                       pith_error *err) {
    int64_t shape[2] = {rows, cols};
    return params_add(p, name, cols ? 2 : 1, shape, group, id, err);
}

static pith_status add_block(decoder_block *b, const decoder_config *c, grad_params *p, int64_t index,
                             pith_error *err) {
    int64_t queries = c->heads * c->head_dim, keys = c->kv_heads * c->head_dim;
    const struct {
        const char *part;
        int *id;
        int64_t rows, cols;
    } rows[] = {
        {"attn_norm", &b->attention_norm, c->width, 0},
        {"attn_q", &b->query, queries, c->width},
        {"attn_k", &b->key, keys, c->width},
        {"attn_v", &b->value, keys, c->width},
        {"attn_output", &b->output, c->width, queries},
        {"ffn_norm", &b->ffn_norm, c->width, 0},
        {"ffn_gate", &b->gate, c->ffn, c->width},
        {"ffn_up", &b->up, c->ffn, c->width},
        {"ffn_down", &b->down, c->width, c->ffn},
    };
    pith_status s = PITH_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && s == PITH_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)index, rows[i].part);
        s = add(p, rows[i].id, name, rows[i].rows, rows[i].cols, rows[i].cols ? MATRIX : VECTOR, err);
    }
    return s;
}

static pith_status check(const decoder_config *c, pith_error *err) {
    if (c->layer_norm || !c->gated || c->qkv_fused || c->qk_norm || c->learned_positions || c->window ||
        c->no_rope_every || c->scaling != ROPE_PLAIN)
        return pith_fail(err, PITH_UNSUPPORTED, c->architecture, -1, "expected a plain llama shape to train");
    if (c->kv_heads <= 0 || c->heads % c->kv_heads)
        return pith_fail(err, PITH_USAGE, "net.kv_heads", -1, "expected a divisor of the %lld query heads, found %lld",
                         (long long)c->heads, (long long)c->kv_heads);
    if (c->head_dim % 2)
        return pith_fail(err, PITH_USAGE, "net.heads", -1, "expected heads of even size, found %lld",
                         (long long)c->head_dim);
    return PITH_OK;
}

pith_status decoder_open(decoder *d, const decoder_config *c, grad_params *p, pith_error *err) {
    memset(d, 0, sizeof *d);
    pith_status s = check(c, err);
    if (s != PITH_OK) return s;
    d->config = *c;
    d->blocks = memory_zero((size_t)c->blocks, sizeof *d->blocks);
    if (!d->blocks) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    s = add(p, &d->embedding, "token_embd.weight", c->vocab, c->width, VECTOR, err);
    for (int64_t i = 0; i < c->blocks && s == PITH_OK; i++) s = add_block(&d->blocks[i], c, p, i, err);
    if (s == PITH_OK) s = add(p, &d->output_norm, "output_norm.weight", c->width, 0, VECTOR, err);
    d->head = d->embedding;
    if (s == PITH_OK && !c->tied) s = add(p, &d->head, "output.weight", c->vocab, c->width, MATRIX, err);
    if (s != PITH_OK) decoder_close(d);
    return s;
}

void decoder_close(decoder *d) {
    memory_free(d->blocks);
    memset(d, 0, sizeof *d);
}

void decoder_start(const decoder *d, grad_params *p, uint64_t seed) {
    const float deviation = 0.02f, small = deviation / sqrtf(2.0f * (float)d->config.blocks);
    start_normal(p, d->embedding, deviation, seed);
    start_fill(p, d->output_norm, 1);
    if (d->head != d->embedding) start_normal(p, d->head, deviation, seed);
    for (int64_t i = 0; i < d->config.blocks; i++) {
        const decoder_block *b = &d->blocks[i];
        start_fill(p, b->attention_norm, 1);
        start_fill(p, b->ffn_norm, 1);
        const int plain[] = {b->query, b->key, b->value, b->gate, b->up}, last[] = {b->output, b->down};
        for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) start_normal(p, plain[k], deviation, seed);
        for (size_t k = 0; k < sizeof last / sizeof *last; k++) start_normal(p, last[k], small, seed);
    }
}

typedef struct block_call { /* copied to the tape: a recomputed block finds itself by it */
    const decoder *d;
    int64_t index, batch, time;
} block_call;

static var heads_of(tape *t, var x, int w, int64_t batch, int64_t time, int64_t heads, int64_t size) {
    var y = grad_linear(t, x, grad_parameter(t, w), VAR_NONE);
    return grad_reshape(t, y, 4, (int64_t[]){batch, time, heads, size});
}

static var block(tape *t, void *user, const var *in, int n) {
    (void)n;
    const block_call *call = user;
    const decoder_config *c = &call->d->config;
    const decoder_block *b = &call->d->blocks[call->index];
    int64_t batch = call->batch, time = call->time;
    var x = in[0], h = grad_rms_norm(t, x, grad_parameter(t, b->attention_norm), c->norm_epsilon);
    var q =
        grad_rope(t, heads_of(t, h, b->query, batch, time, c->heads, c->head_dim), c->rope_base, 0, 0, c->rope_halves);
    var k =
        grad_rope(t, heads_of(t, h, b->key, batch, time, c->kv_heads, c->head_dim), c->rope_base, 0, 0, c->rope_halves);
    var v = heads_of(t, h, b->value, batch, time, c->kv_heads, c->head_dim);
    var a = grad_reshape(t, grad_attention(t, q, k, v, true, 0), 3, (int64_t[]){batch, time, c->heads * c->head_dim});
    a = grad_linear(t, a, grad_parameter(t, b->output), VAR_NONE);
    x = grad_add(t, x, a);
    h = grad_rms_norm(t, x, grad_parameter(t, b->ffn_norm), c->norm_epsilon);
    h = grad_swiglu(t, grad_linear(t, h, grad_parameter(t, b->gate), VAR_NONE),
                    grad_linear(t, h, grad_parameter(t, b->up), VAR_NONE));
    h = grad_linear(t, h, grad_parameter(t, b->down), VAR_NONE);
    return grad_add(t, x, h);
}

var decoder_logits(const decoder *d, tape *t, var ids) {
    const pith_tensor *shape = grad_value(t, ids);
    block_call call = {.d = d, .batch = shape->shape[0], .time = shape->shape[1]};
    var x = grad_embedding(t, grad_parameter(t, d->embedding), ids);
    for (call.index = 0; call.index < d->config.blocks; call.index++)
        x = d->recompute ? grad_recompute(t, block, &call, sizeof call, &x, 1) : block(t, &call, &x, 1);
    x = grad_rms_norm(t, x, grad_parameter(t, d->output_norm), d->config.norm_epsilon);
    return grad_linear(t, x, grad_parameter(t, d->head), VAR_NONE);
}

double decoder_flops(const decoder_config *c, int64_t batch, int64_t time) {
    double width = (double)c->width, queries = (double)(c->heads * c->head_dim),
           keys = (double)(c->kv_heads * c->head_dim);
    double matrices = width * (2 * queries + 2 * keys) + 3 * width * (double)c->ffn;
    double attention = queries * (double)(time + 1); /* causal: half of the scores and of the mix */
    double token = 2 * ((double)c->blocks * (matrices + attention) + width * (double)c->vocab);
    return token * (double)(batch * time);
}
