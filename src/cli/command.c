/* cli/command.c - parsing, help, errors and JSON of every verb. */
#include "cli/command.h"

#include "base/isa.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "file/json.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const pith_option common[] = {
    {.name = "help", .letter = 'h', .type = PITH_FLAG, .help = "print this and stop"},
    {.name = "json", .type = PITH_FLAG, .help = "print the result as JSON on standard output"},
    {.name = "threads",
     .letter = 't',
     .unit = "N",
     .type = PITH_INT,
     .low = 0,
     .high = 1024,
     .help = "threads to use; 0: all cores"},
    {.name = "quiet", .letter = 'q', .type = PITH_FLAG, .help = "no progress, no summary; errors only"},
    {.name = "force", .type = PITH_FLAG, .help = "replace an output that exists"},
    {.name = "dry-run", .type = PITH_FLAG, .help = "say what would be done, and do nothing"},
    {.name = "version", .type = PITH_FLAG, .help = "print the version and stop"},
};
enum { COMMON = sizeof common / sizeof *common };

static int output_error; /* errno of the first write to standard output that failed */

static void note_output(bool good) {
    if (!good && !output_error) output_error = errno ? errno : EIO;
}

void command_print(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    note_output(vprintf(fmt, args) >= 0);
    va_end(args);
}

bool command_write(const void *bytes, size_t size) {
    note_output(fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0);
    return !output_error;
}

pith_status command_output(pith_error *err) {
    return output_error ? pith_fail_errno(err, "standard output", output_error, "cannot write") : PITH_OK;
}

/* Who read the output has had enough: end as any command of a pipe does. */
static void end_as_by_a_closed_pipe(void) {
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

static void print_option(const pith_option *o) {
    enum { COLUMN = 30 };
    char left[96], letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->unit ? " " : "", o->unit ? o->unit : "");
    if (strlen(left) > COLUMN) command_print("  %s\n  %*s", left, COLUMN, "");
    else command_print("  %-*s", COLUMN, left);
    command_print("  %s", o->help);
    if (o->text) command_print(" (default %s)", o->text);
    else if ((o->type == PITH_INT || o->type == PITH_REAL) && o->initial != 0)
        command_print(" (default %.6g)", o->initial);
    command_print("\n");
}

static void print_verb_help(const verb *v) {
    command_print("pith %s: %s\n\nUsage: pith %s%s%s%s\n\nExample:\n  %s\n\nOptions:\n", v->name, v->summary, v->name,
                  v->operands[0] ? " " : "", v->operands, v->option_count ? " [options]" : "", v->example);
    for (size_t i = 0; i < v->option_count; i++) print_option(&v->options[i]);
    command_print("\nCommon options:\n");
    for (size_t i = 0; i < COMMON; i++) print_option(&common[i]);
    if (v->details) command_print("\n%s\n", v->details);
    command_print("\nExit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.\n");
}

static void print_help(void) {
    command_print("pith: makes models and media smaller, proves it on your files, and runs the result on a CPU\n\n"
                  "Usage: pith VERB ...\n\n");
    for (const verb *const *v = verbs; *v; v++) command_print("  %-8s %s\n", (*v)->name, (*v)->summary);
    command_print(
        "\npith VERB --help shows a verb's options and an example.\n\nExample:\n  pith pack model.gguf -o small.gguf --type q4_k\n");
}

static int report(const pith_error *e, const verb *v, bool json) {
    fflush(stdout);
    char place[32] = "";
    if (e->offset >= 0) snprintf(place, sizeof place, " at byte %lld", (long long)e->offset);
    fprintf(stderr, "pith%s%s: %s%s%s%s\n", v ? " " : "", v ? v->name : "", e->where, place,
            e->where[0] || place[0] ? ": " : "", e->text);
    if (e->status == PITH_USAGE && v) fprintf(stderr, "try: pith %s --help\n", v->name);
    if (json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "error", pith_status_name(e->status), "text", e->text, "where",
                              e->where, "offset", (json_int_t)e->offset);
        if (o) {
            json_dumpf(o, stdout, JSON_INDENT(1));
            putchar('\n');
            json_decref(o);
        }
    }
    return pith_status_exit_code(e->status);
}

static pith_status check_operands(const verb *v, const pith_values *values, pith_error *err) {
    int n = (int)pith_operand_count(values);
    if (n < v->min_operands)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected %s, found %d of them", v->operands, n);
    if (v->max_operands >= 0 && n > v->max_operands)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected %s, found \"%s\" besides", v->operands,
                         pith_operand(values, (size_t)v->max_operands));
    return PITH_OK;
}

static pith_status run_verb(const verb *v, command *c, pith_error *err) {
    pith_status s = check_operands(v, c->values, err);
    if (s != PITH_OK) return s;
    pith_context_default(&c->context);
    c->context.threads = (int)pith_value_int(c->values, "threads");
    c->context.progress = progress_report;
    c->context.user = &c->bar;
    parallel_set_threads(c->context.threads);
    log_set_level(c->quiet ? LOG_QUIET : LOG_NORMAL);
    c->result = json_object();
    if (!c->result) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    uint64_t refusals = json_refusals();
    progress_begin(&c->bar, v->name);
    s = v->run(c, err);
    progress_end(&c->bar);
    if (s == PITH_OK && c->json && json_refusals() != refusals)
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory for the JSON");
    if (s == PITH_OK && c->json) {
        note_output(json_dumpf(c->result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0);
        putchar('\n');
    }
    note_output(fflush(stdout) == 0 && !ferror(stdout));
    return s == PITH_OK ? command_output(err) : s;
}

static void print_version(void) { command_print("pith %s (%s)\n", PITH_VERSION, isa_name(isa_active())); }

static int call_verb(const verb *v, int argc, char **argv) {
    pith_error err = {0};
    const pith_option *tables[] = {common, v->options};
    size_t counts[] = {COMMON, v->option_count};
    pith_values *values = NULL;
    if (pith_values_new(&values, tables, counts, 2, &err) != PITH_OK) return report(&err, v, false);
    command c = {.values = values};
    pith_status s = pith_values_parse(values, argc, argv, 2, &err);
    c.json = pith_value_flag(values, "json");
    if (s == PITH_OK && pith_value_flag(values, "help")) {
        print_verb_help(v);
    } else if (s == PITH_OK && pith_value_flag(values, "version")) {
        print_version();
    } else if (s == PITH_OK) {
        c.quiet = pith_value_flag(values, "quiet");
        c.force = pith_value_flag(values, "force");
        c.dry_run = pith_value_flag(values, "dry-run");
        s = run_verb(v, &c, &err);
    }
    if (s != PITH_OK && err.status == PITH_OK) pith_fail(&err, s, NULL, -1, "%s", pith_status_name(s));
    int code = s == PITH_OK ? 0 : 1;
    if (s != PITH_OK && output_error != EPIPE) code = report(&err, v, c.json);
    if (c.result) json_decref(c.result);
    pith_values_free(values);
    if (output_error == EPIPE) end_as_by_a_closed_pipe();
    return code;
}

int command_main(int argc, char **argv) {
    output_error = 0;
    memory_adopt_jansson();
    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "--version") == 0) {
        print_version();
        return fflush(stdout) == 0 && !output_error ? 0 : 1;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help();
        fflush(stdout);
        return argc > 1 ? 0 : 2;
    }
    for (const verb *const *v = verbs; *v; v++)
        if (strcmp(name, (*v)->name) == 0) return call_verb(*v, argc, argv);
    fprintf(stderr, "pith: expected a verb (pack, unpack, info ...), found \"%s\"\ntry: pith --help\n", name);
    return 2;
}
