/* Folders of pictures as data: what is listed, what is cut, that samples depend on seed and place alone, and that a run
 * on them resumes. */
#include "train/workshop.h"

#include "base/memory.h"
#include "file/picture.h"
#include "train/picture_folder.h"

#include <jpeglib.h>

enum { HIGH = 12, WIDE = 10, CROP = 6, EACH = 10, BATCH = 4 };
static const char *const classes[] = {"ants", "bees"};

/* Pixel (y, x) of picture i is (16 y, 16 x, i): a cut tells where it comes from. */
static void write_picture(workshop *w, const char *name, int i, int channels) {
    uint8_t data[HIGH * WIDE * 3];
    for (int y = 0; y < HIGH; y++)
        for (int x = 0; x < WIDE; x++) {
            uint8_t *p = data + (y * WIDE + x) * channels;
            p[0] = (uint8_t)(16 * y);
            if (channels == 3) p[1] = (uint8_t)(16 * x), p[2] = (uint8_t)i;
        }
    if (strstr(name, ".png")) {
        pith_tensor t;
        uint64_t bytes;
        pith_tensor_layout(&t, PITH_U8, 3, (int64_t[]){HIGH, WIDE, channels}, &bytes, NULL);
        t.data = data;
        assert_int_equal(picture_write(workshop_path(w, name), true, &t, NULL), PITH_OK);
        return;
    }
    char pnm[sizeof data + 32];
    int n = sprintf(pnm, "P%d %d %d 255\n", channels == 3 ? 6 : 5, WIDE, HIGH);
    memcpy(pnm + n, data, (size_t)(HIGH * WIDE * channels));
    workshop_write(w, name, pnm, (size_t)(n + HIGH * WIDE * channels));
}

/* A JPEG of one color, grey where channels is 1. */
static void write_jpeg(workshop *w, const char *name, const uint8_t *color, int channels) {
    struct jpeg_compress_struct j = {0};
    struct jpeg_error_mgr e;
    uint8_t row[WIDE * 3];
    unsigned char *file = NULL;
    unsigned long size = 0;
    for (int i = 0; i < WIDE * channels; i++) row[i] = color[i % channels];
    j.err = jpeg_std_error(&e);
    jpeg_create_compress(&j);
    jpeg_mem_dest(&j, &file, &size);
    j.image_width = WIDE, j.image_height = HIGH, j.input_components = channels;
    j.in_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 95, TRUE);
    jpeg_start_compress(&j, TRUE);
    while (j.next_scanline < j.image_height) jpeg_write_scanlines(&j, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    workshop_write(w, name, file, size);
    free(file);
}

static int open_folder(void **state) {
    workshop_open(state);
    workshop *w = *state;
    assert_int_equal(mkdir(workshop_path(w, "set"), 0777), 0);
    for (int c = 0; c < 2; c++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s", classes[c]);
        assert_int_equal(mkdir(workshop_path(w, name), 0777), 0);
        for (int i = 0; i < EACH; i++) {
            snprintf(name, sizeof name, "set/%s/%02d.%s", classes[c], i, i == 1 ? "png" : "ppm");
            write_picture(w, name, c * EACH + i, 3);
        }
        snprintf(name, sizeof name, "set/%s/notes.txt", classes[c]);
        workshop_write(w, name, "no picture\n", 11);
    }
    return 0;
}

static picture_folder *open_set(workshop *w, double held_out) {
    const picture_folder_options o = {.crop = CROP, .channels = 3, .batch = BATCH, .held_out = held_out};
    picture_folder *f = NULL;
    assert_int_equal(picture_folder_open(&f, workshop_path(w, "set"), &o, NULL, NULL), PITH_OK);
    return f;
}

/* The picture a sample was cut from; fails unless it is a whole window of it. */
static int source_of(const uint8_t *sample, int *top, int *left) {
    *top = sample[0] / 16, *left = sample[1] / 16;
    assert_true(*top <= HIGH - CROP && *left <= WIDE - CROP);
    for (int y = 0; y < CROP; y++)
        for (int x = 0; x < CROP; x++) {
            const uint8_t *p = sample + (y * CROP + x) * 3;
            assert_true(p[0] == 16 * (*top + y) && p[1] == 16 * (*left + x) && p[2] == sample[2]);
        }
    return sample[2];
}

static void classes_are_folders_and_every_nth_is_held_out(void **state) {
    workshop *w = *state;
    picture_folder *f = open_set(w, 0.2);
    assert_int_equal(picture_folder_classes(f), 2);
    assert_int_equal(picture_folder_held(f), 4);
    assert_int_equal(picture_folder_trained(f), 16);
    for (int i = 0; i < 4; i++) {
        uint8_t sample[CROP * CROP * 3], label;
        int top, left;
        assert_int_equal(picture_folder_middle(f, true, i, sample, &label, NULL), PITH_OK);
        int number = source_of(sample, &top, &left);
        assert_int_equal(number / EACH, label);
        assert_int_equal(number % EACH % 5, 2);
        assert_true(top == (HIGH - CROP) / 2 && left == (WIDE - CROP) / 2);
    }
    picture_folder_close(f);
}

static void an_epoch_shows_every_picture_once_cut_at_random(void **state) {
    workshop *w = *state;
    picture_folder *f = open_set(w, 0);
    uint8_t pictures[BATCH * CROP * CROP * 3], labels[BATCH];
    int seen[2 * EACH] = {0}, tops = 0, lefts = 0;
    for (int64_t first = 0; first < 4 * 2 * EACH; first += BATCH) {
        assert_int_equal(picture_folder_batch(f, 1, first, pictures, labels, NULL), PITH_OK);
        for (int i = 0; i < BATCH; i++) {
            int top, left, number = source_of(pictures + i * CROP * CROP * 3, &top, &left);
            assert_int_equal(number / EACH, labels[i]);
            seen[number]++;
            tops |= 1 << top, lefts |= 1 << left;
        }
        if ((first + BATCH) % (2 * EACH) == 0)
            for (int i = 0; i < 2 * EACH; i++) assert_int_equal(seen[i], (first + BATCH) / (2 * EACH));
    }
    assert_int_equal(tops, (1 << (HIGH - CROP + 1)) - 1);
    assert_int_equal(lefts, (1 << (WIDE - CROP + 1)) - 1);
    picture_folder_close(f);
}

static void a_batch_depends_on_seed_and_place_alone(void **state) {
    workshop *w = *state;
    picture_folder *f = open_set(w, 0), *g = open_set(w, 0);
    uint8_t a[BATCH * CROP * CROP * 3], b[sizeof a], labels[BATCH];
    for (int64_t k = 0; k < 7; k++) { /* in order, so that the thread made them */
        assert_int_equal(picture_folder_batch(f, 3, k * BATCH, a, labels, NULL), PITH_OK);
        assert_int_equal(picture_folder_batch(g, 3, (6 - k) * BATCH, b, labels, NULL), PITH_OK);
        assert_int_equal(picture_folder_batch(g, 3, k * BATCH, b, labels, NULL), PITH_OK);
        assert_memory_equal(a, b, sizeof a);
        assert_int_equal(picture_folder_batch(g, 4, k * BATCH, b, labels, NULL), PITH_OK);
        assert_memory_not_equal(a, b, sizeof a);
    }
    picture_folder_close(f);
    picture_folder_close(g);
}

static void grey_and_color_become_each_other(void **state) {
    workshop *w = *state;
    for (int i = 0; i < EACH; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/bees/%02d.%s", i, i == 1 ? "png" : "ppm");
        assert_int_equal(unlink(workshop_path(w, name)), 0);
        snprintf(name, sizeof name, "set/bees/%02d.pgm", i);
        write_picture(w, name, i, 1);
    }
    for (int channels = 1; channels <= 3; channels += 2) {
        const picture_folder_options o = {.crop = CROP, .channels = channels, .batch = BATCH};
        picture_folder *f;
        assert_int_equal(picture_folder_open(&f, workshop_path(w, "set"), &o, NULL, NULL), PITH_OK);
        uint8_t sample[CROP * CROP * 3], label;
        assert_int_equal(picture_folder_middle(f, false, EACH, sample, &label, NULL), PITH_OK);
        assert_int_equal(label, 1);
        for (int c = 0; c < channels; c++) assert_int_equal(sample[c], 16 * ((HIGH - CROP) / 2));
        assert_int_equal(picture_folder_middle(f, false, 0, sample, &label, NULL), PITH_OK);
        if (channels == 1) assert_int_equal(sample[0], (77 * 48 + 150 * 32 + 128) >> 8);
        picture_folder_close(f);
    }
}

static void jpegs_are_pictures_too(void **state) {
    workshop *w = *state;
    static const uint8_t color[] = {200, 40, 90}, grey[] = {77};
    write_jpeg(w, "set/ants/99.jpg", color, 3); /* the last training pictures of their classes */
    write_jpeg(w, "set/bees/99.JPEG", grey, 1);
    picture_folder *f = open_set(w, 0);
    assert_int_equal(picture_folder_trained(f), 2 * EACH + 2);
    for (int k = 0; k < 2; k++) {
        uint8_t sample[CROP * CROP * 3], label;
        assert_int_equal(picture_folder_middle(f, false, EACH + k * (EACH + 1), sample, &label, NULL), PITH_OK);
        assert_int_equal(label, k);
        for (int i = 0; i < CROP * CROP * 3; i++) assert_true(abs(sample[i] - (k ? grey[0] : color[i % 3])) <= 3);
    }
    picture_folder_close(f);
}

static void folder_recipe(workshop *w, const char *data) {
    char text[1024];
    int n =
        snprintf(text, sizeof text,
                 "{\n\"task\": \"classify\", \"threads\": 1, \"batch\": 4, \"steps\": 10, \"checkpoint_every\": 3,\n"
                 "\"net\": {\"kind\": \"convnext\", \"width\": 8, \"stages\": 1, \"blocks\": 1, \"patch\": 2},\n"
                 "\"data\": {\n\"files\": [\"%s/set\"],\n\"held_out\": 0.2, \"flip\": true%s}}\n",
                 w->folder, data);
    workshop_write(w, "recipe.json", text, (size_t)n);
}

static void a_run_on_a_folder_resumes_with_the_same_bits(void **state) {
    workshop *w = *state;
    const train_options afresh = {0}, resuming = {.resume = true};
    train_outcome out;
    folder_recipe(w, ", \"crop\": 6");
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "whole", &out, NULL), PITH_OK);
    double when = 4;
    pith_context c;
    pith_context_default(&c);
    c.progress = workshop_stop_at, c.user = &when;
    assert_int_equal(workshop_train(w, &c, NULL, &afresh, "cut", &out, NULL), PITH_INTERRUPTED);
    assert_int_equal(workshop_train(w, NULL, NULL, &resuming, "cut", &out, NULL), PITH_OK);
    assert_int_equal(out.resumed_step, 4);
    size_t size[2];
    char *a = workshop_read(workshop_path(w, "whole/model.safetensors"), &size[0]),
         *b = workshop_read(workshop_path(w, "cut/model.safetensors"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(a, b, size[0]);
    free(a);
    free(b);
}

static void expect(workshop *w, const char *words) {
    const train_options o = {.replace = true};
    train_outcome out;
    pith_error err = {0};
    pith_status s = workshop_train(w, NULL, NULL, &o, "out", &out, &err);
    if (s == PITH_OK || !(strstr(err.text, words) || strstr(err.where, words)))
        fail_msg("expected \"%s\", found \"%s: %s\"", words, err.where, err.text);
}

static void what_cannot_be_cut_is_named(void **state) {
    workshop *w = *state;
    folder_recipe(w, "");
    expect(w, "data.crop: expected the edge");
    folder_recipe(w, ", \"crop\": 11");
    expect(w, "expected at least 11 x 11 pixels, found 12 x 10");
    folder_recipe(w, ", \"crop\": 6,\n\"hashes\": [\"0123456789abcdef\"]");
    expect(w, "line 7: data.hashes: ");
    folder_recipe(w, ", \"crop\": 6");
    workshop_write(w, "set/bees/98.jpg", "\xff\xd8\xff\xe0 broken", 11); /* found while the run goes on */
    expect(w, "set/bees/98.jpg");
    assert_int_equal(unlink(workshop_path(w, "set/bees/98.jpg")), 0);
    workshop_write(w, "set/ants/00.ppm", "P6 broken", 9);
    expect(w, "set/ants/00.ppm");
}

static void survives_any_failed_allocation(void **state) {
    workshop *w = *state;
    const picture_folder_options o = {.crop = CROP, .channels = 3, .batch = BATCH};
    uint8_t pictures[BATCH * CROP * CROP * 3], labels[BATCH];
    for (int n = 1; n < 60; n++) {
        picture_folder *f = NULL;
        memory_fail_at(n);
        pith_status s = picture_folder_open(&f, workshop_path(w, "set"), &o, NULL, NULL);
        if (s == PITH_OK) s = picture_folder_batch(f, 1, 0, pictures, labels, NULL);
        memory_fail_at(0);
        picture_folder_close(f);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
    }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_folder, workshop_close)
    const struct CMUnitTest tests[] = {TEST(classes_are_folders_and_every_nth_is_held_out),
                                       TEST(an_epoch_shows_every_picture_once_cut_at_random),
                                       TEST(a_batch_depends_on_seed_and_place_alone),
                                       TEST(grey_and_color_become_each_other),
                                       TEST(jpegs_are_pictures_too),
                                       TEST(a_run_on_a_folder_resumes_with_the_same_bits),
                                       TEST(what_cannot_be_cut_is_named),
                                       TEST(survives_any_failed_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
