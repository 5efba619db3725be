/* Surprise, divergence and quantiles against closed forms. */
#include "harness.h"

#include "measure/distribution.h"

#include <math.h>

static void matches_closed_forms(void **state) {
    (void)state;
    float p[3] = {logf(0.5f), logf(0.25f), logf(0.25f)}, q[3] = {0, 0, 0}, far[3] = {1000, 0, -1000};
    assert_true(fabs(distribution_surprise(p, 3, 1) - log(4)) < 1e-6);
    assert_true(fabs(distribution_surprise(q, 3, 2) - log(3)) < 1e-12);
    assert_true(fabs(distribution_surprise(far, 3, 1) - 1000) < 1e-9);
    assert_true(fabs(distribution_divergence(p, q, 3) - (log(3) - 1.5 * log(2))) < 1e-6);
    for (int i = 0; i < 3; i++) p[i] += 100; /* offsets mean nothing */
    assert_true(fabs(distribution_divergence(p, q, 3) - (log(3) - 1.5 * log(2))) < 1e-5);
    assert_true(distribution_divergence(q, q, 3) == 0);
    assert_int_equal(distribution_likeliest(q, 3), 0);
    assert_int_equal(distribution_likeliest((float[]){1, 3, 3, 2}, 4), 1);
}

static void quantiles_lie_between_neighbors(void **state) {
    (void)state;
    double v[] = {4, 1, 3, 2, 5};
    assert_true(distribution_quantile(v, 5, 0.5) == 3);
    assert_true(fabs(distribution_quantile(v, 5, 0.99) - 4.96) < 1e-12);
    assert_true(distribution_quantile(v, 1, 0.99) == 1);
    assert_true(distribution_quantile(v, 0, 0.5) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_closed_forms),
                                       cmocka_unit_test(quantiles_lie_between_neighbors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
