/* quant/block.h - what the block types of GGUF have in common.
 *
 * Every one of them is a fixed run of bytes for a fixed run of weights: codes, perhaps small scales and minima of
 * sub-blocks, one or two half floats. A family file says how its bytes map to these fields and how fields become
 * weights; reading, multiplying, splitting for entropy coding and packing are then the same for all and stand here.
 * Arithmetic of decode is that of ggml's reference, operation for operation, so that values agree to the bit. */
#ifndef QUANT_BLOCK_H
#define QUANT_BLOCK_H

#include "quant/activation.h"
#include "quant/format.h"
#include "quant/search.h"
#include "quant/strip.h"

enum { BLOCK_MAX = 256 };

typedef struct block_fields {
    uint8_t code[BLOCK_MAX]; /* one per weight, in the order of the weights (TQ1_0: the packed bytes themselves) */
    uint8_t scale[16];       /* per sub-block, as stored (bias included) */
    uint8_t min[16];
    uint16_t d, dmin; /* half floats; a power of two of MXFP4 is scale[0] */
} block_fields;

typedef struct block_codec {
    pith_format format; /* first: a pith_format of a block type is the start of its codec */
    uint16_t codes;     /* bytes of each field that a block has */
    uint8_t scales, mins, halves;
    void (*take)(const uint8_t *block, block_fields *f); /* bytes to fields; a bijection */
    void (*put)(const block_fields *f, uint8_t *block);
    void (*gather)(block_fields *f); /* one code a weight to the codes of take; NULL where they are the same */
    void (*decode)(const block_fields *f, float *out); /* format.block weights */
    search_plan plan;                                  /* how pack looks for the fields */
} block_codec;

/* The members of pith_format that all block types share. */
pith_status block_check(const pith_packed *p, pith_error *err);
void block_to_f32(const pith_packed *p, int64_t row, int64_t rows, float *out);
int block_split(const pith_packed *p, int part, int64_t row, int64_t rows, pith_bytes plane[PITH_PLANES]);
pith_status block_join(pith_packed *p, int part, int64_t row, int64_t rows, const pith_bytes plane[PITH_PLANES],
                       pith_error *err);
pith_status block_pack(const block_codec *codec, const pith_context *c, const pith_pack_input *in, pith_packed *out,
                       pith_error *err);

/* Where a check of shapes or options of a one-part format stands for all of them. */
pith_status quant_check_part(const pith_packed *p, pith_error *err);
pith_status quant_new_part(const pith_format *format, const pith_pack_input *in, pith_packed *out, pith_error *err);
pith_status quant_not_finite(const pith_pack_input *in, int64_t index, pith_error *err);

/* The same weights two bits each; false where blocks hold bytes that no packer writes and so would not come back. */
bool quant_tq1_0_to_tq2_0(const uint8_t *block, uint8_t *out);
void quant_tq2_0_to_tq1_0(const uint8_t *block, uint8_t *out);

static inline uint16_t block_load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline void block_store16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8); }

/* What the format of a block type starts with. One that has kernels of its own names them after it in the initializer:
 * activation, prepare, restore, mul, row_align. */
#define BLOCK_PACKER(type)                                                                             \
    extern const block_codec quant_##type;                                                             \
    static pith_status type##_pack(const pith_context *c, const pith_pack_input *in, pith_packed *out, \
                                   pith_error *err) {                                                  \
        return block_pack(&quant_##type, c, in, out, err);                                             \
    }
#define BLOCK_FORMAT(type, type_id, gguf_id, size, bytes)                                                       \
    .name = #type, .part_name = {"blocks"}, .id = (type_id),                                                    \
    .activation = (int)(size) < (int)ACTIVATION_BLOCK ? ACTIVATION_Q8 : ACTIVATION_Q8_BLOCK, .gguf = (gguf_id), \
    .block = (size), .block_bytes = (bytes), .check = block_check, .pack = type##_pack, .to_f32 = block_to_f32, \
    .prepare = strip_prepare, .restore = strip_restore, .mul = strip_mul, .row_align = STRIP_ROWS,              \
    .split = block_split, .join = block_join

#endif
