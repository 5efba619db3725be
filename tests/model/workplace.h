/* tests/model/workplace.h - an empty folder that a test program works in, and that is gone afterwards. */
#ifndef TESTS_MODEL_WORKPLACE_H
#define TESTS_MODEL_WORKPLACE_H

#include "harness.h"

#include <unistd.h>

static char workplace[] = "/tmp/pith-model-XXXXXX";

static inline int workplace_open(void **state) {
    (void)state;
    return mkdtemp(workplace) && chdir(workplace) == 0 ? 0 : -1;
}

static inline int workplace_close(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", workplace);
    return chdir("/") == 0 ? system(line) : -1;
}

#endif
