/* Recipes of papers: what expressions come to, what a wrong recipe is told, and a run from the first command to the
 * README: values, claims, skipped arms, going on after a failure and after Ctrl-C. */
#include "harness.h"

#include "base/memory.h"
#include "base/progress.h"
#include "file/json.h"
#include "judge/expression.h"
#include "judge/folders.h"
#include "judge/paper_check.h"
#include "judge/paper_table.h"
#include "judge/verdict.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void write_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ---- expressions ---- */

static expression_found lookup(void *user, const char *name, int seed, double *value) {
    (void)user;
    if (strcmp(name, "n") == 0) {
        *value = 10;
        return seed ? EXPRESSION_NO_SEED : EXPRESSION_FOUND;
    }
    if (strcmp(name, "a.b.c") == 0) {
        *value = seed + 1; /* 1, 2, 3 */
        return seed < 3 ? EXPRESSION_FOUND : EXPRESSION_NO_SEED;
    }
    return strcmp(name, "a.b.gone") == 0 ? EXPRESSION_MISSING : EXPRESSION_UNKNOWN;
}

static void expressions_come_to_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } rows[] = {
        {"1 + 2 * 3", 7},      {"(1 + 2) * -3 / 2", -4.5},           {"n - 1 - 2", 7},           {"a.b.c", 2},
        {"max(a.b.c)", 3},     {"min(n / a.b.c) + 1", 10.0 / 3 + 1}, {"max(a.b.c * n - n)", 20}, {"apart(2, n)", 5},
        {"apart(n, 2.5e0)", 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double v;
        bool missing;
        pith_error err = {0};
        if (expression_value(rows[i].text, lookup, NULL, &v, &missing, &err) != PITH_OK)
            fail_msg("%s: %s", rows[i].text, err.text);
        if (fabs(v - rows[i].value) > 1e-12) fail_msg("%s: %g", rows[i].text, v);
        assert_false(missing);
    }
}

static void wrong_expressions_are_refused(void **state) {
    (void)state;
    static const char *const rows[] = {"",      "1 +",      "(1",          "1 2",       "nobody.knows.this",
                                       "max(1", "apart(1)", "max(max(1))", "1 <= 2 < 3"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double v;
        bool missing;
        pith_error err = {0};
        if (expression_value(rows[i], lookup, NULL, &v, &missing, &err) != PITH_CORRUPT) fail_msg("\"%s\"", rows[i]);
        assert_non_null(strstr(err.text, "expected"));
        assert_true(err.offset >= 0);
    }
}

static void comparisons_hold_or_not(void **state) {
    (void)state;
    double a, b;
    bool holds, missing;
    assert_int_equal(expression_compare("max(a.b.c) <= 3", lookup, NULL, &a, &b, &holds, &missing, NULL), PITH_OK);
    assert_true(holds && a == 3 && b == 3);
    assert_int_equal(expression_compare("3 < a.b.c + 1", lookup, NULL, &a, &b, &holds, &missing, NULL), PITH_OK);
    assert_false(holds);
    assert_int_equal(expression_compare("n > 9", lookup, NULL, &a, &b, &holds, &missing, NULL), PITH_OK);
    assert_true(holds);
    assert_int_equal(expression_compare("n >= a.b.gone", lookup, NULL, &a, &b, &holds, &missing, NULL), PITH_OK);
    assert_true(missing && !holds);
    assert_int_equal(expression_compare("n = 10", lookup, NULL, &a, &b, &holds, &missing, NULL), PITH_CORRUPT);
}

/* ---- recipes ---- */

#define HEAD "\"number\": 7, \"name\": \"toy\", \"title\": \"T\", \"source\": \"S\""
#define STEPS "\"steps\": [{\"name\": \"s\", \"run\": \"true\"}]"

static void wrong_recipes_are_told_where(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{", "expected JSON"},
        {"{" HEAD "}", "arms"},
        {"{" HEAD ", \"arms\": [{\"name\": \"A\", " STEPS "}]}", "arms[0].name"},
        {"{" HEAD ", \"arms\": [{\"name\": \"a\", \"steps\": [{\"name\": \"s\"}]}]}", "arms[0].steps[0].run"},
        {"{" HEAD ", \"arms\": [{\"name\": \"a\", \"uses\": [\"m\"], " STEPS "}]}", "\"made\""},
        {"{" HEAD ", \"inputs\": [{\"name\": \"i\"}], \"arms\": [{\"name\": \"a\", " STEPS "}]}", "inputs[0].data"},
        {"{" HEAD ", \"arms\": [{\"name\": \"a\", \"seeds\": 0, " STEPS "}]}", "arms[0].seeds"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        paper *p;
        pith_error err = {0};
        pith_bytes bytes = {(uint8_t *)rows[i][0], strlen(rows[i][0])};
        assert_int_equal(paper_parse(&p, bytes, "papers/07-toy", &err), PITH_CORRUPT);
        if (!strstr(err.text, rows[i][1])) fail_msg("%s: %s", rows[i][1], err.text);
    }
}

/* ---- a run ---- */

/* `broken` stands for a program that fails until the file appears; "other" needs what nobody has. */
static const char recipe[] =
    "{" HEAD ", \"settings\": [{\"name\": \"size\", \"full\": 1000, \"smoke\": 10}],"
    "\"made\": [{\"name\": \"model\", \"run\": \"echo made >>$count; head -c $size /dev/zero >zeros\"}],"
    "\"arms\": ["
    "{\"name\": \"ours\", \"label\": \"Ours\", \"uses\": [\"model\"], \"seeds\": 2, \"steps\": ["
    "{\"name\": \"pack\", \"run\": \"head -c $((size / 2 + seed)) $model/zeros >$out/x; echo pack >>$count\","
    " \"bytes\": \"$out/x\", \"repeats\": 3},"
    "{\"name\": \"score\", \"run\": \"echo '{\\\"a\\\": [{\\\"b\\\": 0.25}], \\\"none\\\": null}'\","
    " \"values\": {\"quality\": \"a.0.b\", \"none\": \"none\"}}]},"
    "{\"name\": \"broken\", \"steps\": [{\"name\": \"s\", \"run\": \"test -e $switch || { echo no switch >&2; exit 3; }\"}]},"
    "{\"name\": \"other\", \"needs\": [\"pith-no-such-program\"], " STEPS "}],"
    "\"claims\": [{\"text\": \"half\", \"holds\": \"min(ours.pack.bytes) <= size / 2\"},"
    "{\"text\": \"less\", \"holds\": \"max(ours.pack.bytes) <= size / 2\"},"
    "{\"text\": \"unknown\", \"holds\": \"ours.score.none <= 1\"}],"
    "\"tables\": [{\"title\": \"Sizes\", \"columns\": [{\"head\": \"bytes\", \"digits\": 1, \"value\": \".pack.bytes\"},"
    "{\"head\": \"quality\", \"digits\": 2, \"value\": \".score.quality\"}],"
    "\"rows\": [\"ours\", [\"limit\", \"10 * size\", \"\"]]}]}";

/* The toy's commands count themselves in a file and wait for a switch, named by variables the environment keeps. */
static pith_status run_toy(const paper *p, bool smoke, double seconds, json_t **result, bool *complete,
                           pith_error *err) {
    char work[128];
    snprintf(work, sizeof work, "%s/work%s", folder, smoke ? "-smoke" : "");
    paper_run_options o = {.command = PITH_COMMAND, .work = work, .smoke = smoke, .seconds = seconds};
    return paper_run(NULL, p, &o, result, complete, err);
}

static paper *open_toy(const char *text) {
    char path[128], *named = memory_alloc(strlen(text) + 2048), *to = named;
    for (const char *from = text; *from;) { /* $count and $switch are files of this test */
        bool count = strncmp(from, "$count", 6) == 0, toggle = strncmp(from, "$switch", 7) == 0;
        if (count || toggle) {
            to += sprintf(to, "%s/%s", folder, count ? "count" : "switch");
            from += count ? 6 : 7;
        } else *to++ = *from++;
    }
    *to = 0;
    snprintf(path, sizeof path, "%s/papers/07-toy", folder);
    assert_int_equal(folder_make(path, NULL), PITH_OK);
    write_file("papers/07-toy/recipe.json", named);
    memory_free(named);
    paper *p;
    pith_error err = {0};
    if (paper_open(&p, path, &err) != PITH_OK) fail_msg("%s", err.text);
    return p;
}

static int lines(const char *name) {
    char path[256];
    int n = 0, c;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    while (f && (c = fgetc(f)) != EOF) n += c == '\n';
    if (f) fclose(f);
    return n;
}

static const char *verdict(const json_t *result, size_t i) {
    return json_get_text(json_array_get(json_object_get(result, "claims"), i), "verdict", "");
}

static void a_run_goes_on_after_a_failure(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *result;
    bool complete;
    pith_error err = {0};
    assert_int_equal(run_toy(p, false, 0, &result, &complete, &err), PITH_MISMATCH);
    assert_non_null(strstr(err.text, "no switch"));
    assert_int_equal(lines("count"), 3); /* made once for both seeds, packed for each */
    write_file("switch", "");
    assert_int_equal(run_toy(p, false, 0, &result, &complete, NULL), PITH_OK);
    assert_true(complete);
    assert_int_equal(lines("count"), 3 + 2 * 2); /* two more repetitions of each, and nothing anew */
    assert_string_equal(verdict(result, 0), "holds");
    assert_string_equal(verdict(result, 1), "falls short");
    assert_string_equal(verdict(result, 2), "open");
    const json_t *steps = json_object_get(verdict_row(result, "ours", 1), "steps");
    assert_int_equal(json_get_int(json_object_get(steps, "pack"), "bytes", 0), 501);
    assert_int_equal(json_array_size(json_object_get(json_object_get(steps, "pack"), "seconds")), 3);
    assert_non_null(json_get_text(verdict_row(result, "other", 0), "skipped", NULL));
    json_decref(result);
    assert_int_equal(paper_result(p, &result, NULL), PITH_OK); /* published */
    json_decref(result);
    paper_close(p);
}

static void a_table_belongs_to_its_result(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *result;
    char *table, *readme;
    bool same;
    assert_int_equal(paper_result(p, &result, NULL), PITH_OK);
    assert_int_equal(paper_table(p, result, &table, NULL), PITH_OK);
    assert_non_null(strstr(table, "| Ours | 500.5 | 0.25 |"));
    assert_non_null(strstr(table, "| limit | 10,000.0 |  |"));
    assert_non_null(strstr(table, "other was skipped: pith-no-such-program is not installed"));
    write_file("papers/07-toy/README.md", "# Toy\n");
    assert_int_equal(paper_readme(p, table, &readme, &same, NULL), PITH_CORRUPT);
    write_file("papers/07-toy/README.md", "# Toy\n" PAPER_TABLE_BEGIN "\nstale\n" PAPER_TABLE_END "\nafter\n");
    assert_int_equal(paper_readme(p, table, &readme, &same, NULL), PITH_OK);
    assert_false(same);
    assert_null(strstr(readme, "stale"));
    assert_non_null(strstr(readme, "after"));
    write_file("papers/07-toy/README.md", readme);
    free(readme);
    assert_int_equal(paper_readme(p, table, &readme, &same, NULL), PITH_OK);
    assert_true(same);
    free(readme);
    free(table);
    json_decref(result);
    paper_close(p);
}

static int differing_of(const paper *p, const char *arm, size_t rows, json_t **report) {
    char work[128];
    int differing;
    pith_error err = {0};
    snprintf(work, sizeof work, "%s/work-check", folder);
    paper_check_options o = {.run = {.command = PITH_COMMAND, .work = work, .arms = &arm, .arm_count = arm != NULL},
                             .rows = rows};
    if (paper_check(NULL, p, &o, report, &differing, &err) != PITH_OK) fail_msg("%s: %s", err.where, err.text);
    return differing;
}

/* The text of the first finding of that name and verdict; "": none. */
static const char *finding(const json_t *report, const char *check, const char *verdict) {
    const json_t *row;
    size_t i;
    json_array_foreach(report, i, row) if (strcmp(json_get_text(row, "check", ""), check) == 0 &&
                                           strcmp(json_get_text(row, "verdict", ""), verdict) ==
                                               0) return json_get_text(row, "text", "");
    return "";
}

static void assert_differs(const paper *p, const char *arm, const char *check, const char *text) {
    json_t *report;
    assert_int_not_equal(differing_of(p, arm, 0, &report), 0);
    if (!strstr(finding(report, check, "differs"), text)) fail_msg("%s: %s", check, finding(report, check, "differs"));
    json_decref(report);
}

static void replace_in(const char *name, const char *old, const char *new) {
    char path[256], *text = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    size_t size = 0;
    assert_non_null(f);
    assert_true(getdelim(&text, &size, 0, f) > 0);
    fclose(f);
    char *at = strstr(text, old);
    assert_true(at && strlen(old) == strlen(new));
    memcpy(at, new, strlen(new));
    write_file(name, text);
    free(text);
}

static void a_check_finds_what_differs(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *report;
    assert_int_equal(differing_of(p, NULL, 0, &report), 0);
    assert_string_not_equal(finding(report, "claims", "same"), "");
    assert_string_not_equal(finding(report, "README.md", "same"), "");
    assert_string_not_equal(finding(report, "row other 0", "not checked"), "");
    json_decref(report);
    assert_int_equal(differing_of(p, NULL, 10, &report), 0); /* "ours" uses what would have to be made */
    assert_string_not_equal(finding(report, "again broken 0", "same"), "");
    assert_string_equal(finding(report, "again ours 0", "same"), "");
    json_decref(report);
    assert_int_equal(differing_of(p, "ours", 0, &report), 0);
    assert_string_not_equal(finding(report, "again ours 1", "same"), "");
    json_decref(report);
    char switch_file[128];
    snprintf(switch_file, sizeof switch_file, "%s/switch", folder);
    unlink(switch_file);
    assert_differs(p, "broken", "again broken 0", "no switch");
    write_file("switch", "");
    replace_in("papers/07-toy/README.md", "500.5", "500.6");
    assert_differs(p, NULL, "README.md", "--write");
    replace_in("papers/07-toy/README.md", "500.6", "500.5");
    replace_in("papers/07-toy/result.json", "\"bytes\": 500", "\"bytes\": 499");
    assert_differs(p, NULL, "claim", "half");
    assert_differs(p, "ours", "again ours 0", "expected 499, found 500");
    replace_in("papers/07-toy/result.json", "\"bytes\": 499", "\"bytes\": 500");
    replace_in("papers/07-toy/result.json", "echo pack", "echo Pack");
    assert_differs(p, NULL, "row ours 0", "another command");
    replace_in("papers/07-toy/result.json", "echo Pack", "echo pack");
    paper_close(p);
    replace_in("papers/07-toy/recipe.json", "\"half\"", "\"Half\"");
    char path[128];
    snprintf(path, sizeof path, "%s/papers/07-toy", folder);
    assert_int_equal(paper_open(&p, path, NULL), PITH_OK);
    assert_differs(p, NULL, "recipe", "expected hash");
    paper_close(p);
}

static void a_smoke_run_publishes_nothing(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *result;
    bool complete;
    char path[256];
    snprintf(path, sizeof path, "%s/papers/07-toy/result.json", folder);
    unlink(path);
    assert_int_equal(run_toy(p, true, 0, &result, &complete, NULL), PITH_OK);
    assert_true(complete && json_get_flag(result, "smoke", false));
    assert_null(verdict_row(result, "ours", 1));
    const json_t *steps = json_object_get(verdict_row(result, "ours", 0), "steps");
    assert_int_equal(json_get_int(json_object_get(steps, "pack"), "bytes", 0), 5);
    assert_int_not_equal(access(path, F_OK), 0);
    json_decref(result);
    paper_close(p);
}

/* "broken" fails without the switch; left out, the rest is published, and it alone is run afterwards. */
static void an_arm_left_out_is_added_later(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *result;
    bool complete;
    char work[128], path[128];
    snprintf(work, sizeof work, "%s/work-skip", folder);
    snprintf(path, sizeof path, "%s/switch", folder);
    unlink(path);
    paper_run_options o = {
        .command = PITH_COMMAND, .work = work, .skipped = (const char *const[]){"broken"}, .skipped_count = 1};
    write_file("count", "");
    assert_int_equal(paper_run(NULL, p, &o, &result, &complete, NULL), PITH_OK);
    assert_true(complete);
    assert_non_null(json_get_text(verdict_row(result, "broken", 0), "skipped", NULL));
    assert_int_equal(lines("count"), 1 + 2 * 3);
    json_decref(result);
    write_file("switch", "");
    o.skipped_count = 0;
    assert_int_equal(paper_run(NULL, p, &o, &result, &complete, NULL), PITH_OK);
    assert_true(complete);
    assert_non_null(json_object_get(verdict_row(result, "broken", 0), "steps"));
    assert_int_equal(lines("count"), 1 + 2 * 3);
    json_decref(result);
    paper_close(p);
}

static void out_of_time_is_not_complete(void **state) {
    (void)state;
    paper *p = open_toy(recipe);
    json_t *result;
    bool complete;
    folder_remove("work", NULL);
    assert_int_equal(run_toy(p, false, 1e-9, &result, &complete, NULL), PITH_OK);
    assert_false(complete);
    json_decref(result);
    paper_close(p);
}

static int number_in(const char *name) {
    char path[256];
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_true(f && fscanf(f, "%d", &n) == 1);
    fclose(f);
    return n;
}

/* A process nobody has waited for is still known, but has no command line. */
static bool runs(int process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", process);
    FILE *f = fopen(path, "r");
    bool any = f && fgetc(f) != EOF;
    if (f) fclose(f);
    return any;
}

/* In a process of its own: the whole group of a command ends with the run, soon. */
static void stops_when_asked(void **state) {
    (void)state;
    paper *p = open_toy("{" HEAD ", \"arms\": [{\"name\": \"a\", \"steps\": [{\"name\": \"s\","
                        "\"run\": \"sleep 100 & echo $! >$count; wait\"}]}]}");
    write_file("count", "");
    pid_t child = fork();
    if (child == 0) {
        json_t *result;
        bool complete;
        interrupt_install();
        _exit(run_toy(p, true, 0, &result, &complete, NULL) == PITH_INTERRUPTED ? 130 : 1);
    }
    for (int i = 0; i < 200 && lines("count") == 0; i++) usleep(50000);
    assert_int_equal(lines("count"), 1);
    int status;
    double started = clock_seconds();
    kill(child, SIGINT);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    assert_true(clock_seconds() - started < 20);
    bool alive = true;
    for (int i = 0; i < 100 && alive; i++, usleep(50000)) alive = runs(number_in("count"));
    assert_false(alive);
    paper_close(p);
}

static void survives_any_failed_allocation(void **state) {
    (void)state;
    char *table = NULL;
    json_t *result = NULL, *claims;
    paper *p = open_toy(recipe);
    assert_int_equal(paper_result(p, &result, NULL), PITH_OK);
    paper_close(p);
    pith_status s = PITH_NO_MEMORY;
    for (int64_t n = 1; s != PITH_OK; n++) {
        memory_fail_at(n);
        s = paper_parse(&p, (pith_bytes){(uint8_t *)recipe, sizeof recipe - 1}, "papers/07-toy", NULL);
        if (s == PITH_OK) {
            s = verdict_claims(p, result, &claims, NULL);
            if (s == PITH_OK) json_decref(claims);
            if (s == PITH_OK) s = paper_table(p, result, &table, NULL);
            if (s == PITH_OK) free(table);
            paper_close(p);
        }
        memory_fail_at(0);
        if (s != PITH_OK) assert_int_equal(s, PITH_NO_MEMORY);
        assert_true(n < 5000);
    }
    json_decref(result);
}

/* ---- the papers of this tree ---- */

/* Every name in a recipe's claims and tables is one it measures, and every result stands (pith papers check). */
static void papers_of_this_tree_are_in_order(void **state) {
    (void)state;
    char **names;
    size_t count;
    assert_int_equal(paper_list(PITH_SOURCE_DIR "/papers", &names, &count, NULL), PITH_OK);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        char path[4096], *table;
        paper *p;
        json_t *result = json_object(), *claims;
        pith_error err = {0};
        snprintf(path, sizeof path, "%s/%s", PITH_SOURCE_DIR "/papers", names[i]);
        if (paper_open(&p, path, &err) != PITH_OK || verdict_claims(p, result, &claims, &err) != PITH_OK ||
            paper_table(p, result, &table, &err) != PITH_OK)
            fail_msg("%s: %s: %s", names[i], err.where, err.text);
        assert_int_equal(p->number, atoi(names[i]));
        assert_string_equal(p->name, names[i] + 3);
        json_decref(result);
        json_decref(claims);
        free(table);
        if (paper_result(p, &result, NULL) == PITH_OK) {
            json_decref(result);
            if (differing_of(p, NULL, 0, &result)) fail_msg("pith papers check %d --papers papers", p->number);
            json_decref(result);
        }
        paper_close(p);
        memory_free(names[i]);
    }
    memory_free(names);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/pith-judge-%d", (int)getpid());
    assert_int_equal(folder_make(folder, NULL), PITH_OK);
    memory_adopt_jansson();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_come_to_numbers),     cmocka_unit_test(wrong_expressions_are_refused),
        cmocka_unit_test(comparisons_hold_or_not),         cmocka_unit_test(wrong_recipes_are_told_where),
        cmocka_unit_test(a_run_goes_on_after_a_failure),   cmocka_unit_test(a_table_belongs_to_its_result),
        cmocka_unit_test(a_check_finds_what_differs),      cmocka_unit_test(survives_any_failed_allocation),
        cmocka_unit_test(a_smoke_run_publishes_nothing),   cmocka_unit_test(an_arm_left_out_is_added_later),
        cmocka_unit_test(out_of_time_is_not_complete),     cmocka_unit_test(stops_when_asked),
        cmocka_unit_test(papers_of_this_tree_are_in_order)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder, NULL);
    return failed;
}
