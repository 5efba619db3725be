/* code/delta_way.h - floating-point words as differences from a base of the same type: the next checkpoint, a model
 * that was trained on.
 *
 * Bit patterns, ordered as numbers are, are integers; what is coded is the size of their difference in the context of
 * the base's exponent, since an update of one size moves a small weight by many steps and a large one by few. */
#ifndef CODE_DELTA_WAY_H
#define CODE_DELTA_WAY_H

#include "pith/status.h"

/* Words of `width` 2 or 4 bytes with `mantissa` bits below the exponent; base has the size of in (out). */
pith_status delta_encode(pith_bytes in, const uint8_t *base, int width, int mantissa, pith_bytes *out, pith_error *err);
pith_status delta_decode(pith_bytes in, const uint8_t *base, int width, int mantissa, pith_bytes out, pith_error *err);

#endif
