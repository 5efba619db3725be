/* model/pack_reader.h - a packed model as a source like any other, and what only .pith can tell of itself. */
#ifndef MODEL_PACK_READER_H
#define MODEL_PACK_READER_H

#include "file/model_source.h"
#include "model/pack_payload.h"

/* For the table in src/model_readers.c. Tensors are expanded when they are loaded, a group of them at a time, as they
 * were packed: block types stay block types. */
extern const model_reader packed_reader;

/* The rest is for a source whose format is "pith". */
const char *pack_origin(const model_source *s); /* "gguf": format it was packed from */
/* Coder and bytes of each tensor: coding [s->count]. Sums of pieces where a tensor is cut. */
pith_status pack_codings(model_source *s, pack_coding *coding, pith_error *err);
/* Every hash and all padding. */
pith_status pack_check(model_source *s, const pith_context *c, pith_error *err);

#endif
