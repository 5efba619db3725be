/* Numbers as bytes come back from any address; what grows and is taken keeps count of itself. */
#include "harness.h"

#include "base/bytes.h"

static void numbers_are_little_endian_at_any_address(void **state) {
    (void)state;
    uint8_t p[16] = {0};
    put64(p + 1, 0x0102030405060708);
    for (int i = 0; i < 8; i++) assert_int_equal(p[1 + i], 8 - i);
    assert_true(get64(p + 1) == 0x0102030405060708);
    assert_int_equal(get32(p + 1), 0x05060708);
    assert_int_equal(get16(p + 3), 0x0506);
    put32(p + 3, 0xfffefdfc), put16(p + 7, 0x1234);
    assert_memory_equal(p + 3, "\xfc\xfd\xfe\xff\x34\x12", 6);
}

static void varints_come_back_and_end(void **state) {
    (void)state;
    static const uint64_t v[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, (UINT64_C(1) << 62), INT64_MAX};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        uint8_t p[VARINT_MOST];
        size_t n = put_varint(p, v[i]);
        uint64_t back;
        for (size_t size = 0; size <= n; size++) {
            pith_bytes in = {p, size};
            assert_int_equal(bytes_take_varint(&in, &back), size == n);
            if (size == n) assert_true(back == v[i] && in.size == 0);
        }
    }
    uint8_t endless[VARINT_MOST];
    memset(endless, 0x80, sizeof endless);
    pith_bytes in = {endless, sizeof endless};
    uint64_t back;
    assert_false(bytes_take_varint(&in, &back));
}

static void what_is_appended_is_taken_again(void **state) {
    (void)state;
    growing_bytes b = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(bytes_append_varint(&b, i) && bytes_append(&b, "xyz", i % 4));
        assert_true(bytes_append32(&b, i) && bytes_append64(&b, UINT64_C(1) << (i % 64)));
    }
    pith_bytes in = {b.data, b.size}, part = {0};
    uint64_t v = 0, w = 0;
    uint32_t u = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(bytes_take_varint(&in, &v) && bytes_take(&in, i % 4, &part));
        assert_true(v == i && memcmp(part.data, "xyz", i % 4) == 0);
        assert_true(bytes_take32(&in, &u) && bytes_take64(&in, &w));
        assert_true(u == i && w == UINT64_C(1) << (i % 64));
    }
    assert_false(bytes_take(&in, 1, &part) || bytes_take32(&in, &u) || bytes_take64(&in, &w));
    assert_false(bytes_take(&in, UINT64_MAX, &part));
    assert_int_equal(in.size, 0);
    memory_free(b.data);
}

static void a_failure_stays(void **state) {
    (void)state;
    growing_bytes b = {0};
    assert_true(bytes_append(&b, "a", 1));
    size_t more = b.capacity;
    uint8_t *block = memory_zero(more, 1);
    memory_fail_at(1);
    assert_false(bytes_append(&b, block, more));
    memory_fail_at(0);
    assert_false(bytes_append(&b, "b", 1));
    assert_true(b.failed && b.size == 1);
    memory_free(block);
    memory_free(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_at_any_address),
        cmocka_unit_test(varints_come_back_and_end),
        cmocka_unit_test(what_is_appended_is_taken_again),
        cmocka_unit_test(a_failure_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
