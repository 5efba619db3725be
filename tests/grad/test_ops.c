/* Every operation against its double reference and finite differences, at every instruction set, one and two threads.
 */
#include "harness.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "grad/check.h"

static int judge(const grad_op *op) {
    int failures = 0;
    for (int k = 0; k < op->cases; k++) {
        check_result r = grad_check(op, k, 1);
        if (!r.what) continue;
        printf("%s, case %d, %s, %d threads: %s is off: forward %.2e, backward %.2e\n", op->name, k,
               isa_name(isa_active()), parallel_threads(), r.what, r.forward, r.backward);
        failures++;
    }
    return failures;
}

static void all_operations_agree_with_their_references(void **state) {
    (void)state;
    int failures = 0;
    for (int level = ISA_SCALAR; level <= (int)isa_detected(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            isa_force((isa_level)level);
            parallel_set_threads(threads);
            for (int i = 0; grad_ops[i]; i++) failures += judge(grad_ops[i]);
        }
    assert_int_equal(failures, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_operations_agree_with_their_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
