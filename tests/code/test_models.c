/* Bits, classes, items, discretized distributions and factorized priors: round trips, masses against the true
 * probabilities, indexes, damage. */
#include "harness.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "code/bits.h"
#include "code/classes.h"
#include "code/distribution.h"
#include "code/factorized.h"
#include "code/items.h"

#include <math.h>

static void bits_come_back(void **state) {
    (void)state;
    static uint8_t memory[1 << 16];
    bit_writer w = {.p = memory};
    for (uint64_t i = 1; i < 3000; i++) {
        int n = (int)(i % BITS_MOST) + 1;
        bits_put(&w, i * 0x9e3779b97f4a7c15u >> (64 - n), n);
        if (i % 3 == 0) bits_put_gamma(&w, i % 2 ? i : UINT64_C(1) << (i % 55));
    }
    size_t size = (size_t)(bits_end(&w) - memory);
    bit_reader r = {.p = memory, .end = memory + size};
    for (uint64_t i = 1; i < 3000; i++) {
        int n = (int)(i % BITS_MOST) + 1;
        assert_true(bits_get(&r, n) == i * 0x9e3779b97f4a7c15u >> (64 - n));
        if (i % 3 == 0) assert_true(bits_get_gamma(&r) == (i % 2 ? i : UINT64_C(1) << (i % 55)));
    }
    assert_true(bits_used_up(&r, size));
    assert_int_equal(bits_get_gamma(&r), 0); /* nothing but zeros behind the end */
}

static void gamma_is_elias(void **state) {
    (void)state;
    uint8_t memory[8] = {0};
    bit_writer w = {.p = memory};
    bits_put_gamma(&w, 1); /* 1 */
    bits_put_gamma(&w, 5); /* 001, then 01 lowest first: 10 */
    assert_ptr_equal(bits_end(&w), memory + 1);
    assert_int_equal(memory[0], 1 + (1 << 3) + (1 << 4));
}

static void every_number_has_a_class(void **state) {
    (void)state;
    int before = -1;
    for (uint64_t v = 0; v <= UINT32_MAX; v += 1 + v / 50) {
        uint32_t value = (uint32_t)v;
        int c = class_of(value), bits = class_bits(c);
        assert_true(c >= before && c < CLASSES && bits <= 29);
        assert_int_equal(class_value(c, value & ((1u << bits) - 1)), value);
        before = c;
    }
    assert_int_equal(class_of(UINT32_MAX), CLASSES - 1);
}

/* ---- distributions ---- */

static double truth(const distribution_part *p, double x) {
    double z = (x - p->mean / 256.0) / (p->scale / 256.0);
    switch (p->family) {
    case DISTRIBUTION_NORMAL: return 0.5 * erfc(-z / sqrt(2));
    case DISTRIBUTION_LAPLACE: return z < 0 ? 0.5 * exp(z) : 1 - 0.5 * exp(-z);
    default: return 1 / (1 + exp(-z));
    }
}

static distribution draw(rng *r) {
    distribution d = {.parts = 1 + (int)rng_below(r, 4), .bits = 16 + (int)rng_below(r, 9)};
    d.low = -(int32_t)rng_below(r, 300);
    d.high = (int32_t)rng_below(r, 300);
    for (int i = 0; i < d.parts; i++)
        d.part[i] =
            (distribution_part){(uint16_t)rng_below(r, DISTRIBUTION_FAMILIES), (uint16_t)(1 + rng_below(r, 1000)),
                                (int32_t)rng_below(r, 100000) - 50000, 1 + rng_below(r, 1u << rng_below(r, 16))};
    return d;
}

static void masses_are_the_true_ones(void **state) {
    (void)state;
    rng r = rng_new(7, 1);
    for (int i = 0; i < 300; i++) {
        distribution d = draw(&r);
        uint32_t symbols = (uint32_t)(d.high - d.low) + 1, next = 0;
        double full = ldexp(1, d.bits), weight = 0;
        for (int k = 0; k < d.parts; k++) weight += d.part[k].weight;
        for (uint32_t s = 0; s < symbols; s++) {
            pith_mass m = distribution_mass(&d, s), found;
            double p = 0, x = d.low + (double)s;
            for (int k = 0; k < d.parts; k++)
                p += d.part[k].weight / weight *
                     ((s + 1 < symbols ? truth(&d.part[k], x + 0.5) : 1) - (s ? truth(&d.part[k], x - 0.5) : 0));
            assert_int_equal(m.start, next);
            assert_true(m.width >= 1);
            assert_true(fabs(m.width - 1 - p * (full - symbols)) < 1 + full * ldexp(1, -19));
            assert_int_equal(distribution_find(&d, m.start + (m.width - 1) * (s & 1), &found), s);
            assert_memory_equal(&m, &found, sizeof m);
            next += m.width;
        }
        assert_int_equal(next, 1u << d.bits);
    }
}

/* Masses decide streams: these numbers may never change, whatever the compiler and its options. */
static void masses_are_pinned(void **state) {
    (void)state;
    rng r = rng_new(11, 3);
    uint32_t all[4096];
    for (size_t i = 0; i < 4096; i++) {
        distribution d = draw(&r);
        all[i] = distribution_mass(&d, rng_below(&r, (uint32_t)(d.high - d.low) + 1)).start;
    }
    assert_int_equal(hash_bytes(all, sizeof all), UINT64_C(0xc5fc652cb4db0d33));
}

static void mixtures_code(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint32_t symbol[N];
    for (int coder = 0; coder < 2; coder++) {
        rng r = rng_new(5, (uint64_t)coder), again = r;
        pith_encoder *e;
        pith_decoder *d;
        pith_bytes out;
        double bits = 0;
        assert_int_equal(pith_encoder_open(&e, coder, coder == PITH_CODER_RANGE ? 1 : 4, NULL), PITH_OK);
        for (int i = 0; i < N; i++) {
            distribution x = draw(&r);
            pith_model model = distribution_model(&x);
            pith_mass m;
            symbol[i] = model.find(&x, rng_u32(&r) >> (32 - x.bits), &m);
            bits += x.bits - log2(m.width);
            pith_encode(e, model.mass(&x, symbol[i]), model.bits);
        }
        assert_int_equal(pith_encoder_close(e, &out, NULL), PITH_OK);
        assert_true(8.0 * (double)out.size < bits * 1.0005 + 400);
        assert_int_equal(pith_decoder_open(&d, coder, coder == PITH_CODER_RANGE ? 1 : 4, out, NULL), PITH_OK);
        for (int i = 0; i < N; i++) {
            distribution x = draw(&again);
            pith_model model = distribution_model(&x);
            pith_mass m;
            rng_u32(&again);
            assert_int_equal(model.find(&x, pith_decode_point(d, model.bits), &m), symbol[i]);
            pith_decode_take(d, m, model.bits);
        }
        assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
        memory_free(out.data);
    }
}

/* ---- factorized priors ---- */

static void channels_code(void **state) {
    (void)state;
    enum { CHANNELS = 5, COUNT = 4000 };
    static int32_t value[COUNT * CHANNELS];
    rng r = rng_new(6, 2);
    for (int i = 0; i < COUNT * CHANNELS; i++)
        value[i] = (int32_t)lrint(rng_normal(&r) * (1 << (2 * (i % CHANNELS)))) + 1000 * (i % CHANNELS);
    factorized f, g;
    assert_int_equal(factorized_fit(&f, value, COUNT / 2, CHANNELS, NULL), PITH_OK);
    binary_encoder side;
    binary_decoder back;
    binary_encode_open(&side);
    assert_true(factorized_write(&f, &side) && binary_encode_close(&side));
    binary_decode_open(&back, (pith_bytes){side.bytes, side.size});
    assert_true(factorized_read(&g, CHANNELS, &back));
    assert_int_equal(binary_decode_close(&back), side.size);
    value[COUNT * CHANNELS - 1] = INT32_MAX;
    value[COUNT * CHANNELS - 2] = INT32_MIN;
    pith_encoder *e;
    pith_decoder *d;
    pith_bytes out;
    assert_int_equal(pith_encoder_open(&e, PITH_CODER_RANS64, 1, NULL), PITH_OK);
    for (int i = 0; i < COUNT * CHANNELS; i++) factorized_encode(&f, i % CHANNELS, e, value[i]);
    assert_int_equal(pith_encoder_close(e, &out, NULL), PITH_OK);
    assert_true(out.size < COUNT * CHANNELS); /* 2 to 10 bits each, 6.2 in the mean */
    assert_int_equal(pith_decoder_open(&d, PITH_CODER_RANS64, 1, out, NULL), PITH_OK);
    for (int i = 0; i < COUNT * CHANNELS; i++) assert_int_equal(factorized_decode(&g, i % CHANNELS, d), value[i]);
    assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
    factorized_free(&f);
    factorized_free(&g);
    memory_free(side.bytes);
    memory_free(out.data);
}

/* ---- items ---- */

enum { ITEMS = 1000 };

static void reach_items(int coder, const items_index *x, pith_bytes stream) {
    for (uint64_t item = 0; item < ITEMS; item += 37) {
        pith_decoder *d;
        assert_int_equal(pith_decoder_open(&d, coder, 1, stream, NULL), PITH_OK);
        uint64_t over = items_seek(x, d, item);
        assert_true(over < ITEMS_EVERY);
        for (uint64_t k = item - over; k <= item; k++) {
            for (uint64_t j = 0; j <= k % 5; j++) assert_int_equal(pith_decode_raw(d, 11), (k * 97 + j) & 2047);
            assert_int_equal(pith_decoder_mark(d, NULL), PITH_OK);
        }
        memory_free(d);
    }
}

static void items_are_reached(void **state) {
    (void)state;
    for (int coder = 0; coder < 3; coder++) {
        pith_encoder *e;
        pith_bytes stream, index;
        items_index x = {0}, y;
        uint64_t mark = 0;
        assert_int_equal(pith_encoder_open(&e, coder, 1, NULL), PITH_OK);
        for (uint64_t k = 0; k < ITEMS; k++) {
            items_add(&x, mark);
            for (uint64_t j = 0; j <= k % 5; j++) pith_encode_raw(e, (uint32_t)((k * 97 + j) & 2047), 11);
            mark = pith_encoder_mark(e);
        }
        assert_int_equal(pith_encoder_close(e, &stream, NULL), PITH_OK);
        assert_int_equal(items_write(&x, &index, NULL), PITH_OK);
        assert_true(index.size <= 3 * (ITEMS / ITEMS_EVERY + 1) + 4);
        assert_int_equal(items_read(&y, index, stream.size, NULL), PITH_OK);
        assert_int_equal(y.items, ITEMS);
        reach_items(coder, &y, stream);
        items_free(&y);
        for (size_t at = 0; at < 8 * index.size; at++) { /* never beyond the stream, never without bound */
            index.data[at / 8] ^= (uint8_t)(1 << at % 8);
            if (items_read(&y, index, stream.size, NULL) == PITH_OK) {
                for (size_t i = 0; i < y.count; i++) assert_true(y.mark[i] <= 8 * stream.size);
                items_free(&y);
            }
            index.data[at / 8] ^= (uint8_t)(1 << at % 8);
        }
        for (size_t cut = 0; cut < index.size; cut++)
            assert_int_not_equal(items_read(&y, (pith_bytes){index.data, cut}, stream.size, NULL), PITH_OK);
        items_free(&x);
        memory_free(stream.data);
        memory_free(index.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_come_back),
        cmocka_unit_test(gamma_is_elias),
        cmocka_unit_test(every_number_has_a_class),
        cmocka_unit_test(masses_are_the_true_ones),
        cmocka_unit_test(masses_are_pinned),
        cmocka_unit_test(mixtures_code),
        cmocka_unit_test(channels_code),
        cmocka_unit_test(items_are_reached),
    };
    return cmocka_run_group_tests_name("code/models", tests, NULL, NULL);
}
