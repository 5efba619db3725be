/* The decoder on the tape and the one that runs with a cache: same configuration, same weights, same logits. */
#include "harness.h"

#include "base/memory.h"
#include "model/llama.h"
#include "net/decoder.h"

#include <math.h>

static const decoder_config config = {.architecture = "llama",
                                      .vocab = 50,
                                      .width = 32,
                                      .blocks = 2,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 8,
                                      .ffn = 48,
                                      .context = 32,
                                      .norm_epsilon = 1e-5f,
                                      .gated = true,
                                      .rope_dims = 8,
                                      .rope_base = 10000};
enum { TIME = 20 };

static void view_matrix(pith_packed *out, grad_params *p, int id) {
    pith_tensor t = p->list[id].value;
    pith_error err = {0};
    if (pith_packed_from_tensor(out, &t, &err) != PITH_OK) fail_msg("%s", err.text);
}

static float *copy_vector(grad_params *p, int id) {
    float *v = memory_alloc(p->list[id].count * sizeof *v);
    memcpy(v, params_weight(p, id), p->list[id].count * sizeof *v);
    return v;
}

static llama *running_twin(const decoder *d, grad_params *p) {
    llama *m = memory_zero(1, sizeof *m);
    m->config = d->config;
    assert_int_equal(rope_new(&m->rope, &m->config, NULL, NULL), PITH_OK);
    view_matrix(&m->embedding, p, d->embedding);
    view_matrix(&m->head.w, p, d->head);
    m->output_norm.weight = copy_vector(p, d->output_norm);
    m->blocks = memory_zero((size_t)d->config.blocks, sizeof *m->blocks);
    for (int64_t i = 0; i < d->config.blocks; i++) {
        const decoder_block *b = &d->blocks[i];
        llama_block *r = &m->blocks[i];
        r->attention_norm.weight = copy_vector(p, b->attention_norm);
        r->ffn_norm.weight = copy_vector(p, b->ffn_norm);
        const int ids[] = {b->query, b->key, b->value, b->output, b->gate, b->up, b->down};
        linear *to[] = {&r->query, &r->key, &r->value, &r->output, &r->gate, &r->up, &r->down};
        for (int k = 0; k < 7; k++) view_matrix(&to[k]->w, p, ids[k]);
    }
    return m;
}

static void check(bool halves, bool tied, bool recompute) {
    decoder_config c = config;
    c.rope_halves = halves, c.tied = tied;
    grad_params p;
    decoder d;
    tape *t = NULL;
    params_init(&p);
    assert_int_equal(decoder_open(&d, &c, &p, NULL), PITH_OK);
    d.recompute = recompute;
    assert_int_equal(params_commit(&p, true, 0, NULL), PITH_OK);
    decoder_start(&d, &p, 7);
    for (size_t i = 0; i < p.floats; i++) p.weights[i] *= 3; /* far from the flat start, where everything agrees */
    assert_int_equal(tape_new(&t, &p, 0, NULL), PITH_OK);
    int32_t ids[TIME];
    for (int i = 0; i < TIME; i++) ids[i] = (i * 17 + 3) % 50;
    pith_tensor x;
    uint64_t bytes;
    pith_tensor_layout(&x, PITH_I32, 2, (int64_t[]){1, TIME}, &bytes, NULL);
    x.data = ids;
    tape_begin(t, 1, 1);
    var logits = decoder_logits(&d, t, grad_constant(t, &x));
    const float *expected = grad_value(t, logits)->data;
    llama *m = running_twin(&d, &p);
    llama_session *s = NULL;
    float found[TIME * 50];
    assert_int_equal(llama_session_new(&s, m, TIME, PITH_F16, NULL), PITH_OK);
    assert_int_equal(llama_session_append(s, ids, TIME, TIME, found, NULL), PITH_OK);
    double e = 0, q = 0;
    for (int i = 0; i < TIME * 50; i++) e += pow(found[i] - expected[i], 2), q += pow(expected[i], 2);
    if (!(sqrt(e / q) < 1e-3)) fail_msg("halves %d tied %d: %g apart", halves, tied, sqrt(e / q));
    llama_session_free(s);
    llama_free(m);
    tape_free(t);
    decoder_close(&d);
    params_free(&p);
}

static void logits_agree(void **state) {
    (void)state;
    check(false, false, false);
    check(true, true, false);
    check(true, false, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
