/* Every paper's recipe runs through as a smoke run, by the command a person types, without data sets. */
#include "harness.h"

#include "base/memory.h"
#include "judge/folders.h"
#include "judge/paper.h"

#include <unistd.h>

static void every_paper_smokes(void **state) {
    (void)state;
    char **names, folder[64], line[8192];
    size_t count;
    snprintf(folder, sizeof folder, "/tmp/pith-smoke-%d", (int)getpid());
    assert_int_equal(paper_list(PITH_SOURCE_DIR "/papers", &names, &count, NULL), PITH_OK);
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s papers run %d --smoke --json --papers %s/papers --work %s/%s >/dev/null",
                 PITH_COMMAND, atoi(names[i]), PITH_SOURCE_DIR, folder, names[i]);
        if (system(line) != 0) fail_msg("%s", line);
        memory_free(names[i]);
    }
    memory_free(names);
    folder_remove(folder, NULL);
}

int main(void) {
    unsetenv("PITH_DATA");
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_paper_smokes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
