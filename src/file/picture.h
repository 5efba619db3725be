/* file/picture.h - still pictures: PNG, PGM/PPM (read and written), JPEG (read).
 *
 * A picture is a tensor (1,H,W,C) of u8 or u16: C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Samples are
 * those of the file: no color management, no gamma, no orientation. */
#ifndef FILE_PICTURE_H
#define FILE_PICTURE_H

#include "tensor/tensor.h"

/* Told apart by their first bytes. The caller releases *out. Palettes are expanded, less than 8 bits too. PITH_LIMIT
 * when the samples exceed c->memory_limit (looked at before allocating; c may be NULL); PITH_UNSUPPORTED for CMYK JPEG,
 * for PNM with a maximum other than 255 and 65535, and for what is no picture. */
pith_status picture_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err);
/* The same from memory; `where` is for messages. */
pith_status picture_parse(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out, pith_error *err);
/* Format by the end of path: .png, .pgm (C 1), .ppm (C 3), .pnm (either). t: (1,H,W,C) or (H,W,C), u8 or u16. */
pith_status picture_write(const char *path, bool replace, const pith_tensor *t, pith_error *err);

/* A picture and what its PNG says of it besides samples. `notes`: one after another u8 place (1 before the palette, 2
 * before the samples, 8 after them), 4 letters, u32 little-endian length, data, of each ancillary chunk that stays true
 * when samples are written anew; empty for other formats. */
typedef struct picture {
    pith_tensor samples;
    pith_bytes notes;
} picture;
/* Like picture_read; the caller frees *out. PITH_UNSUPPORTED also for animated PNG, of which only one frame would stay.
 */
pith_status picture_load(const char *path, const pith_context *c, picture *out, pith_error *err);
/* Like picture_write; notes go into PNG only. PITH_CORRUPT where they are not as described above. */
pith_status picture_save(const char *path, bool replace, const picture *p, pith_error *err);
void picture_free(picture *p);           /* safe on zeroed */
bool picture_has_name(const char *path); /* does it end like a picture that picture_read reads? */

#endif
