/* code/copy_way.h - repeats inside an array of floating-point words, also backward and with other signs.
 *
 * Transform bases, windows, padded and shared tables repeat their magnitudes in both directions: cos(x) = cos(-x),
 * sin(x) = -sin(-x). What byte-wise LZ cannot see there is a plain copy of words without their signs. */
#ifndef CODE_COPY_WAY_H
#define CODE_COPY_WAY_H

#include "pith/status.h"

typedef struct copy_parts { /* caller frees all three with memory_free */
    pith_bytes script;      /* numbers (7 bits a byte): literals, then length, then distance * 2 + backward */
    pith_bytes signs;       /* a bit a copied word: set where its source has the other sign */
    pith_bytes literals;    /* words that are not copied */
} copy_parts;

/* Words of 2 or 4 bytes with the sign on top. */
pith_status copy_encode(pith_bytes in, int width, copy_parts *out, pith_error *err);
/* out: as many bytes as went in. CORRUPT where the script leaves its arrays or the parts have other sizes. */
pith_status copy_decode(const copy_parts *in, int width, pith_bytes out, pith_error *err);

#endif
