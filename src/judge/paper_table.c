/* judge/paper_table.c - Markdown. */
#include "judge/paper_table.h"

#include "file/json.h"
#include "judge/verdict.h"
#include "tensor/tensor.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

pith_status paper_result(const paper *p, json_t **out, pith_error *err) {
    char path[4096 + 16];
    pith_buffer *b;
    snprintf(path, sizeof path, "%s/result.json", p->folder);
    if (access(path, F_OK) != 0)
        return pith_fail(err, PITH_NOT_FOUND, path, -1, "expected what pith papers run %d writes", p->number);
    pith_status s = pith_buffer_map(&b, path, err);
    if (s) return s;
    s = json_parse(out, pith_buffer_data(b), (size_t)pith_buffer_size(b), path, err);
    pith_buffer_release(b);
    return s;
}

/* ---- numbers ---- */

/* 15,878,464 or 1.1568. */
static void print_number(FILE *f, double v, int digits) {
    char text[64];
    if (digits < 0 || digits > 9 || fabs(v) > 1e15) {
        fprintf(f, "%.9g", v);
        return;
    }
    int n = snprintf(text, sizeof text, "%.*f", digits, v), whole = (int)strcspn(text, ".");
    for (int i = 0; i < n; i++) {
        fputc(text[i], f);
        if (i + 1 < whole && (whole - i - 1) % 3 == 0 && text[i] != '-') fputc(',', f);
    }
}

/* As many digits as a limit or a measured value needs to be told apart. */
static void print_claimed(FILE *f, double v) {
    double size = fabs(v);
    print_number(f, v, size >= 1000 || v == round(v) ? 0 : size >= 10 ? 2 : 4);
}

static pith_status print_cell(FILE *f, const verdict_of *v, const char *expression, int digits, pith_error *err) {
    double value;
    bool missing;
    fputs(" ", f);
    if (expression && *expression) {
        pith_status s = verdict_value(v, expression, &value, &missing, err);
        if (s) return s;
        if (missing || !isfinite(value)) fputs("-", f);
        else print_number(f, value, digits);
    }
    fputs(" |", f);
    return PITH_OK;
}

/* ---- tables ---- */

static pith_status print_row(FILE *f, const paper *p, const json_t *result, const json_t *columns, const json_t *row,
                             pith_error *err) {
    const paper_arm *arm = json_is_string(row) ? paper_arm_by_name(p, json_string_value(row)) : NULL;
    const char *label = arm ? arm->label : json_string_value(json_array_get(row, 0));
    verdict_of v = {p, result, arm ? arm->name : NULL};
    if (!label)
        return pith_fail(err, PITH_CORRUPT, p->folder, -1, "expected rows of tables to name an arm or be a list");
    const json_t *column;
    size_t i;
    pith_status s = PITH_OK;
    fprintf(f, "| %s |", label);
    json_array_foreach(columns, i, column) {
        const char *cell = arm ? json_get_text(column, "value", "") : json_string_value(json_array_get(row, i + 1));
        if (!s) s = print_cell(f, &v, cell, (int)json_get_int(column, "digits", 0), err);
    }
    fputs("\n", f);
    return s;
}

static pith_status print_table(FILE *f, const paper *p, const json_t *result, const json_t *table, pith_error *err) {
    const json_t *columns = json_object_get(table, "columns"), *rows = json_object_get(table, "rows"), *item;
    size_t i;
    fprintf(f, "**%s**\n\n|  |", json_get_text(table, "title", ""));
    json_array_foreach(columns, i, item) fprintf(f, " %s |", json_get_text(item, "head", ""));
    fputs("\n|---|", f);
    json_array_foreach(columns, i, item) fputs("---:|", f);
    fputs("\n", f);
    pith_status s = PITH_OK;
    json_array_foreach(rows, i, item) if (!s) s = print_row(f, p, result, columns, item, err);
    fputs("\n", f);
    return s;
}

static void print_claims(FILE *f, const json_t *claims) {
    const json_t *claim;
    size_t i;
    if (json_array_size(claims) == 0) return;
    fputs("**Claims**\n\n| claim | measured | against | |\n|---|---:|---:|---|\n", f);
    json_array_foreach(claims, i, claim) {
        const json_t *left = json_object_get(claim, "left"), *right = json_object_get(claim, "right");
        fprintf(f, "| %s | ", json_get_text(claim, "text", ""));
        if (left) print_claimed(f, json_number_value(left));
        fputs(" | ", f);
        if (right) print_claimed(f, json_number_value(right));
        fprintf(f, " | %s |\n", json_get_text(claim, "verdict", ""));
    }
    fputs("\n", f);
}

static void print_origin(FILE *f, const json_t *result) {
    const json_t *source = json_object_get(result, "source"), *machine = json_object_get(result, "machine"), *row;
    size_t i;
    fprintf(f,
            "Measured %s at commit %.10s%s on %s, %d cores (%s), pith with %d "
            "threads. Seconds are medians, from the shell.\n",
            json_get_text(result, "finished", "(unfinished)"), json_get_text(source, "commit", "unknown"),
            json_get_flag(source, "changed", false) ? " with changes" : "", json_get_text(machine, "cpu", "unknown"),
            (int)json_get_int(machine, "cores", 0), json_get_text(machine, "isa", ""),
            (int)json_get_int(result, "threads", 0));
    if (json_get_flag(result, "smoke", false)) fputs("A smoke run: its figures say nothing about the claims.\n", f);
    json_array_foreach(json_object_get(result, "rows"), i, row) {
        const char *why = json_get_text(row, "skipped", NULL);
        if (why && json_get_int(row, "seed", 0) == 0)
            fprintf(f, "%s was skipped: %s.\n", json_get_text(row, "arm", ""), why);
    }
}

pith_status paper_table(const paper *p, const json_t *result, char **out, pith_error *err) {
    size_t size;
    const json_t *table;
    size_t i;
    FILE *f = open_memstream(out, &size);
    if (!f) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    json_array_foreach(p->tables, i, table) if (!s) s = print_table(f, p, result, table, err);
    print_claims(f, json_object_get(result, "claims"));
    print_origin(f, result);
    if (fclose(f) != 0 && !s) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s) free(*out);
    return s;
}

/* ---- README ---- */

pith_status paper_readme(const paper *p, const char *table, char **out, bool *same, pith_error *err) {
    char path[4096 + 16];
    pith_buffer *b;
    size_t size;
    snprintf(path, sizeof path, "%s/README.md", p->folder);
    pith_status s = pith_buffer_map(&b, path, err);
    if (s) return s;
    const char *text = pith_buffer_data(b);
    size_t length = (size_t)pith_buffer_size(b), mark = strlen(PAPER_TABLE_BEGIN);
    const char *begin = memmem(text, length, PAPER_TABLE_BEGIN, mark);
    const char *from = begin ? begin + mark : text;
    const char *end = memmem(from, length - (size_t)(from - text), PAPER_TABLE_END, strlen(PAPER_TABLE_END));
    FILE *f = begin && end ? open_memstream(out, &size) : NULL;
    if (!begin || !end) {
        s = pith_fail(err, PITH_CORRUPT, path, -1, "expected the marks %s and %s", PAPER_TABLE_BEGIN, PAPER_TABLE_END);
    } else if (f) {
        fprintf(f, "%.*s\n%s%.*s", (int)(from - text), text, table, (int)(length - (size_t)(end - text)), end);
        if (fclose(f) != 0) f = NULL;
    }
    if (!s && !f) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (!s) *same = size == length && memcmp(*out, text, length) == 0;
    pith_buffer_release(b);
    return s;
}
