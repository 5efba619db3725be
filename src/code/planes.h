/* code/planes.h - sets of byte planes, each kept raw, by the bulk coder or by zstd, whichever is smallest.
 *
 * For fields of packed weights (codes, scales, mins), bytes of words, and anything else that lies better apart. */
#ifndef CODE_PLANES_H
#define CODE_PLANES_H

#include "pith/status.h"

enum { PLANES_RAW, PLANES_BULK, PLANES_ZSTD };

/* out->data: caller's to memory_free. */
pith_status planes_encode(const pith_bytes *planes, size_t count, pith_bytes *out, pith_error *err);
/* Fills planes[i].data with exactly planes[i].size bytes. TRUNCATED, CORRUPT for what no encoder wrote. */
pith_status planes_decode(pith_bytes in, const pith_bytes *planes, size_t count, pith_error *err);

/* Word k of n words of `width` bytes to plane k mod width, and back; both sides are n * width bytes. */
void planes_split(const uint8_t *in, size_t n, int width, uint8_t *out);
void planes_join(const uint8_t *in, size_t n, int width, uint8_t *out);

/* One run of bytes by zstd; a high level only where a look at a part says that it may come below `rival` bytes, else
 * out is empty. Decoding checks the size. */
pith_status planes_zstd(pith_bytes in, size_t rival, pith_bytes *out, pith_error *err);
pith_status planes_unzstd(pith_bytes in, pith_bytes out, pith_error *err);

#endif
