/* judge/paper_run.c - arms, rounds, rows. */
#include "judge/paper_run.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "file/json.h"
#include "file/output.h"
#include "judge/folders.h"
#include "judge/run_parts.h"
#include "judge/stamp.h"
#include "judge/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096 + 512, SMOKE_REPEATS = 1 };

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

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

pith_status run_set_seed(runner *r, int seed, pith_error *err) {
    char text[16];
    snprintf(text, sizeof text, "%d", seed);
    return environment_set(&r->variables, "seed", text, err);
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

typedef struct place { /* of one arm and seed */
    const paper_arm *arm;
    int seed;
    char folder[PATH - 128], out[PATH - 64];
} place;

static void find_place(const runner *r, const paper_arm *arm, int seed, place *p) {
    p->arm = arm, p->seed = seed;
    snprintf(p->folder, sizeof p->folder, "%.4096s/arms/%.100s-%d", r->work, arm->name, seed);
    snprintf(p->out, sizeof p->out, "%s/out", p->folder);
}

/* Variables of an arm and seed; makes what it uses. */
static pith_status enter_place(runner *r, const place *p, pith_error *err) {
    const json_t *name;
    size_t i;
    pith_status s = PITH_OK;
    json_array_foreach(p->arm->uses, i, name) if (!s) s = run_made(r, json_string_value(name), p->seed, err);
    if (!s) s = run_set_seed(r, p->seed, err);
    return s ? s : environment_set(&r->variables, "out", p->out, err);
}

/* Runs a step once more: adds its time to `into`, and what else it came to the first time. */
static pith_status run_step(runner *r, const place *p, const paper_step *step, json_t *into, pith_error *err) {
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

/* ---- rows ---- */

static pith_status write_result(const runner *r, const char *path, pith_error *err) {
    char *text = json_print(r->result, 1);
    if (!text) return no_memory(err);
    pith_status s = output_file(path, true, text, strlen(text), err);
    memory_free(text);
    return s;
}

static pith_status keep(const runner *r, pith_error *err) { return write_result(r, r->kept, err); }

static pith_status publish(const runner *r, pith_error *err) {
    char path[PATH];
    snprintf(path, sizeof path, "%s/result.json", r->paper->folder);
    return write_result(r, path, err);
}

static const char *missing_program(const runner *r, const paper_arm *a) {
    const json_t *name;
    size_t i;
    json_array_foreach(
        a->needs, i, name) if (!process_exists(&r->variables, json_string_value(name))) return json_string_value(name);
    return NULL;
}

/* Every step once, in an empty folder. */
static pith_status first_pass(runner *r, const place *p, pith_error *err) {
    json_t *steps = json_object();
    json_t *row = json_pack("{s:s, s:i, s:o}", "arm", p->arm->name, "seed", p->seed, "steps", steps);
    if (!row) return no_memory(err);
    pith_status s = folder_remove(p->folder, err);
    if (!s) s = folder_make(p->out, err);
    for (size_t i = 0; i < p->arm->step_count && !s; i++) {
        json_t *into = json_object();
        json_object_set_new(steps, p->arm->steps[i].name, into);
        s = run_step(r, p, &p->arm->steps[i], into, err);
    }
    if (s) json_decref(row);
    else if (json_array_append_new(json_object_get(r->result, "rows"), row) != 0) s = no_memory(err);
    return s ? s : keep(r, err);
}

static pith_status skip_arm(const runner *r, const place *p, const char *program, pith_error *err) {
    char why[128];
    snprintf(why, sizeof why, "%s is not installed", program);
    log_info("%s: skipped, %s", p->arm->name, why);
    json_t *row = json_pack("{s:s, s:i, s:s}", "arm", p->arm->name, "seed", p->seed, "skipped", why);
    if (json_array_append_new(json_object_get(r->result, "rows"), row) != 0) return no_memory(err);
    return keep(r, err);
}

static size_t rounds(const runner *r, const paper_step *step) {
    return r->options->smoke && step->repeats > SMOKE_REPEATS ? SMOKE_REPEATS : (size_t)step->repeats;
}

static int seeds(const runner *r, const paper_arm *a) { return r->options->smoke ? 1 : a->seeds; }

static size_t times_run(const json_t *row, const paper_step *step) {
    return json_array_size(json_object_get(json_object_get(json_object_get(row, "steps"), step->name), "seconds"));
}

/* ---- the order of things ---- */

typedef pith_status visit_place(runner *r, const place *p, size_t round, pith_error *err);

static bool chosen(const paper_run_options *o, const char *arm) {
    for (size_t i = 0; i < o->arm_count; i++)
        if (strcmp(o->arms[i], arm) == 0) return true;
    return o->arm_count == 0;
}

static pith_status each_place(runner *r, size_t round, visit_place *visit, pith_error *err) {
    pith_status s = PITH_OK;
    for (size_t i = 0; i < r->paper->arm_count; i++) {
        const paper_arm *a = &r->paper->arms[i];
        for (int seed = 0; chosen(r->options, a->name) && seed < seeds(r, a) && !s; seed++) {
            place p;
            find_place(r, a, seed, &p);
            s = visit(r, &p, round, err);
        }
    }
    return s;
}

static bool time_is_up(const runner *r) { return r->deadline > 0 && clock_seconds() > r->deadline; }

/* How much there is to do, how much of it is done: an arm's first pass, and each repetition, is one. */
static void count(const runner *r, bool only_chosen, size_t *done, size_t *total) {
    *done = *total = 0;
    for (size_t i = 0; i < r->paper->arm_count; i++) {
        const paper_arm *a = &r->paper->arms[i];
        for (int seed = 0; seed < seeds(r, a) && (!only_chosen || chosen(r->options, a->name)); seed++) {
            const json_t *row = verdict_row(r->result, a->name, seed);
            *done += row != NULL, *total += 1;
            for (size_t k = 0; k < a->step_count && !json_object_get(row, "skipped"); k++) {
                size_t wanted = rounds(r, &a->steps[k]), have = times_run(row, &a->steps[k]);
                if (wanted > 1) *total += wanted - 1, *done += have ? have - 1 : 0;
            }
        }
    }
}

static pith_status tell(const runner *r, pith_error *err) {
    size_t done, total;
    count(r, true, &done, &total);
    return pith_progress(r->context, (double)done, (double)total, "commands", err);
}

static pith_status visit_first(runner *r, const place *p, size_t round, pith_error *err) {
    (void)round;
    if (verdict_row(r->result, p->arm->name, p->seed) || time_is_up(r)) return PITH_OK;
    const char *program = missing_program(r, p->arm);
    if (program) return skip_arm(r, p, program, err);
    pith_status s = tell(r, err);
    if (!s) s = enter_place(r, p, err);
    return s ? s : first_pass(r, p, err);
}

/* Timed steps that have not been run `round` times yet; all of the arm anew where its folder is gone. */
static pith_status visit_again(runner *r, const place *p, size_t round, pith_error *err) {
    json_t *row = verdict_row(r->result, p->arm->name, p->seed), *steps = json_object_get(row, "steps");
    pith_status s = PITH_OK;
    bool entered = false;
    for (size_t i = 0; i < p->arm->step_count && steps && !s && !time_is_up(r); i++) {
        const paper_step *step = &p->arm->steps[i];
        if (rounds(r, step) < round || times_run(row, step) >= round) continue;
        s = tell(r, err);
        if (!s && !entered) s = enter_place(r, p, err);
        entered = true;
        if (!s && access(p->out, X_OK) != 0)
            s = pith_fail(err, PITH_NOT_FOUND, p->out, -1, "expected what the arm left there; --force starts anew");
        if (!s) s = run_step(r, p, step, json_object_get(steps, step->name), err);
        if (!s) s = keep(r, err);
    }
    return s;
}

static size_t most_rounds(const runner *r) {
    size_t most = 0;
    for (size_t i = 0; i < r->paper->arm_count; i++)
        for (size_t k = 0; k < r->paper->arms[i].step_count; k++)
            if (rounds(r, &r->paper->arms[i].steps[k]) > most) most = rounds(r, &r->paper->arms[i].steps[k]);
    return most;
}

/* ---- beginning and end ---- */

static pith_status set_settings(runner *r, pith_error *err) {
    char text[40];
    pith_status s = PITH_OK;
    for (size_t i = 0; i < r->paper->setting_count && !s; i++) {
        const paper_setting *x = &r->paper->settings[i];
        snprintf(text, sizeof text, "%.15g", r->options->smoke ? x->smoke : x->full);
        s = environment_set(&r->variables, x->name, text, err);
    }
    return s;
}

/* $threads, a setting every recipe has. */
static pith_status set_threads(runner *r, pith_error *err) {
    char text[16];
    snprintf(text, sizeof text, "%d", r->threads);
    return environment_set(&r->variables, "threads", text, err);
}

/* The document without rows: all that must agree for a run to go on. */
static pith_status new_result(runner *r, pith_error *err) {
    char recipe[17], scratch[PATH], now[32];
    json_t *inputs = NULL, *source = NULL, *command = NULL;
    snprintf(recipe, sizeof recipe, "%016llx", (unsigned long long)r->paper->hash);
    snprintf(scratch, sizeof scratch, "%s/git.out", r->work);
    stamp_time(now);
    pith_status s = run_inputs(r, &inputs, err);
    if (!s) s = stamp_source(&r->variables, r->paper->folder, scratch, &source, err);
    if (!s) s = stamp_file(r->options->command, &command, err);
    if (!s) {
        r->result = json_pack("{s:i, s:s, s:b, s:i, s:s, s:O, s:O, s:o, s:O, s:s, s:[], s:[]}", "paper",
                              r->paper->number, "name", r->paper->name, "smoke", r->options->smoke, "threads",
                              r->threads, "recipe", recipe, "source", source, "command", command, "machine",
                              stamp_machine(), "inputs", inputs, "started", now, "made", "rows");
        if (!r->result) s = no_memory(err);
    }
    json_decref(inputs);
    json_decref(source);
    json_decref(command);
    return s;
}

/* Takes over the rows of an earlier run that agrees in everything. */
static void go_on(runner *r) {
    static const char *const same[] = {"paper", "smoke", "threads", "recipe", "source", "command", "machine", "inputs"};
    json_t *old = r->options->fresh ? NULL : json_load_file(r->kept, JSON_REJECT_DUPLICATES, NULL);
    bool agree = old && !json_object_get(old, "finished");
    for (size_t i = 0; i < sizeof same / sizeof *same && agree; i++)
        agree = json_equal(json_object_get(old, same[i]), json_object_get(r->result, same[i]));
    agree = agree && json_is_array(json_object_get(old, "rows")) && json_is_array(json_object_get(old, "made"));
    if (agree) {
        log_info("%s: going on where an earlier run stopped", r->paper->name);
        json_decref(r->result);
        r->result = old;
    } else json_decref(old);
}

static pith_status start(runner *r, pith_error *err) {
    pith_status s = folder_make(r->options->work, err);
    if (s) return s;
    if (!realpath(r->options->work, r->work)) return pith_fail_errno(err, r->options->work, errno, "cannot resolve");
    snprintf(r->kept, sizeof r->kept, "%s/result.json", r->work);
    s = environment_start(&r->variables, r->options->command, err);
    if (!s) s = set_settings(r, err);
    if (!s) s = set_threads(r, err);
    if (!s) s = new_result(r, err);
    if (!s) go_on(r);
    return s;
}

/* Claims, the time, and where it belongs. */
static pith_status finish(runner *r, pith_error *err) {
    char now[32], path[PATH];
    json_t *claims;
    stamp_time(now);
    pith_status s = verdict_claims(r->paper, r->result, &claims, err);
    if (s) return s;
    json_object_set_new(r->result, "claims", claims);
    json_object_set_new(r->result, "finished", json_string(now));
    if (!r->options->smoke) s = publish(r, err);
    if (!s) s = keep(r, err);
    snprintf(path, sizeof path, "%s/arms", r->work);
    return s ? s : folder_remove(path, err);
}

static pith_status check_arms(const paper *p, const paper_run_options *o, pith_error *err) {
    for (size_t i = 0; i < o->arm_count; i++)
        if (!paper_arm_by_name(p, o->arms[i]))
            return pith_fail(err, PITH_USAGE, "--arm", -1, "expected an arm of %s, found \"%s\"", p->name, o->arms[i]);
    return PITH_OK;
}

pith_status paper_run(const pith_context *c, const paper *p, const paper_run_options *o, json_t **result,
                      bool *complete, pith_error *err) {
    runner r = {.context = c, .paper = p, .options = o};
    size_t done, total;
    memory_adopt_jansson();
    r.threads = parallel_threads();
    r.deadline = o->seconds > 0 ? clock_seconds() + o->seconds : 0;
    pith_status s = check_arms(p, o, err);
    if (!s) s = start(&r, err);
    if (!s) s = each_place(&r, 1, visit_first, err);
    for (size_t round = 2; !s && round <= most_rounds(&r); round++) s = each_place(&r, round, visit_again, err);
    if (!s) {
        count(&r, false, &done, &total);
        *complete = done == total;
        if (*complete) s = finish(&r, err);
    }
    environment_free(&r.variables);
    if (s) json_decref(r.result);
    else *result = r.result;
    return s;
}
