/* judge/paper_check.c - a result against its recipe, its inputs, its README, and rows measured again. */
#include "judge/paper_check.h"

#include "base/memory.h"
#include "base/rng.h"
#include "file/json.h"
#include "judge/paper_table.h"
#include "judge/run_parts.h"
#include "judge/stamp.h"
#include "judge/verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum finding { SAME, DIFFERS, NOT_CHECKED } finding;

typedef struct checker {
    const pith_context *context;
    const paper *paper;
    const paper_check_options *options;
    json_t *result, *report;
    int differing;
    pith_error *err;
} checker;

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static __attribute__((format(printf, 4, 5))) pith_status find(checker *c, const char *check, finding found,
                                                              const char *format, ...) {
    static const char *const verdict[] = {"same", "differs", "not checked"};
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    c->differing += found == DIFFERS;
    json_t *row = json_pack("{s:s, s:s, s:s}", "check", check, "verdict", verdict[found], "text", text);
    return json_array_append_new(c->report, row) == 0 ? PITH_OK : no_memory(c->err);
}

/* ---- the recipe ---- */

static pith_status check_recipe(checker *c) {
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)c->paper->hash);
    const char *then = json_get_text(c->result, "recipe", "none");
    if (strcmp(hash, then) == 0) return find(c, "recipe", SAME, "hash %s", hash);
    return find(c, "recipe", DIFFERS, "expected hash %s as when it was measured, found %s", then, hash);
}

/* What a step of the recipe lacks in its row, or has otherwise; NULL: nothing. */
static const char *fault_of(const paper_step *step, const json_t *found) {
    const char *name;
    json_t *path;
    if (!found) return "no such step";
    if (strcmp(json_get_text(found, "run", ""), step->run) != 0) return "another command";
    if (json_array_size(json_object_get(found, "seconds")) != (size_t)step->repeats) return "another number of times";
    if ((step->bytes != NULL) != json_is_integer(json_object_get(found, "bytes"))) return "another size";
    json_object_foreach((json_t *)json_object_get(found, "values"), name,
                        path) if (!json_object_get(step->values, name)) return "a value that is not in the recipe";
    return NULL;
}

static pith_status check_row(checker *c, const paper_arm *a, int seed, int *right) {
    char check[160];
    const json_t *row = verdict_row(c->result, a->name, seed), *steps = json_object_get(row, "steps");
    snprintf(check, sizeof check, "row %s %d", a->name, seed);
    const char *why = json_get_text(row, "skipped", NULL);
    if (why) return find(c, check, NOT_CHECKED, "skipped: %s", why);
    if (!row) return find(c, check, DIFFERS, "expected a row of the recipe, found none");
    for (size_t i = 0; i < a->step_count; i++) {
        const char *fault = fault_of(&a->steps[i], json_object_get(steps, a->steps[i].name));
        if (fault) return find(c, check, DIFFERS, "step %s has %s", a->steps[i].name, fault);
    }
    ++*right;
    return PITH_OK;
}

static pith_status check_rows(checker *c) {
    pith_status s = PITH_OK;
    int right = 0;
    for (size_t i = 0; i < c->paper->arm_count; i++)
        for (int seed = 0; seed < c->paper->arms[i].seeds && !s; seed++)
            s = check_row(c, &c->paper->arms[i], seed, &right);
    return s ? s : find(c, "rows", SAME, "%d have the recipe's commands, as often as it says", right);
}

/* ---- what follows from the rows ---- */

static bool is_near(const json_t *a, const json_t *b) {
    if (!a || !b) return a == b;
    double x = json_number_value(a), y = json_number_value(b);
    return fabs(x - y) <= 1e-9 * fmax(fabs(x), fabs(y));
}

static pith_status check_claims(checker *c) {
    json_t *now, *claim;
    size_t i, n = 0;
    const json_t *then = json_object_get(c->result, "claims");
    pith_status s = verdict_claims(c->paper, c->result, &now, c->err);
    if (s) return s;
    json_array_foreach(now, i, claim) {
        const json_t *old = json_array_get(then, i);
        const char *text = json_get_text(claim, "text", ""), *verdict = json_get_text(claim, "verdict", "");
        bool same = strcmp(json_get_text(old, "text", ""), text) == 0 &&
                    strcmp(json_get_text(old, "verdict", ""), verdict) == 0 &&
                    is_near(json_object_get(old, "left"), json_object_get(claim, "left")) &&
                    is_near(json_object_get(old, "right"), json_object_get(claim, "right"));
        n += same;
        if (!same && !s)
            s = find(c, "claim", DIFFERS, "\"%s\" follows as \"%s\" from its rows, and stands as \"%s\"", text, verdict,
                     json_get_text(old, "verdict", "none"));
    }
    json_decref(now);
    if (!s && json_array_size(then) != c->paper->claim_count)
        s = find(c, "claim", DIFFERS, "expected %zu of them, found %zu", c->paper->claim_count, json_array_size(then));
    return s ? s : find(c, "claims", SAME, "%zu follow from the raw rows", n);
}

static pith_status check_readme(checker *c) {
    char *table = NULL, *text = NULL;
    bool same = false;
    pith_error why = {0};
    pith_status s = paper_table(c->paper, c->result, &table, c->err);
    if (s) return s;
    s = paper_readme(c->paper, table, &text, &same, &why);
    free(table);
    if (s == PITH_NO_MEMORY) return no_memory(c->err);
    if (s) return find(c, "README.md", DIFFERS, "%s", why.text);
    free(text);
    if (same) return find(c, "README.md", SAME, "its tables are those of the result");
    return find(c, "README.md", DIFFERS, "expected the result's tables: pith papers table %d --write",
                c->paper->number);
}

/* ---- what went in ---- */

static pith_status check_input(checker *c, const paper_input *in) {
    char check[160], path[RUN_PATH];
    json_t *now = NULL;
    pith_error why = {0};
    const json_t *then = json_object_get(json_object_get(c->result, "inputs"), in->name);
    snprintf(check, sizeof check, "input %s", in->name);
    if (!then) return find(c, check, DIFFERS, "expected it in the result, found none");
    if (run_find_input(in, c->options->run.data, path, &why) != PITH_OK || stamp_file(path, &now, &why) != PITH_OK)
        return find(c, check, NOT_CHECKED, "%s: %s", why.where, why.text);
    const char *old = json_get_text(then, "hash", "none"), *new = json_get_text(now, "hash", "");
    pith_status s = strcmp(old, new) == 0 ? find(c, check, SAME, "hash %s", new)
                                          : find(c, check, DIFFERS, "expected hash %s, found %s", old, new);
    json_decref(now);
    return s;
}

/* ---- rows measured again ---- */

/* Names that end with "_s" are seconds, which another run does not repeat. */
static bool is_time(const char *name) {
    size_t n = strlen(name);
    return n > 2 && strcmp(name + n - 2, "_s") == 0;
}

/* The first thing a step came to that is not the same; false: all is. */
static bool differs(const json_t *then, const json_t *now, char *text, size_t size) {
    const char *name;
    json_t *value;
    int64_t old = json_get_int(then, "bytes", -1), new = json_get_int(now, "bytes", -1);
    if (old != new) {
        snprintf(text, size, "bytes: expected %lld, found %lld", (long long)old, (long long)new);
        return true;
    }
    json_object_foreach((json_t *)json_object_get(then, "values"), name, value) {
        const json_t *found = json_object_get(json_object_get(now, "values"), name);
        if (is_time(name) || is_near(value, found)) continue;
        snprintf(text, size, "%s: expected %.9g, found %.9g", name, json_number_value(value), json_number_value(found));
        return true;
    }
    return false;
}

static pith_status measure_again(checker *c, const paper_arm *a, int seed) {
    char check[160], text[300];
    json_t *now = NULL;
    pith_error why = {0};
    const json_t *then = json_object_get(verdict_row(c->result, a->name, seed), "steps");
    snprintf(check, sizeof check, "again %s %d", a->name, seed);
    pith_status s = paper_run_row(c->context, c->paper, &c->options->run, a->name, seed, &now, &why);
    if (s == PITH_MISMATCH) return find(c, check, DIFFERS, "%s: %s", why.where, why.text);
    if (s) return pith_fail(c->err, s, why.where, why.offset, "%s", why.text);
    bool same = true;
    for (size_t i = 0; i < a->step_count && same; i++) {
        const char *step = a->steps[i].name;
        same = !differs(json_object_get(then, step), json_object_get(json_object_get(now, "steps"), step), text,
                        sizeof text);
        if (!same) s = find(c, check, DIFFERS, "%s %s", step, text);
    }
    json_decref(now);
    return s || !same ? s : find(c, check, SAME, "bytes and values as published");
}

static bool is_given(const paper_run_options *o, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < o->made_count; i++)
        if (strncmp(o->made[i], name, n) == 0 && o->made[i][n] == '=') return true;
    return false;
}

/* May it be drawn: was it measured, and does it use nothing that would have to be made? */
static bool is_candidate(const checker *c, const paper_arm *a, int seed) {
    bool yes = json_object_get(verdict_row(c->result, a->name, seed), "steps") != NULL;
    for (size_t i = 0; i < json_array_size(a->uses); i++)
        yes = yes && is_given(&c->options->run, json_string_value(json_array_get(a->uses, i)));
    return yes;
}

static bool is_named(const paper_run_options *o, const char *arm) {
    for (size_t i = 0; i < o->arm_count; i++)
        if (strcmp(o->arms[i], arm) == 0) return true;
    return false;
}

/* Each candidate in turn is taken with the chance that is left: `wanted` of them in all, in the recipe's order. */
static pith_status check_again(checker *c) {
    const paper_run_options *o = &c->options->run;
    rng r = rng_new(c->options->seed, 0);
    uint32_t left = 0;
    size_t wanted = c->options->rows;
    pith_status s = PITH_OK;
    for (size_t i = 0; i < c->paper->arm_count; i++)
        for (int seed = 0; seed < c->paper->arms[i].seeds; seed++) left += is_candidate(c, &c->paper->arms[i], seed);
    for (size_t i = 0; i < c->paper->arm_count; i++)
        for (int seed = 0; seed < c->paper->arms[i].seeds && !s; seed++) {
            const paper_arm *a = &c->paper->arms[i];
            bool drawn = !o->arm_count && is_candidate(c, a, seed) && rng_below(&r, left--) < wanted;
            wanted -= drawn;
            if (drawn || is_named(o, a->name)) s = measure_again(c, a, seed);
        }
    return s;
}

pith_status paper_check(const pith_context *context, const paper *p, const paper_check_options *o, json_t **report,
                        int *differing, pith_error *err) {
    checker c = {.context = context, .paper = p, .options = o, .err = err};
    *report = NULL;
    for (size_t i = 0; i < o->run.arm_count; i++)
        if (!paper_arm_by_name(p, o->run.arms[i]))
            return pith_fail(err, PITH_USAGE, "--arm", -1, "expected an arm of %s, found \"%s\"", p->name,
                             o->run.arms[i]);
    pith_status s = paper_result(p, &c.result, err);
    if (s) return s;
    c.report = json_array();
    if (!c.report) s = no_memory(err);
    if (!s) s = check_recipe(&c);
    if (!s) s = check_rows(&c);
    if (!s) s = check_claims(&c);
    if (!s) s = check_readme(&c);
    for (size_t i = 0; i < p->input_count && !s; i++) s = check_input(&c, &p->inputs[i]);
    if (!s) s = check_again(&c);
    json_decref(c.result);
    *differing = c.differing;
    if (s) json_decref(c.report);
    else *report = c.report;
    return s;
}
