/* file/picture_formats.h - one reader and writer a picture format, for picture.c alone. */
#ifndef FILE_PICTURE_FORMATS_H
#define FILE_PICTURE_FORMATS_H

#include "file/output.h"
#include "file/picture.h"

/* A zeroed tensor (1,height,width,channels), after a look at the memory limit. */
pith_status picture_new(const pith_context *c, const char *where, uint16_t type, uint64_t height, uint64_t width,
                        int channels, pith_tensor *out, pith_error *err);

/* notes: as in picture.h, the caller's (memory_free); NULL: not wanted. */
pith_status picture_read_png(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                             pith_bytes *notes, pith_error *err);
pith_status picture_read_jpeg(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                              pith_error *err);
pith_status picture_read_pnm(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                             pith_error *err);

typedef struct picture_view { /* what writers see */
    uint16_t type;
    uint32_t height, width;
    int channels;
    const uint8_t *data;
    pith_bytes notes;
} picture_view;
pith_status picture_write_png(output *o, const char *where, picture_view v, pith_error *err);
pith_status picture_write_pnm(output *o, picture_view v, pith_error *err);

#endif
