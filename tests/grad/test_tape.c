/* The tape: scopes, views, recomputation, memory, failures. */
#include "harness.h"

#include "base/memory.h"
#include "grad/ops.h"
#include "grad/tape.h"

#include <math.h>

enum { IN = 6, HIDDEN = 8, OUT = 3, ROWS = 10 };

typedef struct model {
    grad_params params;
    tape *t;
    int w1, b1, w2, b2;
    float x[ROWS * IN];
    int32_t y[ROWS];
    pith_tensor inputs, labels;
} model;

static void add(model *m, const char *name, int *id, int64_t rows, int64_t cols) {
    int64_t shape[2] = {rows, cols};
    assert_int_equal(params_add(&m->params, name, cols ? 2 : 1, shape, 0, id, NULL), PITH_OK);
}

static void fill_params(model *m) {
    rng r = rng_new(3, 0);
    for (int i = 0; i < m->params.n; i++)
        for (size_t k = 0; k < m->params.list[i].count; k++)
            params_weight(&m->params, i)[k] = (float)rng_normal(&r) * 0.5f;
    params_changed(&m->params);
}

static int setup(void **state) {
    model *m = calloc(1, sizeof *m);
    params_init(&m->params);
    add(m, "w1", &m->w1, HIDDEN, IN), add(m, "b1", &m->b1, HIDDEN, 0);
    add(m, "w2", &m->w2, OUT, HIDDEN), add(m, "b2", &m->b2, OUT, 0);
    assert_int_equal(params_commit(&m->params, true, 2, NULL), PITH_OK);
    assert_int_equal(tape_new(&m->t, &m->params, 0, NULL), PITH_OK);
    fill_params(m);
    rng r = rng_new(4, 0);
    for (int i = 0; i < ROWS * IN; i++) m->x[i] = (float)rng_normal(&r);
    for (int i = 0; i < ROWS; i++) m->y[i] = (int32_t)rng_below(&r, OUT);
    uint64_t bytes;
    pith_tensor_layout(&m->inputs, PITH_F32, 2, (int64_t[]){ROWS, IN}, &bytes, NULL);
    pith_tensor_layout(&m->labels, PITH_I32, 1, (int64_t[]){ROWS}, &bytes, NULL);
    m->inputs.data = m->x, m->labels.data = m->y;
    *state = m;
    return 0;
}

static int teardown(void **state) {
    model *m = *state;
    tape_free(m->t);
    params_free(&m->params);
    free(m);
    return 0;
}

static var hidden(tape *t, void *user, const var *in, int n) {
    (void)n;
    model *m = *(model **)user;
    return grad_gelu(t, grad_linear(t, in[0], grad_parameter(t, m->w1), grad_parameter(t, m->b1)));
}

static var loss_of(model *m, bool recompute) {
    tape *t = m->t;
    var x = grad_constant(t, &m->inputs);
    var h = recompute ? grad_recompute(t, hidden, &m, sizeof m, &x, 1) : hidden(t, &m, &x, 1);
    var logits = grad_linear(t, h, grad_parameter(t, m->w2), grad_parameter(t, m->b2));
    return grad_cross_entropy(t, logits, grad_constant(t, &m->labels), -1, 0);
}

static float step(model *m, bool recompute) {
    params_zero_grads(&m->params);
    tape_begin(m->t, 1, 2);
    var loss = loss_of(m, recompute);
    float value = grad_scalar(m->t, loss);
    grad_backward(m->t, loss);
    assert_int_equal(tape_status(m->t, NULL), PITH_OK);
    return value;
}

static void gradients_match_differences_of_the_loss(void **state) {
    model *m = *state;
    step(m, false);
    for (int id = 0; id < m->params.n; id++) {
        float *w = params_weight(&m->params, id), g = params_grad(&m->params, id)[1], start = w[1];
        w[1] = start + 1e-2f;
        tape_begin(m->t, 1, 2);
        float up = grad_scalar(m->t, loss_of(m, false));
        w[1] = start - 1e-2f;
        tape_begin(m->t, 1, 2);
        float down = grad_scalar(m->t, loss_of(m, false));
        w[1] = start;
        assert_true(fabsf((up - down) / 2e-2f - g) < 2e-3f);
    }
}

static void recomputation_changes_no_bit(void **state) {
    model *m = *state;
    float plain[512], loss = step(m, false);
    assert_true(m->params.floats <= 512);
    memcpy(plain, m->params.grads, m->params.floats * sizeof(float));
    assert_true(step(m, true) == loss);
    assert_memory_equal(plain, m->params.grads, m->params.floats * sizeof(float));
}

static void gradients_add_over_passes(void **state) {
    model *m = *state;
    step(m, false);
    float once = params_grad(&m->params, m->w1)[0];
    tape_begin(m->t, 1, 2);
    grad_backward(m->t, loss_of(m, false));
    assert_true(fabsf(params_grad(&m->params, m->w1)[0] - 2 * once) <= 1e-6f * fabsf(once));
}

static void no_gradient_scopes_and_stops_record_nothing(void **state) {
    model *m = *state;
    params_zero_grads(&m->params);
    tape_begin(m->t, 1, 2);
    bool before = tape_no_grad(m->t, true);
    assert_false(tape_is_training(m->t));
    grad_backward(m->t, loss_of(m, false));
    tape_no_grad(m->t, before);
    for (size_t i = 0; i < m->params.floats; i++) assert_true(m->params.grads[i] == 0);
    var x = grad_input(m->t, &m->inputs), s = grad_stop(m->t, grad_square(m->t, x));
    var y = grad_reshape(m->t, grad_rows(m->t, grad_mul(m->t, x, s), 2, 1), 2, (int64_t[]){-1, 1});
    var one = grad_fill(m->t, 2, (int64_t[]){1, IN}, 1);
    grad_backward(m->t, grad_matmul(m->t, one, y, false, false));
    const float *g = grad_gradient(m->t, x);
    for (int i = 0; i < ROWS * IN; i++) {
        float expected = i / IN == 2 ? m->x[i] * m->x[i] : 0;
        assert_true(fabsf(g[i] - expected) < 1e-6f);
    }
}

static void the_same_input_twice_adds_up(void **state) {
    model *m = *state;
    tape_begin(m->t, 1, 2);
    var x = grad_input(m->t, &m->inputs), row = grad_reshape(m->t, x, 2, (int64_t[]){1, -1});
    grad_backward(m->t, grad_matmul(m->t, row, row, false, true)); /* sum of squares */
    for (int i = 0; i < ROWS * IN; i++) assert_true(fabsf(grad_gradient(m->t, x)[i] - 2 * m->x[i]) < 1e-5f);
}

static void steady_state_asks_for_no_memory(void **state) {
    model *m = *state;
    step(m, false);
    step(m, true);
    int64_t count = memory_count();
    size_t high = tape_high_water(m->t);
    memory_fail_at(0);
    count = memory_count();
    for (int i = 0; i < 100; i++) step(m, i & 1);
    assert_int_equal(memory_count(), count);
    assert_int_equal(tape_high_water(m->t), high);
}

static void traps_the_first_nan(void **state) {
    model *m = *state;
    pith_error err = {0};
    tape_trap_nan(m->t, true);
    m->x[3] = -1;
    tape_begin(m->t, 1, 2);
    var y = grad_log(m->t, grad_constant(m->t, &m->inputs));
    grad_sqrt(m->t, y);
    assert_int_equal(tape_status(m->t, &err), PITH_NOT_FINITE);
    assert_string_equal(err.where, "unary");
    tape_begin(m->t, 1, 2);
    assert_int_equal(tape_status(m->t, NULL), PITH_OK);
}

static void running_out_of_memory_is_an_error_not_a_crash(void **state) {
    model *m = *state;
    tape *small;
    assert_int_equal(tape_new(&small, &m->params, 4096, NULL), PITH_OK);
    tape_begin(small, 1, 1);
    var x = grad_constant(small, &m->inputs);
    for (int i = 0; i < 100; i++) x = grad_exp(small, x);
    assert_int_equal(x, VAR_FAILED);
    grad_backward(small, x);
    assert_int_equal(tape_status(small, NULL), PITH_NO_MEMORY);
    tape_free(small);
    for (int n = 1; n < 8; n++) {
        memory_fail_at(n);
        pith_status s = tape_new(&small, &m->params, 0, NULL);
        if (s == PITH_OK) {
            tape *keep = m->t;
            m->t = small;
            tape_begin(small, 1, 1);
            var loss = loss_of(m, true);
            grad_backward(small, loss);
            s = tape_status(small, NULL);
            m->t = keep;
        }
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        tape_free(small);
    }
}

static var quadratic(tape *t, void *user) {
    model *m = user; /* sum of w1^3 / 3: Hessian 2 w on the diagonal */
    var w = grad_reshape(t, grad_parameter(t, m->w1), 2, (int64_t[]){1, -1});
    return grad_affine(t, grad_matmul(t, grad_square(t, w), w, false, true), 1.0f / 3, 0);
}

static void hessian_products_by_differences(void **state) {
    model *m = *state;
    float v[512] = {0}, hv[512], before = params_weight(&m->params, m->w1)[2];
    rng r = rng_new(9, 9);
    for (size_t i = 0; i < m->params.floats; i++) v[i] = (float)rng_normal(&r);
    assert_int_equal(grad_hvp(m->t, 1, 1, quadratic, m, v, hv, NULL), PITH_OK);
    size_t at = m->params.list[m->w1].offset;
    for (int i = 0; i < HIDDEN * IN; i++)
        assert_true(fabsf(hv[at + i] - 2 * params_weight(&m->params, m->w1)[i] * v[at + i]) < 3e-3f);
    assert_true(params_weight(&m->params, m->w1)[2] == before);
}

static void bf16_products_stay_near(void **state) {
    model *m = *state;
    float exact = step(m, false);
    tape_bf16(m->t, true);
    assert_true(fabsf(step(m, false) - exact) < 2e-2f);
}

static void straight_through_passes_the_gradient(void **state) {
    model *m = *state;
    float rounded[ROWS * IN];
    for (int i = 0; i < ROWS * IN; i++) rounded[i] = rintf(m->x[i]);
    pith_tensor hard = m->inputs;
    hard.data = rounded;
    tape_begin(m->t, 1, 2);
    var x = grad_input(m->t, &m->inputs), h = grad_input(m->t, &hard);
    var y = grad_straight_through(m->t, x, h), twice = grad_add(m->t, grad_straight_through(m->t, x, h), y);
    assert_memory_equal(grad_value(m->t, y)->data, rounded, sizeof rounded);
    grad_backward(m->t, grad_sum(m->t, twice, 0, -1));
    assert_null(grad_gradient(m->t, h));
    for (int i = 0; i < ROWS * IN; i++) assert_true(grad_gradient(m->t, x)[i] == 2);
}

static var noisy(tape *t, void *user, const var *in, int n) {
    (void)n, (void)user;
    return grad_dropout(t, in[0], 0.5f);
}

static void recomputed_dropout_draws_the_same(void **state) {
    model *m = *state;
    tape_begin(m->t, 1, 2);
    int nothing = 0;
    var x = grad_input(m->t, &m->inputs), first = grad_recompute(m->t, noisy, &nothing, sizeof nothing, &x, 1);
    var second = grad_dropout(m->t, x, 0.5f);
    grad_hold(m->t, first);
    const float *y = grad_value(m->t, first)->data;
    assert_memory_not_equal(y, grad_value(m->t, second)->data, sizeof m->x);
    grad_backward(m->t, grad_sum(m->t, first, 0, -1));
    for (int i = 0; i < ROWS * IN; i++) assert_true(grad_gradient(m->t, x)[i] == (y[i] == 0 ? 0 : 2));
}

static void batch_norm_moves_its_averages_once(void **state) {
    model *m = *state;
    float ones[IN], mean[IN] = {0}, variance[IN];
    for (int i = 0; i < IN; i++) ones[i] = variance[i] = 1;
    pith_tensor t[4] = {m->inputs, m->inputs, m->inputs, m->inputs};
    void *data[4] = {ones, ones, mean, variance};
    for (int i = 0; i < 4; i++) t[i].rank = 1, t[i].shape[0] = IN, t[i].data = data[i];
    tape_begin(m->t, 1, 2);
    var in[5] = {grad_constant(m->t, &m->inputs)};
    for (int i = 0; i < 4; i++) in[i + 1] = grad_constant(m->t, &t[i]);
    grad_batch_norm(m->t, in[0], in[1], in[2], in[3], in[4], 1, 1e-5f);
    for (int j = 0; j < IN; j++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < ROWS; i++) sum += m->x[i * IN + j];
        for (int i = 0; i < ROWS; i++) squares += (m->x[i * IN + j] - sum / ROWS) * (m->x[i * IN + j] - sum / ROWS);
        assert_true(fabs(mean[j] - sum / ROWS) < 1e-5 && fabs(variance[j] - squares / (ROWS - 1)) < 1e-5);
    }
    bool before = tape_no_grad(m->t, true);
    var y = grad_batch_norm(m->t, in[0], in[1], in[2], in[3], in[4], 1, 0);
    tape_no_grad(m->t, before);
    for (int i = 0; i < ROWS * IN; i++) {
        float expected = (m->x[i] - mean[i % IN]) / sqrtf(variance[i % IN]) + 1;
        assert_true(fabsf(((float *)grad_value(m->t, y)->data)[i] - expected) < 1e-5f);
    }
}

/* In bf16 it is done as these operations; in f32 sums run in another order. */
static void an_mlp_is_linear_layers_with_a_function_between(void **state) {
    model *m = *state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        float plain[512], loss, difference = 0;
        tape_bf16(m->t, bf16);
        loss = step(m, false);
        memcpy(plain, m->params.grads, m->params.floats * sizeof(float));
        params_zero_grads(&m->params);
        tape_begin(m->t, 1, 2);
        var wb[] = {grad_parameter(m->t, m->w1), grad_parameter(m->t, m->b1), grad_parameter(m->t, m->w2),
                    grad_parameter(m->t, m->b2)};
        var logits = grad_mlp(m->t, grad_constant(m->t, &m->inputs), 2, wb, UNARY_GELU, 0);
        var other = grad_cross_entropy(m->t, logits, grad_constant(m->t, &m->labels), -1, 0);
        assert_true(fabsf(grad_scalar(m->t, other) - loss) <= (bf16 ? 0 : 1e-6f));
        grad_backward(m->t, other);
        for (size_t i = 0; i < m->params.floats; i++) difference += fabsf(plain[i] - m->params.grads[i]);
        assert_true(difference <= (bf16 ? 0 : 1e-5f));
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(gradients_match_differences_of_the_loss),
                                       TEST(recomputation_changes_no_bit),
                                       TEST(gradients_add_over_passes),
                                       TEST(no_gradient_scopes_and_stops_record_nothing),
                                       TEST(the_same_input_twice_adds_up),
                                       TEST(steady_state_asks_for_no_memory),
                                       TEST(traps_the_first_nan),
                                       TEST(running_out_of_memory_is_an_error_not_a_crash),
                                       TEST(hessian_products_by_differences),
                                       TEST(bf16_products_stay_near),
                                       TEST(an_mlp_is_linear_layers_with_a_function_between),
                                       TEST(straight_through_passes_the_gradient),
                                       TEST(recomputed_dropout_draws_the_same),
                                       TEST(batch_norm_moves_its_averages_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
