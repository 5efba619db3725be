/* pith/options.h - option tables: what a verb or a method can be told, parsed and checked in one place.
 *
 * --help, man pages, shell completion and JSON are generated from these rows, so a row holds all a person needs. */
#ifndef PITH_OPTIONS_H
#define PITH_OPTIONS_H

#include "pith/status.h"

typedef enum pith_option_type {
    PITH_FLAG = 'b', /* present or not */
    PITH_INT = 'i',
    PITH_REAL = 'f',
    PITH_TEXT = 's',
    PITH_CHOICE = 'e', /* `unit` lists the choices: "auto|zstd|raw" */
    PITH_LIST = 'l',   /* text, repeatable */
    PITH_SIZE = 'z'    /* bytes: 500000, 12M, 1.5G (powers of 1024) */
} pith_option_type;

typedef struct pith_option {
    const char *name; /* without the dashes: "tensor-type" */
    const char *unit; /* what the value is called in help: "FILE", "N"; choices of PITH_CHOICE; NULL for flags */
    const char *help; /* one line */
    char type;        /* pith_option_type */
    char letter;      /* one-letter form, 0 if none */
    double low, high; /* allowed range of numbers; low == high: any */
    double initial;   /* value of a number when not given */
    const char *text; /* value of text or choice when not given; may be NULL */
} pith_option;

typedef struct pith_values pith_values; /* parsed values of some option tables */

/* Several tables (common, verb's own, method's) may be read together; names must be unique among them.
 * The tables and every argv string must outlive the values. */
pith_status pith_values_new(pith_values **v, const pith_option *const *tables, const size_t *counts, int table_count,
                            pith_error *err);
/* Parses argv[first..argc). Operands (not options; "-" is one; all after "--") are collected in order. */
pith_status pith_values_parse(pith_values *v, int argc, char *const *argv, int first, pith_error *err);
/* Sets one option from text, with the same checks as the command line. */
pith_status pith_values_set(pith_values *v, const char *name, const char *text, pith_error *err);
void pith_values_free(pith_values *v); /* safe on NULL */

/* Reading a name that no table holds is a programming error (abort). */
bool pith_value_given(const pith_values *v, const char *name);
bool pith_value_flag(const pith_values *v, const char *name);
int64_t pith_value_int(const pith_values *v, const char *name);
double pith_value_real(const pith_values *v, const char *name);
uint64_t pith_value_size(const pith_values *v, const char *name);
const char *pith_value_text(const pith_values *v, const char *name); /* NULL when neither given nor initial */
size_t pith_value_count(const pith_values *v, const char *name);     /* of a list */
const char *pith_value_item(const pith_values *v, const char *name, size_t i);
size_t pith_operand_count(const pith_values *v);
const char *pith_operand(const pith_values *v, size_t i); /* NULL past the end */

#endif
