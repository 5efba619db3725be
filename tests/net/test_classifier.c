/* Every classifier learns a handful of pictures, its gradients are those of its loss, and recomputed blocks change no
 * bit of them. */
#include "harness.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "net/classifier.h"
#include "net/optimizer.h"

#include <math.h>

enum { PICTURES = 12, SIDE = 16, CLASSES = 3 };

static const classifier_config configs[CLASSIFIER_KINDS] = {
    [CLASSIFIER_CONVNET] = {.kind = CLASSIFIER_CONVNET, .width = 8, .stages = 2, .blocks = 1},
    [CLASSIFIER_VIT] = {.kind = CLASSIFIER_VIT, .width = 16, .blocks = 2, .heads = 2, .ffn = 32, .patch = 4},
    [CLASSIFIER_MLP] = {.kind = CLASSIFIER_MLP, .width = 24, .blocks = 1},
    [CLASSIFIER_CONVNEXT] = {.kind = CLASSIFIER_CONVNEXT, .width = 8, .stages = 2, .blocks = 2, .patch = 2}};

typedef struct fixture {
    classifier net;
    grad_params params;
    tape *t;
    pith_tensor x, y;
} fixture;

static void open_fixture(fixture *f, classifier_kind kind) {
    classifier_config c = configs[kind];
    c.height = c.wide = SIDE, c.channels = 2, c.classes = CLASSES;
    params_init(&f->params);
    assert_int_equal(classifier_open(&f->net, &c, &f->params, NULL), PITH_OK);
    assert_int_equal(params_commit(&f->params, true, 2, NULL), PITH_OK);
    classifier_start(&f->net, &f->params, 1);
    assert_int_equal(tape_new(&f->t, &f->params, 0, NULL), PITH_OK);
    assert_int_equal(pith_tensor_new(&f->x, PITH_F32, 4, (int64_t[]){PICTURES, SIDE, SIDE, 2}, NULL), PITH_OK);
    assert_int_equal(pith_tensor_new(&f->y, PITH_I32, 1, (int64_t[]){PICTURES}, NULL), PITH_OK);
    rng r = rng_new(2, 2);
    for (int i = 0; i < PICTURES * SIDE * SIDE * 2; i++) ((float *)f->x.data)[i] = (float)rng_normal(&r);
    for (int i = 0; i < PICTURES; i++) ((int32_t *)f->y.data)[i] = i % CLASSES;
}

static void close_fixture(fixture *f) {
    pith_tensor_release(&f->x);
    pith_tensor_release(&f->y);
    tape_free(f->t);
    params_free(&f->params);
}

static var loss_of(fixture *f) {
    tape_begin(f->t, 1, 1);
    var logits = classifier_logits(&f->net, f->t, grad_constant(f->t, &f->x));
    const pith_tensor *shape = grad_value(f->t, logits);
    assert_true(shape->rank == 2 && shape->shape[0] == PICTURES && shape->shape[1] == CLASSES);
    return grad_cross_entropy(f->t, logits, grad_constant(f->t, &f->y), -1, 0);
}

static float step(fixture *f) {
    params_zero_grads(&f->params);
    var loss = loss_of(f);
    float value = grad_scalar(f->t, loss);
    grad_backward(f->t, loss);
    assert_int_equal(tape_status(f->t, NULL), PITH_OK);
    return value;
}

static void every_kind_learns(void **state) {
    (void)state;
    for (int kind = 0; kind < CLASSIFIER_KINDS; kind++) {
        fixture f = {0};
        open_fixture(&f, (classifier_kind)kind);
        optimizer o = {.kind = OPTIMIZER_ADAM, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f};
        for (int g = 0; g < OPTIMIZER_GROUPS; g++) o.group[g].rate = 1;
        assert_int_equal(optimizer_open(&o, &f.params, NULL), PITH_OK);
        float first = step(&f), last = first;
        for (int i = 0; i < 60; i++) {
            optimizer_step(&o, &f.params, 3e-3);
            last = step(&f);
        }
        if (!(last < 0.1f * first))
            fail_msg("%s: loss %g after %g", classifier_kind_name(f.net.config.kind), last, first);
        optimizer_close(&o);
        close_fixture(&f);
    }
}

/* Along the gradient the loss rises by its square a unit. */
static void gradients_are_those_of_the_loss(void **state) {
    (void)state;
    for (int kind = 0; kind < CLASSIFIER_KINDS; kind++) {
        fixture f = {0};
        open_fixture(&f, (classifier_kind)kind);
        step(&f);
        double square = 0, loss[2];
        for (size_t i = 0; i < f.params.floats; i++) square += (double)f.params.grads[i] * f.params.grads[i];
        for (int side = 0; side < 2; side++) {
            float h = (side ? -2e-2f : 1e-2f) / (float)sqrt(square); /* up, then to the other side */
            for (size_t i = 0; i < f.params.floats; i++) f.params.weights[i] += h * f.params.grads[i];
            params_changed(&f.params);
            loss[side] = (double)grad_scalar(f.t, loss_of(&f));
        }
        double slope = (loss[0] - loss[1]) / (2e-2 / sqrt(square));
        if (fabs(slope - square) > 0.02 * square)
            fail_msg("%s: slope %g, expected %g", classifier_kind_name(f.net.config.kind), slope, square);
        close_fixture(&f);
    }
}

static void recomputed_blocks_change_no_gradient(void **state) {
    (void)state;
    for (int kind = 0; kind < CLASSIFIER_KINDS; kind++) {
        if (!classifier_can_recompute((classifier_kind)kind)) continue;
        fixture f = {0};
        open_fixture(&f, (classifier_kind)kind);
        float loss = step(&f), *plain = memory_alloc(f.params.floats * sizeof *plain);
        memcpy(plain, f.params.grads, f.params.floats * sizeof *plain);
        f.net.recompute = true;
        assert_true(step(&f) == loss);
        assert_memory_equal(plain, f.params.grads, f.params.floats * sizeof *plain);
        memory_free(plain);
        close_fixture(&f);
    }
}

static void sizes_out_of_range_are_named(void **state) {
    (void)state;
    for (const classifier_size *s = classifier_sizes; s->name; s++)
        for (int kind = 0; kind < CLASSIFIER_KINDS; kind++) {
            if (s->kinds && !(s->kinds >> kind & 1)) continue;
            classifier_config c = configs[kind];
            c.height = c.wide = SIDE, c.channels = 1, c.classes = CLASSES;
            *classifier_size_of(&c, s) = s->high + 1;
            grad_params p;
            classifier n;
            pith_error err = {0};
            params_init(&p);
            assert_int_equal(classifier_open(&n, &c, &p, &err), PITH_MISMATCH);
            assert_non_null(strstr(err.text, s->name));
            params_free(&p);
        }
}

int main(void) {
    parallel_set_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_learns), cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(recomputed_blocks_change_no_gradient), cmocka_unit_test(sizes_out_of_range_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
