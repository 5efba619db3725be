/* Layout, ownership and conversions. */
#include "harness.h"

#include "tensor/tensor.h"

#include <math.h>

static void computes_sizes_and_refuses_overflow(void **state) {
    (void)state;
    pith_tensor t;
    uint64_t bytes;
    pith_error err = {0};
    assert_int_equal(pith_tensor_layout(&t, PITH_Q4_K, 2, (int64_t[]){3, 512}, &bytes, &err), PITH_OK);
    assert_int_equal(bytes, 3 * 2 * 144);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 0, NULL, &bytes, &err), PITH_OK);
    assert_int_equal(bytes, 4);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 2, (int64_t[]){0, 5}, &bytes, &err), PITH_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(pith_tensor_layout(&t, PITH_Q4_K, 1, (int64_t[]){255}, &bytes, NULL), PITH_MISMATCH);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 2, (int64_t[]){INT64_MAX / 2, 3}, &bytes, NULL), PITH_LIMIT);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 3, (int64_t[]){INT64_MAX, INT64_MAX, 1}, &bytes, NULL),
                     PITH_LIMIT);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 1, (int64_t[]){-1}, &bytes, NULL), PITH_CORRUPT);
    assert_int_equal(pith_tensor_layout(&t, PITH_F32, 7, (int64_t[]){1, 1, 1, 1, 1, 1, 1}, &bytes, NULL),
                     PITH_UNSUPPORTED);
    assert_int_equal(pith_tensor_layout(&t, 999, 1, (int64_t[]){1}, &bytes, NULL), PITH_UNSUPPORTED);
}

static void released(void *user) { ++*(int *)user; }

static void counts_references(void **state) {
    (void)state;
    float data[8] = {0};
    int releases = 0;
    pith_buffer *b;
    assert_int_equal(pith_buffer_wrap(&b, data, sizeof data, released, &releases, NULL), PITH_OK);
    pith_tensor t;
    assert_int_equal(pith_tensor_wrap(&t, PITH_F32, 2, (int64_t[]){2, 4}, b, 0, NULL), PITH_OK);
    assert_int_equal(pith_tensor_wrap(&(pith_tensor){0}, PITH_F32, 1, (int64_t[]){8}, b, 4, NULL), PITH_TRUNCATED);
    pith_buffer_release(b);
    assert_int_equal(releases, 0);
    pith_tensor row = pith_tensor_rows(&t, 1, 1);
    assert_ptr_equal(row.data, data + 4);
    pith_tensor_release(&t);
    assert_int_equal(releases, 1);
}

static void half_types_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = pith_f16_to_f32((uint16_t)h);
        uint16_t back = pith_f32_to_f16(f);
        if (isnan(f)) assert_true(isnan(pith_f16_to_f32(back)));
        else assert_int_equal(back, h);
        float g = pith_bf16_to_f32((uint16_t)h);
        if (isnan(g)) assert_true(isnan(pith_bf16_to_f32(pith_f32_to_bf16(g))));
        else assert_int_equal(pith_f32_to_bf16(g), h);
    }
}

static void halves_round_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(pith_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);     /* tie: down to even */
    assert_int_equal(pith_f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02); /* tie: up to even */
    assert_int_equal(pith_f32_to_f16(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
    assert_int_equal(pith_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(pith_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(pith_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(pith_f32_to_f16(0x1.8p-25f), 1);
    assert_int_equal(pith_f32_to_f16(0x1.ffep-15f), 0x0400); /* rounds up into the normal range */
    assert_int_equal(pith_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(pith_f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
}

static void type_tables_agree(void **state) {
    (void)state;
    for (int i = 0; i < PITH_TYPES; i++) {
        assert_int_equal(pith_type_by_name(pith_types[i].name), i);
        if (pith_types[i].gguf >= 0) assert_int_equal(pith_type_by_gguf(pith_types[i].gguf), i);
        if (pith_types[i].safetensors) assert_int_equal(pith_type_by_safetensors(pith_types[i].safetensors), i);
        assert_false(pith_type_is_packed((uint16_t)i) && (pith_types[i].safetensors || pith_types[i].block == 1));
    }
    assert_int_equal(pith_type_by_gguf(4), -1);
}

/* Many to a stretch, one larger than a stretch, freed in an order of their own; fresh ones are zero. */
static void lasting_buffers_do_not_touch(void **state) {
    (void)state;
    enum { COUNT = 40 };
    pith_buffer *b[COUNT];
    pith_error err = {0};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            uint64_t size = i == 7 ? 70 << 20 : i == 9 ? 1000 : (uint64_t)(3 << 20) + (uint64_t)i * 1001;
            assert_int_equal(pith_buffer_new_lasting(&b[i], size, &err), PITH_OK);
            uint8_t *data = pith_buffer_data(b[i]);
            assert_true((uintptr_t)data % 64 == 0 && pith_buffer_size(b[i]) == size);
            assert_true(data[0] == 0 && data[size / 2] == 0 && data[size - 1] == 0);
            data[0] = data[size / 2] = data[size - 1] = (uint8_t)(i + 1);
        }
        for (int k = 0; k < COUNT; k++) {
            int i = k * 7 % COUNT;
            const uint8_t *data = pith_buffer_data(b[i]);
            uint64_t size = pith_buffer_size(b[i]);
            assert_true(data[0] == i + 1 && data[size / 2] == i + 1 && data[size - 1] == i + 1);
            pith_buffer_release(b[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_sizes_and_refuses_overflow), cmocka_unit_test(counts_references),
        cmocka_unit_test(lasting_buffers_do_not_touch),        cmocka_unit_test(half_types_round_trip),
        cmocka_unit_test(halves_round_to_nearest_even),        cmocka_unit_test(type_tables_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
