/* judge/paper.c - reading recipes, and finding them. */
#include "judge/paper.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/json.h"
#include "tensor/tensor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

typedef struct reader { /* where in the recipe we are, for messages */
    const char *path;
    char place[96];
    pith_error *err;
} reader;

static pith_status wrong(const reader *r, const char *key, const char *expected) {
    return pith_fail(r->err, PITH_CORRUPT, r->path, -1, "%s%s%s: expected %s", r->place, r->place[0] ? "." : "", key,
                     expected);
}

/* Names become variables of the shell and parts of expressions. */
static bool is_name(const char *s) {
    if (!s || !islower((unsigned char)*s)) return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_') return false;
    return true;
}

static pith_status read_name(const reader *r, const json_t *o, const char **out) {
    *out = json_get_text(o, "name", NULL);
    return is_name(*out) ? PITH_OK : wrong(r, "name", "a name of a-z, 0-9 and _ that begins with a letter");
}

static pith_status read_text(const reader *r, const json_t *o, const char *key, const char **out) {
    *out = json_get_text(o, key, NULL);
    return *out && **out ? PITH_OK : wrong(r, key, "a text");
}

/* A list that may be absent. */
static pith_status read_texts(const reader *r, const json_t *o, const char *key, const json_t **out) {
    const json_t *list = json_object_get(o, key);
    *out = list;
    if (list && !json_is_array(list)) return wrong(r, key, "a list of texts");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i))) return wrong(r, key, "a list of texts");
    return PITH_OK;
}

static pith_status read_setting(const reader *r, const json_t *o, void *out) {
    paper_setting *s = out;
    const json_t *full = json_object_get(o, "full"), *smoke = json_object_get(o, "smoke");
    if (!json_is_number(full)) return wrong(r, "full", "a number");
    if (smoke && !json_is_number(smoke)) return wrong(r, "smoke", "a number");
    s->full = json_number_value(full);
    s->smoke = smoke ? json_number_value(smoke) : s->full;
    return read_name(r, o, &s->name);
}

static pith_status read_input(const reader *r, const json_t *o, void *out) {
    paper_input *in = out;
    const json_t *smoke = json_object_get(o, "smoke");
    in->data = json_get_text(o, "data", NULL);
    in->share = json_get_text(o, "share", NULL);
    in->pictures = (int)json_get_int(smoke, "pictures", 0);
    in->side = (int)json_get_int(smoke, "side", 0);
    if (!in->data == !in->share) return wrong(r, "data", "either data or share");
    if (in->data && (in->pictures < 1 || in->side < 1 || in->pictures > 100000 || in->side > 1024))
        return wrong(r, "smoke", "pictures and side, for a run without data");
    return read_name(r, o, &in->name);
}

static pith_status read_made(const reader *r, const json_t *o, void *out) {
    paper_made *m = out;
    pith_status s = read_name(r, o, &m->name);
    return s ? s : read_text(r, o, "run", &m->run);
}

static pith_status read_step(const reader *r, const json_t *o, void *out) {
    paper_step *step = out;
    const char *key;
    json_t *path;
    step->bytes = json_get_text(o, "bytes", NULL);
    step->values = json_object_get(o, "values");
    int64_t repeats = json_get_int(o, "repeats", 0);
    if (step->bytes && step->bytes[0] != '$') return wrong(r, "bytes", "a path that begins with $out or another name");
    if (repeats < 0 || repeats > 1000) return wrong(r, "repeats", "0 to 1000");
    if (step->values && !json_is_object(step->values)) return wrong(r, "values", "an object of names and paths");
    json_object_foreach((json_t *)step->values, key, path) {
        if (!is_name(key) || !json_is_string(path))
            return wrong(r, "values", "names, each with a path in what the command prints");
    }
    step->repeats = (int)repeats;
    pith_status s = read_name(r, o, &step->name);
    return s ? s : read_text(r, o, "run", &step->run);
}

static pith_status read_claim(const reader *r, const json_t *o, void *out) {
    paper_claim *c = out;
    pith_status s = read_text(r, o, "text", &c->text);
    return s ? s : read_text(r, o, "holds", &c->holds);
}

typedef pith_status read_row(const reader *r, const json_t *o, void *out);

/* Rows of a list into a new array; none where the list is absent. */
static pith_status read_rows(reader *r, const json_t *o, const char *key, size_t size, read_row *read, void *array,
                             size_t *count) {
    const json_t *list = json_object_get(o, key);
    char before[sizeof r->place];
    if (list && !json_is_array(list)) return wrong(r, key, "a list");
    size_t n = json_array_size(list);
    uint8_t *rows = memory_zero(n, size);
    if (!rows) return pith_fail(r->err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    *(void **)array = rows, *count = n;
    memcpy(before, r->place, sizeof before);
    pith_status s = PITH_OK;
    for (size_t i = 0; i < n && s == PITH_OK; i++) {
        snprintf(r->place, sizeof r->place, "%.50s%s%.16s[%zu]", before, before[0] ? "." : "", key, i);
        s = read(r, json_array_get(list, i), rows + i * size);
    }
    memcpy(r->place, before, sizeof before);
    return s;
}

static pith_status read_arm(const reader *at, const json_t *o, void *out) {
    paper_arm *a = out;
    reader r = *at;
    int64_t seeds = json_get_int(o, "seeds", 1);
    pith_status s = read_name(&r, o, &a->name);
    if (!s) s = read_texts(&r, o, "needs", &a->needs);
    if (!s) s = read_texts(&r, o, "uses", &a->uses);
    if (!s && (seeds < 1 || seeds > 100)) s = wrong(&r, "seeds", "1 to 100");
    a->seeds = (int)seeds;
    a->label = json_get_text(o, "label", a->name);
    if (!s) s = read_rows(&r, o, "steps", sizeof *a->steps, read_step, &a->steps, &a->step_count);
    if (!s && a->step_count == 0) s = wrong(&r, "steps", "at least one step");
    return s;
}

const paper_made *paper_made_by_name(const paper *p, const char *name) {
    for (size_t i = 0; i < p->made_count; i++)
        if (strcmp(p->made[i].name, name) == 0) return &p->made[i];
    return NULL;
}

static pith_status check_uses(const paper *p, const reader *r) {
    for (size_t i = 0; i < p->arm_count; i++)
        for (size_t k = 0; k < json_array_size(p->arms[i].uses); k++)
            if (!paper_made_by_name(p, json_string_value(json_array_get(p->arms[i].uses, k))))
                return wrong(r, p->arms[i].name, "to use what \"made\" makes");
    return PITH_OK;
}

static pith_status read_all(paper *p, const char *path, pith_error *err) {
    const json_t *o = p->document;
    reader r = {.path = path, .err = err};
    p->number = (int)json_get_int(o, "number", 0);
    p->tables = json_object_get(o, "tables");
    if (p->number < 1) return wrong(&r, "number", "the paper's number");
    if (p->tables && !json_is_array(p->tables)) return wrong(&r, "tables", "a list");
    pith_status s = read_name(&r, o, &p->name);
    if (!s) s = read_text(&r, o, "title", &p->title);
    if (!s) s = read_text(&r, o, "source", &p->source);
    if (!s) s = read_rows(&r, o, "settings", sizeof *p->settings, read_setting, &p->settings, &p->setting_count);
    if (!s) s = read_rows(&r, o, "inputs", sizeof *p->inputs, read_input, &p->inputs, &p->input_count);
    if (!s) s = read_rows(&r, o, "made", sizeof *p->made, read_made, &p->made, &p->made_count);
    if (!s) s = read_rows(&r, o, "arms", sizeof *p->arms, read_arm, &p->arms, &p->arm_count);
    if (!s) s = read_rows(&r, o, "claims", sizeof *p->claims, read_claim, &p->claims, &p->claim_count);
    if (!s && p->arm_count == 0) s = wrong(&r, "arms", "at least one arm");
    return s ? s : check_uses(p, &r);
}

pith_status paper_parse(paper **out, pith_bytes recipe, const char *folder, pith_error *err) {
    char path[4096 + 16];
    paper *p = memory_zero(1, sizeof *p);
    if (!p) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    snprintf(p->folder, sizeof p->folder, "%s", folder);
    snprintf(path, sizeof path, "%s/recipe.json", p->folder);
    p->hash = hash_bytes(recipe.data, recipe.size);
    pith_status s = json_parse(&p->document, recipe.data, recipe.size, path, err);
    if (!s) s = read_all(p, path, err);
    if (s) paper_close(p);
    else *out = p;
    return s;
}

pith_status paper_open(paper **out, const char *folder, pith_error *err) {
    char path[4096 + 16];
    pith_buffer *file;
    snprintf(path, sizeof path, "%.4095s/recipe.json", folder);
    pith_status s = pith_buffer_map(&file, path, err);
    if (s) return s;
    s = paper_parse(out, (pith_bytes){pith_buffer_data(file), (size_t)pith_buffer_size(file)}, folder, err);
    pith_buffer_release(file);
    return s;
}

void paper_close(paper *p) {
    if (!p) return;
    for (size_t i = 0; p->arms && i < p->arm_count; i++) memory_free(p->arms[i].steps);
    memory_free(p->settings);
    memory_free(p->inputs);
    memory_free(p->made);
    memory_free(p->arms);
    memory_free(p->claims);
    json_decref(p->document);
    memory_free(p);
}

const paper_arm *paper_arm_by_name(const paper *p, const char *name) {
    for (size_t i = 0; i < p->arm_count; i++)
        if (strcmp(p->arms[i].name, name) == 0) return &p->arms[i];
    return NULL;
}

/* ---- finding ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

pith_status paper_folder(const char *given, char *path, size_t size, pith_error *err) {
    char self[4096];
    snprintf(path, size, "%s", given ? given : "papers");
    if (is_folder(path)) return PITH_OK;
    if (given) return pith_fail(err, PITH_NOT_FOUND, given, -1, "expected a folder of papers");
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/'); /* build/NAME/pith */
    if (slash) *slash = 0;
    if (snprintf(path, size, "%s/../../papers", self) < (int)size && is_folder(path)) return PITH_OK;
    return pith_fail(err, PITH_NOT_FOUND, "papers", -1, "expected a folder of papers here; --papers names another");
}

/* "03-circuit" */
static bool is_paper_name(const char *name) {
    return isdigit((unsigned char)name[0]) && isdigit((unsigned char)name[1]) && name[2] == '-' && name[3];
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

pith_status paper_list(const char *papers, char ***names, size_t *count, pith_error *err) {
    size_t capacity = 0;
    *names = NULL, *count = 0;
    DIR *d = opendir(papers);
    if (!d) return pith_fail_errno(err, papers, errno, "cannot open");
    pith_status s = PITH_OK;
    for (const struct dirent *e; !s && (e = readdir(d));) {
        if (!is_paper_name(e->d_name)) continue;
        char *copy = memory_text(e->d_name);
        if (!copy || memory_reserve((void **)names, &capacity, *count + 1, sizeof **names) != 0) {
            memory_free(copy);
            s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
        } else (*names)[(*count)++] = copy;
    }
    closedir(d);
    if (*count) qsort(*names, *count, sizeof **names, by_text);
    return s;
}

pith_status paper_find(paper **out, const char *papers, int number, pith_error *err) {
    char **names, folder[4096];
    size_t count;
    pith_status s = paper_list(papers, &names, &count, err);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (!s && !found && atoi(names[i]) == number) {
            found = true;
            snprintf(folder, sizeof folder, "%s/%s", papers, names[i]);
            s = paper_open(out, folder, err);
        }
        memory_free(names[i]);
    }
    memory_free(names);
    if (!s && !found)
        s = pith_fail(err, PITH_NOT_FOUND, papers, -1, "expected a folder of paper %d, found none", number);
    return s;
}
