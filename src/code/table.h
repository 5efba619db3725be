/* code/table.h - static tables over bytes: fitted to counts, written compactly, laid out for the bulk kernels. */
#ifndef CODE_TABLE_H
#define CODE_TABLE_H

#include "code/binary.h"
#include "code/bulk_kernels.h"

typedef struct pith_table {
    int bits;            /* masses sum to 1 << bits, BULK_MIN_BITS..BULK_MAX_BITS */
    uint16_t width[256]; /* 0: cannot be coded */
} pith_table;

/* Masses for counts (not all zero): every symbol counted gets at least 1, the rest as near to the optimum as integers
 * go. A symbol that alone holds everything gets 1 << bits. */
void table_fit(pith_table *t, const uint32_t counts[256], int bits);

/* Bits that coding `counts` takes with the table; with t NULL, with the ideal one. */
double table_cost(const pith_table *t, const uint32_t counts[256]);

/* Adds the bytes' counts. */
void table_count(uint32_t counts[256], const uint8_t *in, size_t n);

/* Writes t, with `before` (same bits, or NULL) as a hint the reader must have too. */
void table_write(binary_encoder *e, const pith_table *t, const pith_table *before);
/* False: no table (masses do not sum up). Reads at most a bounded number of bits whatever the input. */
bool table_read(binary_decoder *d, pith_table *t, int bits, const pith_table *before);

/* One block of memory with all that the kernels want of `count` tables of the same bits; false: out of memory. */
bool table_bank_new(bulk_bank *bank, const pith_table *tables, size_t count, bool decoding);
void table_bank_free(bulk_bank *bank);

#endif
