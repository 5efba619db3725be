/* Option tables: every type, ranges, operands, and the errors a person meets. */
#include "harness.h"

#include "base/memory.h"
#include "pith/options.h"

static const pith_option rows[] = {
    {.name = "count", .letter = 'n', .unit = "N", .type = PITH_INT, .low = 1, .high = 9, .initial = 3},
    {.name = "rate", .unit = "R", .type = PITH_REAL, .initial = 0.5},
    {.name = "size", .unit = "BYTES", .type = PITH_SIZE},
    {.name = "type", .unit = "q4|q8", .type = PITH_CHOICE, .text = "q8"},
    {.name = "rule", .unit = "R=T", .type = PITH_LIST},
    {.name = "quiet", .letter = 'q', .type = PITH_FLAG},
    {.name = "out", .letter = 'o', .unit = "FILE", .type = PITH_TEXT},
};

static pith_values *parse(pith_error *err, pith_status expected, int argc, char **argv) {
    const pith_option *tables[] = {rows};
    size_t counts[] = {sizeof rows / sizeof *rows};
    pith_values *v = NULL;
    assert_int_equal(pith_values_new(&v, tables, counts, 1, err), PITH_OK);
    assert_int_equal(pith_values_parse(v, argc, argv, 0, err), expected);
    return v;
}
#define PARSE(expected, ...)      \
    char *argv[] = {__VA_ARGS__}; \
    pith_error err = {0};         \
    pith_values *v = parse(&err, expected, sizeof argv / sizeof *argv, argv)

static void reads_every_type(void **state) {
    (void)state;
    PARSE(PITH_OK, "in", "-n5", "--rate=0.25", "--size", "1.5M", "--type", "Q4", "--rule", "a=b", "--rule", "c=d",
          "-qo", "x", "-", "--", "--z");
    assert_int_equal(pith_value_int(v, "count"), 5);
    assert_true(pith_value_real(v, "rate") == 0.25);
    assert_int_equal(pith_value_size(v, "size"), 1572864);
    assert_int_equal(pith_value_int(v, "type"), 0);
    assert_int_equal(pith_value_count(v, "rule"), 2);
    assert_string_equal(pith_value_item(v, "rule", 1), "c=d");
    assert_true(pith_value_flag(v, "quiet"));
    assert_string_equal(pith_value_text(v, "out"), "x");
    assert_int_equal(pith_operand_count(v), 3);
    assert_string_equal(pith_operand(v, 1), "-");
    assert_string_equal(pith_operand(v, 2), "--z");
    pith_values_free(v);
}

static void keeps_initial_values(void **state) {
    (void)state;
    PARSE(PITH_OK, "in");
    assert_int_equal(pith_value_int(v, "count"), 3);
    assert_false(pith_value_given(v, "count"));
    assert_string_equal(pith_value_text(v, "type"), "q8");
    assert_null(pith_value_text(v, "out"));
    pith_values_free(v);
}

static void refuses(char *a, char *b, const char *words) {
    char *argv[] = {a, b};
    pith_error err = {0};
    pith_values *v = parse(&err, PITH_USAGE, b ? 2 : 1, argv);
    if (!strstr(err.text, words)) fail_msg("expected \"%s\" in \"%s\"", words, err.text);
    pith_values_free(v);
}

static void names_what_was_expected(void **state) {
    (void)state;
    refuses("--count", "10", "from 1 to 9");
    refuses("--count", "x", "whole number");
    refuses("--count", "5x", "number");
    refuses("--rate", "nan", "finite");
    refuses("--size", "-1", "size in bytes");
    refuses("--type", "q5", "q4|q8");
    refuses("--nope", NULL, "unknown option --nope");
    refuses("-x", NULL, "unknown option -x");
    refuses("--out", NULL, "found the end");
    refuses("--quiet=1", NULL, "takes no value");
}

static void survives_failed_allocation(void **state) {
    (void)state;
    for (int n = 1; n < 8; n++) {
        const pith_option *tables[] = {rows};
        size_t counts[] = {sizeof rows / sizeof *rows};
        pith_values *v = NULL;
        pith_error err = {0};
        char *argv[] = {"in", "--rule", "a=b"};
        memory_fail_at(n);
        pith_status s = pith_values_new(&v, tables, counts, 1, &err);
        if (s == PITH_OK) s = pith_values_parse(v, 3, argv, 0, &err);
        memory_fail_at(0);
        assert_int_equal(s, n <= 4 ? PITH_NO_MEMORY : PITH_OK);
        pith_values_free(v);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_every_type), cmocka_unit_test(keeps_initial_values),
                                       cmocka_unit_test(names_what_was_expected),
                                       cmocka_unit_test(survives_failed_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
