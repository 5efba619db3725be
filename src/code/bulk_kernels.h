/* code/bulk_kernels.h - the inner loops of the bulk coder, one table of functions an instruction set.
 *
 * `lanes` states of 32 bits; symbol i belongs to lane i mod lanes, so that a run always starts with lane 0: all runs of
 * a stream but the last are multiples of the lanes. Words are 16 bits. Each symbol may use its own table: table
 * index[i] of a bank that lies table after table (index NULL: the first). Same words on every instruction set. */
#ifndef CODE_BULK_KERNELS_H
#define CODE_BULK_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { BULK_MIN_BITS = 10, BULK_MAX_BITS = 15, BULK_SLOT_BITS = 12, BULK_LANES = 64 };

/* A bank of tables of 1 << bits points. Up to 12 bits the decoder reads `slots` (symbol | width - 1 << 8 | point -
 * start << 20), 1 << bits a table; above, `symbols` (a byte a point) and then `masses`. 256 masses a table: width - 1
 * in the low half, start in the high one; only the symbols that occur are looked up. */
typedef struct bulk_bank {
    int bits;
    const uint32_t *slots;  /* bits <= BULK_SLOT_BITS */
    const uint8_t *symbols; /* else; readable 3 bytes beyond its end */
    const uint32_t *masses;
} bulk_bank;

typedef struct bulk_kernels {
    /* Decodes n symbols, reading words from p on; past `end` it reads zeros. Returns where the next word is read. */
    const uint8_t *(*decode)(const bulk_bank *bank, const uint8_t *index, uint32_t *state, int lanes, const uint8_t *p,
                             const uint8_t *end, uint8_t *out, size_t n);
    /* Encodes n symbols backward, putting words before p, where 2 n + 64 bytes are writable. Returns the new front. */
    uint8_t *(*encode)(const bulk_bank *bank, const uint8_t *index, uint32_t *state, int lanes, uint8_t *p,
                       const uint8_t *in, size_t n);
} bulk_kernels;

/* The same with one table of more than BULK_SLOT_BITS and fine states (rans.h); encoding wants 2 n + 64 bytes, too. */
typedef struct bulk_fine_kernels {
    const uint8_t *(*decode)(const bulk_bank *bank, uint32_t *state, int lanes, const uint8_t *p, const uint8_t *end,
                             uint8_t *out, size_t n);
    uint8_t *(*encode)(const bulk_bank *bank, uint32_t *state, int lanes, uint8_t *p, const uint8_t *in, size_t n);
} bulk_fine_kernels;

#endif
