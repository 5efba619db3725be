/* A run that was stopped, killed, or ran out of disk goes on where its checkpoint stands and ends with the same bits;
 * a run that leaves the finite numbers keeps the last good checkpoint. */
#include "train/workshop.h"

#include "base/memory.h"
#include "train/checkpoint.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const train_options afresh = {0}, resuming = {.resume = true};

static void expect_same_model(workshop *w, const char *a, const char *b) {
    char name[128];
    size_t size[2];
    snprintf(name, sizeof name, "%s/model.safetensors", a);
    char *first = workshop_read(workshop_path(w, name), &size[0]);
    snprintf(name, sizeof name, "%s/model.safetensors", b);
    char *second = workshop_read(workshop_path(w, name), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(first, second, size[0]);
    free(first);
    free(second);
}

static void an_interrupted_run_ends_with_the_same_bits(void **state) {
    workshop *w = *state;
    train_outcome out;
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "whole", &out, NULL), PITH_OK);
    assert_int_equal(out.resumed_step, 0);
    double when = 3;
    pith_context c;
    pith_context_default(&c);
    c.progress = workshop_stop_at, c.user = &when;
    assert_int_equal(workshop_train(w, &c, NULL, &afresh, "cut", &out, NULL), PITH_INTERRUPTED);
    when = 8;
    assert_int_equal(workshop_train(w, &c, NULL, &resuming, "cut", &out, NULL), PITH_INTERRUPTED);
    assert_int_equal(workshop_train(w, NULL, NULL, &resuming, "cut", &out, NULL), PITH_OK);
    assert_int_equal(out.resumed_step, 8);
    expect_same_model(w, "whole", "cut");
    size_t size[2];
    char *a = workshop_read(workshop_path(w, "whole/curve.tsv"), &size[0]),
         *b = workshop_read(workshop_path(w, "cut/curve.tsv"), &size[1]);
    assert_string_equal(a, b);
    free(a);
    free(b);
}

static void a_folder_with_a_checkpoint_is_refused_unless_told(void **state) {
    workshop *w = *state;
    train_outcome out;
    pith_error err = {0};
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "run", &out, NULL), PITH_OK);
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "run", &out, &err), PITH_USAGE);
    assert_non_null(strstr(err.text, "--resume"));
    const char *other[] = {"optimizer.rate=0.02", NULL};
    err = (pith_error){0};
    assert_int_equal(workshop_train(w, NULL, other, &resuming, "run", &out, &err), PITH_MISMATCH);
    assert_non_null(strstr(err.text, "recipe differs"));
    train_options replacing = {.replace = true};
    assert_int_equal(workshop_train(w, NULL, other, &replacing, "run", &out, NULL), PITH_OK);
}

/* Starts the command on recipe.json; killed once `name` is there, or left to end. */
static void run_command(workshop *w, const char *out, const char *kill_when) {
    char path[512], folder[512];
    snprintf(path, sizeof path, "%s", workshop_path(w, "recipe.json"));
    snprintf(folder, sizeof folder, "%s", workshop_path(w, out));
    pid_t child = fork();
    if (child == 0) {
        execl(PITH_COMMAND, PITH_COMMAND, "train", path, "-o", folder, "--resume", "-q", "--threads", "2", NULL);
        _exit(127);
    }
    int status = 0;
    for (int i = 0; kill_when && i < 3000 && access(workshop_path(w, kill_when), F_OK) != 0; i++) usleep(10000);
    if (kill_when) kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!kill_when) assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_killed_run_loses_at_most_the_last_interval(void **state) {
    workshop *w = *state;
    workshop_recipe(w, "\"steps\": 3000, \"checkpoint_every\": 100, \"optimizer\": {\"rate\": 0.01}");
    run_command(w, "whole", NULL);
    run_command(w, "killed", "killed/checkpoint.pith");
    assert_int_not_equal(access(workshop_path(w, "killed/model.safetensors"), F_OK), 0);
    run_command(w, "killed", NULL);
    expect_same_model(w, "whole", "killed");
}

static void a_full_disk_leaves_the_last_checkpoint(void **state) {
    workshop *w = *state;
    train_outcome out;
    const char *five[] = {"steps=5", NULL};
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "whole", &out, NULL), PITH_OK);
    assert_int_equal(workshop_train(w, NULL, five, &afresh, "full", &out, NULL), PITH_OK);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before, none.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    pith_status s = workshop_train(w, NULL, NULL, &resuming, "full", &out, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(s == PITH_NO_SPACE || s == PITH_IO);
    assert_int_equal(workshop_train(w, NULL, NULL, &resuming, "full", &out, NULL), PITH_OK);
    assert_int_equal(out.resumed_step, 5);
    expect_same_model(w, "whole", "full");
    DIR *d = opendir(workshop_path(w, "full"));
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, "tmp")) fail_msg("%s was left behind", e->d_name);
    closedir(d);
}

/* A decay that overshoots a thousandfold every step. */
static void a_loss_that_is_no_number_stops_the_run(void **state) {
    workshop *w = *state;
    workshop_recipe(w, "\"steps\": 500, \"checkpoint_every\": 1,\n"
                       "\"optimizer\": {\"kind\": \"sgd\", \"beta1\": 0, \"rate\": 100, \"decay\": 10}");
    train_outcome out;
    pith_error err = {0}, named = {0};
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "wild", &out, &err), PITH_NOT_FINITE);
    assert_non_null(strstr(err.text, "--trap-nan"));
    size_t size;
    free(workshop_read(workshop_path(w, "wild/checkpoint.pith"), &size));
    /* what was kept is finite: going on gets to the same place, where the trap names the operation */
    const train_options trap = {.resume = true, .trap_nan = true};
    assert_int_equal(workshop_train(w, NULL, NULL, &trap, "wild", &out, &named), PITH_NOT_FINITE);
    assert_true(out.resumed_step > 0);
    assert_string_equal(named.where, "linear");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, workshop_open, workshop_close)
    const struct CMUnitTest tests[] = {
        TEST(an_interrupted_run_ends_with_the_same_bits), TEST(a_folder_with_a_checkpoint_is_refused_unless_told),
        TEST(a_killed_run_loses_at_most_the_last_interval), TEST(a_full_disk_leaves_the_last_checkpoint),
        TEST(a_loss_that_is_no_number_stops_the_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
