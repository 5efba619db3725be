/* judge/run_key.c - what a result depends on, as a hash: as long as it stays the same, what was measured or made before
 * is taken over. */
#include "judge/run_parts.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Does a command say $name or ${name}? */
static bool names_variable(const char *run, const char *name) {
    size_t n = strlen(name);
    for (const char *p = strchr(run, '$'); p; p = strchr(p + 1, '$')) {
        const char *word = p + 1 + (p[1] == '{');
        if (strncmp(word, name, n) == 0 && !isalnum((unsigned char)word[n]) && word[n] != '_') return true;
    }
    return false;
}

static void add(hash_state *h, const char *text) { hash_update(h, text ? text : "", text ? strlen(text) + 1 : 1); }

static void add_named(hash_state *h, const char *run, const char *name, const char *value) {
    if (!names_variable(run, name)) return;
    add(h, name);
    add(h, value);
}

/* A command, and what the settings, inputs and seed it names are. */
static void add_command(hash_state *h, const runner *r, const char *run) {
    const json_t *inputs = json_object_get(r->result, "inputs");
    add(h, run);
    for (size_t i = 0; i < r->paper->input_count; i++) {
        const char *name = r->paper->inputs[i].name;
        add_named(h, run, name, json_get_text(json_object_get(inputs, name), "hash", ""));
    }
    for (size_t i = 0; i < r->paper->setting_count; i++)
        add_named(h, run, r->paper->settings[i].name, environment_get(&r->variables, r->paper->settings[i].name));
    add_named(h, run, "seed", environment_get(&r->variables, "seed"));
}

static void finish(hash_state *h, char key[17]) {
    snprintf(key, 17, "%016llx", (unsigned long long)hash_digest(h));
    hash_free(h);
}

static pith_status begin(hash_state **h, pith_error *err) {
    *h = hash_new();
    return *h ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status run_made_key(const runner *r, const paper_made *m, char key[17], pith_error *err) {
    hash_state *h;
    pith_status s = begin(&h, err);
    if (s) return s;
    add_command(h, r, m->run);
    finish(h, key);
    return PITH_OK;
}

/* The command of this run and the source it belongs to, the machine and the threads: what times depend on. */
static pith_status add_part(hash_state *h, const runner *r, const char *name, pith_error *err) {
    char *text = json_print(json_object_get(r->result, name), 0);
    if (!text) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    add(h, text);
    memory_free(text);
    return PITH_OK;
}

static pith_status add_step(hash_state *h, const runner *r, const paper_step *step, pith_error *err) {
    char *values = json_print(step->values ? step->values : json_null(), 0), repeats[16];
    if (!values) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    snprintf(repeats, sizeof repeats, "%d", step->repeats);
    add(h, step->name);
    add_command(h, r, step->run);
    add(h, step->bytes);
    add(h, values);
    add(h, repeats);
    memory_free(values);
    return PITH_OK;
}

pith_status run_row_key(runner *r, const paper_arm *a, int seed, char key[17], pith_error *err) {
    hash_state *h;
    char made[17];
    pith_status s = run_set_number(r, "seed", seed, err);
    if (!s) s = begin(&h, err);
    if (s) return s;
    bool pith = json_array_size(a->uses) > 0;
    s = add_part(h, r, "machine", err);
    if (!s) s = add_part(h, r, "threads", err);
    for (size_t i = 0; i < json_array_size(a->uses) && !s; i++) {
        s = run_made_key(r, paper_made_by_name(r->paper, json_string_value(json_array_get(a->uses, i))), made, err);
        if (!s) add(h, made);
    }
    for (size_t i = 0; i < a->step_count && !s; i++) {
        s = add_step(h, r, &a->steps[i], err);
        pith |= strstr(a->steps[i].run, "pith ") != NULL;
    }
    if (!s && pith) s = add_part(h, r, "command", err);
    if (!s && pith) s = add_part(h, r, "source", err);
    finish(h, key);
    return s;
}
