/* code/code.h - a model names an interval of 2^bits integer mass; a coder turns intervals into bytes.
 *
 * Neither knows the other. The encoder only records (models run forward, rANS codes backward at close), so any model
 * meets any coder. All that decides a probability is integer arithmetic: the same stream on every machine. */
#ifndef CODE_CODE_H
#define CODE_CODE_H

#include "pith/status.h"

typedef struct pith_mass { /* width >= 1, start + width <= 1u << bits */
    uint32_t start, width;
} pith_mass;

enum { PITH_MASS_MAX_BITS = 24 }; /* rANS32: 16, range and rANS64: 24 */

enum pith_coder { PITH_CODER_RANGE, PITH_CODER_RANS64, PITH_CODER_RANS32 }; /* numbers stand in files: append only */

typedef struct pith_encoder pith_encoder;
typedef struct pith_decoder pith_decoder;

/* lanes: 1 for PITH_CODER_RANGE, up to 64 interleaved states for the others (symbol i belongs to lane i mod lanes). */
pith_status pith_encoder_open(pith_encoder **e, int coder, int lanes, pith_error *err);
void pith_encode(pith_encoder *e, pith_mass m, int bits);
void pith_encode_raw(pith_encoder *e, uint32_t value, int bits); /* bits <= 24, equiprobable */
/* Ends an item and returns the bit position of the next one, a multiple of 8: decoding may start there. Costs half a
 * byte with the range coder, 8 (RANS64) or 4 bytes a lane with the others; nothing where no symbol came since the last
 * mark. Close marks, too. */
uint64_t pith_encoder_mark(pith_encoder *e);
/* Caller frees out->data with memory_free; e is freed always. Out of memory while recording is reported here. */
pith_status pith_encoder_close(pith_encoder *e, pith_bytes *out, pith_error *err);

/* Decoding cannot fail between symbols: past the end it reads zeros. close and mark tell. `in` is borrowed. */
pith_status pith_decoder_open(pith_decoder **d, int coder, int lanes, pith_bytes in, pith_error *err);
uint32_t pith_decode_point(pith_decoder *d, int bits);         /* < 1 << bits */
void pith_decode_take(pith_decoder *d, pith_mass m, int bits); /* m must hold the point */
uint32_t pith_decode_raw(pith_decoder *d, int bits);
/* Where the encoder marked: checks that the item ended well (TRUNCATED, CORRUPT), goes on with the next. */
pith_status pith_decoder_mark(pith_decoder *d, pith_error *err);
void pith_decoder_seek(pith_decoder *d, uint64_t mark); /* to an item's first bit, as pith_encoder_mark told it */
/* Marks, and all input must have been used. d is freed always. To stop early, memory_free(d) will do. */
pith_status pith_decoder_close(pith_decoder *d, pith_error *err);

typedef struct pith_model { /* integers only; no float reaches these four */
    int bits;
    pith_mass (*mass)(const void *self, uint32_t symbol);
    uint32_t (*find)(const void *self, uint32_t point, pith_mass *m);
    void (*update)(void *self, uint32_t symbol); /* NULL: static */
} pith_model;

#endif
