/* file/picture_png.c - PNG (ISO/IEC 15948) by libpng, on pith's heap and with pith's errors.
 *
 * libpng leaves by longjmp; all that lives across it stands in png_work. Warnings about chunks pith does not use are
 * ignored, everything that touches a sample is an error. */
#include "file/picture_formats.h"

#include "base/bytes.h"

#include <png.h>
#include <string.h>

enum { LARGEST_SIDE = 1 << 24, CHUNK_CACHE = 64, CHUNK_BYTES = 8 << 20 };

typedef struct png_work {
    pith_bytes in;
    size_t at;
    output *out;
    const char *where;
    pith_status status; /* why libpng was made to stop, or PITH_OK: its own words tell */
    pith_error *err;
    pith_tensor picture;
    pith_bytes *notes; /* NULL: not wanted */
} png_work;

static void *png_alloc(png_structp p, png_alloc_size_t size) {
    (void)p;
    return memory_alloc(size);
}
static void png_release(png_structp p, void *memory) {
    (void)p;
    memory_free(memory);
}

static void on_error(png_structp p, png_const_charp text) {
    png_work *w = png_get_error_ptr(p);
    if (w->status == PITH_OK) {
        bool memory = strstr(text, "memory") != NULL;
        w->status = pith_fail(w->err, memory ? PITH_NO_MEMORY : PITH_CORRUPT, w->where, w->out ? -1 : (int64_t)w->at,
                              "PNG: %s", text);
    }
    png_longjmp(p, 1);
}
static void on_warning(png_structp p, png_const_charp text) { (void)p, (void)text; }

static void read_bytes(png_structp p, png_bytep to, size_t size) {
    png_work *w = png_get_io_ptr(p);
    if (size > w->in.size - w->at) {
        w->status = pith_fail(w->err, PITH_TRUNCATED, w->where, (int64_t)w->in.size,
                              "PNG: expected %zu more bytes, found %zu", size, w->in.size - w->at);
        png_error(p, "truncated");
    }
    memcpy(to, w->in.data + w->at, size);
    w->at += size;
}

static void write_bytes(png_structp p, png_bytep from, size_t size) {
    png_work *w = png_get_io_ptr(p);
    w->status = output_write(w->out, from, size, w->err);
    if (w->status != PITH_OK) png_error(p, "write");
}
static void flush_bytes(png_structp p) { (void)p; }

/* Asks libpng for whole samples of 8 or 16 bits, in the machine's byte order. */
static void ask_for_samples(png_structp p, png_infop info) {
    if (png_get_color_type(p, info) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(p);
    if (png_get_color_type(p, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(p, info) < 8)
        png_set_expand_gray_1_2_4_to_8(p);
    if (png_get_valid(p, info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(p);
    if (png_get_bit_depth(p, info) == 16) png_set_swap(p);
}

/* ---- notes ---- */

enum { NOTE_HEAD = 9 };

/* Chunks that libpng knows, kept as they stand: these say how samples are to be seen, or are text. */
static const char kept[] =
    "gAMA\0cHRM\0sRGB\0iCCP\0cICP\0mDCV\0cLLI\0pHYs\0sPLT\0sCAL\0oFFs\0tEXt\0zTXt\0iTXt\0eXIf\0tIME\0"
    "sBIT\0bKGD";
enum { KEPT = sizeof kept / 5, KEPT_AS_STORED = 2 /* the last ones hold only while samples are as in the file */ };

static bool is_kept(const uint8_t *name, bool as_stored) {
    for (int i = 0; i < (as_stored ? KEPT : KEPT - KEPT_AS_STORED); i++)
        if (memcmp(kept + 5 * i, name, 4) == 0) return true;
    return (name[3] & 32) != 0 && (name[0] & 32) != 0; /* the author of an unknown chunk marks it safe to copy */
}

/* A chunk that cannot be kept is an error then, not a warning. */
static void ask_for_notes(png_structp p) {
    png_set_benign_errors(p, 0);
    png_set_keep_unknown_chunks(p, PNG_HANDLE_CHUNK_ALWAYS, NULL, 0);
    png_set_keep_unknown_chunks(p, PNG_HANDLE_CHUNK_ALWAYS, (const uint8_t *)kept, KEPT);
}

static void take_notes(png_work *w, png_structp p, png_infop info, bool as_stored) {
    png_unknown_chunkp chunk;
    int count = png_get_unknown_chunks(p, info, &chunk);
    size_t room = 0, n = 0;
    for (int i = 0; i < count; i++) {
        room += NOTE_HEAD + chunk[i].size;
        if (memcmp(chunk[i].name, "acTL", 4) != 0) continue;
        w->status =
            pith_fail(w->err, PITH_UNSUPPORTED, w->where, -1, "expected a still picture, found an animated PNG");
        png_error(p, "animation");
    }
    uint8_t *to = w->notes->data = memory_alloc(room);
    if (!to) png_error(p, "out of memory");
    for (int i = 0; i < count; i++) {
        if (!is_kept(chunk[i].name, as_stored)) continue;
        to[n] = chunk[i].location;
        memcpy(to + n + 1, chunk[i].name, 4);
        put32(to + n + 5, (uint32_t)chunk[i].size);
        memcpy(to + n + NOTE_HEAD, chunk[i].data, chunk[i].size);
        n += NOTE_HEAD + chunk[i].size;
    }
    w->notes->size = n;
}

static bool is_letter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The note at *at as libpng wants it; false where there is none. */
static bool next_note(pith_bytes notes, size_t *at, png_unknown_chunk *out) {
    const uint8_t *p = notes.data + *at;
    if (notes.size - *at < NOTE_HEAD) return false;
    out->size = get32(p + 5);
    if (out->size > notes.size - *at - NOTE_HEAD || out->size > CHUNK_BYTES) return false;
    for (int i = 1; i < 5; i++)
        if (!is_letter(p[i])) return false;
    if (!(p[1] & 32) || (p[3] & 32) || (p[0] != PNG_HAVE_IHDR && p[0] != PNG_HAVE_PLTE && p[0] != PNG_AFTER_IDAT))
        return false;
    memcpy(out->name, p + 1, 4);
    out->name[4] = 0;
    out->location = p[0];
    out->data = (png_bytep)p + NOTE_HEAD;
    *at += NOTE_HEAD + out->size;
    return true;
}

static void give_notes(png_work *w, png_structp p, png_infop info, pith_bytes notes) {
    png_set_keep_unknown_chunks(p, PNG_HANDLE_CHUNK_ALWAYS, NULL, 0);
    int count = 0;
    for (size_t at = 0; at < notes.size; count++) {
        png_unknown_chunk chunk;
        if (!next_note(notes, &at, &chunk)) {
            w->status = pith_fail(w->err, PITH_CORRUPT, w->where, (int64_t)at, "expected notes of a PNG, found damage");
            png_error(p, "notes");
        }
        png_set_unknown_chunks(p, info, &chunk, 1);
    }
    png_unknown_chunkp all;
    if (png_get_unknown_chunks(p, info, &all) != count) png_error(p, "out of memory");
}

/* ---- samples ---- */

static void read_picture(png_work *w, png_structp p, png_infop info, const pith_context *c) {
    png_set_user_limits(p, LARGEST_SIDE, LARGEST_SIDE);
    png_set_chunk_cache_max(p, CHUNK_CACHE);
    png_set_chunk_malloc_max(p, CHUNK_BYTES);
    if (w->notes) ask_for_notes(p);
    png_read_info(p, info);
    bool as_stored = png_get_color_type(p, info) != PNG_COLOR_TYPE_PALETTE && png_get_bit_depth(p, info) >= 8 &&
                     !png_get_valid(p, info, PNG_INFO_tRNS);
    ask_for_samples(p, info);
    int passes = png_set_interlace_handling(p);
    png_read_update_info(p, info);
    w->status =
        picture_new(c, w->where, png_get_bit_depth(p, info) == 16 ? PITH_U16 : PITH_U8, png_get_image_height(p, info),
                    png_get_image_width(p, info), png_get_channels(p, info), &w->picture, w->err);
    if (w->status != PITH_OK) png_error(p, "picture");
    size_t row = png_get_rowbytes(p, info);
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < w->picture.shape[1]; y++)
            png_read_row(p, (uint8_t *)w->picture.data + (size_t)y * row, NULL);
    png_read_end(p, w->notes ? info : NULL);
    if (w->notes) take_notes(w, p, info, as_stored);
}

pith_status picture_read_png(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                             pith_bytes *notes, pith_error *err) {
    png_work w = {.in = file, .where = where, .err = err, .notes = notes};
    png_structp p =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, NULL, png_alloc, png_release);
    png_infop info = p ? png_create_info_struct(p) : NULL;
    if (!info) {
        png_destroy_read_struct(&p, NULL, NULL);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    if (setjmp(png_jmpbuf(p)) == 0) {
        png_set_read_fn(p, &w, read_bytes);
        read_picture(&w, p, info, c);
    }
    png_destroy_read_struct(&p, &info, NULL);
    if (w.status == PITH_OK) {
        *out = w.picture;
        return PITH_OK;
    }
    pith_tensor_release(&w.picture);
    if (notes) memory_free(notes->data);
    if (notes) *notes = (pith_bytes){0};
    return w.status;
}

static void write_picture(png_work *w, png_structp p, png_infop info, picture_view v) {
    static const int color[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    int bits = v.type == PITH_U16 ? 16 : 8;
    png_set_user_limits(p, LARGEST_SIDE, LARGEST_SIDE);
    png_set_IHDR(p, info, v.width, v.height, bits, color[v.channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    give_notes(w, p, info, v.notes);
    png_write_info(p, info);
    if (bits == 16) png_set_swap(p);
    size_t row = (size_t)v.width * (size_t)v.channels * (size_t)bits / 8;
    for (uint32_t y = 0; y < v.height; y++) png_write_row(p, v.data + y * row);
    png_write_end(p, info);
}

pith_status picture_write_png(output *o, const char *where, picture_view v, pith_error *err) {
    png_work w = {.out = o, .where = where, .err = err};
    png_structp p =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, NULL, png_alloc, png_release);
    png_infop info = p ? png_create_info_struct(p) : NULL;
    if (!info) {
        png_destroy_write_struct(&p, NULL);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    if (setjmp(png_jmpbuf(p)) == 0) {
        png_set_write_fn(p, &w, write_bytes, flush_bytes);
        write_picture(&w, p, info, v);
    }
    png_destroy_write_struct(&p, &info);
    return w.status;
}
