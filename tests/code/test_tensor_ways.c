/* Lossless coding of tensors: every way taken and brought back, every instruction set alike, damage, base and delta. */
#include "harness.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "code/copy_way.h"
#include "code/float_way.h"
#include "code/planes.h"
#include "code/tensor_ways.h"
#include "tensor/tensor.h"

#include <math.h>

enum { MOST = 16 };

typedef struct group {
    tensor_item item[MOST];
    int64_t shape[MOST][PITH_MAX_RANK];
    size_t count;
} group;

static tensor_item *add(group *g, uint16_t type, int rank, const int64_t *shape) {
    pith_tensor t;
    uint64_t bytes;
    assert_int_equal(pith_tensor_layout(&t, type, rank, shape, &bytes, NULL), PITH_OK);
    size_t i = g->count++;
    memcpy(g->shape[i], shape, (size_t)rank * sizeof *shape);
    g->item[i] = (tensor_item){type, rank, g->shape[i], {memory_zero(bytes + 1, 1), bytes}, {NULL, 0}};
    return &g->item[i];
}

static void free_group(group *g) {
    for (size_t i = 0; i < g->count; i++) {
        memory_free(g->item[i].bytes.data);
        memory_free(g->item[i].base.data);
    }
    g->count = 0;
}

/* Weights whose scale depends on row and column, as trained ones do. */
static void fill_weights(tensor_item *t, uint64_t seed) {
    rng r = rng_new(seed, 7);
    size_t width = t->type == PITH_F32 ? 4 : 2, n = t->bytes.size / width;
    size_t cols = (size_t)(t->rank > 1 ? t->shape[1] : t->shape[0]);
    for (size_t i = 0; i < n; i++) {
        float f = (float)(rng_normal(&r) * exp(sin((double)(i % cols)) + sin((double)(i / cols) * 0.7)) * 0.02);
        pith_from_f32(t->type, &f, 1, t->bytes.data + i * width);
    }
}

static void make_group(group *g) {
    static const int64_t matrix[] = {96, 160}, kernel[] = {24, 20, 3, 3}, row[] = {300}, one[] = {1},
                         odd[] = {7, 5, 2, 1}, table[] = {64, 256};
    memset(g, 0, sizeof *g);
    for (int k = 0; k < 3; k++) fill_weights(add(g, (uint16_t)(PITH_F32 + k), 2, matrix), (uint64_t)k);
    for (int k = 0; k < 3; k++) fill_weights(add(g, (uint16_t)(PITH_F32 + k), 4, kernel), (uint64_t)k);
    fill_weights(add(g, PITH_F32, 1, row), 5);
    fill_weights(add(g, PITH_F32, 4, odd), 5);
    tensor_item *t = add(g, PITH_F32, 2, table); /* a cosine basis: repeats backward and with other signs */
    for (int i = 0; i < 64 * 256; i++) {
        int angle = (i % 256) * (i / 256) % 256;
        ((float *)(void *)t->bytes.data)[i] = cosf((float)(angle > 128 ? 256 - angle : angle) * 0.0245436926f);
    }
    t = add(g, PITH_F32, 2, matrix);
    memcpy(t->bytes.data, g->item[0].bytes.data, t->bytes.size);
    rng r = rng_new(1, 1);
    t = add(g, PITH_I8, 2, matrix);
    for (size_t i = 0; i < t->bytes.size; i++) t->bytes.data[i] = (uint8_t)(int)lrint(rng_normal(&r) * 9);
    t = add(g, PITH_I64, 1, row);
    for (int i = 0; i < 300; i++) ((int64_t *)(void *)t->bytes.data)[i] = i / 3;
    add(g, PITH_I64, 1, one);
    t = add(g, PITH_U8, 2, matrix);
    for (size_t i = 0; i < t->bytes.size; i++) t->bytes.data[i] = (uint8_t)rng_u32(&r);
    add(g, PITH_F32, 1, (int64_t[]){0});
    t = add(g, PITH_F32, 2, matrix); /* bit patterns of every kind */
    for (size_t i = 0; i < t->bytes.size; i++) t->bytes.data[i] = (uint8_t)rng_u32(&r);
    assert_true(g->count == MOST);
}

static pith_bytes encode(const group *g, uint8_t *ways) {
    pith_bytes out;
    pith_error err = {0};
    assert_int_equal(tensor_ways_encode(NULL, g->item, g->count, &out, ways, &err), PITH_OK);
    return out;
}

static pith_status decode(const group *g, pith_bytes in, bool compare) {
    tensor_item item[MOST];
    for (size_t i = 0; i < g->count; i++) {
        item[i] = g->item[i];
        item[i].bytes.data = memory_zero(item[i].bytes.size, 1);
        if (!item[i].bytes.data) {
            while (i-- > 0) memory_free(item[i].bytes.data);
            return PITH_NO_MEMORY;
        }
    }
    pith_status s = tensor_ways_decode(NULL, in, item, g->count, NULL);
    for (size_t i = 0; i < g->count; i++) {
        if (compare) assert_memory_equal(item[i].bytes.data, g->item[i].bytes.data, item[i].bytes.size);
        memory_free(item[i].bytes.data);
    }
    return s;
}

static void takes_every_way_and_back(void **state) {
    (void)state;
    group g;
    uint8_t ways[MOST], listed[MOST];
    uint64_t sizes[MOST], sum = 0;
    make_group(&g);
    pith_bytes out = encode(&g, ways);
    static const uint8_t expected[MOST] = {
        TENSOR_FLOAT, TENSOR_FLOAT, TENSOR_FLOAT,  TENSOR_FLOAT, TENSOR_FLOAT, TENSOR_FLOAT, TENSOR_FLOAT, TENSOR_FLOAT,
        TENSOR_COPY,  TENSOR_SAME,  TENSOR_PLANES, TENSOR_ZSTD,  TENSOR_SMALL, TENSOR_RAW,   TENSOR_SMALL, TENSOR_RAW};
    for (int i = 0; i < MOST; i++)
        if (ways[i] != expected[i]) printf("tensor %d: %s\n", i, tensor_way_name(ways[i]));
    assert_memory_equal(ways, expected, MOST);
    assert_int_equal(decode(&g, out, true), PITH_OK);
    assert_int_equal(tensor_ways_list(out, g.item, g.count, listed, sizes, NULL), PITH_OK);
    assert_memory_equal(ways, listed, MOST);
    for (int i = 0; i < MOST; i++) sum += sizes[i];
    assert_true(sum <= out.size && sum > out.size * 9 / 10);
    memory_free(out.data);
    free_group(&g);
}

static void odd_values_come_back(void **state) {
    (void)state;
    static const uint32_t odd[] = {0x7fc00001, 0xffc12345, 0x7f800000, 0xff800000, 0x80000000,
                                   0,          1,          0x807fffff, 0x00800000};
    for (int type = PITH_F32; type <= PITH_BF16; type++) {
        group g = {.count = 0};
        tensor_item *t = add(&g, (uint16_t)type, 2, (int64_t[]){50, 70});
        fill_weights(t, 3);
        size_t width = type == PITH_F32 ? 4 : 2;
        for (size_t i = 0; i < 900; i++) {
            uint32_t v = odd[i % 9];
            if (type == PITH_BF16) v >>= 16;
            if (type == PITH_F16) v = (v >> 16 & 0x8000) | (v >> 13 & 0x7fff);
            memcpy(t->bytes.data + i * 3 * width, &v, width);
        }
        pith_bytes out = encode(&g, NULL);
        assert_int_equal(decode(&g, out, true), PITH_OK);
        memory_free(out.data);
        free_group(&g);
    }
}

static void shapes_of_all_kinds_come_back(void **state) {
    (void)state;
    static const int64_t shapes[][4] = {{1, 1, 1, 1},  {1, 1, 3, 3},   {5, 1, 3, 3},  {3, 7, 5, 5},
                                        {2, 2, 1, 7},  {1, 40, 3, 3},  {8, 8, 8, 8},  {9, 3, 10, 10},
                                        {1, 1, 70, 1}, {100, 1, 1, 1}, {2, 3, 64, 1}, {300, 300, 1, 1}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int type = PITH_F32; type <= PITH_BF16; type++) {
            group g = {.count = 0};
            fill_weights(add(&g, (uint16_t)type, 4, shapes[k]), k);
            pith_bytes out = encode(&g, NULL);
            assert_int_equal(decode(&g, out, true), PITH_OK);
            memory_free(out.data);
            free_group(&g);
        }
    group none = {.count = 0};
    pith_bytes out = encode(&none, NULL);
    assert_int_equal(decode(&none, out, true), PITH_OK);
    memory_free(out.data);
}

static void scales_and_zeros_pay(void **state) {
    (void)state;
    group g = {.count = 0};
    tensor_item *t = add(&g, PITH_F32, 2, (int64_t[]){256, 256});
    fill_weights(t, 3);
    pith_bytes out = encode(&g, NULL);
    /* normal values of known scale: sign, 23 bits and about 2.55 of exponent less what the mantissa's skew gives back
     */
    assert_true((double)out.size * 8 / 65536 < 26.6);
    memory_free(out.data);
    for (int i = 0; i < 65536; i++) ((uint32_t *)(void *)t->bytes.data)[i] &= 0xffff0000; /* bf16 in f32's clothes */
    out = encode(&g, NULL);
    assert_true((double)out.size * 8 / 65536 < 10.7);
    assert_int_equal(decode(&g, out, true), PITH_OK);
    memory_free(out.data);
    free_group(&g);
}

static void differences_are_small(void **state) {
    (void)state;
    for (int type = PITH_F32; type <= PITH_BF16; type += 2) {
        group g = {.count = 0};
        tensor_item *t = add(&g, (uint16_t)type, 2, (int64_t[]){256, 300});
        fill_weights(t, 3);
        pith_bytes alone = encode(&g, NULL), same, near;
        t->base = (pith_bytes){memory_alloc(t->bytes.size), t->bytes.size};
        memcpy(t->base.data, t->bytes.data, t->bytes.size);
        uint8_t way;
        same = encode(&g, &way);
        assert_int_equal(way, TENSOR_BASE);
        assert_true(same.size < 64);
        assert_int_equal(decode(&g, same, true), PITH_OK);
        rng r = rng_new(3, 3);
        size_t width = type == PITH_F32 ? 4 : 2;
        for (size_t i = 0; i < t->bytes.size / width; i++) {
            float f;
            pith_to_f32((uint16_t)type, t->bytes.data + i * width, 1, &f);
            f += (float)(rng_normal(&r) * 2e-5);
            pith_from_f32((uint16_t)type, &f, 1, t->bytes.data + i * width);
        }
        near = encode(&g, &way);
        assert_int_equal(way, TENSOR_DELTA);
        assert_int_equal(decode(&g, near, true), PITH_OK);
        assert_true((double)near.size < (type == PITH_F32 ? 0.7 : 0.3) * (double)alone.size);
        pith_bytes base = t->base;
        t->base = (pith_bytes){NULL, 0};
        assert_int_equal(decode(&g, near, false), PITH_MISMATCH);
        t->base = base;
        for (size_t cut = 0; cut < near.size; cut = cut * 2 + 1)
            assert_int_not_equal(decode(&g, (pith_bytes){near.data, cut}, false), PITH_OK);
        memory_free(alone.data);
        memory_free(same.data);
        memory_free(near.data);
        free_group(&g);
    }
}

static void every_instruction_set_and_thread_count_agree(void **state) {
    (void)state;
    group g;
    make_group(&g);
    pith_bytes first = encode(&g, NULL);
    for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            isa_force(level);
            parallel_set_threads(threads);
            pith_bytes out = encode(&g, NULL);
            assert_int_equal(out.size, first.size);
            assert_memory_equal(out.data, first.data, out.size);
            assert_int_equal(decode(&g, first, true), PITH_OK);
            memory_free(out.data);
        }
    isa_force(isa_detected());
    parallel_set_threads(0);
    memory_free(first.data);
    free_group(&g);
}

static void damage_ends_in_an_error_or_in_bounds(void **state) {
    (void)state;
    group g;
    make_group(&g);
    pith_bytes out = encode(&g, NULL);
    rng r = rng_new(5, 5);
    for (int i = 0; i < 120; i++) {
        uint8_t *copy = memory_alloc(out.size); /* its own block, so that the address sanitizer sees reads beyond it */
        memcpy(copy, out.data, out.size);
        uint32_t at = i < 60 ? (uint32_t)i : rng_below(&r, (uint32_t)out.size);
        copy[at] = (uint8_t)rng_u32(&r);
        decode(&g, (pith_bytes){copy, out.size}, false);
        memory_free(copy);
    }
    for (size_t cut = 0; cut < out.size; cut = cut * 5 / 3 + 1) {
        uint8_t *copy = memory_alloc(cut);
        memcpy(copy, out.data, cut);
        assert_int_not_equal(decode(&g, (pith_bytes){copy, cut}, false), PITH_OK);
        memory_free(copy);
    }
    memory_free(out.data);
    free_group(&g);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    group g = {.count = 0};
    fill_weights(add(&g, PITH_BF16, 4, (int64_t[]){6, 5, 3, 3}), 1);
    tensor_item *t = add(&g, PITH_F32, 2, (int64_t[]){8, 64});
    for (int i = 0; i < 512; i++) ((float *)(void *)t->bytes.data)[i] = sinf((float)(i % 64) * 0.1f);
    memset(add(&g, PITH_I8, 1, (int64_t[]){900})->bytes.data, 3, 450);
    parallel_set_threads(1);
    pith_bytes out = {NULL, 0}, kept = {NULL, 0};
    for (int n = 1; !kept.data; n++) {
        memory_fail_at(n);
        pith_status s = tensor_ways_encode(NULL, g.item, g.count, &out, NULL, NULL);
        memory_fail_at(0);
        if (s == PITH_OK) kept = out;
        else assert_int_equal(s, PITH_NO_MEMORY);
    }
    for (int n = 1;; n++) {
        memory_fail_at(n);
        pith_status s = decode(&g, kept, false);
        memory_fail_at(0);
        if (s == PITH_OK) break;
        assert_int_equal(s, PITH_NO_MEMORY);
    }
    parallel_set_threads(0);
    assert_int_equal(decode(&g, kept, true), PITH_OK);
    memory_free(kept.data);
    free_group(&g);
}

static void planes_take_the_smallest_coder(void **state) {
    (void)state;
    enum { N = 5000 };
    static uint8_t noise[N], skewed[N], text[N], back[3][N];
    rng r = rng_new(1, 9);
    for (int i = 0; i < N; i++) {
        noise[i] = (uint8_t)rng_u32(&r);
        skewed[i] = (uint8_t)(int)lrint(rng_normal(&r) * 3);
        text[i] = (uint8_t)("all the same again "[i % 19]);
    }
    pith_bytes in[3] = {{noise, N}, {skewed, N}, {text, N}}, out, to[3] = {{back[0], N}, {back[1], N}, {back[2], N}};
    assert_int_equal(planes_encode(in, 3, &out, NULL), PITH_OK);
    assert_int_equal(out.data[0], PLANES_RAW);
    assert_int_equal(out.data[9], PLANES_BULK);
    assert_int_equal(out.data[18], PLANES_ZSTD);
    assert_int_equal(planes_decode(out, to, 3, NULL), PITH_OK);
    for (int i = 0; i < 3; i++) assert_memory_equal(in[i].data, back[i], N);
    assert_int_equal(planes_decode((pith_bytes){out.data, out.size - 1}, to, 3, NULL), PITH_TRUNCATED);
    memory_free(out.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_way_and_back),
        cmocka_unit_test(odd_values_come_back),
        cmocka_unit_test(shapes_of_all_kinds_come_back),
        cmocka_unit_test(scales_and_zeros_pay),
        cmocka_unit_test(differences_are_small),
        cmocka_unit_test(every_instruction_set_and_thread_count_agree),
        cmocka_unit_test(damage_ends_in_an_error_or_in_bounds),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(planes_take_the_smallest_coder),
    };
    return cmocka_run_group_tests_name("code/tensor_ways", tests, NULL, NULL);
}
