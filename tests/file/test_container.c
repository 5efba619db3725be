/* The frame: round trips, every flipped bit refused, every cut refused, allocations and writes that fail. */
#include "harness.h"

#include "base/memory.h"
#include "file/container.h"
#include "file/output.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/pith-container-XXXXXX";
static char path[64], other[64];

static pith_status write_sections(const char *to, bool replace, pith_error *err) {
    static const struct {
        const char *kind, *name, *bytes;
        size_t size;
    } parts[] = {{"META", "about", "{}", 2},
                 {"TENS", "empty", "", 0},
                 {"TENS", "a", "0123456789012345678901234567890123456789012345678901234567890123", 64},
                 {"STRM", "a", "x", 1}};
    pith_writer *w = NULL;
    pith_status s = pith_writer_open(&w, to, replace, err);
    if (s != PITH_OK) return s;
    for (size_t i = 0; i < 4 && s == PITH_OK; i++) {
        pith_section section = {.method = (uint16_t)i, .version = 7, .raw = parts[i].size, .name = parts[i].name};
        memcpy(section.kind, parts[i].kind, 4);
        s = pith_writer_begin(w, &section, err);
        if (s == PITH_OK) s = pith_writer_write(w, parts[i].bytes, parts[i].size, err);
        if (s == PITH_OK) s = pith_writer_end(w, err);
    }
    if (s == PITH_OK) return pith_writer_commit(w, err);
    pith_writer_abort(w);
    return s;
}

static pith_status check_file(const char *from, pith_error *err) {
    pith_reader *r = NULL;
    pith_status s = pith_reader_open(&r, from, NULL, err);
    if (s == PITH_OK) s = pith_reader_verify(r, NULL, err);
    if (s == PITH_OK) {
        assert_int_equal(pith_reader_count(r), 4);
        int64_t i = pith_reader_find(r, "TENS", "a");
        assert_int_equal(i, 2);
        assert_int_equal(pith_reader_section(r, 2)->version, 7);
        pith_bytes b;
        assert_int_equal(pith_reader_view(r, 2, &b, err), PITH_OK);
        assert_int_equal(b.size, 64);
        assert_int_equal((uintptr_t)b.data % 64, 0);
        assert_int_equal(b.data[63], '3');
        assert_int_equal(pith_reader_find(r, "TENS", "b"), -1);
    }
    pith_reader_close(r);
    return s;
}

static size_t slurp(const char *from, uint8_t *bytes, size_t room) {
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

/* Thousands of files are spilled: they stay in memory. */
static const char *spill(const uint8_t *bytes, size_t n) {
    static char name[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("damaged", 0);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    }
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    assert_int_equal(pwrite(fd, bytes, n, 0), n);
    return name;
}

static void round_trip(void **state) {
    (void)state;
    pith_error err = {0};
    assert_int_equal(write_sections(path, false, &err), PITH_OK);
    assert_int_equal(check_file(path, &err), PITH_OK);
    assert_int_equal(write_sections(path, false, &err), PITH_USAGE);
    assert_int_equal(write_sections(path, true, NULL), PITH_OK);
    assert_int_equal(check_file(path, NULL), PITH_OK);
}

static void refuses_every_flipped_bit_and_every_cut(void **state) {
    (void)state;
    uint8_t bytes[4096];
    size_t n = slurp(path, bytes, sizeof bytes);
    assert_true(n > 500 && n < sizeof bytes);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        pith_error err = {0};
        if (check_file(spill(bytes, n), &err) == PITH_OK)
            fail_msg("bit %zu of %zu flipped, and nothing was said", bit, 8 * n);
        assert_true(err.text[0]);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < n; cut++) assert_int_not_equal(check_file(spill(bytes, cut), NULL), PITH_OK);
    bytes[n] = 0;
    assert_int_not_equal(check_file(spill(bytes, n + 1), NULL), PITH_OK);
}

static void survives_failed_allocations(void **state) {
    (void)state;
    for (int n = 1; n < 12; n++) {
        pith_error err = {0};
        unlink(other);
        memory_fail_at(n);
        pith_status s = write_sections(other, false, &err);
        memory_fail_at(0);
        if (s != PITH_OK) assert_int_not_equal(access(other, F_OK), 0);
        memory_fail_at(n);
        pith_status t = check_file(path, &err);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        assert_true(t == PITH_OK || t == PITH_NO_MEMORY);
        if (n == 1) assert_int_equal(t, PITH_NO_MEMORY);
    }
}

static void a_full_disk_keeps_the_old_file(void **state) {
    (void)state;
    struct rlimit was, small = {256, 256};
    getrlimit(RLIMIT_FSIZE, &was);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    pith_error err = {0};
    pith_status s = write_sections(path, true, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(s, PITH_NO_SPACE);
    assert_int_equal(check_file(path, NULL), PITH_OK);
    char temporary[96];
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    assert_int_not_equal(access(temporary, F_OK), 0);
    if (access("/dev/full", W_OK) == 0) assert_int_equal(write_sections("/dev/full", true, NULL), PITH_NO_SPACE);
}

static void names_what_stands_in_the_way(void **state) {
    (void)state;
    pith_error err = {0};
    assert_int_equal(write_sections(folder, true, &err), PITH_USAGE);
    char missing[96];
    snprintf(missing, sizeof missing, "%s/no/such/x.pith", folder);
    assert_int_equal(write_sections(missing, true, NULL), PITH_NOT_FOUND);
    assert_int_equal(output_not_input(path, path, NULL), PITH_USAGE);
    snprintf(missing, sizeof missing, "%s/link", folder);
    assert_int_equal(symlink(path, missing), 0);
    assert_int_equal(output_not_input(missing, path, NULL), PITH_USAGE);
    assert_int_equal(output_not_input(other, path, NULL), PITH_OK);
    unlink(missing);
}

static void a_section_over_the_memory_limit_is_refused(void **state) {
    (void)state;
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 63;
    pith_reader *r = NULL;
    assert_int_equal(pith_reader_open(&r, path, &c, NULL), PITH_LIMIT);
    assert_null(r);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/a.pith", folder);
    snprintf(other, sizeof other, "%s/b.pith", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refuses_every_flipped_bit_and_every_cut),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(names_what_stands_in_the_way),
        cmocka_unit_test(a_section_over_the_memory_limit_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path), unlink(other), rmdir(folder);
    return failed;
}
