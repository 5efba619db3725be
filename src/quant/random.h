/* quant/random.h - matrices of random valid blocks, for measuring and testing without a model. */
#ifndef QUANT_RANDOM_H
#define QUANT_RANDOM_H

#include "base/rng.h"
#include "quant/format.h"

/* rows x cols of a GGUF block type or plain float type, weights about zero with a root mean square of `size`. A few
 * thousand blocks are drawn and repeated. cols is a multiple of the block (PITH_MISMATCH). */
pith_status quant_random(const pith_format *format, int64_t rows, int64_t cols, float size, rng *random,
                         pith_packed *out, pith_error *err);

#endif
