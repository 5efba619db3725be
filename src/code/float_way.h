/* code/float_way.h - floating-point arrays without loss: exponents in the context of row, column and neighbor.
 *
 * An element splits into sign, level (exponent and two bits of mantissa) and the rest of the mantissa, which is noise
 * and stays as it is. Levels of a matrix spread around the scale of their row, column and, in a convolution, kernel
 * position: these three are written beforehand (where they pay), and what is coded is the distance to their sum, with
 * tables shared by all arrays of a group. In kernels the neighbors already known add a class, and predict the sign. */
#ifndef CODE_FLOAT_WAY_H
#define CODE_FLOAT_WAY_H

#include "pith/status.h"

/* One array, C order: rows x inner x kernel elements. Rows and inner at most 2^20 elements in all (see float_cut). */
typedef struct float_piece {
    uint16_t type; /* PITH_F32, PITH_F16 or PITH_BF16 */
    uint32_t rows, inner, kernel;
    uint8_t *data; /* encoding reads, decoding writes; rows * inner * kernel elements */
} float_piece;

enum { FLOAT_PIECE = 1 << 20, FLOAT_KERNEL = 64 }; /* most elements of a piece; largest kernel told from a row */

bool float_type(uint16_t type);

/* Cuts an array of that shape into pieces; returns how many. `pieces` may be NULL to count. */
size_t float_cut(uint16_t type, int rank, const int64_t *shape, uint8_t *data, float_piece *pieces);

/* Bytes the piece takes, without tables and headers; exact to about a percent. */
double float_guess(const float_piece *p);

/* What may be modeled; each is used only where it pays. Less than all is for measuring what each gains. */
enum float_context {
    FLOAT_ROWS = 1, /* scales of rows */
    FLOAT_COLUMNS = 2,
    FLOAT_POSITIONS = 4, /* in kernels */
    FLOAT_NEIGHBORS = 8, /* choose tables in kernels */
    FLOAT_NEIGHBOR_SIGNS = 16,
    FLOAT_ALL_CONTEXTS = 31
};

/* All pieces into one run of bytes (out->data: caller's to memory_free); 11 bytes of memory an element meanwhile. */
pith_status float_encode(const float_piece *pieces, size_t count, unsigned contexts, pith_bytes *out, pith_error *err);
/* The same pieces back. TRUNCATED or CORRUPT for what no encoder wrote; writes nothing outside the pieces' data. */
pith_status float_decode(pith_bytes in, const float_piece *pieces, size_t count, pith_error *err);

#endif
