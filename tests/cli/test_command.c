/* The command as a whole: help of every verb, usage errors, versions, and an allocation failing anywhere. */
#include "harness.h"

#include "base/memory.h"
#include "cli/command.h"

static int call(const char *const *words) {
    char *argv[16];
    int argc = 0;
    while (words[argc]) argv[argc] = (char *)words[argc], argc++;
    argv[argc] = NULL;
    return command_main(argc, argv);
}
#define CALL(...) call((const char *const[]){"pith", __VA_ARGS__, NULL})

static void every_verb_explains_itself(void **state) {
    (void)state;
    for (const verb *const *v = verbs; *v; v++) {
        assert_int_equal(CALL((*v)->name, "--help"), 0);
        assert_non_null((*v)->summary);
        if (!strstr((*v)->example, "pith ")) fail_msg("%s: the example does not call pith", (*v)->name);
        for (size_t i = 0; i < (*v)->option_count; i++) {
            const pith_option *o = &(*v)->options[i];
            if (!o->help) fail_msg("%s --%s has no help", (*v)->name, o->name);
            if (o->type != PITH_FLAG && !o->unit) fail_msg("%s --%s names no unit", (*v)->name, o->name);
        }
    }
}

static void wrong_use_exits_with_two(void **state) {
    (void)state;
    assert_int_equal(CALL("nonsense"), 2);
    assert_int_equal(CALL("data", "--nonsense"), 2);
    assert_int_equal(CALL("data", "operand"), 2);
    assert_int_equal(CALL("data", "--threads", "x"), 2);
    assert_int_equal(CALL("--help"), 0);
    assert_int_equal(CALL("--version"), 0);
    assert_int_equal(CALL("data", "--data", "/nonexistent"), 1);
}

static void survives_any_failed_allocation(void **state) {
    (void)state;
    memory_fail_at(0);
    assert_int_equal(CALL("data", "--json"), 0);
    int64_t all = memory_count();
    assert_true(all > 10);
    for (int64_t n = 1; n <= all; n += n < 40 ? 1 : 7) {
        memory_fail_at(n);
        int code = CALL("data", "--json");
        memory_fail_at(0);
        if (code != 0 && code != 1) fail_msg("allocation %d: exit code %d", (int)n, code);
    }
}

int main(void) {
    unsetenv("PITH_DATA");
    FILE *quiet = freopen("/dev/null", "w", stderr);
    assert_non_null(quiet);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_verb_explains_itself),
                                       cmocka_unit_test(wrong_use_exits_with_two),
                                       cmocka_unit_test(survives_any_failed_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
