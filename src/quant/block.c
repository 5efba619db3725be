/* quant/block.c - reading and splitting of block types, from their fields. */
#include "quant/block.h"

#include "base/memory.h"

#include <string.h>

static const block_codec *codec_of(const pith_packed *p) { return (const block_codec *)p->format; }

pith_status block_check(const pith_packed *p, pith_error *err) {
    return quant_check_part(p, err); /* any bytes are a block: no field indexes memory */
}

void block_to_f32(const pith_packed *p, int64_t row, int64_t rows, float *out) {
    const block_codec *codec = codec_of(p);
    const uint8_t *block = (const uint8_t *)p->part[0].data + row * p->part[0].row_bytes;
    int64_t blocks = rows * (p->cols / codec->format.block);
    for (int64_t b = 0; b < blocks; b++) {
        block_fields f;
        codec->take(block + b * codec->format.block_bytes, &f);
        codec->decode(&f, out + b * codec->format.block);
    }
}

/* One plane of a block: a run of bytes inside block_fields. */
typedef struct plane_span {
    size_t at, size;
} plane_span;

static int planes_of(const block_codec *codec, plane_span span[PITH_PLANES]) {
    int n = 0;
    span[n++] = (plane_span){offsetof(block_fields, code), codec->codes};
    if (codec->scales) span[n++] = (plane_span){offsetof(block_fields, scale), codec->scales};
    if (codec->mins) span[n++] = (plane_span){offsetof(block_fields, min), codec->mins};
    static const size_t half[2] = {offsetof(block_fields, d), offsetof(block_fields, dmin)};
    for (int h = 0; h < codec->halves; h++)
        for (size_t byte = 0; byte < 2; byte++) span[n++] = (plane_span){half[h] + byte, 1};
    return n;
}

int block_split(const pith_packed *p, int part, int64_t row, int64_t rows, pith_bytes plane[PITH_PLANES]) {
    const block_codec *codec = codec_of(p);
    plane_span span[PITH_PLANES];
    int n = planes_of(codec, span);
    size_t blocks = (size_t)(rows * (p->cols / codec->format.block));
    for (int k = 0; k < n; k++) {
        plane[k] = (pith_bytes){memory_alloc(blocks * span[k].size), blocks * span[k].size};
        if (plane[k].data) continue;
        while (k-- > 0) memory_free(plane[k].data);
        return -1;
    }
    const uint8_t *block = (const uint8_t *)p->part[part].data + row * p->part[part].row_bytes;
    for (size_t b = 0; b < blocks; b++) {
        block_fields f;
        codec->take(block + b * codec->format.block_bytes, &f);
        for (int k = 0; k < n; k++)
            memcpy(plane[k].data + b * span[k].size, (const uint8_t *)&f + span[k].at, span[k].size);
    }
    return n;
}

pith_status block_join(pith_packed *p, int part, int64_t row, int64_t rows, const pith_bytes plane[PITH_PLANES],
                       pith_error *err) {
    const block_codec *codec = codec_of(p);
    plane_span span[PITH_PLANES];
    int n = planes_of(codec, span);
    size_t blocks = (size_t)(rows * (p->cols / codec->format.block));
    for (int k = 0; k < n; k++)
        if (plane[k].size != blocks * span[k].size)
            return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %zu bytes in plane %d of %s, found %zu",
                             blocks * span[k].size, k, codec->format.name, plane[k].size);
    uint8_t *block = (uint8_t *)p->part[part].data + row * p->part[part].row_bytes;
    for (size_t b = 0; b < blocks; b++) {
        block_fields f = {.d = 0};
        for (int k = 0; k < n; k++) memcpy((uint8_t *)&f + span[k].at, plane[k].data + b * span[k].size, span[k].size);
        codec->put(&f, block + b * codec->format.block_bytes);
    }
    return PITH_OK;
}
