/* picture/photo_tile.h - one tile of a photograph to bytes and back. */
#ifndef PICTURE_PHOTO_TILE_H
#define PICTURE_PHOTO_TILE_H

#include "pith/status.h"

enum {
    PHOTO_CHANNELS = 4,
    PHOTO_EDGE = 4, /* columns and rows outside of the tile that its planes hold, to the left, to the right, above */
};

typedef struct photo_tile {
    int32_t width, rows, channels; /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha */
    int32_t largest;               /* sample: 255 or 65535 */
    /* Samples in the order they are coded in, [plane][row][column] with edges on all four sides; the edges are the
     * coder's. */
    uint16_t *planes;
    size_t stride, plane_size; /* in samples, of a row and of a plane */
} photo_tile;

typedef struct photo_kernels {
    /* Tile to bytes, which are the caller's (memory_free). False: out of memory. */
    bool (*encode)(const photo_tile *tile, pith_bytes *out);
    /* Bytes to planes. PITH_CORRUPT where no encoder wrote them. */
    pith_status (*decode)(pith_bytes in, photo_tile *tile);
} photo_kernels;

#endif
