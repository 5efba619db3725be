/* picture/photo_codec.h - the method "photo", for the table in src/methods.c. */
#ifndef PICTURE_PHOTO_CODEC_H
#define PICTURE_PHOTO_CODEC_H

#include "file/picture.h"
#include "pith/method.h"

enum { PHOTO_NAME = 200 };

/* One section of a packed file: the picture, which the caller frees, and its name. For tests; unpack does the same. */
pith_status photo_section_read(const pith_context *c, pith_bytes section, picture *out, char name[PHOTO_NAME + 1],
                               pith_error *err);

extern const pith_method photo_method;

#endif
