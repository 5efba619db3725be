/* Every operation against its double reference and finite differences, at every instruction set, one and two threads.
 */
#include "harness.h"

#include "grad/check.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_operations_agree_with_their_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
