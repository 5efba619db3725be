/* judge/run_arm.c - one arm of a paper: its commands in their folder, and what they came to. */
#include "judge/run_parts.h"

#include "file/json.h"
#include "judge/folders.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 4096 + 512 };

/* ---- commands ---- */

/* What a command said last, its hint to --help apart. */
static void last_line(const char *path, char *line, int size) {
    char next[256];
    FILE *f = fopen(path, "r");
    line[0] = 0;
    while (f && fgets(next, sizeof next, f))
        if (next[0] != '\n' && strncmp(next, "try: ", 5) != 0)
            snprintf(line, (size_t)size, "%.*s", (int)strcspn(next, "\n"), next);
    if (f) fclose(f);
}

pith_status run_command(const runner *r, const char *line, const char *folder, const char *log, const char *where,
                        process_end *end, pith_error *err) {
    char printed[PATH + 8], errors[PATH + 8], last[200];
    snprintf(printed, sizeof printed, "%s.out", log);
    snprintf(errors, sizeof errors, "%s.err", log);
    pith_status s = process_run(line, &r->variables, folder, printed, errors, end, err);
    if (s || end->code == 0) return s;
    last_line(errors, last, sizeof last);
    return pith_fail(err, PITH_MISMATCH, where, -1, "expected its command to end with 0, found %d%s%s", end->code,
                     last[0] ? ": " : "", last);
}

pith_status run_set_number(runner *r, const char *name, double value, pith_error *err) {
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    return environment_set(&r->variables, name, text, err);
}

/* ---- what steps came to ---- */

/* "orders.0.seconds" in a JSON value. */
static const json_t *value_at(const json_t *o, const char *path) {
    while (o && *path) {
        char part[64];
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(part)) : json_object_get(o, part);
        path += n + (path[n] == '.');
    }
    return o;
}

static pith_status take_values(const paper_step *step, const char *log, const char *where, json_t *into,
                               pith_error *err) {
    char path[PATH + 8];
    json_error_t why;
    const char *name;
    json_t *at, *values = json_object();
    snprintf(path, sizeof path, "%s.out", log);
    json_t *printed = json_load_file(path, 0, &why);
    pith_status s =
        printed ? PITH_OK
                : pith_fail(err, PITH_CORRUPT, where, why.position, "expected its command to print JSON: %s", why.text);
    json_object_foreach((json_t *)step->values, name, at) {
        const json_t *found = value_at(printed, json_string_value(at));
        if (json_is_null(found)) continue; /* "not this time": what needs it is open */
        if (!s && !json_is_number(found))
            s = pith_fail(err, PITH_CORRUPT, where, -1, "expected a number at %s of what it prints",
                          json_string_value(at));
        if (!s) json_object_set_new(values, name, json_real(json_number_value(found)));
    }
    json_decref(printed);
    json_object_set_new(into, "values", values);
    return s;
}

static pith_status take_bytes(const runner *r, const paper_step *step, const char *where, json_t *into,
                              pith_error *err) {
    char path[PATH];
    int64_t bytes;
    if (!environment_expand(&r->variables, step->bytes, path, sizeof path))
        return pith_fail(err, PITH_CORRUPT, where, -1, "expected bytes to begin with a name, found %s", step->bytes);
    pith_status s = folder_bytes_of(path, &bytes, err);
    if (!s) json_object_set_new(into, "bytes", json_integer(bytes));
    return s;
}

void run_find_place(const runner *r, const paper_arm *arm, int seed, run_place *p) {
    p->arm = arm, p->seed = seed;
    snprintf(p->folder, sizeof p->folder, "%.4096s/arms/%.100s-%d", r->work, arm->name, seed);
    snprintf(p->out, sizeof p->out, "%s/out", p->folder);
}

/* Variables of an arm and seed; makes what it uses. */
static pith_status enter(runner *r, const run_place *p, pith_error *err) {
    pith_status s = PITH_OK;
    for (size_t i = 0; i < json_array_size(p->arm->uses) && !s; i++)
        s = run_made(r, json_string_value(json_array_get(p->arm->uses, i)), p->seed, err);
    if (!s) s = run_set_number(r, "seed", p->seed, err);
    return s ? s : environment_set(&r->variables, "out", p->out, err);
}

/* Runs a step once more: adds its time to `into`, and what else it came to the first time. */
static pith_status run_step(runner *r, const run_place *p, const paper_step *step, json_t *into, pith_error *err) {
    char log[PATH], where[128];
    process_end end;
    snprintf(log, sizeof log, "%s/%.100s", p->folder, step->name);
    snprintf(where, sizeof where, "%s %s %s", r->paper->name, p->arm->name, step->name);
    pith_status s = run_command(r, step->run, p->out, log, where, &end, err);
    if (s) return s;
    bool first = json_object_size(into) == 0;
    if (first) json_object_set_new(into, "run", json_string(step->run));
    if (first) json_object_set_new(into, "peak_kib", json_integer(end.peak_kib));
    if (step->repeats) {
        json_t *seconds = json_object_get(into, "seconds");
        if (!seconds) json_object_set_new(into, "seconds", seconds = json_array());
        json_array_append_new(seconds, json_real(round(end.seconds * 1e4) / 1e4));
    }
    if (first && step->values) s = take_values(step, log, where, into, err);
    if (first && step->bytes && !s) s = take_bytes(r, step, where, into, err);
    return s;
}

/* Every step once, in an empty folder. */
pith_status run_arm_first(runner *r, const run_place *p, json_t **out, pith_error *err) {
    char key[17];
    pith_status s = run_row_key(r, p->arm, p->seed, key, err);
    if (s) return s;
    json_t *steps = json_object();
    json_t *row = json_pack("{s:s, s:i, s:s, s:o}", "arm", p->arm->name, "seed", p->seed, "key", key, "steps", steps);
    if (!row) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    s = enter(r, p, err);
    if (!s) s = folder_remove(p->folder, err);
    if (!s) s = folder_make(p->out, err);
    for (size_t i = 0; i < p->arm->step_count && !s; i++) {
        json_t *into = json_object();
        json_object_set_new(steps, p->arm->steps[i].name, into);
        s = run_step(r, p, &p->arm->steps[i], into, err);
    }
    if (s) json_decref(row);
    else *out = row;
    return s;
}

pith_status run_arm_again(runner *r, const run_place *p, const paper_step *step, json_t *row, pith_error *err) {
    pith_status s = enter(r, p, err);
    return s ? s : run_step(r, p, step, json_object_get(json_object_get(row, "steps"), step->name), err);
}
