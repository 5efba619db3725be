/* file/picture_jpeg.c - JPEG (ITU-T T.81) by libjpeg-turbo, read only, which keeps its own heap.
 *
 * libjpeg fills up what is missing of a broken file with grey and goes on; here a file that ends early or whose data is
 * broken is refused. Progressive files may repeat scans without end: a limit stops them. */
#include "file/picture_formats.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum { MOST_SCANS = 256 };
static const uint64_t longest_file = UINT32_MAX;

typedef struct jpeg_work {
    struct jpeg_error_mgr manager; /* first: libjpeg hands back a pointer to it */
    struct jpeg_progress_mgr progress;
    jmp_buf away;
    const char *where;
    pith_status status;
    pith_error *err;
    pith_tensor picture;
} jpeg_work;

static void stop(j_common_ptr j, pith_status status, const char *text) {
    jpeg_work *w = (jpeg_work *)j->err;
    w->status = pith_fail(w->err, status, w->where, -1, "JPEG: %s", text);
    longjmp(w->away, 1);
}

static void on_error(j_common_ptr j) {
    char text[JMSG_LENGTH_MAX];
    j->err->format_message(j, text);
    stop(j, j->err->msg_code == JERR_OUT_OF_MEMORY ? PITH_NO_MEMORY : PITH_CORRUPT, text);
}

/* level < 0: a warning, which libjpeg gives where data is damaged. */
static void on_message(j_common_ptr j, int level) {
    if (level >= 0 || j->err->msg_code == JWRN_EXTRANEOUS_DATA || j->err->msg_code == JWRN_ADOBE_XFORM) return;
    char text[JMSG_LENGTH_MAX];
    j->err->format_message(j, text);
    stop(j, j->err->msg_code == JWRN_JPEG_EOF ? PITH_TRUNCATED : PITH_CORRUPT, text);
}

static void on_progress(j_common_ptr j) {
    if (j->is_decompressor && ((j_decompress_ptr)j)->input_scan_number > MOST_SCANS)
        stop(j, PITH_LIMIT, "more scans than any encoder makes");
}

static void read_picture(jpeg_work *w, struct jpeg_decompress_struct *j, pith_bytes file, const pith_context *c) {
    jpeg_mem_src(j, file.data, (unsigned long)file.size);
    j->progress = &w->progress;
    w->progress.progress_monitor = on_progress;
    jpeg_read_header(j, TRUE);
    if (j->num_components != 1 && j->num_components != 3)
        stop((j_common_ptr)j, PITH_UNSUPPORTED, "expected grey or color, found another number of components (CMYK?)");
    j->out_color_space = j->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    j->dct_method = JDCT_ISLOW;
    pith_status s =
        picture_new(c, w->where, PITH_U8, j->image_height, j->image_width, j->num_components, &w->picture, w->err);
    if (s != PITH_OK) {
        w->status = s;
        longjmp(w->away, 1);
    }
    jpeg_start_decompress(j);
    size_t row = (size_t)j->output_width * (size_t)j->output_components;
    while (j->output_scanline < j->output_height) {
        JSAMPROW to = (uint8_t *)w->picture.data + j->output_scanline * row;
        jpeg_read_scanlines(j, &to, 1);
    }
    jpeg_finish_decompress(j);
}

pith_status picture_read_jpeg(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out,
                              pith_error *err) {
    if (file.size > longest_file) return pith_fail(err, PITH_LIMIT, where, -1, "JPEG: expected a file below 4 GiB");
    jpeg_work w = {.where = where, .err = err};
    struct jpeg_decompress_struct j = {0};
    j.err = jpeg_std_error(&w.manager);
    w.manager.error_exit = on_error;
    w.manager.emit_message = on_message;
    if (setjmp(w.away) == 0) {
        jpeg_create_decompress(&j);
        read_picture(&w, &j, file, c);
    }
    jpeg_destroy_decompress(&j);
    if (w.status == PITH_OK) *out = w.picture;
    else pith_tensor_release(&w.picture);
    return w.status;
}
