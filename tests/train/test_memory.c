/* What a run holds: nothing that grows with its steps; with `recompute` a third less at the same gradients. */
#include "train/workshop.h"

#include "base/memory.h"
#include "grad/ops.h"
#include "net/decoder.h"

static long resident_kib(void) {
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

typedef struct watch {
    long early, late; /* KiB after 100 steps and at the end */
} watch;

static bool look(void *user, double done, double total, const char *unit) {
    (void)unit;
    watch *w = user;
    if (done == 100) w->early = resident_kib();
    if (done == total) w->late = resident_kib();
    return true;
}

/* Beside the steps stand the loss curve, of at most a thousand lines, and what malloc keeps after a checkpoint; under
 * the address sanitizer also its quarantine, where freed memory waits, under the thread sanitizer a shadow some times
 * as large. */
#if defined(__SANITIZE_ADDRESS__)
enum { CURVE_KIB = 256 << 10 };
#elif defined(__SANITIZE_THREAD__)
enum { CURVE_KIB = 5 * 256 };
#else
enum { CURVE_KIB = 256 };
#endif

static void ten_thousand_steps_hold_what_a_hundred_held(void **state) {
    workshop *w = *state;
    workshop_recipe(w,
                    "\"steps\": 10000, \"checkpoint_every\": 50, \"optimizer\": {\"rate\": 0.001, \"average\": 0.9}");
    watch seen = {0};
    pith_context c;
    pith_context_default(&c);
    c.progress = look, c.user = &seen;
    train_outcome out;
    const train_options o = {0};
    const char *rarely[] = {"evaluate_every=50", NULL};
    assert_int_equal(workshop_train(w, &c, rarely, &o, "long", &out, NULL), PITH_OK);
    if (seen.early && seen.late > seen.early + seen.early / 100 + CURVE_KIB)
        fail_msg("%ld KiB after 100 steps, %ld after 10,000", seen.early, seen.late);
}

/* One backward pass of LM-S (papers/weights.md of the design) on four sequences; its gradients, and the most a step
 * held. */
static float *gradients_of_lm_s(bool recompute, size_t *floats, size_t *high) {
    enum { ROWS = 4, TIME = 256 };
    const decoder_config c = {.architecture = "llama",
                              .vocab = 288,
                              .width = 256,
                              .blocks = 4,
                              .heads = 4,
                              .kv_heads = 4,
                              .head_dim = 64,
                              .ffn = 768,
                              .context = TIME,
                              .norm_epsilon = 1e-5f,
                              .gated = true,
                              .rope_halves = true,
                              .rope_dims = 64,
                              .rope_base = 10000};
    grad_params p;
    decoder d;
    tape *t;
    params_init(&p);
    assert_int_equal(decoder_open(&d, &c, &p, NULL), PITH_OK);
    assert_int_equal(params_commit(&p, true, 0, NULL), PITH_OK);
    decoder_start(&d, &p, 1);
    assert_int_equal(tape_new(&t, &p, 0, NULL), PITH_OK);
    d.recompute = recompute;
    pith_tensor ids;
    assert_int_equal(pith_tensor_new(&ids, PITH_I32, 2, (int64_t[]){ROWS, TIME}, NULL), PITH_OK);
    rng r = rng_new(1, 1);
    for (int i = 0; i < ROWS * TIME; i++) ((int32_t *)ids.data)[i] = (int32_t)rng_below(&r, 256);
    tape_begin(t, 1, 0);
    var x = grad_constant(t, &ids);
    grad_backward(t, grad_cross_entropy(t, decoder_logits(&d, t, x), x, -1, 0));
    assert_int_equal(tape_status(t, NULL), PITH_OK);
    *high = tape_high_water(t), *floats = p.floats;
    float *g = p.grads;
    p.grads = NULL;
    pith_tensor_release(&ids);
    tape_free(t);
    decoder_close(&d);
    params_free(&p);
    return g;
}

static void recomputing_lm_s_holds_a_third_less_at_the_same_gradients(void **state) {
    (void)state;
    size_t floats, kept, again;
    float *a = gradients_of_lm_s(false, &floats, &kept), *b = gradients_of_lm_s(true, &floats, &again);
    assert_memory_equal(a, b, floats * sizeof *a);
    memory_free(a);
    memory_free(b);
    if ((double)again > 0.7 * (double)kept) fail_msg("%zu bytes with, %zu without", again, kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ten_thousand_steps_hold_what_a_hundred_held, workshop_open, workshop_close),
        cmocka_unit_test(recomputing_lm_s_holds_a_third_less_at_the_same_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
