/* picture/photo_stream.h - the samples of a photograph as bytes: tiles, coded and decoded in parallel. */
#ifndef PICTURE_PHOTO_STREAM_H
#define PICTURE_PHOTO_STREAM_H

#include "tensor/tensor.h"

/* t: (1,H,W,C) of u8 or u16, C 1 to 4. The bytes are the caller's (memory_free). PITH_NO_MEMORY. */
pith_status photo_encode(const pith_context *c, const pith_tensor *t, pith_bytes *out, pith_error *err);

/* Into t, which has the shape and type of what was encoded. PITH_CORRUPT where the bytes are not an encoder's, or
 * become other samples than were encoded; PITH_LIMIT where they are too few for so large a picture. */
pith_status photo_decode(const pith_context *c, pith_bytes in, pith_tensor *t, pith_error *err);

/* What decoding in `in.size` bytes may claim: samples at most. An encoder's streams are always within. */
uint64_t photo_samples_limit(uint64_t bytes);

#endif
