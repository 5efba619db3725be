/* quant/strip.h - block types laid out for multiplication: strips of sixteen rows whose bytes lie side by side.
 *
 * Vector lanes are rows, so that no sum goes across lanes and one input is a broadcast for sixteen weights. Nothing is
 * decoded: the bytes of a block are only transposed among its sixteen rows, whole fields at a time, and a strip is as
 * large as its rows in the file (TQ1_0: as in a file of TQ2_0). First all heads (scales: units of one or two bytes),
 * then all codes (units of four bytes: one lane of a 64-byte vector), each block after the other. */
#ifndef QUANT_STRIP_H
#define QUANT_STRIP_H

#include "quant/format.h"

enum { STRIP_ROWS = 16, STRIP_FIELDS = 4 };

typedef struct strip_layout {
    struct strip_field {
        uint8_t at, bytes, unit; /* in the block; unit 4: codes, else heads; heads stand first */
    } field[STRIP_FIELDS];       /* ends at bytes 0 */
    uint8_t head, code;          /* bytes of both kinds */
} strip_layout;

const strip_layout *strip_layout_of(uint16_t type);
/* Bytes of a strip of `blocks` blocks, and of its heads with what aligns the codes to 64. */
int64_t strip_bytes(const strip_layout *l, int64_t blocks);
int64_t strip_heads(const strip_layout *l, int64_t blocks);

/* For pith_format: prepare builds the strips, restore reads blocks back from them; mul takes ACTIVATION_Q8 or _Q8_BLOCK
 * and works without strips too, slowly. */
pith_status strip_prepare(const pith_packed *p, pith_buffer **fast, pith_error *err);
void strip_restore(const pith_packed *p, const pith_buffer *fast, int64_t row, int64_t rows, void *out);
void strip_mul(const pith_packed *p, const pith_buffer *fast, const void *x, int64_t n, int64_t row, int64_t rows,
               float *y, int64_t ldy);

/* The strips from `strip` on hold `rows` rows of `cols` weights; y begins at the first of them. */
typedef struct strip_call {
    const uint8_t *strip;
    int64_t heads, bytes; /* of a strip */
    int64_t cols, rows;
    const uint8_t *x; /* ACTIVATION_Q8 or _Q8_BLOCK, n rows */
    int64_t n;
    float *y;
    int64_t ldy;
} strip_call;

/* Kernels of one file under isa/ by type; NULL: another file's. */
struct strip_kernels {
    void (*mul[PITH_TYPES])(const strip_call *c);
};

#endif
