/* code/bulk.h - many bytes at once: interleaved rANS with static tables chosen block by block.
 *
 * For codes, planes and other bytes whose order matters little. A stream is cut into chunks of 4 MiB that decode
 * independently (and in parallel); a chunk into blocks of 64 KiB, each with the table of the block before or its own,
 * whichever takes fewer bytes. A chunk that does not shrink is kept raw, one of a single value takes two bytes. */
#ifndef CODE_BULK_H
#define CODE_BULK_H

#include "pith/status.h"

/* Table bits: the finer, the slower. Above BULK_FAST states are fine ones (rans.h), which lose nothing by rounding. */
enum { BULK_FAST = 12, BULK_PRECISE = 14, BULK_MOST_PRECISE = 15 };
enum { BULK_CHUNK = 1 << 22, BULK_BLOCK = 1 << 16 };

/* out->data is the caller's to memory_free. Cost: about a nanosecond a byte. */
pith_status bulk_encode(pith_bytes in, int bits, pith_bytes *out, pith_error *err);

/* Decodes exactly out.size bytes into out.data; all of `in` must be used. Chunks in parallel, no allocation beyond one
 * table a chunk. TRUNCATED, CORRUPT where it does not end well: then out's content is undefined. */
pith_status bulk_decode(pith_bytes in, pith_bytes out, pith_error *err);

/* One chunk (at most BULK_CHUNK bytes) without a length before it, for callers that keep their own index. */
pith_status bulk_encode_chunk(pith_bytes in, int bits, pith_bytes *out, pith_error *err);
pith_status bulk_decode_chunk(pith_bytes in, pith_bytes out, pith_error *err);

#endif
