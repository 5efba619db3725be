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

static const char left_out[] = "left out";

static bool is_among(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
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

static pith_status add_row(const runner *r, json_t *row, pith_error *err) {
    if (json_array_append_new(json_object_get(r->result, "rows"), row) != 0) return no_memory(err);
    return keep(r, err);
}

/* Why an arm is not run; false: it is. */
static bool is_skipped(const runner *r, const paper_arm *a, char *why, size_t size) {
    if (is_among(r->options->skipped, r->options->skipped_count, a->name)) {
        snprintf(why, size, "%s", left_out);
        return true;
    }
    for (size_t i = 0; i < json_array_size(a->needs); i++) {
        const char *name = json_string_value(json_array_get(a->needs, i));
        if (process_exists(&r->variables, name)) continue;
        snprintf(why, size, "%s is not installed", name);
        return true;
    }
    return false;
}

static pith_status skip_arm(const runner *r, const run_place *p, const char *why, pith_error *err) {
    log_info("%s: skipped, %s", p->arm->name, why);
    return add_row(r, json_pack("{s:s, s:i, s:s}", "arm", p->arm->name, "seed", p->seed, "skipped", why), err);
}

static size_t rounds(const runner *r, const paper_step *step) {
    return r->options->smoke && step->repeats > SMOKE_REPEATS ? SMOKE_REPEATS : (size_t)step->repeats;
}

static int seeds(const runner *r, const paper_arm *a) { return r->options->smoke ? 1 : a->seeds; }

static size_t times_run(const json_t *row, const paper_step *step) {
    return json_array_size(json_object_get(json_object_get(json_object_get(row, "steps"), step->name), "seconds"));
}

/* ---- the order of things ---- */

typedef pith_status visit_place(runner *r, const run_place *p, size_t round, pith_error *err);

static bool chosen(const paper_run_options *o, const char *arm) {
    return o->arm_count == 0 || is_among(o->arms, o->arm_count, arm);
}

static pith_status each_place(runner *r, size_t round, visit_place *visit, pith_error *err) {
    pith_status s = PITH_OK;
    for (size_t i = 0; i < r->paper->arm_count; i++) {
        const paper_arm *a = &r->paper->arms[i];
        for (int seed = 0; chosen(r->options, a->name) && seed < seeds(r, a) && !s; seed++) {
            run_place p;
            run_find_place(r, a, seed, &p);
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

static pith_status visit_first(runner *r, const run_place *p, size_t round, pith_error *err) {
    (void)round;
    if (verdict_row(r->result, p->arm->name, p->seed) || time_is_up(r)) return PITH_OK;
    char why[128];
    if (is_skipped(r, p->arm, why, sizeof why)) return skip_arm(r, p, why, err);
    json_t *row;
    pith_status s = tell(r, err);
    if (!s) s = run_arm_first(r, p, &row, err);
    return s ? s : add_row(r, row, err);
}

/* Timed steps that have not been run `round` times yet. */
static pith_status visit_again(runner *r, const run_place *p, size_t round, pith_error *err) {
    json_t *row = verdict_row(r->result, p->arm->name, p->seed);
    pith_status s = PITH_OK;
    for (size_t i = 0; row && i < p->arm->step_count && !json_object_get(row, "skipped") && !s && !time_is_up(r); i++) {
        const paper_step *step = &p->arm->steps[i];
        if (rounds(r, step) < round || times_run(row, step) >= round) continue;
        s = tell(r, err);
        if (!s) s = run_arm_again(r, p, step, row, err);
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
    pith_status s = run_set_number(r, "threads", r->threads, err);
    for (size_t i = 0; i < r->paper->setting_count && !s; i++) {
        const paper_setting *x = &r->paper->settings[i];
        s = run_set_number(r, x->name, r->options->smoke ? x->smoke : x->full, err);
    }
    return s;
}

/* The document without rows. */
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

/* Is a row of an earlier run still what this run would measure? One with repetitions to come needs its folder. */
static bool is_current(runner *r, const json_t *row) {
    char key[17];
    run_place p;
    const paper_arm *a = paper_arm_by_name(r->paper, json_get_text(row, "arm", ""));
    int seed = (int)json_get_int(row, "seed", -1);
    if (!a || seed < 0 || seed >= seeds(r, a) || run_row_key(r, a, seed, key, NULL) != PITH_OK) return false;
    run_find_place(r, a, seed, &p);
    bool whole = true;
    for (size_t i = 0; i < a->step_count; i++) whole = whole && times_run(row, &a->steps[i]) >= rounds(r, &a->steps[i]);
    return strcmp(json_get_text(row, "key", ""), key) == 0 && (whole || access(p.out, X_OK) == 0);
}

/* Takes over what is still true of an earlier run. */
static pith_status go_on(runner *r, pith_error *err) {
    json_t *old = r->options->fresh ? NULL : json_load_file(r->kept, JSON_REJECT_DUPLICATES, NULL);
    json_t *rows = json_object_get(r->result, "rows"), *made = json_object_get(r->result, "made");
    pith_status s = PITH_OK;
    for (size_t i = 0; i < json_array_size(json_object_get(old, "rows")) && !s; i++) {
        json_t *row = json_array_get(json_object_get(old, "rows"), i);
        if (is_current(r, row) && json_array_append(rows, row) != 0) s = no_memory(err);
    }
    for (size_t i = 0; i < json_array_size(json_object_get(old, "made")) && !s; i++) {
        json_t *row = json_array_get(json_object_get(old, "made"), i);
        bool known = paper_made_by_name(r->paper, json_get_text(row, "name", "")) != NULL;
        if (known && json_array_append(made, row) != 0) s = no_memory(err);
    }
    if (json_array_size(rows)) {
        log_info("%s: going on, %zu rows are measured already", r->paper->name, json_array_size(rows));
        json_object_set(r->result, "started", json_object_get(old, "started"));
    }
    json_decref(old);
    return s;
}

static pith_status start(runner *r, pith_error *err) {
    pith_status s = folder_make(r->options->work, err);
    if (s) return s;
    if (!realpath(r->options->work, r->work)) return pith_fail_errno(err, r->options->work, errno, "cannot resolve");
    snprintf(r->kept, sizeof r->kept, "%s/result.json", r->work);
    s = environment_start(&r->variables, r->options->command, err);
    if (!s) s = set_settings(r, err);
    if (!s) s = new_result(r, err);
    if (!s) s = go_on(r, err);
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

static pith_status check_arms(const paper *p, const char *const *arms, size_t count, const char *option,
                              pith_error *err) {
    for (size_t i = 0; i < count; i++)
        if (!paper_arm_by_name(p, arms[i]))
            return pith_fail(err, PITH_USAGE, option, -1, "expected an arm of %s, found \"%s\"", p->name, arms[i]);
    return PITH_OK;
}

pith_status paper_run(const pith_context *c, const paper *p, const paper_run_options *o, json_t **result,
                      bool *complete, pith_error *err) {
    runner r = {.context = c, .paper = p, .options = o};
    size_t done, total;
    memory_adopt_jansson();
    r.threads = parallel_threads();
    r.deadline = o->seconds > 0 ? clock_seconds() + o->seconds : 0;
    pith_status s = check_arms(p, o->arms, o->arm_count, "--arm", err);
    if (!s) s = check_arms(p, o->skipped, o->skipped_count, "--skip", err);
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

pith_status paper_run_row(const pith_context *c, const paper *p, const paper_run_options *o, const char *arm, int seed,
                          json_t **row, pith_error *err) {
    runner r = {.context = c, .paper = p, .options = o};
    run_place place;
    memory_adopt_jansson();
    r.threads = parallel_threads();
    pith_status s = start(&r, err);
    if (!s) {
        run_find_place(&r, paper_arm_by_name(p, arm), seed, &place);
        s = run_arm_first(&r, &place, row, err);
        pith_status removed = folder_remove(place.folder, s ? NULL : err);
        if (!s && removed) json_decref(*row), s = removed;
    }
    environment_free(&r.variables);
    json_decref(r.result);
    return s;
}
