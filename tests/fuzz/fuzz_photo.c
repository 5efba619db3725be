/* fuzz_photo.c - packed photographs: a section as it lies in a .pith, behind its hash.
 *
 * Aims at: src/picture/photo_codec.c src/picture/photo_stream.c */
#include "seed.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/container.h"
#include "file/source.h"
#include "picture/photo_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_context c;
    picture p;
    char name[PHOTO_NAME + 1];
    pith_context_default(&c);
    c.memory_limit = 1 << 16;
    if (photo_section_read(&c, (pith_bytes){(uint8_t *)(uintptr_t)data, size}, &p, name, NULL) != PITH_OK) return 0;
    (void)hash_bytes(p.samples.data, pith_tensor_bytes(&p.samples));
    picture_free(&p);
    return 0;
}

/* A picture of 7 x 6 through the method, and its section. */
static size_t packed(int channels, uint16_t type, uint8_t **data) {
    char path[64], out[80];
    const char *in = path;
    picture p = {.notes = {(uint8_t *)(uintptr_t) "\1gAMA\4\0\0\0\0\0\xb1\x8f", 13}};
    pith_source *s;
    pith_writer *w;
    pith_reader *r;
    pith_bytes section;
    seed_path(path, sizeof path, ".png");
    snprintf(out, sizeof out, "%.70s.pith", path);
    if (pith_tensor_new(&p.samples, type, 4, (int64_t[]){1, 6, 7, channels}, NULL) != PITH_OK) abort();
    for (uint64_t i = 0; i < pith_tensor_bytes(&p.samples); i++) ((uint8_t *)p.samples.data)[i] = (uint8_t)(i * 3);
    if (picture_save(path, false, &p, NULL) != PITH_OK || pith_source_open(&s, &in, 1, NULL, NULL) != PITH_OK ||
        pith_writer_open(&w, out, false, NULL) != PITH_OK ||
        photo_method.pack(NULL, s, NULL, (pith_target){0}, w, NULL, NULL) != PITH_OK ||
        pith_writer_commit(w, NULL) != PITH_OK || pith_reader_open(&r, out, NULL, NULL) != PITH_OK ||
        pith_reader_view(r, 0, &section, NULL) != PITH_OK)
        abort();
    size_t n = seed_bytes(section.data, section.size, data);
    pith_reader_close(r);
    pith_source_close(s);
    pith_tensor_release(&p.samples);
    unlink(out);
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
    return n;
}

size_t fuzz_seed(int k, uint8_t **data) { return k < 8 ? packed(k % 4 + 1, k < 4 ? PITH_U8 : PITH_U16, data) : 0; }
