/* judge/paper.h - a paper is data: what goes in, commands that measure, claims about what they came to.
 *
 * The struct is the schema of papers/NN-name/recipe.json (docs/new-paper.md tells it at length). Its texts belong to
 * the parsed document, which the paper holds. */
#ifndef JUDGE_PAPER_H
#define JUDGE_PAPER_H

#include "pith/status.h"

#include <jansson.h>

/* A number that differs between a full run and a smoke run: $name in commands, `name` in expressions. */
typedef struct paper_setting {
    const char *name;
    double full, smoke;
} paper_setting;

/* A file or folder commands read: $name is its path. One of data (below PITH_DATA) and share (comes with pith). A smoke
 * run draws its own pictures instead of looking for data: `pictures` of side x side. */
typedef struct paper_input {
    const char *name, *data, *share;
    int pictures, side;
} paper_input;

/* Something that takes long to make and is kept from run to run: $name is the folder its command fills. */
typedef struct paper_made {
    const char *name, *run;
} paper_made;

typedef struct paper_step {
    const char *name, *run;
    const char *bytes;    /* "$out/x.pith": the file or folder whose size counts; NULL: none */
    const json_t *values; /* object: name to path in the JSON that the command prints; NULL: none */
    int repeats;          /* times it is run and timed, 0: once, and its time is no result */
} paper_step;

typedef struct paper_arm {
    const char *name, *label; /* label: what tables call it */
    const json_t *needs;      /* array of programs; the arm is skipped where one is missing; may be NULL */
    const json_t *uses;       /* array of names of what must be made before; may be NULL */
    int seeds;                /* seeds 0 .. seeds - 1; a smoke run takes the first alone */
    paper_step *steps;
    size_t step_count;
} paper_arm;

typedef struct paper_claim {
    const char *text, *holds; /* holds: "a.pack.bytes <= 0.9 * b.pack.bytes" */
} paper_claim;

typedef struct paper {
    int number;
    const char *name, *title, *source;
    char folder[4096]; /* papers/NN-name */
    paper_setting *settings;
    paper_input *inputs;
    paper_made *made;
    paper_arm *arms;
    paper_claim *claims;
    size_t setting_count, input_count, made_count, arm_count, claim_count;
    const json_t *tables; /* array; see paper_table.c */
    json_t *document;
    uint64_t hash; /* XXH3 of the recipe's bytes */
} paper;

/* PITH_CORRUPT with the place in the recipe ("arms[2].steps[0]") when it is not as above. */
pith_status paper_open(paper **out, const char *folder, pith_error *err);
/* The same of a recipe's bytes; `folder` is where it is said to lie. */
pith_status paper_parse(paper **out, pith_bytes recipe, const char *folder, pith_error *err);
void paper_close(paper *p); /* safe on NULL */

const paper_arm *paper_arm_by_name(const paper *p, const char *name); /* NULL: none */
const paper_made *paper_made_by_name(const paper *p, const char *name);

/* The folder papers/ to look in: `given`, or papers/ here, or that of the source tree this command was built in. */
pith_status paper_folder(const char *given, char *path, size_t size, pith_error *err);
/* Folders NN-name in there, sorted; each *names[i] and *names are the caller's to memory_free. */
pith_status paper_list(const char *papers, char ***names, size_t *count, pith_error *err);
/* Opens number N. */
pith_status paper_find(paper **out, const char *papers, int number, pith_error *err);

#endif
