/* safetensors: real files rewritten to the byte, and headers that lie. */
#include "harness.h"

#include "base/memory.h"
#include "file/safetensors.h"

#include <jansson.h>
#include <unistd.h>

static char path[] = "/tmp/pith-safetensors-XXXXXX";

static pith_status parse(const char *json, uint64_t data_size) {
    safetensors s = {0};
    pith_error err = {0};
    pith_status status = safetensors_parse(&s, "test", (pith_bytes){(uint8_t *)json, strlen(json)}, data_size, &err);
    if (status != PITH_OK) assert_true(err.text[0] != 0);
    safetensors_close(&s);
    return status;
}

#define A(shape, from, to) "\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"
#define B(from, to) "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[" #from "," #to "]}"

static void headers_that_lie_are_refused(void **state) {
    (void)state;
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "," B(24, 28) "}", 28), PITH_OK);
    assert_int_equal(parse("{" B(24, 28) "," A("[2,3]", 0, 24) ",\"__metadata__\":{\"x\":\"y\"}}", 28), PITH_OK);
    assert_int_equal(parse("{}", 0), PITH_OK);
    assert_int_equal(parse("{" A("[]", 0, 4) "}", 4), PITH_OK);
    assert_int_equal(parse("{" A("[0,5]", 0, 0) "}", 0), PITH_OK);
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "," B(20, 24) "}", 24), PITH_CORRUPT); /* overlap */
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "," B(28, 32) "}", 32), PITH_CORRUPT); /* hole */
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "}", 28), PITH_CORRUPT);               /* bytes of nobody */
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "}", 20), PITH_TRUNCATED);
    assert_int_equal(parse("{" A("[2,2]", 0, 24) "}", 24), PITH_CORRUPT);
    assert_int_equal(parse("{" A("[2,3]", 0, 24) "," A("[1]", 24, 28) "}", 28), PITH_CORRUPT); /* one name twice */
    assert_int_equal(parse("{" A("[9223372036854775807,9223372036854775807]", 0, 4) "}", 4), PITH_LIMIT);
    assert_int_equal(parse("{" A("[-1]", 0, 4) "}", 4), PITH_CORRUPT);
    assert_int_equal(parse("{" A("[1.5]", 0, 4) "}", 4), PITH_CORRUPT);
    assert_int_equal(parse("{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4), PITH_UNSUPPORTED);
    assert_int_equal(parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4),
                     PITH_UNSUPPORTED);
    assert_int_equal(parse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4), PITH_TRUNCATED);
    assert_int_equal(parse("{\"a\":4}", 4), PITH_CORRUPT);
    assert_int_equal(parse("[1]", 4), PITH_CORRUPT);
    assert_int_equal(parse("{\"a\"", 4), PITH_CORRUPT);
}

static pith_status write_again(pith_error *err) {
    float data[6] = {1, 2, 3, 4, 5, 6};
    safetensors_entry e[2] = {{.name = "first"}, {.name = "second \"quoted\""}};
    uint64_t bytes;
    pith_tensor_layout(&e[0].layout, PITH_F32, 2, (int64_t[]){2, 2}, &bytes, NULL);
    pith_tensor_layout(&e[1].layout, PITH_F32, 1, (int64_t[]){2}, &bytes, NULL);
    pith_bytes header = {0};
    safetensors_writer *w = NULL;
    pith_status s = safetensors_header(e, 2, "{\"format\":\"pt\"}", &header, err);
    if (s == PITH_OK) s = safetensors_writer_open(&w, path, true, header, err);
    memory_free(header.data);
    if (s != PITH_OK) return s;
    s = safetensors_write(w, data, sizeof data, err);
    if (s == PITH_OK) return safetensors_writer_commit(w, err);
    safetensors_writer_abort(w);
    return s;
}

static void written_files_read_back(void **state) {
    (void)state;
    assert_int_equal(write_again(NULL), PITH_OK);
    safetensors s;
    assert_int_equal(safetensors_open(&s, path, NULL), PITH_OK);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.data_at % 8, 0);
    int64_t i = safetensors_find(&s, "second \"quoted\"");
    assert_int_equal(i, 1);
    pith_tensor t;
    assert_int_equal(safetensors_load(&s, 1, &t, NULL), PITH_OK);
    safetensors_close(&s);
    assert_true(((float *)t.data)[1] == 6);
    pith_tensor_release(&t);
}

static void survives_failed_allocations(void **state) {
    (void)state;
    for (int n = 1; n < 60; n++) {
        pith_error err = {0};
        memory_fail_at(n);
        pith_status s = write_again(&err);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY);
        safetensors st;
        assert_int_equal(write_again(NULL), PITH_OK);
        memory_fail_at(n);
        s = safetensors_open(&st, path, &err);
        memory_fail_at(0);
        assert_true(s == PITH_OK || s == PITH_NO_MEMORY || s == PITH_CORRUPT);
        safetensors_close(&st);
    }
}

static void real_files_parse(void **state) {
    (void)state;
    const char *file = harness_data("models/silero-vad/silero_vad_16k.safetensors");
    if (!file) skip();
    safetensors s;
    pith_error err = {0};
    if (safetensors_open(&s, file, &err) != PITH_OK) fail_msg("%s", err.text);
    assert_true(s.count > 5);
    safetensors_close(&s);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    json_set_alloc_funcs(memory_alloc, memory_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_lie_are_refused), cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(survives_failed_allocations), cmocka_unit_test(real_files_parse)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
