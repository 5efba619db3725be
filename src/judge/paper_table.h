/* judge/paper_table.h - a result as Markdown, and the part of a paper's README that is made of it.
 *
 * "tables" of a recipe: {"title", "columns": [{"head", "digits", "value"}], "rows"}. A row is the name of an arm, whose
 * cells are the columns' values (names that begin with "." are the arm's), or a list: what the row is called, then an
 * expression for each column. An empty text is an empty cell; what was not measured is "-". */
#ifndef JUDGE_PAPER_TABLE_H
#define JUDGE_PAPER_TABLE_H

#include "judge/paper.h"

#define PAPER_TABLE_BEGIN "<!-- begin: pith papers table --write -->"
#define PAPER_TABLE_END "<!-- end: pith papers table -->"

/* The paper's own result.json; PITH_NOT_FOUND when it has none yet. The caller drops it with json_decref. */
pith_status paper_result(const paper *p, json_t **out, pith_error *err);
/* Tables, claims and where they come from; terminated, the caller's to free(). */
pith_status paper_table(const paper *p, const json_t *result, char **out, pith_error *err);
/* The README with `table` between its marks, terminated, the caller's to free(); PITH_CORRUPT without marks. *same: it
 * stood there already. */
pith_status paper_readme(const paper *p, const char *table, char **out, bool *same, pith_error *err);

#endif
