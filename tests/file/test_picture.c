/* Pictures and sets of them: round trips of every format, depth and channel count; broken files; failures. */
#include "harness.h"

#include "base/memory.h"
#include "file/output.h"
#include "file/picture.h"
#include "file/pictures.h"

#include <dirent.h>
#include <jpeglib.h>
#include <unistd.h>

static char folder[] = "/tmp/pith-picture-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static pith_tensor filled(uint16_t type, int64_t n, int64_t h, int64_t w, int64_t c) {
    pith_tensor t;
    assert_int_equal(pith_tensor_new(&t, type, 4, (int64_t[]){n, h, w, c}, NULL), PITH_OK);
    for (uint64_t i = 0; i < pith_tensor_bytes(&t); i++) ((uint8_t *)t.data)[i] = (uint8_t)(i * i * 37 + i + 1);
    return t;
}

static void expect_same(const pith_tensor *a, const pith_tensor *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(b->rank, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(a->shape[i], b->shape[i]);
    assert_memory_equal(a->data, b->data, pith_tensor_bytes(a));
}

static void every_format_round_trips(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int channels;
    } cases[] = {{"a.png", 1}, {"a.png", 2}, {"a.png", 3}, {"a.png", 4},
                 {"a.pgm", 1}, {"a.ppm", 3}, {"a.pnm", 1}, {"a.PNM", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int wide = 0; wide < 2; wide++) {
            pith_tensor t = filled(wide ? PITH_U16 : PITH_U8, 1, 5, 7, cases[i].channels), back;
            pith_error err = {0};
            const char *path = in_folder(cases[i].name);
            if (picture_write(path, true, &t, &err) != PITH_OK) fail_msg("%s", err.text);
            if (picture_read(path, NULL, &back, &err) != PITH_OK) fail_msg("%s", err.text);
            expect_same(&t, &back);
            pith_tensor_release(&t);
            pith_tensor_release(&back);
            unlink(path);
        }
    pith_tensor t = filled(PITH_U8, 1, 2, 2, 3);
    assert_int_equal(picture_write(in_folder("a.pgm"), true, &t, NULL), PITH_UNSUPPORTED);
    assert_int_equal(picture_write(in_folder("a.jpg"), true, &t, NULL), PITH_UNSUPPORTED);
    pith_tensor_release(&t);
}

static pith_status parse(const void *bytes, size_t size, pith_tensor *out) {
    pith_error err = {0};
    pith_status s = picture_parse((pith_bytes){(uint8_t *)bytes, size}, "test", NULL, out, &err);
    if (s != PITH_OK) assert_true(err.text[0] != 0);
    return s;
}
static pith_status parse_text(const char *text) {
    pith_tensor t;
    pith_status s = parse(text, strlen(text), &t);
    pith_tensor_release(&t);
    return s;
}

static void pnm_is_read_as_netpbm_says(void **state) {
    (void)state;
    pith_tensor t;
    static const char written[] = "P2 # comment\n2 # more\n2\n65535\n1 2\n3 65535\n";
    assert_int_equal(parse(written, sizeof written - 1, &t), PITH_OK);
    assert_int_equal(t.type, PITH_U16);
    assert_int_equal(((uint16_t *)t.data)[3], 65535);
    pith_tensor_release(&t);
    assert_int_equal(parse_text("P5 2 1 255\nab"), PITH_OK);
    assert_int_equal(parse_text("P5 2 1 255\na"), PITH_TRUNCATED);
    assert_int_equal(parse_text("P5 2 1 255\nabc"), PITH_CORRUPT);
    assert_int_equal(parse_text("P5 2 1 100\nab"), PITH_UNSUPPORTED);
    assert_int_equal(parse_text("P5 0 1 255\n"), PITH_CORRUPT);
    assert_int_equal(parse_text("P5 2147483647 2147483647 255\nab"), PITH_TRUNCATED);
    assert_int_equal(parse_text("P5 21474836470 2 255\nab"), PITH_CORRUPT);
    assert_int_equal(parse_text("P3 1 1 255 1 2 256"), PITH_CORRUPT);
    assert_int_equal(parse_text("P3 1 1 255 1 2"), PITH_TRUNCATED);
    assert_int_equal(parse_text("P4 1 1 x"), PITH_UNSUPPORTED);
    assert_int_equal(parse_text("P5"), PITH_TRUNCATED);
}

static size_t slurp(const char *from, uint8_t *bytes, size_t room) {
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

static void a_broken_png_is_refused(void **state) {
    (void)state;
    uint8_t bytes[4096];
    pith_tensor t = filled(PITH_U8, 1, 9, 8, 3), back;
    assert_int_equal(picture_write(in_folder("a.png"), true, &t, NULL), PITH_OK);
    size_t n = slurp(in_folder("a.png"), bytes, sizeof bytes);
    for (size_t cut = 0; cut < n; cut++) assert_int_not_equal(parse(bytes, cut, &back), PITH_OK);
    for (size_t bit = 0; bit < 8 * n; bit++) { /* chunks carry sums: nothing may come out changed */
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (parse(bytes, n, &back) == PITH_OK) expect_same(&t, &back);
        pith_tensor_release(&back);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 9 * 8 * 3 - 1;
    assert_int_equal(picture_parse((pith_bytes){bytes, n}, "test", &c, &back, NULL), PITH_LIMIT);
    pith_tensor_release(&t);
    unlink(in_folder("a.png"));
}

static void jpeg_is_read_and_refused_when_cut(void **state) {
    (void)state;
    struct jpeg_compress_struct j;
    struct jpeg_error_mgr e;
    j.err = jpeg_std_error(&e);
    jpeg_create_compress(&j);
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    jpeg_mem_dest(&j, &bytes, &size);
    j.image_width = 20, j.image_height = 10, j.input_components = 3, j.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 95, TRUE);
    jpeg_start_compress(&j, TRUE);
    uint8_t row[60];
    for (int y = 0; y < 10; y++) {
        for (int x = 0; x < 20; x++) row[3 * x] = (uint8_t)(10 * x), row[3 * x + 1] = 100, row[3 * x + 2] = 20;
        jpeg_write_scanlines(&j, (JSAMPROW[]){row}, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    pith_tensor t;
    assert_int_equal(parse(bytes, size, &t), PITH_OK);
    assert_int_equal(t.shape[1], 10);
    assert_int_equal(t.shape[2], 20);
    assert_in_range(((uint8_t *)t.data)[3 * 15 + 1], 90, 110);
    pith_tensor_release(&t);
    for (size_t cut = 0; cut < size; cut++) assert_int_not_equal(parse(bytes, cut, &t), PITH_OK);
    free(bytes);
}

static void sets_round_trip(void **state) {
    (void)state;
    static const char *const names[] = {"set/", "set-idx", "set.gz"};
    for (int channels = 1; channels <= 3; channels += 2)
        for (int k = 0; k < 3; k++) {
            pith_tensor t = filled(PITH_U8, 11, 4, 3, channels), back;
            pith_error err = {0};
            const char *path = in_folder(names[k]);
            if (pictures_write(path, false, &t, &err) != PITH_OK) fail_msg("%s", err.text);
            if (pictures_read(path, NULL, &back, &err) != PITH_OK) fail_msg("%s", err.text);
            expect_same(&t, &back);
            assert_int_equal(pictures_write(path, false, &t, NULL), PITH_USAGE);
            pith_tensor_release(&t);
            pith_tensor_release(&back);
            char command[300];
            snprintf(command, sizeof command, "rm -r '%s'", path);
            assert_int_equal(system(command), 0);
        }
}

static int entries(void) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void unequal_sets_and_failures_are_clean(void **state) {
    (void)state;
    char command[300];
    pith_tensor a = filled(PITH_U8, 2, 4, 3, 1), b = filled(PITH_U8, 1, 4, 4, 1), back;
    assert_int_equal(pictures_write(in_folder("set/"), false, &a, NULL), PITH_OK);
    for (int n = 1; n < 40; n++) {
        memory_fail_at(n);
        pith_status s = pictures_read(in_folder("set"), NULL, &back, NULL);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        pith_tensor_release(&back);
        memory_fail_at(n);
        s = pictures_write(in_folder("other/"), false, &a, NULL);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        assert_int_equal(entries(), s == PITH_OK ? 2 : 1);
        snprintf(command, sizeof command, "rm -rf '%s/other'", folder);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(picture_write(in_folder("set/z.png"), false, &b, NULL), PITH_OK);
    assert_int_equal(pictures_read(in_folder("set"), NULL, &back, NULL), PITH_MISMATCH);
    snprintf(command, sizeof command, "rm -r '%s/set'; mkdir '%s/set'", folder, folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(pictures_read(in_folder("set"), NULL, &back, NULL), PITH_NOT_FOUND);
    rmdir(in_folder("set"));
    if (access("/dev/full", W_OK) == 0) {
        output *o = NULL;
        assert_int_equal(output_open(&o, "/dev/full", true, NULL), PITH_OK);
        assert_int_equal(output_write(o, "x", 1, NULL), PITH_NO_SPACE);
        output_abort(o);
    }
    pith_tensor_release(&a);
    pith_tensor_release(&b);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_round_trips), cmocka_unit_test(pnm_is_read_as_netpbm_says),
        cmocka_unit_test(a_broken_png_is_refused),  cmocka_unit_test(jpeg_is_read_and_refused_when_cut),
        cmocka_unit_test(sets_round_trip),          cmocka_unit_test(unequal_sets_and_failures_are_clean),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
