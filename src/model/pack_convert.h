/* model/pack_convert.h - one tensor into another type. */
#ifndef MODEL_PACK_CONVERT_H
#define MODEL_PACK_CONVERT_H

#include "tensor/tensor.h"

/* `type`: a row of pith_types[] that pith_formats[] knows too. importance: [columns] or NULL. Slab by slab: 16 MiB of
 * memory beside the result. `name` is for error texts. */
pith_status pack_convert(const pith_context *c, const pith_tensor *in, uint16_t type, const float *importance,
                         const char *name, pith_tensor *out, pith_error *err);

#endif
