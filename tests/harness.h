/* tests/harness.h - what every cmocka program here includes, in the order cmocka wants it. */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The folder of a data set, or NULL (after printing why) when PITH_DATA does not hold it: then call skip(). */
static inline const char *harness_data(const char *set) {
    static char path[4096];
    const char *root = getenv("PITH_DATA");
    if (root && *root) {
        snprintf(path, sizeof path, "%s/%s", root, set);
        FILE *f = fopen(path, "r");
        if (f) {
            fclose(f);
            return path;
        }
    }
    printf("skipped: PITH_DATA holds no %s\n", set);
    return NULL;
}

#endif
