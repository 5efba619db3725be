/* cli/command.h - the table of verbs: what each takes, says of itself, and does.
 *
 * --help, man pages and shell completion are made from these rows. A verb is one file here; it knows public and room
 * headers, never another verb. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/progress.h"
#include "pith/options.h"
#include "pith/status.h"

#include <jansson.h>

typedef struct command { /* one call of a verb */
    const pith_values *values;
    pith_context context; /* threads, seed and progress set from the common options */
    progress bar;
    bool json, quiet, force, dry_run;
    json_t *result; /* object a verb fills; printed to standard output after success when --json */
} command;

typedef struct verb {
    const char *name, *summary;
    const char *operands;           /* "IN -o OUT", for the usage line */
    const char *example;            /* one command line a person can type */
    const char *details;            /* a paragraph or two after the options; may be NULL */
    int min_operands, max_operands; /* max -1: any number */
    const pith_option *options;
    size_t option_count;
    pith_status (*run)(command *c, pith_error *err);
} verb;

extern const verb *const verbs[]; /* ends in NULL; src/cli/verbs.c */

/* The whole command: parses, runs, prints errors and JSON, returns the exit code. Callable again and again (tests). */
int command_main(int argc, char **argv);

/* Standard output, checked: a full disk is an error like any other; where the reader of a pipe has gone, the process
 * ends by SIGPIPE after the verb, without a word. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void command_print(const char *fmt, ...);
bool command_write(const void *bytes, size_t size); /* at once; false: failed, now or before */
pith_status command_output(pith_error *err);        /* the error if something failed */

#endif
