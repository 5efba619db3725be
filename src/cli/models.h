/* cli/models.h - what the verbs about model files share: tables of tensors and standard input as a file. */
#ifndef CLI_MODELS_H
#define CLI_MODELS_H

#include "cli/command.h"
#include "file/model_source.h"

/* "tensors", "file_bytes" and "bits_per_weight" of the result; `list`: also a line a tensor on standard output. */
pith_status models_report(command *c, model_source *s, bool list, pith_error *err);
/* Tensors' elements in all. */
double models_weights(const model_source *s);

/* Standard input in a file, so that it can be mapped. The caller unlinks and frees *path (memory_free). */
pith_status models_from_stdin(const pith_context *c, char **path, pith_error *err);
/* The operand, or a file with standard input for "-". *temporary is what models_done removes; NULL: nothing. */
pith_status models_input(const command *c, const char *operand, const char **path, char **temporary, pith_error *err);
void models_done(char *temporary);

#endif
