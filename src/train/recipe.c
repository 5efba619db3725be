/* train/recipe.c - JSON flattened onto option tables.
 *
 * jansson forgets where values stood, so lines of errors are found by walking the text again: a key's line is that of
 * the first "key": after its parent's. */
#include "train/recipe.h"

#include "base/hash.h"
#include "base/memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_BYTES = 1 << 20, MAX_TABLES = 8, MAX_NAME = 128 };

struct recipe {
    char *path, *text;
    pith_values *values;
    const recipe_table *used[MAX_TABLES];
    int used_count;
    char **strings; /* text of every value, which pith_values borrows */
    size_t string_count, string_capacity;
};

void recipe_free(recipe *r) {
    if (!r) return;
    pith_values_free(r->values);
    for (size_t i = 0; i < r->string_count; i++) memory_free(r->strings[i]);
    memory_free(r->strings);
    memory_free(r->text);
    memory_free(r->path);
    memory_free(r);
}

const pith_values *recipe_values(const recipe *r) { return r->values; }
const char *recipe_path(const recipe *r) { return r->path; }

/* The next `"key"` followed by a colon, or NULL. */
static const char *find_key(const char *text, const char *key, size_t length) {
    for (const char *p = text; (p = strchr(p, '"')); p++) {
        if (strncmp(p + 1, key, length) != 0 || p[1 + length] != '"') continue;
        const char *after = p + length + 2 + strspn(p + length + 2, " \t\r\n");
        if (*after == ':') return p;
    }
    return NULL;
}

int recipe_line(const recipe *r, const char *name) {
    const char *at = r->text;
    for (const char *part = name; at; part++) {
        size_t n = strcspn(part, ".");
        at = find_key(at, part, n);
        part += n;
        if (!*part) break;
    }
    if (!at) return 0;
    int line = 1;
    for (const char *p = r->text; p < at; p++) line += *p == '\n';
    return line;
}

pith_status recipe_fail(const recipe *r, pith_error *err, pith_status status, const char *name, const char *fmt, ...) {
    char words[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    int line = recipe_line(r, name);
    if (line) return pith_fail(err, status, r->path, -1, "line %d: %s: %s", line, name, words);
    return pith_fail(err, status, r->path, -1, "%s: %s", name, words);
}

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static const char *keep(recipe *r, const char *text) {
    if (memory_reserve((void **)&r->strings, &r->string_capacity, r->string_count + 1, sizeof *r->strings)) return NULL;
    char *copy = memory_text(text);
    if (copy) r->strings[r->string_count++] = copy;
    return copy;
}

static const pith_option *find_row(const recipe *r, const char *name) {
    for (int t = 0; t < r->used_count; t++)
        for (size_t i = 0; i < r->used[t]->count; i++)
            if (strcmp(r->used[t]->rows[i].name, name) == 0) return &r->used[t]->rows[i];
    return NULL;
}

static pith_status set_text(recipe *r, const char *name, const char *text, pith_error *err) {
    const char *kept = keep(r, text);
    if (!kept) return no_memory(err);
    pith_error inner = {0};
    pith_status s = pith_values_set(r->values, name, kept, &inner);
    if (s == PITH_OK) return s;
    const char *words =
        strncmp(inner.text, "--", 2) == 0 && strchr(inner.text, ':') ? strchr(inner.text, ':') + 2 : inner.text;
    return recipe_fail(r, err, s, name, "%s", words);
}

static const char *type_word(const json_t *value) {
    static const char *const words[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_STRING] = "a string", [JSON_INTEGER] = "a number",
        [JSON_REAL] = "a number",    [JSON_TRUE] = "true",    [JSON_FALSE] = "false",     [JSON_NULL] = "null"};
    return words[json_typeof(value)];
}

static pith_status wrong_type(const recipe *r, const char *name, const pith_option *row, const json_t *value,
                              pith_error *err) {
    const char *expected = row->type == PITH_FLAG                            ? "true or false"
                           : row->type == PITH_LIST                          ? "a list"
                           : row->type == PITH_INT || row->type == PITH_REAL ? "a number"
                                                                             : "a string";
    return recipe_fail(r, err, PITH_USAGE, name, "expected %s, found %s", expected, type_word(value));
}

static pith_status set_scalar(recipe *r, const char *name, const pith_option *row, const json_t *value,
                              pith_error *err) {
    char number[64];
    bool wants_number = row->type == PITH_INT || row->type == PITH_REAL;
    if (json_is_boolean(value)) {
        if (row->type != PITH_FLAG) return wrong_type(r, name, row, value, err);
        return json_is_true(value) ? set_text(r, name, "", err) : PITH_OK;
    }
    if (json_is_number(value)) {
        if (!wants_number && row->type != PITH_LIST) return wrong_type(r, name, row, value, err);
        if (json_is_integer(value)) snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        else snprintf(number, sizeof number, "%.17g", json_real_value(value));
        return set_text(r, name, number, err);
    }
    if (json_is_string(value)) {
        if (wants_number || row->type == PITH_FLAG) return wrong_type(r, name, row, value, err);
        return set_text(r, name, json_string_value(value), err);
    }
    return wrong_type(r, name, row, value, err);
}

static pith_status set_value(recipe *r, const char *name, const json_t *value, pith_error *err) {
    const pith_option *row = find_row(r, name);
    if (!row) return recipe_fail(r, err, PITH_USAGE, name, "unknown key");
    if (row->type != PITH_LIST) return set_scalar(r, name, row, value, err);
    if (!json_is_array(value)) return wrong_type(r, name, row, value, err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_string(item) && !json_is_number(item))
            return recipe_fail(r, err, PITH_USAGE, name, "expected strings or numbers in the list");
        pith_status s = set_scalar(r, name, row, item, err);
        if (s != PITH_OK) return s;
    }
    return PITH_OK;
}

static pith_status set_object(recipe *r, const char *prefix, json_t *object, int depth, pith_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        char name[MAX_NAME];
        if (snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key) >= (int)sizeof name)
            return recipe_fail(r, err, PITH_USAGE, prefix, "key too long");
        pith_status s = json_is_object(value) && depth < 3 && !find_row(r, name)
                            ? set_object(r, name, value, depth + 1, err)
                            : set_value(r, name, value, err);
        if (s != PITH_OK) return s;
    }
    return PITH_OK;
}

/* "a.b" in nested objects, or as --set gives it; NULL when nowhere. */
static const char *early_value(const json_t *root, const char *const *set, size_t set_count, const char *name) {
    size_t length = strlen(name);
    for (size_t i = set_count; i-- > 0;)
        if (strncmp(set[i], name, length) == 0 && set[i][length] == '=') return set[i] + length + 1;
    char part[MAX_NAME];
    snprintf(part, sizeof part, "%s", name);
    char *dot = strchr(part, '.');
    if (dot) *dot = 0;
    const json_t *value = json_object_get(root, part);
    if (dot) value = json_object_get(value, dot + 1);
    return json_string_value(value);
}

/* Which tables apply is decided before anything is set, since their rows check what is set. */
static pith_status choose_tables(recipe *r, const json_t *root, const char *const *set, size_t set_count,
                                 pith_error *err) {
    const pith_option *rows[MAX_TABLES];
    size_t counts[MAX_TABLES];
    for (const recipe_table *t = recipe_tables; t->rows; t++) {
        const char *value = t->key ? early_value(root, set, set_count, t->key) : NULL;
        const pith_option *chooser = t->key ? find_row(r, t->key) : NULL;
        if (!value && chooser) value = chooser->text;
        if (t->key && (!value || strcmp(value, t->value) != 0)) continue;
        rows[r->used_count] = t->rows;
        counts[r->used_count] = t->count;
        r->used[r->used_count++] = t;
    }
    return pith_values_new(&r->values, rows, counts, r->used_count, err);
}

static pith_status apply_sets(recipe *r, const char *const *set, size_t set_count, pith_error *err) {
    for (size_t i = 0; i < set_count; i++) {
        const char *equals = strchr(set[i], '=');
        if (!equals || equals - set[i] >= MAX_NAME)
            return pith_fail(err, PITH_USAGE, "--set", -1, "expected key=value, found \"%s\"", set[i]);
        char name[MAX_NAME];
        snprintf(name, sizeof name, "%.*s", (int)(equals - set[i]), set[i]);
        const pith_option *row = find_row(r, name);
        if (!row) return pith_fail(err, PITH_USAGE, "--set", -1, "unknown key \"%s\"", name);
        if (row->type == PITH_FLAG && strcmp(equals + 1, "true") != 0)
            return pith_fail(err, PITH_USAGE, "--set", -1, "%s: expected true, found \"%s\"", name, equals + 1);
        pith_error inner = {0};
        if (pith_values_set(r->values, name, equals + 1, &inner) != PITH_OK)
            return pith_fail(err, inner.status, "--set", -1, "%s", inner.text);
    }
    return PITH_OK;
}

static pith_status read_text(recipe *r, pith_error *err) {
    FILE *f = fopen(r->path, "rb");
    if (!f) return pith_fail_errno(err, r->path, errno, "cannot open the recipe");
    r->text = memory_alloc(MAX_BYTES + 1);
    size_t n = r->text ? fread(r->text, 1, MAX_BYTES + 1, f) : 0;
    bool failed = ferror(f);
    int code = errno;
    fclose(f);
    if (!r->text) return no_memory(err);
    if (failed) return pith_fail_errno(err, r->path, code, "cannot read the recipe");
    if (n > MAX_BYTES) return pith_fail(err, PITH_LIMIT, r->path, -1, "expected a recipe of at most 1 MiB");
    r->text[n] = 0;
    return PITH_OK;
}

pith_status recipe_open(recipe **out, const char *path, const char *const *set, size_t set_count, pith_error *err) {
    recipe *r = memory_zero(1, sizeof *r);
    if (r) r->path = memory_text(path);
    if (!r || !r->path) {
        recipe_free(r);
        return no_memory(err);
    }
    pith_status s = read_text(r, err);
    json_t *root = NULL;
    if (s == PITH_OK) {
        json_error_t e;
        root = json_loads(r->text, JSON_REJECT_DUPLICATES, &e);
        if (!root) s = pith_fail(err, PITH_CORRUPT, path, -1, "line %d: %s", e.line, e.text);
        else if (!json_is_object(root)) s = pith_fail(err, PITH_CORRUPT, path, -1, "line 1: expected an object");
    }
    if (s == PITH_OK) s = choose_tables(r, root, set, set_count, err);
    if (s == PITH_OK) s = set_object(r, "", root, 0, err);
    if (s == PITH_OK) s = apply_sets(r, set, set_count, err);
    json_decref(root);
    if (s == PITH_OK) *out = r;
    else recipe_free(r);
    return s;
}

static bool changes_weights(const char *name) {
    static const char *const idle[] = {"name",           "note",      "steps",   "threads", "checkpoint_every",
                                       "evaluate_every", "recompute", "patience"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (strcmp(name, idle[i]) == 0) return false;
    return true;
}

uint64_t recipe_fingerprint(const recipe *r) {
    uint64_t sum = 0;
    for (int t = 0; t < r->used_count; t++)
        for (size_t i = 0; i < r->used[t]->count; i++) {
            const pith_option *o = &r->used[t]->rows[i];
            if (!changes_weights(o->name)) continue;
            char line[512];
            const char *text = pith_value_text(r->values, o->name);
            int n =
                snprintf(line, sizeof line, "%s=%lld %.17g %s", o->name, (long long)pith_value_int(r->values, o->name),
                         pith_value_real(r->values, o->name), text ? text : "");
            sum = sum * 0x9E3779B97F4A7C15u + hash_bytes(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
            for (size_t k = 0; k < pith_value_count(r->values, o->name); k++) {
                const char *item = pith_value_item(r->values, o->name, k);
                sum = sum * 0x9E3779B97F4A7C15u + hash_bytes(item, strlen(item));
            }
        }
    return sum;
}
