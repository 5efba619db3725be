/* model/random.h - a llama of random weights: for measuring speed without a file. */
#ifndef MODEL_RANDOM_H
#define MODEL_RANDOM_H

#include "model/llama.h"

/* "377m" or "WIDTHxBLOCKSxFFNxHEADSxVOCAB". PITH_USAGE says what is wrong. */
pith_status llama_random_shape(decoder_config *c, const char *shape, pith_error *err);
/* Every matrix, embedding and head included, in `format`; width and ffn are multiples of its block (PITH_MISMATCH). */
pith_status llama_random(llama **m, const decoder_config *c, const pith_format *format, uint64_t seed, pith_error *err);

#endif
