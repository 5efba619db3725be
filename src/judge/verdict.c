/* judge/verdict.c - names to numbers, claims to words. */
#include "judge/verdict.h"

#include "file/json.h"
#include "judge/expression.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *verdict_row(const json_t *result, const char *arm, int seed) {
    const json_t *rows = json_object_get(result, "rows");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (strcmp(json_get_text(row, "arm", ""), arm) == 0 && json_get_int(row, "seed", -1) == seed) return row;
    }
    return NULL;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double verdict_median(const json_t *numbers) {
    double v[1000];
    size_t n = json_array_size(numbers);
    if (n == 0) return NAN;
    if (n > sizeof v / sizeof *v) n = sizeof v / sizeof *v;
    for (size_t i = 0; i < n; i++) v[i] = json_number_value(json_array_get(numbers, i));
    qsort(v, n, sizeof *v, by_number);
    return (v[(n - 1) / 2] + v[n / 2]) / 2;
}

static const paper_step *step_by_name(const paper_arm *a, const char *name, size_t length) {
    for (size_t i = 0; i < a->step_count; i++)
        if (strlen(a->steps[i].name) == length && memcmp(a->steps[i].name, name, length) == 0) return &a->steps[i];
    return NULL;
}

/* Does the recipe measure this of the step? */
static bool measures(const paper_step *step, const char *what) {
    if (strcmp(what, "seconds") == 0) return step->repeats > 0;
    if (strcmp(what, "bytes") == 0) return step->bytes != NULL;
    return strcmp(what, "peak_kib") == 0 || json_object_get(step->values, what);
}

static expression_found measured(const verdict_of *v, const paper_arm *arm, const paper_step *step, const char *what,
                                 int seed, double *value) {
    if (!measures(step, what)) return EXPRESSION_UNKNOWN;
    const json_t *row = verdict_row(v->result, arm->name, seed);
    const json_t *of = json_object_get(json_object_get(row, "steps"), step->name);
    const json_t *found = json_object_get(of, what);
    if (!found) found = json_object_get(json_object_get(of, "values"), what);
    if (!found) return seed ? EXPRESSION_NO_SEED : EXPRESSION_MISSING;
    *value = json_is_array(found) ? verdict_median(found) : json_number_value(found);
    return EXPRESSION_FOUND;
}

static expression_found setting(const verdict_of *v, const char *name, int seed, double *value) {
    bool smoke = json_get_flag(v->result, "smoke", false);
    for (size_t i = 0; i < v->paper->setting_count; i++) {
        const paper_setting *s = &v->paper->settings[i];
        if (strcmp(s->name, name) != 0) continue;
        *value = smoke ? s->smoke : s->full;
        return seed ? EXPRESSION_NO_SEED : EXPRESSION_FOUND;
    }
    return EXPRESSION_UNKNOWN;
}

static expression_found lookup(void *user, const char *name, int seed, double *value) {
    const verdict_of *v = user;
    char full[256];
    if (name[0] == '.' && snprintf(full, sizeof full, "%s%s", v->arm ? v->arm : "", name) < (int)sizeof full)
        name = full;
    const char *first = strchr(name, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (!second) return setting(v, name, seed, value);
    char arm_name[128];
    snprintf(arm_name, sizeof arm_name, "%.*s", (int)(first - name), name);
    const paper_arm *arm = paper_arm_by_name(v->paper, arm_name);
    const paper_step *step = arm ? step_by_name(arm, first + 1, (size_t)(second - first - 1)) : NULL;
    return step ? measured(v, arm, step, second + 1, seed, value) : EXPRESSION_UNKNOWN;
}

pith_status verdict_value(const verdict_of *v, const char *expression, double *value, bool *missing, pith_error *err) {
    return expression_value(expression, lookup, (void *)v, value, missing, err);
}

static pith_status judge(const verdict_of *v, const paper_claim *claim, json_t *claims, pith_error *err) {
    double left, right;
    bool holds, missing;
    pith_status s = expression_compare(claim->holds, lookup, (void *)v, &left, &right, &holds, &missing, err);
    if (s) return s;
    missing = missing || !isfinite(left) || !isfinite(right);
    bool open = missing || json_get_flag(v->result, "smoke", false);
    json_t *row = json_pack("{s:s, s:s, s:s}", "text", claim->text, "holds", claim->holds, "verdict",
                            open    ? "open"
                            : holds ? "holds"
                                    : "falls short");
    if (!missing) {
        json_object_set_new(row, "left", json_real(left));
        json_object_set_new(row, "right", json_real(right));
    }
    return json_array_append_new(claims, row) == 0 ? PITH_OK
                                                   : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status verdict_claims(const paper *p, const json_t *result, json_t **out, pith_error *err) {
    verdict_of v = {.paper = p, .result = result};
    json_t *claims = json_array();
    pith_status s = claims ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t i = 0; i < p->claim_count && !s; i++) s = judge(&v, &p->claims[i], claims, err);
    if (s) json_decref(claims);
    else *out = claims;
    return s;
}
