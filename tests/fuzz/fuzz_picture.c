/* fuzz_picture.c - PNG, JPEG and PNM. PNG's own sums would stop nearly every mutation, so they are made right first.
 *
 * Aims at: src/file/picture.c src/file/picture_png.c src/file/picture_jpeg.c src/file/picture_pnm.c */
#include "seed.h"

#include "base/hash.h"
#include "file/picture.h"

#include <jpeglib.h>
#include <zlib.h>

static void parse(const uint8_t *data, size_t size) {
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 1 << 20;
    pith_tensor t;
    pith_status s = picture_parse((pith_bytes){(uint8_t *)data, size}, "fuzz", &c, &t, NULL);
    if (s == PITH_OK) (void)hash_bytes(t.data, pith_tensor_bytes(&t));
    pith_tensor_release(&t);
}

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void mend_png(uint8_t *p, size_t size) {
    for (size_t at = 8; size - at >= 12;) {
        uint64_t n = big32(p + at);
        if (n > size - at - 12) return;
        uint32_t sum = (uint32_t)crc32(0, p + at + 4, (unsigned)n + 4);
        for (int i = 0; i < 4; i++) p[at + 8 + n + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    parse(data, size);
    if (size < 8 || data[0] != 0x89) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    mend_png(copy, size);
    parse(copy, size);
    free(copy);
    return 0;
}

static size_t jpeg_seed(bool progressive, uint8_t **data) {
    struct jpeg_compress_struct j;
    struct jpeg_error_mgr e;
    j.err = jpeg_std_error(&e);
    jpeg_create_compress(&j);
    unsigned long size = 0;
    *data = NULL;
    jpeg_mem_dest(&j, data, &size);
    j.image_width = 9, j.image_height = 9, j.input_components = 3, j.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j);
    if (progressive) jpeg_simple_progression(&j);
    jpeg_start_compress(&j, TRUE);
    uint8_t row[27];
    for (int i = 0; i < 27; i++) row[i] = (uint8_t)(i * 90);
    for (int y = 0; y < 9; y++) jpeg_write_scanlines(&j, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    return size;
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const struct {
        const char *ending;
        int channels;
        uint16_t type;
    } seeds[] = {
        {".png", 1, PITH_U8}, {".png", 3, PITH_U8}, {".png", 4, PITH_U16}, {".pgm", 1, PITH_U16}, {".ppm", 3, PITH_U8}};
    enum { WRITTEN = sizeof seeds / sizeof seeds[0] };
    if (k == WRITTEN || k == WRITTEN + 1) return jpeg_seed(k > WRITTEN, data);
    if (k > WRITTEN + 1) return 0;
    char path[64];
    seed_path(path, sizeof path, seeds[k].ending);
    pith_tensor t;
    if (pith_tensor_new(&t, seeds[k].type, 3, (int64_t[]){5, 4, seeds[k].channels}, NULL) != PITH_OK) abort();
    memset(t.data, 77, 9);
    if (picture_write(path, false, &t, NULL) != PITH_OK) abort();
    pith_tensor_release(&t);
    return seed_take(path, data);
}
