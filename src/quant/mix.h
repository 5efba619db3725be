/* quant/mix.h - which format each tensor of a model gets.
 *
 * A format's name ("q4_k") means that format for every matrix, embedding and head included. A name with _s, _m or _l is
 * a mix as llama.cpp makes it: sensitive matrices get more bits. Where llama.cpp's own name has no such ending it gets
 * _m here: its Q2_K is q2_k_m, its Q4_0, which keeps the head at more bits, q4_0_m. */
#ifndef QUANT_MIX_H
#define QUANT_MIX_H

#include "quant/format.h"

typedef struct mix_model { /* what the choice depends on; zeros where unknown */
    int layers;
    int heads, kv_heads;
    bool tied;       /* no "output.weight": the embedding is also the head */
    bool importance; /* of weights is known */
} mix_model;

typedef struct mix_choice {
    uint16_t type;   /* what to store; the tensor's own type where it is to be left alone */
    uint16_t wanted; /* differs from `type` where the columns are no multiple of its block */
} mix_choice;

typedef struct pith_mix pith_mix;

/* `name`: a format or mix, any case. rules: "REGEX=FORMAT", POSIX extended, searched for in the tensor's name; the
 * first that matches decides. PITH_USAGE names what is known. */
pith_status pith_mix_open(pith_mix **m, const char *name, const char *const *rules, size_t rule_count,
                          const mix_model *model, pith_error *err);
void pith_mix_free(pith_mix *m); /* safe on NULL */

/* For a tensor with its GGUF name. Vectors and scalars of floats become f32, matrices whose name says they are no
 * weight of a product (norms, positions, routers) and all that is not float keep their type `own`, unless a rule names
 * them. Fallback where columns do not divide: 256-blocks to a 32-block (q4_k q5_0, q5_k q5_1, q6_k q8_0, q2_k q3_k
 * iq4_xs iq4_nl, tq1_0 tq2_0 q4_0), and that, as all 32-blocks, to f16. */
mix_choice pith_mix_choose(const pith_mix *m, const char *tensor, uint16_t own, int rank, const int64_t *shape);

const char *pith_mix_name(size_t i);      /* names of the mixes, NULL past the last; formats stand in pith_formats[] */
int pith_mix_file_type(const char *name); /* GGUF's general.file_type; -1 where it has none */

#endif
