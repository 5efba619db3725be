/* Every operation against its double reference and finite differences, at every instruction set, one and two threads.
 */
#include "harness.h"

#include "grad/check.h"
#include "grad/kernels.h"

#include <math.h>

static void all_operations_agree_with_their_references(void **state) {
    (void)state;
    int failures = 0;
    for (int i = 0; grad_ops[i]; i++)
        for (int k = 0; k < grad_ops[i]->cases; k++) {
            check_result r = grad_check(grad_ops[i], k, 1);
            if (!r.what) continue;
            printf("%s, case %d, %s, %d threads: %s is off: forward %.2e, backward %.2e\n", grad_ops[i]->name, k,
                   r.level, r.threads, r.what, r.forward, r.backward);
            failures++;
        }
    assert_int_equal(failures, 0);
}

static double sine_error(float x) {
    float y[3], d[3] = {1, 1, 1}, in[3] = {x, x, x};
    unary_kernel()->forward(UNARY_SIN, 1, 0, 3, in, y);
    unary_kernel()->backward(UNARY_SIN, 1, 0, 3, in, y, (float[]){1, 1, 1}, d, true);
    return fmax(fabs((double)y[2] - sin((double)x)), fabs((double)d[2] - cos((double)x)));
}

static void sines_are_exact_far_from_zero_too(void **state) {
    (void)state;
    for (isa_level level = ISA_SCALAR; level <= ISA_AVX512; level++) {
        isa_force(level);
        for (float x = 1e-6f; x < 1e6f; x *= 1.01f) {
            assert_true(sine_error(x) < 2.5e-7);
            assert_true(sine_error(-x) < 2.5e-7);
        }
        for (float x = 1e6f; x < 3e38f; x *= 3) assert_true(sine_error(x) < 2.000001);
    }
    isa_force(isa_detected());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_operations_agree_with_their_references),
                                       cmocka_unit_test(sines_are_exact_far_from_zero_too)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
