/* train/recipe.h - a training recipe: a JSON file whose keys are option rows, nested objects joined by dots.
 *
 * {"steps": 100, "optimizer": {"rate": 0.001}} sets the options "steps" and "optimizer.rate"; --set
 * optimizer.rate=0.002 sets the same row later, with the same checks. Errors name the line. */
#ifndef TRAIN_RECIPE_H
#define TRAIN_RECIPE_H

#include "pith/options.h"

typedef struct recipe recipe;

/* Reads `path`. The tables are those of every recipe plus those its "task" and "net.kind" name (train/tables.c). Then
 * applies each "key=value" of `set`. */
pith_status recipe_open(recipe **r, const char *path, const char *const *set, size_t set_count, pith_error *err);
void recipe_free(recipe *r); /* safe on NULL */
const pith_values *recipe_values(const recipe *r);
const char *recipe_path(const recipe *r);
/* Line of the recipe where dotted key `name` stands, 0 when it is not there. */
int recipe_line(const recipe *r, const char *name);
/* Fails with the recipe's name and the key's line in the text: "line 7: data.files: expected ...". */
#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
pith_status
recipe_fail(const recipe *r, pith_error *err, pith_status status, const char *name, const char *fmt, ...);
/* Hash of all values in force, whatever their source: a checkpoint belongs to one such set. `steps` and what does not
 * change the weights of a step (checkpoint_every, threads, evaluate_every ...) are left out. */
uint64_t recipe_fingerprint(const recipe *r);

typedef struct recipe_table {
    const char *key, *value; /* the table applies where option `key` has this value; key NULL: always */
    const pith_option *rows;
    size_t count;
} recipe_table;

extern const recipe_table recipe_tables[]; /* ends with rows NULL; train/tables.c */

#endif
