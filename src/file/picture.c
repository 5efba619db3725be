/* file/picture.c - which picture format a file is in, and the tensor it becomes. */
#include "file/picture.h"

#include "base/memory.h"
#include "file/picture_formats.h"

#include <string.h>
#include <strings.h>

pith_status picture_new(const pith_context *c, const char *where, uint16_t type, uint64_t height, uint64_t width,
                        int channels, pith_tensor *out, pith_error *err) {
    if (!height || !width || height > INT32_MAX || width > INT32_MAX)
        return pith_fail(err, PITH_CORRUPT, where, -1, "expected a picture with pixels, found %llu x %llu",
                         (unsigned long long)width, (unsigned long long)height);
    int64_t shape[] = {1, (int64_t)height, (int64_t)width, channels};
    uint64_t bytes;
    pith_tensor layout;
    pith_status s = pith_tensor_layout(&layout, type, 4, shape, &bytes, err);
    if (s != PITH_OK) return s;
    if (c && bytes > c->memory_limit)
        return pith_fail(err, PITH_LIMIT, where, -1, "expected at most %llu bytes of memory, the picture needs %llu",
                         (unsigned long long)c->memory_limit, (unsigned long long)bytes);
    return pith_tensor_new(out, type, 4, shape, err);
}

static pith_status parse(pith_bytes f, const char *where, const pith_context *c, pith_tensor *out, pith_bytes *notes,
                         pith_error *err) {
    memset(out, 0, sizeof *out);
    if (f.size >= 8 && memcmp(f.data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return picture_read_png(f, where, c, out, notes, err);
    if (f.size >= 3 && memcmp(f.data, "\xff\xd8\xff", 3) == 0) return picture_read_jpeg(f, where, c, out, err);
    if (f.size >= 2 && f.data[0] == 'P' && memchr("2356", f.data[1], 4)) return picture_read_pnm(f, where, c, out, err);
    return pith_fail(err, PITH_UNSUPPORTED, where, 0, "expected a PNG, JPEG, PGM or PPM picture");
}

pith_status picture_parse(pith_bytes f, const char *where, const pith_context *c, pith_tensor *out, pith_error *err) {
    return parse(f, where, c, out, NULL, err);
}

static pith_status read_file(const char *path, const pith_context *c, pith_tensor *out, pith_bytes *notes,
                             pith_error *err) {
    pith_buffer *file = NULL;
    memset(out, 0, sizeof *out);
    pith_status s = pith_buffer_map(&file, path, err);
    if (s == PITH_OK) s = parse((pith_bytes){pith_buffer_data(file), pith_buffer_size(file)}, path, c, out, notes, err);
    pith_buffer_release(file);
    return s;
}

pith_status picture_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err) {
    return read_file(path, c, out, NULL, err);
}

pith_status picture_load(const char *path, const pith_context *c, picture *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    return read_file(path, c, &out->samples, &out->notes, err);
}

void picture_free(picture *p) {
    pith_tensor_release(&p->samples);
    memory_free(p->notes.data);
    *p = (picture){0};
}

static bool ends(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcasecmp(path + n - m, suffix) == 0;
}

bool picture_has_name(const char *path) {
    return ends(path, ".png") || ends(path, ".jpg") || ends(path, ".jpeg") || ends(path, ".pgm") ||
           ends(path, ".ppm") || ends(path, ".pnm");
}

static pith_status check_writable(const char *path, const pith_tensor *t, picture_view *v, pith_error *err) {
    if (t->rank != 3 && !(t->rank == 4 && t->shape[0] == 1))
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected one picture (H,W,C), found rank %u", t->rank);
    if (t->type != PITH_U8 && t->type != PITH_U16)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "pictures are u8 or u16, found %s", pith_types[t->type].name);
    const int64_t *shape = t->shape + t->rank - 3;
    if (shape[0] < 1 || shape[1] < 1 || shape[0] > INT32_MAX || shape[1] > INT32_MAX || shape[2] < 1 || shape[2] > 4)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected 1 to 4 channels, found %lld x %lld x %lld",
                         (long long)shape[0], (long long)shape[1], (long long)shape[2]);
    *v = (picture_view){t->type, (uint32_t)shape[0], (uint32_t)shape[1], (int)shape[2], t->data, {0}};
    return PITH_OK;
}

pith_status picture_write(const char *path, bool replace, const pith_tensor *t, pith_error *err) {
    return picture_save(path, replace, &(picture){.samples = *t}, err);
}

pith_status picture_save(const char *path, bool replace, const picture *p, pith_error *err) {
    picture_view v;
    pith_status s = check_writable(path, &p->samples, &v, err);
    if (s != PITH_OK) return s;
    v.notes = p->notes;
    bool png = ends(path, ".png"), pgm = ends(path, ".pgm"), ppm = ends(path, ".ppm"), pnm = ends(path, ".pnm");
    if (!png && !pgm && !ppm && !pnm)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "pictures are written as .png, .pgm, .ppm or .pnm");
    if (!png && !(v.channels == 1 && !ppm) && !(v.channels == 3 && !pgm))
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "this format cannot hold %d channels", v.channels);
    output *o = NULL;
    s = output_open(&o, path, replace, err);
    if (s != PITH_OK) return s;
    s = png ? picture_write_png(o, path, v, err) : picture_write_pnm(o, v, err);
    if (s == PITH_OK) return output_commit(o, err);
    output_abort(o);
    return s;
}
