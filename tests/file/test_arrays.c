/* npy and IDX: round trips, files that lie, allocations and writes that fail. */
#include "harness.h"

#include "base/memory.h"
#include "file/idx.h"
#include "file/npy.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static char folder[] = "/tmp/pith-arrays-XXXXXX", path[64], zipped[64];

static pith_tensor filled(uint16_t type, int rank, const int64_t *shape) {
    pith_tensor t;
    assert_int_equal(pith_tensor_new(&t, type, rank, shape, NULL), PITH_OK);
    for (uint64_t i = 0; i < pith_tensor_bytes(&t); i++) ((uint8_t *)t.data)[i] = (uint8_t)(i * 37 + 1);
    return t;
}

static void expect_same(const pith_tensor *a, const pith_tensor *b) {
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->rank, b->rank);
    for (int i = 0; i < a->rank; i++) assert_int_equal(a->shape[i], b->shape[i]);
    if (pith_tensor_bytes(a)) assert_memory_equal(a->data, b->data, pith_tensor_bytes(a));
}

static void npy_round_trips_every_type_and_rank(void **state) {
    (void)state;
    static const int64_t shape[] = {3, 2, 5, 1, 2, 3};
    for (uint16_t type = PITH_F32; type <= PITH_BOOL; type++) {
        if (type == PITH_BF16) continue;
        for (int rank = 0; rank <= PITH_MAX_RANK; rank++) {
            pith_tensor t = filled(type, rank, shape), back;
            pith_error err = {0};
            assert_int_equal(npy_write(path, true, &t, &err), PITH_OK);
            if (npy_read(path, NULL, &back, &err) != PITH_OK) fail_msg("%s", err.text);
            expect_same(&t, &back);
            pith_tensor_release(&t);
            pith_tensor_release(&back);
        }
    }
    pith_tensor t = filled(PITH_BF16, 1, shape);
    assert_int_equal(npy_write(path, true, &t, NULL), PITH_UNSUPPORTED);
    pith_tensor_release(&t);
}

/* A version 1 file with this dictionary and `bytes` zero bytes of data. */
static pith_status parse_npy(int version, const char *dictionary, size_t bytes) {
    uint8_t file[1024] = "\x93NUMPY";
    size_t n = strlen(dictionary), at = version == 1 ? 10 : 12;
    file[6] = (uint8_t)version, file[8] = (uint8_t)n;
    memcpy(file + at, dictionary, n);
    pith_buffer *b;
    pith_error err = {0};
    assert_int_equal(pith_buffer_new(&b, at + n + bytes, NULL), PITH_OK);
    memcpy(pith_buffer_data(b), file, at + n);
    pith_tensor t;
    pith_status s = npy_parse(b, "test", NULL, &t, &err);
    if (s != PITH_OK) assert_true(err.text[0] != 0);
    pith_tensor_release(&t);
    pith_buffer_release(b);
    return s;
}

static void npy_headers_that_lie_are_refused(void **state) {
    (void)state;
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24), PITH_OK);
    assert_int_equal(parse_npy(2, "{\"shape\":(6,),'fortran_order':True,'descr':'<f4'}\n", 24), PITH_OK);
    assert_int_equal(parse_npy(3, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", 1), PITH_OK);
    assert_int_equal(parse_npy(4, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", 1), PITH_UNSUPPORTED);
    assert_int_equal(parse_npy(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }", 24), PITH_UNSUPPORTED);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24), PITH_UNSUPPORTED);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 23), PITH_TRUNCATED);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 25), PITH_CORRUPT);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': False}", 4), PITH_CORRUPT);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4),
                     PITH_CORRUPT);
    assert_int_equal(parse_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4), PITH_CORRUPT);
    assert_int_equal(parse_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }", 4),
                     PITH_CORRUPT);
    assert_int_equal(parse_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 16), }", 4),
                     PITH_LIMIT);
    assert_int_equal(parse_npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1), }", 1),
                     PITH_UNSUPPORTED);
}

static void idx_round_trips_plain_and_zipped(void **state) {
    (void)state;
    static const int64_t shape[] = {7, 5, 3, 2};
    for (int rank = 1; rank <= 4; rank++) {
        pith_tensor t = filled(PITH_U8, rank, shape), back;
        const char *const to[] = {path, zipped};
        for (int k = 0; k < 2; k++) {
            pith_error err = {0};
            assert_int_equal(idx_write(to[k], true, &t, &err), PITH_OK);
            if (idx_read(to[k], NULL, &back, &err) != PITH_OK) fail_msg("%s", err.text);
            expect_same(&t, &back);
            pith_tensor_release(&back);
        }
        pith_tensor_release(&t);
    }
    pith_tensor t = filled(PITH_F32, 1, shape);
    assert_int_equal(idx_write(path, true, &t, NULL), PITH_UNSUPPORTED);
    pith_tensor_release(&t);
    static uint8_t wide[] = {0, 0, 0x0b, 1, 0, 0, 0, 2, 1, 2, 0xff, 0xfe};
    assert_int_equal(idx_parse((pith_bytes){wide, sizeof wide}, "test", NULL, &t, NULL), PITH_OK);
    assert_int_equal(((int16_t *)t.data)[0], 258);
    assert_int_equal(((int16_t *)t.data)[1], -2);
    pith_tensor_release(&t);
}

static size_t slurp(const char *from, uint8_t *bytes, size_t room) {
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

static void idx_files_cut_or_lying_are_refused(void **state) {
    (void)state;
    static const int64_t shape[] = {4, 9};
    pith_tensor t = filled(PITH_U8, 2, shape), back;
    const char *const files[] = {path, zipped};
    for (int k = 0; k < 2; k++) {
        uint8_t bytes[512];
        assert_int_equal(idx_write(files[k], true, &t, NULL), PITH_OK);
        size_t n = slurp(files[k], bytes, sizeof bytes - 1);
        for (size_t cut = 0; cut < n; cut++) {
            pith_error err = {0};
            assert_int_not_equal(idx_parse((pith_bytes){bytes, cut}, "test", NULL, &back, &err), PITH_OK);
            assert_true(err.text[0] != 0);
        }
        bytes[n] = 0;
        assert_int_not_equal(idx_parse((pith_bytes){bytes, n + 1}, "test", NULL, &back, NULL), PITH_OK);
    }
    pith_tensor_release(&t);
    static uint8_t huge[] = {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1};
    pith_context c;
    pith_context_default(&c);
    assert_int_equal(idx_parse((pith_bytes){huge, sizeof huge}, "test", &c, &back, NULL), PITH_LIMIT);
    static uint8_t large[] = {0, 0, 8, 1, 255, 255, 255, 255, 1};
    assert_int_equal(idx_parse((pith_bytes){large, sizeof large}, "test", NULL, &back, NULL), PITH_TRUNCATED);
    c.memory_limit = 100;
    assert_int_equal(idx_parse((pith_bytes){large, sizeof large}, "test", &c, &back, NULL), PITH_LIMIT);
}

static void survive_failed_allocations(void **state) {
    (void)state;
    static const int64_t shape[] = {4, 9};
    pith_tensor t = filled(PITH_U8, 2, shape);
    const char *const files[] = {path, zipped};
    for (int k = 0; k < 2; k++)
        for (int n = 1; n < 16; n++) {
            pith_tensor back;
            unlink(files[k]);
            memory_fail_at(n);
            pith_status w = idx_write(files[k], true, &t, NULL);
            memory_fail_at(0);
            assert_true(w == PITH_OK || w == PITH_NO_MEMORY);
            assert_int_equal(access(files[k], F_OK), w == PITH_OK ? 0 : -1);
            assert_int_equal(idx_write(files[k], true, &t, NULL), PITH_OK);
            memory_fail_at(n);
            pith_status r = idx_read(files[k], NULL, &back, NULL);
            memory_fail_at(0);
            assert_true(r == PITH_OK || r == PITH_NO_MEMORY);
            pith_tensor_release(&back);
            assert_int_equal(npy_write(path, true, &t, NULL), PITH_OK);
            memory_fail_at(n);
            r = npy_read(path, NULL, &back, NULL);
            memory_fail_at(0);
            assert_true(r == PITH_OK || r == PITH_NO_MEMORY);
            pith_tensor_release(&back);
        }
    pith_tensor_release(&t);
}

static int files_in_folder(void) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void a_full_disk_keeps_the_old_file(void **state) {
    (void)state;
    static const int64_t small[] = {3}, large[] = {100000};
    pith_tensor a = filled(PITH_U8, 1, small), b = filled(PITH_U8, 1, large), back;
    assert_int_equal(npy_write(path, true, &a, NULL), PITH_OK);
    assert_int_equal(idx_write(zipped, true, &a, NULL), PITH_OK);
    int files = files_in_folder();
    for (uint64_t i = 0; i < 100000; i++) ((uint8_t *)b.data)[i] = (uint8_t)(i * i * 2654435761u >> 13);
    struct rlimit was, limit = {256, 256};
    getrlimit(RLIMIT_FSIZE, &was);
    limit.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    pith_status n = npy_write(path, true, &b, NULL), i = idx_write(zipped, true, &b, NULL);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(n, PITH_NO_SPACE);
    assert_int_equal(i, PITH_NO_SPACE);
    assert_int_equal(files_in_folder(), files);
    assert_int_equal(npy_read(path, NULL, &back, NULL), PITH_OK);
    expect_same(&a, &back);
    pith_tensor_release(&back);
    assert_int_equal(idx_read(zipped, NULL, &back, NULL), PITH_OK);
    expect_same(&a, &back);
    pith_tensor_release(&back);
    pith_tensor_release(&a);
    pith_tensor_release(&b);
}

static void reads_mnist(void **state) {
    (void)state;
    const char *file = harness_data("small-images/mnist/t10k-images-idx3-ubyte.gz");
    if (!file) skip();
    pith_tensor t;
    assert_int_equal(idx_read(file, NULL, &t, NULL), PITH_OK);
    assert_int_equal(t.shape[0], 10000);
    assert_int_equal(t.shape[2], 28);
    pith_tensor_release(&t);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/a", folder);
    snprintf(zipped, sizeof zipped, "%s/b.gz", folder);
    const struct CMUnitTest tests[] = {cmocka_unit_test(npy_round_trips_every_type_and_rank),
                                       cmocka_unit_test(npy_headers_that_lie_are_refused),
                                       cmocka_unit_test(idx_round_trips_plain_and_zipped),
                                       cmocka_unit_test(idx_files_cut_or_lying_are_refused),
                                       cmocka_unit_test(survive_failed_allocations),
                                       cmocka_unit_test(a_full_disk_keeps_the_old_file),
                                       cmocka_unit_test(reads_mnist)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path), unlink(zipped), rmdir(folder);
    return failed;
}
