/* judge/process.h - one command line of a recipe, run by the shell in a stated environment, timed from outside. */
#ifndef JUDGE_PROCESS_H
#define JUDGE_PROCESS_H

#include "pith/status.h"

/* Variables a command sees, and no others: "name=value", ends in NULL. */
typedef struct environment {
    char **rows;
    size_t count, capacity;
} environment;

/* PATH with the folder of `command` (pith) first, HOME, TMPDIR, LC_ALL=C, and PITH_SHARE and PITH_ISA where they are
 * set: what speeds depend on and nothing of what this process set for itself. */
pith_status environment_start(environment *e, const char *command, pith_error *err);
pith_status environment_set(environment *e, const char *name, const char *value, pith_error *err);
const char *environment_get(const environment *e, const char *name); /* NULL: none */
void environment_free(environment *e);
/* "$name/rest" with the variable's value; false where there is none or `size` is too small. */
bool environment_expand(const environment *e, const char *text, char *out, size_t size);

typedef struct process_end {
    int code; /* exit code, 128 + signal where one ended it */
    double seconds;
    long peak_kib; /* largest resident set of the command and its children */
} process_end;

/* Runs `line` by sh -e in `folder`; what it prints goes to files of that name (`errors` may be NULL: to ours). Nothing
 * is read from standard input. Ctrl-C is passed on, and waited for: PITH_INTERRUPTED. Another code than 0 is for the
 * caller to judge. */
pith_status process_run(const char *line, const environment *e, const char *folder, const char *output,
                        const char *errors, process_end *end, pith_error *err);

/* Is there a program of this name on the environment's PATH? */
bool process_exists(const environment *e, const char *program);

#endif
