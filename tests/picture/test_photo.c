/* The photo method: every shape, depth and kind of picture comes back, everything else is refused. */
#include "harness.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "cli/command.h"
#include "file/container.h"
#include "picture/photo_codec.h"
#include "picture/photo_stream.h"

#include <math.h>
#include <unistd.h>

static char folder[64];

static char *at(const char *name) {
    static char path[8][160];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int call(const char *const *words) {
    char *argv[16];
    int argc = 0;
    while (words[argc]) argv[argc] = (char *)words[argc], argc++;
    argv[argc] = NULL;
    return command_main(argc, argv);
}
#define CALL(...) call((const char *const[]){"pith", __VA_ARGS__, "-q", NULL})

/* ---- pictures ---- */

enum { NOISE, FLAT, WHITE, GRADIENT, BLOBS, STRIPES, KINDS };

/* The sample of channel k at x, y, 0 to 1. */
static double drawn(int kind, int64_t x, int64_t y, int64_t k, rng *r) {
    double noise = (double)rng_below(r, 4096) / 4095;
    switch (kind) {
    case NOISE: return noise;
    case WHITE: return 1;
    case GRADIENT: return fmod((double)(x + 2 * y + 9 * k) / 300, 1);
    case BLOBS: return 0.5 + 0.4 * sin((double)x / 9 + (double)k / 4) * cos((double)y / 7) + 0.05 * (noise - 0.5);
    case STRIPES: return (x / 3 + y / 5) % 2 ? 1 : 0.25 * (double)(k % 3);
    default: return 0;
    }
}

static pith_tensor draw(uint16_t type, int64_t h, int64_t w, int64_t c, int kind) {
    pith_tensor t;
    rng r = rng_new(5, (uint64_t)kind);
    assert_int_equal(pith_tensor_new(&t, type, 4, (int64_t[]){1, h, w, c}, NULL), PITH_OK);
    for (int64_t i = 0; i < h * w * c; i++) {
        double v = drawn(kind, i / c % w, i / c / w, i % c, &r);
        if (type == PITH_U8) ((uint8_t *)t.data)[i] = (uint8_t)(v * 255);
        else ((uint16_t *)t.data)[i] = (uint16_t)(v * 65535);
    }
    return t;
}

static pith_bytes encoded(const pith_tensor *t) {
    pith_bytes b;
    pith_error err = {0};
    if (photo_encode(NULL, t, &b, &err) != PITH_OK) fail_msg("%s", err.text);
    return b;
}

static pith_tensor like(const pith_tensor *t) {
    pith_tensor back;
    assert_int_equal(pith_tensor_new(&back, t->type, 4, t->shape, NULL), PITH_OK);
    return back;
}

/* ---- streams ---- */

static void every_shape_and_depth_comes_back(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {1, 70}, {70, 1}, {9, 13}, {33, 40}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int64_t channels = 1; channels <= 4; channels++)
            for (int kind = 0; kind < KINDS; kind++)
                for (int wide = 0; wide < 2; wide++) {
                    pith_tensor t = draw(wide ? PITH_U16 : PITH_U8, sizes[i][0], sizes[i][1], channels, kind);
                    pith_tensor back = like(&t);
                    pith_bytes b = encoded(&t);
                    pith_error err = {0};
                    if (photo_decode(NULL, b, &back, &err) != PITH_OK) fail_msg("%s", err.text);
                    assert_memory_equal(t.data, back.data, pith_tensor_bytes(&t));
                    uint64_t most = pith_tensor_bytes(&t) + pith_tensor_bytes(&t) * 3 / 4 + 60;
                    if (b.size > most) fail_msg("kind %d: %zu bytes for %d", kind, b.size, (int)most);
                    memory_free(b.data);
                    pith_tensor_release(&t);
                    pith_tensor_release(&back);
                }
}

static void what_is_regular_becomes_small(void **state) {
    (void)state;
    static const double most[KINDS] = {8.4, 0.02, 0.02, 1.0, 4.6, 0.5}; /* bits a sample of 8 */
    for (int kind = 0; kind < KINDS; kind++) {
        pith_tensor t = draw(PITH_U8, 120, 160, 3, kind);
        pith_bytes b = encoded(&t);
        double bits = 8 * (double)b.size / (double)pith_tensor_elements(&t);
        if (bits > most[kind]) fail_msg("kind %d: %.3f bits a sample", kind, bits);
        memory_free(b.data);
        pith_tensor_release(&t);
    }
}

/* Two tiles, so that threads have something to share. */
static void every_machine_writes_the_same_bytes(void **state) {
    (void)state;
    pith_tensor t = draw(PITH_U8, 800, 660, 1, STRIPES), back = like(&t), part = t;
    rng r = rng_new(6, 0);
    for (int i = 0; i < 40000; i++) ((uint8_t *)t.data)[rng_below(&r, 800 * 660)] ^= (uint8_t)rng_below(&r, 64);
    part.shape[1] = 200; /* one tile: a look at each instruction set */
    pith_bytes first = encoded(&part), b;
    for (int level = 0; level < ISA_LEVELS; level++) {
        isa_force((isa_level)level);
        b = encoded(&part);
        assert_int_equal(b.size, first.size);
        assert_memory_equal(b.data, first.data, b.size);
        memory_free(b.data);
    }
    memory_free(first.data);
    parallel_set_threads(1);
    first = encoded(&t);
    parallel_set_threads(2);
    b = encoded(&t);
    assert_int_equal(b.size, first.size);
    assert_memory_equal(b.data, first.data, b.size);
    isa_force(ISA_SCALAR);
    assert_int_equal(photo_decode(NULL, b, &back, NULL), PITH_OK);
    assert_memory_equal(t.data, back.data, pith_tensor_bytes(&t));
    isa_force(isa_detected());
    parallel_set_threads(0);
    memory_free(first.data);
    memory_free(b.data);
    pith_tensor_release(&t);
    pith_tensor_release(&back);
}

static void a_changed_or_cut_stream_is_refused(void **state) {
    (void)state;
    pith_tensor t = draw(PITH_U8, 9, 11, 3, BLOBS), back = like(&t);
    pith_bytes b = encoded(&t);
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(photo_decode(NULL, b, &back, NULL), PITH_OK);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < b.size; n++)
        assert_int_not_equal(photo_decode(NULL, (pith_bytes){b.data, n}, &back, NULL), PITH_OK);
    back.shape[1] = 8; /* another shape than was encoded */
    assert_int_not_equal(photo_decode(NULL, b, &back, NULL), PITH_OK);
    memory_free(b.data);
    pith_tensor_release(&t);
    pith_tensor_release(&back);
}

static void flat_pictures_stay_within_what_bytes_may_claim(void **state) {
    (void)state;
    pith_tensor t = draw(PITH_U8, 700, 700, 1, FLAT);
    pith_bytes b = encoded(&t);
    assert_true(photo_samples_limit(b.size) > 700 * 700);
    assert_true(photo_samples_limit(b.size - 20) < 1 << 24);
    memory_free(b.data);
    pith_tensor_release(&t);
}

static void no_memory_is_an_error(void **state) {
    (void)state;
    pith_tensor t = draw(PITH_U8, 9, 11, 2, BLOBS), back = like(&t);
    pith_bytes b = encoded(&t), again;
    for (int64_t n = 1; n < 200; n++) {
        memory_fail_at(n);
        pith_status s = photo_encode(NULL, &t, &again, NULL);
        memory_fail_at(0);
        if (s == PITH_OK) memory_free(again.data);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        memory_fail_at(n);
        s = photo_decode(NULL, b, &back, NULL);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
    }
    memory_free(b.data);
    pith_tensor_release(&t);
    pith_tensor_release(&back);
}

/* ---- files ---- */

static const uint8_t notes[] = "\1gAMA\4\0\0\0\0\0\xb1\x8f" /* the string's end is the last chunk's */
                               "\1tEXt\x0b\0\0\0Title\0light"
                               "\10tEXt\x0c\0\0\0Comment\0back";

static void write_png(const char *path, uint16_t type, int64_t h, int64_t w, int64_t c, int kind, bool with_notes) {
    picture p = {.samples = draw(type, h, w, c, kind)};
    pith_error err = {0};
    if (with_notes) p.notes = (pith_bytes){(uint8_t *)(uintptr_t)notes, sizeof notes - 1};
    if (picture_save(path, true, &p, &err) != PITH_OK) fail_msg("%s", err.text);
    pith_tensor_release(&p.samples);
}

static void expect_equal(const char *a, const char *b) {
    picture p, q;
    pith_error err = {0};
    if (picture_load(a, NULL, &p, &err) || picture_load(b, NULL, &q, &err)) fail_msg("%s", err.text);
    assert_int_equal(p.samples.type, q.samples.type);
    for (int i = 0; i < 4; i++) assert_int_equal(p.samples.shape[i], q.samples.shape[i]);
    assert_memory_equal(p.samples.data, q.samples.data, pith_tensor_bytes(&p.samples));
    assert_int_equal(p.notes.size, q.notes.size);
    assert_memory_equal(p.notes.data, q.notes.data, p.notes.size);
    picture_free(&p);
    picture_free(&q);
}

static void an_album_comes_back_with_names_and_notes(void **state) {
    (void)state;
    write_png(at("one.png"), PITH_U8, 20, 31, 3, BLOBS, true);
    write_png(at("two.png"), PITH_U16, 9, 4, 2, NOISE, false);
    write_png(at("three.png"), PITH_U8, 1, 1, 4, FLAT, true);
    picture p;
    assert_int_equal(picture_load(at("one.png"), NULL, &p, NULL), PITH_OK);
    assert_int_equal(p.notes.size, sizeof notes - 1);
    assert_memory_equal(p.notes.data, notes, sizeof notes - 1);
    picture_free(&p);
    assert_int_equal(CALL("pack", at("one.png"), at("two.png"), at("three.png"), "-o", at("a.pith")), 0);
    assert_int_equal(CALL("verify", at("a.pith")), 0);
    assert_int_equal(CALL("info", at("a.pith"), "--json"), 0);
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("a.png")), 2); /* three do not fit one file */
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("out/")), 0);
    expect_equal(at("one.png"), at("out/one.png"));
    expect_equal(at("two.png"), at("out/two.png"));
    expect_equal(at("three.png"), at("out/three.png"));
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("b.png"), "--only", "1"), 0);
    expect_equal(at("two.png"), at("b.png"));
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("c.ppm"), "--only", "0"), 0);
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("d.png"), "--only", "3"), 2);
    assert_int_equal(CALL("unpack", at("a.pith"), "-o", at("out/")), 2); /* nothing is overwritten */
    assert_int_equal(CALL("pack", at("one.png"), at("one.png"), "-o", at("same.pith")), 0);
    assert_int_equal(CALL("unpack", at("same.pith"), "-o", at("same/")), 1); /* two of one name */
    assert_int_not_equal(access(at("same"), F_OK), 0);
}

/* Chunks of an animation are refused, those that depend on how samples were coded left out, damage is noticed. */
static void only_notes_that_stay_true_are_kept(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        pith_status save, load;
        size_t kept;
    } cases[] = {{"\1teSt\2\0\0\0ab", 11, PITH_OK, PITH_OK, 11},      {"\1teST\2\0\0\0ab", 11, PITH_OK, PITH_OK, 0},
                 {"\1acTL\0\0\0\0", 9, PITH_OK, PITH_UNSUPPORTED, 0}, {"\1teSt\3\0\0\0ab", 11, PITH_CORRUPT, 0, 0},
                 {"\1IDAT\0\0\0\0", 9, PITH_CORRUPT, 0, 0},           {"\3teSt\0\0\0\0", 9, PITH_CORRUPT, 0, 0},
                 {"\1te t\0\0\0\0", 9, PITH_CORRUPT, 0, 0},           {"\1teS", 4, PITH_CORRUPT, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        picture p = {.samples = draw(PITH_U8, 2, 3, 3, BLOBS)}, back;
        p.notes = (pith_bytes){(uint8_t *)(uintptr_t)cases[i].bytes, cases[i].size};
        assert_int_equal(picture_save(at("n.png"), true, &p, NULL), cases[i].save);
        pith_tensor_release(&p.samples);
        if (cases[i].save != PITH_OK) continue;
        assert_int_equal(picture_load(at("n.png"), NULL, &back, NULL), cases[i].load);
        assert_int_equal(back.notes.size, cases[i].kept);
        picture_free(&back);
    }
}

/* Written when payload version 1 was new. */
static void a_file_is_decoded_and_written_as_ever(void **state) {
    (void)state;
    static const char path[] = PITH_SOURCE_DIR "/tests/picture/fixtures/photo-1.pith";
    static const uint64_t hashes[] = {0x36b5abdb42ebe324, 0x45672f1653ffa92f};
    pith_reader *r;
    assert_int_equal(pith_reader_open(&r, path, NULL, NULL), PITH_OK);
    assert_int_equal(pith_reader_count(r), 2);
    for (size_t i = 0; i < 2; i++) {
        picture p;
        pith_bytes section;
        char name[PHOTO_NAME + 1];
        assert_int_equal(pith_reader_view(r, i, &section, NULL), PITH_OK);
        assert_int_equal(photo_section_read(NULL, section, &p, name, NULL), PITH_OK);
        assert_string_equal(name, i ? "deep" : "colors");
        assert_true(hash_bytes(p.samples.data, pith_tensor_bytes(&p.samples)) == hashes[i]);
        assert_int_equal(p.notes.size, 13); /* gAMA */
        pith_bytes again = encoded(&p.samples);
        assert_true(again.size < section.size);
        assert_memory_equal(again.data, section.data + section.size - again.size, again.size);
        memory_free(again.data);
        picture_free(&p);
    }
    pith_reader_close(r);
}

static void hostile_heads_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"", ".hidden", "a/b", "../x", "a\nb", "good"};
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 1 << 20;
    pith_tensor t = draw(PITH_U8, 5, 6, 1, BLOBS);
    pith_bytes b = encoded(&t);
    uint8_t *s = memory_zero(b.size + 300, 1);
    assert_non_null(s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        picture out;
        char name[PHOTO_NAME + 1];
        size_t length = strlen(names[i]), size = 20 + length + b.size;
        memset(s, 0, 20);
        put32(s, 6), put32(s + 4, 5), s[8] = 1, s[9] = 8, put16(s + 10, (uint16_t)length);
        memcpy(s + 20, names[i], length);
        memcpy(s + 20 + length, b.data, b.size);
        pith_status status = photo_section_read(&c, (pith_bytes){s, size}, &out, name, NULL);
        assert_int_equal(status, strcmp(names[i], "good") == 0 ? PITH_OK : PITH_CORRUPT);
        if (status == PITH_OK) {
            assert_string_equal(name, "good");
            assert_memory_equal(out.samples.data, t.data, 30);
            picture_free(&out);
            put32(s, 0x7fffffff), put32(s + 4, 0x7fffffff); /* a large picture from few bytes */
            assert_int_equal(photo_section_read(&c, (pith_bytes){s, size}, &out, name, NULL), PITH_LIMIT);
            put32(s, 0);
            assert_int_equal(photo_section_read(&c, (pith_bytes){s, size}, &out, name, NULL), PITH_CORRUPT);
        }
    }
    memory_free(s);
    memory_free(b.data);
    pith_tensor_release(&t);
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pith-photo-XXXXXX");
    return mkdtemp(folder) ? setenv("PITH_SHARE", folder, 1) : -1;
}

static int tear_down(void **state) {
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_and_depth_comes_back),
        cmocka_unit_test(what_is_regular_becomes_small),
        cmocka_unit_test(every_machine_writes_the_same_bytes),
        cmocka_unit_test(a_changed_or_cut_stream_is_refused),
        cmocka_unit_test(flat_pictures_stay_within_what_bytes_may_claim),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(an_album_comes_back_with_names_and_notes),
        cmocka_unit_test(only_notes_that_stay_true_are_kept),
        cmocka_unit_test(a_file_is_decoded_and_written_as_ever),
        cmocka_unit_test(hostile_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
