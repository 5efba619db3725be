/* model/random.c - random blocks of the wanted format, sized so that activations neither grow nor vanish. */
#include "model/random.h"

#include "base/memory.h"
#include "quant/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

pith_status llama_random_shape(decoder_config *c, const char *shape, pith_error *err) {
    long long width = 1024, blocks = 24, ffn = 2816, heads = 16, vocab = 32000;
    int end = 0;
    if (strcasecmp(shape, "377m") != 0 &&
        (sscanf(shape, "%9lldx%9lldx%9lldx%9lldx%9lld%n", &width, &blocks, &ffn, &heads, &vocab, &end) != 5 ||
         shape[end]))
        return pith_fail(err, PITH_USAGE, "--random", -1, "expected 377m or WIDTHxBLOCKSxFFNxHEADSxVOCAB, found %s",
                         shape);
    if (width < 1 || blocks < 1 || ffn < 1 || heads < 1 || vocab < 2 || width % heads || width / heads % 32 ||
        width / heads > 512)
        return pith_fail(err, PITH_USAGE, "--random", -1,
                         "expected heads of 32 to 512 features, a multiple of 32, that fill the width, found %s",
                         shape);
    *c = (decoder_config){.architecture = "llama",
                          .vocab = vocab,
                          .width = width,
                          .blocks = blocks,
                          .heads = heads,
                          .kv_heads = heads,
                          .head_dim = width / heads,
                          .ffn = ffn,
                          .context = 2048,
                          .norm_epsilon = 1e-5f,
                          .gated = true,
                          .rope_dims = width / heads,
                          .rope_base = 10000};
    return PITH_OK;
}

typedef struct maker {
    const pith_format *format;
    rng random;
    pith_error *err;
} maker;

static pith_status make_matrix(maker *k, int64_t rows, int64_t cols, linear *out) {
    pith_status s = quant_random(k->format, rows, cols, 1.0f / sqrtf((float)cols), &k->random, &out->w, k->err);
    return s == PITH_OK ? linear_prepare(out, k->err) : s;
}

static pith_status make_norm(maker *k, int64_t n, llama_norm *out) {
    out->weight = memory_aligned((size_t)n * sizeof(float));
    if (!out->weight) return pith_fail(k->err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (int64_t i = 0; i < n; i++) out->weight[i] = 1;
    return PITH_OK;
}

static pith_status make_block(maker *k, const decoder_config *c, llama_block *b) {
    pith_status s = make_norm(k, c->width, &b->attention_norm);
    if (s == PITH_OK) s = make_norm(k, c->width, &b->ffn_norm);
    const struct {
        linear *to;
        int64_t rows, cols;
    } all[] = {
        {&b->query, c->width, c->width},  {&b->key, c->width, c->width}, {&b->value, c->width, c->width},
        {&b->output, c->width, c->width}, {&b->gate, c->ffn, c->width},  {&b->up, c->ffn, c->width},
        {&b->down, c->width, c->ffn},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all && s == PITH_OK; i++)
        s = make_matrix(k, all[i].rows, all[i].cols, all[i].to);
    return s;
}

pith_status llama_random(llama **out, const decoder_config *c, const pith_format *format, uint64_t seed,
                         pith_error *err) {
    maker k = {.format = format, .random = rng_new(seed, 0x6c6d), .err = err};
    llama *m = memory_zero(1, sizeof *m);
    if (m) m->config = *c, m->blocks = memory_zero((size_t)c->blocks, sizeof *m->blocks);
    pith_status s = m && m->blocks ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s == PITH_OK) s = rope_new(&m->rope, c, NULL, err);
    if (s == PITH_OK) s = quant_random(format, c->vocab, c->width, 1, &k.random, &m->embedding, err);
    if (s == PITH_OK) s = make_matrix(&k, c->vocab, c->width, &m->head);
    if (s == PITH_OK) s = make_norm(&k, c->width, &m->output_norm);
    for (int64_t i = 0; s == PITH_OK && i < c->blocks; i++) s = make_block(&k, c, &m->blocks[i]);
    if (s == PITH_OK) *out = m;
    else llama_free(m);
    return s;
}
