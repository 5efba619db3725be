/* base/options.c - parsing of option tables.
 *
 * One slot per table row, in the order of the tables. A value is checked when it is set, so that the error names the
 * option, what it takes and what was found. */
#include "pith/options.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct slot {
    const pith_option *row;
    bool given;
    int64_t integer; /* also flags and choices */
    double real;
    const char *text;
    const char **items;
    size_t count, capacity;
} slot;

struct pith_values {
    slot *slots;
    size_t count;
    const char **operands;
    size_t operand_count, operand_capacity;
};

static int64_t choice_index(const pith_option *o, const char *text) {
    size_t length = strlen(text);
    const char *p = o->unit;
    for (int64_t index = 0;; index++) {
        size_t n = strcspn(p, "|");
        if (n == length && strncasecmp(p, text, n) == 0) return index;
        if (!p[n]) return -1;
        p += n + 1;
    }
}

static void set_initial(slot *s) {
    s->text = s->row->text;
    s->real = s->row->initial;
    s->integer = (int64_t)s->row->initial;
    if (s->row->type == PITH_CHOICE && s->text) s->integer = choice_index(s->row, s->text);
}

pith_status pith_values_new(pith_values **out, const pith_option *const *tables, const size_t *counts, int table_count,
                            pith_error *err) {
    size_t total = 0;
    for (int t = 0; t < table_count; t++) total += counts[t];
    pith_values *v = memory_zero(1, sizeof *v);
    if (v) v->slots = memory_zero(total, sizeof *v->slots);
    if (!v || !v->slots) {
        memory_free(v);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    for (int t = 0; t < table_count; t++)
        for (size_t i = 0; i < counts[t]; i++) {
            v->slots[v->count].row = &tables[t][i];
            set_initial(&v->slots[v->count++]);
        }
    *out = v;
    return PITH_OK;
}

void pith_values_free(pith_values *v) {
    if (!v) return;
    for (size_t i = 0; i < v->count; i++) memory_free(v->slots[i].items);
    memory_free(v->slots);
    memory_free(v->operands);
    memory_free(v);
}

static slot *find_name(pith_values *v, const char *name, size_t length) {
    for (size_t i = 0; i < v->count; i++) {
        const char *n = v->slots[i].row->name;
        if (strlen(n) == length && memcmp(n, name, length) == 0) return &v->slots[i];
    }
    return NULL;
}

static slot *find_letter(pith_values *v, char letter) {
    for (size_t i = 0; i < v->count; i++)
        if (v->slots[i].row->letter == letter) return &v->slots[i];
    return NULL;
}

static bool in_range(const pith_option *o, double x) { return o->low == o->high || (x >= o->low && x <= o->high); }

static pith_status bad_value(const pith_option *o, const char *found, const char *expected, pith_error *err) {
    return pith_fail(err, PITH_USAGE, NULL, -1, "--%s: expected %s, found \"%s\"", o->name, expected, found);
}

static pith_status set_number(slot *s, const char *text, pith_error *err) {
    const pith_option *o = s->row;
    char *end;
    double x = o->type == PITH_INT ? (double)(s->integer = strtoll(text, &end, 10)) : strtod(text, &end);
    if (end == text) return bad_value(o, text, o->type == PITH_INT ? "a whole number" : "a number", err);
    if (o->type == PITH_SIZE) {
        static const char units[] = "KMGT";
        const char *u = *end ? strchr(units, *end & ~0x20) : NULL;
        if (u) x *= pow(1024.0, (double)(u - units + 1)), end++;
        if (u && (*end == 'B' || *end == 'b')) end++;
        if (!(x >= 0 && x < 0x1p63)) return bad_value(o, text, "a size in bytes like 500000 or 12M", err);
        s->integer = (int64_t)x;
    }
    if (*end) return bad_value(o, text, o->type == PITH_SIZE ? "a size in bytes like 500000 or 12M" : "a number", err);
    if (!isfinite(x) || !in_range(o, x)) {
        char range[80];
        snprintf(range, sizeof range, "a number from %.12g to %.12g", o->low, o->high);
        return bad_value(o, text, o->low == o->high ? "a finite number" : range, err);
    }
    s->real = x;
    if (o->type == PITH_REAL) s->integer = (int64_t)x;
    return PITH_OK;
}

/* `unit` of a choice is "a|b|c". */
static pith_status set_choice(slot *s, const char *text, pith_error *err) {
    int64_t index = choice_index(s->row, text);
    if (index < 0) return bad_value(s->row, text, s->row->unit, err);
    s->integer = index;
    s->text = text;
    return PITH_OK;
}

static pith_status set_slot(slot *s, const char *text, pith_error *err) {
    s->given = true;
    switch (s->row->type) {
    case PITH_FLAG: s->integer = 1; return PITH_OK;
    case PITH_INT:
    case PITH_REAL:
    case PITH_SIZE: return set_number(s, text, err);
    case PITH_CHOICE: return set_choice(s, text, err);
    case PITH_LIST:
        if (memory_reserve((void **)&s->items, &s->capacity, s->count + 1, sizeof *s->items))
            return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
        s->items[s->count++] = text;
        return PITH_OK;
    default: s->text = text; return PITH_OK;
    }
}

pith_status pith_values_set(pith_values *v, const char *name, const char *text, pith_error *err) {
    slot *s = find_name(v, name, strlen(name));
    if (!s) return pith_fail(err, PITH_USAGE, NULL, -1, "unknown option \"%s\"", name);
    return set_slot(s, text, err);
}

static pith_status parse_long(pith_values *v, int argc, char *const *argv, int *i, pith_error *err) {
    const char *arg = argv[*i] + 2, *equals = strchr(arg, '=');
    size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    slot *s = find_name(v, arg, length);
    if (!s) return pith_fail(err, PITH_USAGE, NULL, -1, "unknown option --%.*s", (int)length, arg);
    if (s->row->type == PITH_FLAG) {
        if (equals)
            return pith_fail(err, PITH_USAGE, NULL, -1, "--%s takes no value, found \"%s\"", s->row->name, equals + 1);
        return set_slot(s, "", err);
    }
    if (equals) return set_slot(s, equals + 1, err);
    if (*i + 1 >= argc)
        return pith_fail(err, PITH_USAGE, NULL, -1, "--%s: expected %s after it, found the end", s->row->name,
                         s->row->unit);
    return set_slot(s, argv[++*i], err);
}

/* "-n 5", "-n5" and grouped flags "-qf". */
static pith_status parse_letters(pith_values *v, int argc, char *const *argv, int *i, pith_error *err) {
    for (const char *p = argv[*i] + 1; *p; p++) {
        slot *s = find_letter(v, *p);
        if (!s) return pith_fail(err, PITH_USAGE, NULL, -1, "unknown option -%c", *p);
        if (s->row->type == PITH_FLAG) {
            set_slot(s, "", err);
            continue;
        }
        if (p[1]) return set_slot(s, p + 1, err);
        if (*i + 1 >= argc)
            return pith_fail(err, PITH_USAGE, NULL, -1, "-%c: expected %s after it, found the end", *p, s->row->unit);
        return set_slot(s, argv[++*i], err);
    }
    return PITH_OK;
}

pith_status pith_values_parse(pith_values *v, int argc, char *const *argv, int first, pith_error *err) {
    bool only_operands = false;
    for (int i = first; i < argc; i++) {
        const char *arg = argv[i];
        pith_status s = PITH_OK;
        if (!only_operands && strcmp(arg, "--") == 0) only_operands = true;
        else if (!only_operands && strncmp(arg, "--", 2) == 0) s = parse_long(v, argc, argv, &i, err);
        else if (!only_operands && arg[0] == '-' && arg[1]) s = parse_letters(v, argc, argv, &i, err);
        else {
            if (memory_reserve((void **)&v->operands, &v->operand_capacity, v->operand_count + 1, sizeof *v->operands))
                return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
            v->operands[v->operand_count++] = arg;
        }
        if (s != PITH_OK) return s;
    }
    return PITH_OK;
}

static const slot *need(const pith_values *v, const char *name) {
    const slot *s = find_name((pith_values *)v, name, strlen(name));
    if (!s) {
        fprintf(stderr, "pith: no option table holds \"%s\"\n", name);
        abort();
    }
    return s;
}

bool pith_value_given(const pith_values *v, const char *name) { return need(v, name)->given; }
bool pith_value_flag(const pith_values *v, const char *name) { return need(v, name)->integer != 0; }
int64_t pith_value_int(const pith_values *v, const char *name) { return need(v, name)->integer; }
double pith_value_real(const pith_values *v, const char *name) { return need(v, name)->real; }
uint64_t pith_value_size(const pith_values *v, const char *name) { return (uint64_t)need(v, name)->integer; }
const char *pith_value_text(const pith_values *v, const char *name) { return need(v, name)->text; }
size_t pith_value_count(const pith_values *v, const char *name) { return need(v, name)->count; }
const char *pith_value_item(const pith_values *v, const char *name, size_t i) {
    const slot *s = need(v, name);
    return i < s->count ? s->items[i] : NULL;
}
size_t pith_operand_count(const pith_values *v) { return v->operand_count; }
const char *pith_operand(const pith_values *v, size_t i) { return i < v->operand_count ? v->operands[i] : NULL; }
