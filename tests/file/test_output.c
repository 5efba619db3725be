/* Files that appear whole or not at all: what a check refuses, an abort leaves, a full disk cuts. */
#include "harness.h"

#include "file/output.h"

#include <unistd.h>

static char path[64], pending[128];

static void write_bytes(output **o, const char *text) {
    assert_int_equal(output_open(o, path, true, NULL), PITH_OK);
    assert_int_equal(output_write(*o, text, strlen(text), NULL), PITH_OK);
}

static void assert_holds(const char *file, const char *text) {
    char found[64] = "";
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    found[fread(found, 1, sizeof found - 1, f)] = 0;
    fclose(f);
    assert_string_equal(found, text);
}

/* Sees the finished file under another name while the old one is still there. */
static pith_status judge(void *user, const char *temporary, pith_error *err) {
    assert_string_not_equal(temporary, path);
    assert_holds(temporary, "new");
    assert_holds(path, "old");
    snprintf(pending, sizeof pending, "%s", temporary);
    return *(bool *)user ? PITH_OK : pith_fail(err, PITH_CORRUPT, path, -1, "no good");
}

static void a_check_decides(void **state) {
    (void)state;
    output *o;
    pith_error err = {0};
    write_bytes(&o, "old");
    assert_int_equal(output_commit(o, NULL), PITH_OK);
    for (int good = 0; good < 2; good++) {
        bool verdict = good;
        output_check check = {judge, &verdict};
        write_bytes(&o, "new");
        assert_int_equal(output_commit_checked(o, &check, &err), good ? PITH_OK : PITH_CORRUPT);
        assert_holds(path, good ? "new" : "old");
        assert_int_not_equal(access(pending, F_OK), 0);
    }
}

static void an_abort_leaves_what_was_there(void **state) {
    (void)state;
    output *o;
    write_bytes(&o, "old");
    assert_int_equal(output_commit(o, NULL), PITH_OK);
    write_bytes(&o, "new");
    output_abort(o);
    assert_holds(path, "old");
    assert_int_equal(output_open(&o, path, false, NULL), PITH_USAGE);
}

static void a_full_disk_is_an_error_at_every_step(void **state) {
    (void)state;
    int64_t n = 1;
    for (pith_status s = PITH_NO_SPACE; s != PITH_OK; n++) {
        output *o = NULL;
        assert_true(n < 10);
        output_fail_at(n);
        s = output_open(&o, path, true, NULL);
        if (s == PITH_OK) s = output_write(o, "more", 4, NULL);
        if (s == PITH_OK) s = output_commit(o, NULL);
        else output_abort(o);
        output_fail_at(0);
        assert_int_equal(s, n > 4 ? PITH_OK : PITH_NO_SPACE); /* create, write, sync, rename */
        assert_holds(path, n > 4 ? "more" : "old");
    }
}

static int set_up(void **state) {
    (void)state;
    snprintf(path, sizeof path, "/tmp/pith-output-%d", (int)getpid());
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_check_decides),
                                       cmocka_unit_test(an_abort_leaves_what_was_there),
                                       cmocka_unit_test(a_full_disk_is_an_error_at_every_step)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
