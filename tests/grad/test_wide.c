/* Layers wide enough for tiles of AMX: whole products, and those in the cache. */
#include "harness.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "grad/ops.h"
#include "grad/tape.h"

#include <math.h>

enum { ROWS = 700, LAYERS = 5 };
/* the first two are an mlp; then backward in the cache, whole, in the cache */
static const int64_t widths[LAYERS + 1] = {136, 200, 128, 128, 300, 64};

typedef struct net {
    grad_params params;
    tape *t;
    int x, w[LAYERS], b[LAYERS];
} net;

static int add(net *m, const char *kind, int layer, int rank, int64_t rows, int64_t cols) {
    char name[32];
    int id;
    snprintf(name, sizeof name, "%s%d", kind, layer);
    assert_int_equal(params_add(&m->params, name, rank, (int64_t[]){rows, cols}, 0, &id, NULL), PITH_OK);
    return id;
}

static float loss_of(net *m) {
    tape *t = m->t;
    var wb[2 * LAYERS];
    params_zero_grads(&m->params);
    tape_begin(t, 1, 1);
    for (int l = 0; l < LAYERS; l++) wb[2 * l] = grad_parameter(t, m->w[l]), wb[2 * l + 1] = grad_parameter(t, m->b[l]);
    var x = grad_mlp(t, grad_parameter(t, m->x), 2, wb, UNARY_TANH, 0);
    for (int l = 2; l < LAYERS; l++) x = grad_linear(t, x, wb[2 * l], wb[2 * l + 1]);
    var loss = grad_mean(t, grad_mul(t, x, x), 0, 2);
    float value = grad_scalar(t, loss);
    grad_backward(t, loss);
    assert_int_equal(tape_status(t, NULL), PITH_OK);
    return value;
}

static void compare(net *m, const float *truth) {
    for (int i = 0; i < m->params.n; i++) {
        const float *a = params_grad(&m->params, i), *b = truth + m->params.list[i].offset;
        double error = 0, norm = 0;
        for (size_t k = 0; k < m->params.list[i].count; k++)
            error += (a[k] - b[k]) * (a[k] - b[k]), norm += (double)b[k] * b[k];
        assert_true(norm > 0 && sqrt(error / norm) < 5e-6);
    }
}

static void all_instruction_sets_give_the_same_gradients(void **state) {
    (void)state;
    net m = {0};
    rng r = rng_new(5, 0);
    params_init(&m.params);
    m.x = add(&m, "x", 0, 2, ROWS, widths[0]);
    for (int l = 0; l < LAYERS; l++)
        m.w[l] = add(&m, "w", l, 2, widths[l + 1], widths[l]), m.b[l] = add(&m, "b", l, 1, widths[l + 1], 0);
    assert_int_equal(params_commit(&m.params, true, 0, NULL), PITH_OK);
    assert_int_equal(tape_new(&m.t, &m.params, 0, NULL), PITH_OK);
    for (int i = 0; i < m.params.n; i++)
        for (size_t k = 0; k < m.params.list[i].count; k++)
            params_weight(&m.params, i)[k] = (float)rng_normal(&r) * (i ? 0.1f : 1);
    params_changed(&m.params);
    float *truth = malloc(m.params.floats * sizeof *truth);
    isa_force(ISA_SCALAR);
    float loss = loss_of(&m);
    memcpy(truth, m.params.grads, m.params.floats * sizeof *truth);
    for (int level = ISA_SCALAR; level <= (int)isa_detected(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            isa_force((isa_level)level), parallel_set_threads(threads);
            assert_true(fabsf(loss_of(&m) - loss) < 1e-6f * loss);
            compare(&m, truth);
        }
    free(truth), tape_free(m.t), params_free(&m.params);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_instruction_sets_give_the_same_gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
