/* The three coders: round trips, item marks, what damage does, what an item costs. */
#include "harness.h"

#include "base/memory.h"
#include "base/rng.h"
#include "code/code.h"

#include <math.h>

typedef struct op {
    uint32_t start, width; /* width 0: raw */
    int bits;
} op;

static op random_op(rng *r, int most_bits) {
    int bits = (int)rng_below(r, (uint32_t)most_bits + 1);
    uint32_t full = 1u << bits, pick = rng_below(r, 8);
    if (pick == 0) return (op){0, full, bits}; /* certain */
    if (pick == 1) return (op){rng_below(r, full), 0, bits};
    uint32_t start = pick == 2 ? full - 1 : rng_below(r, full), left = full - start;
    uint32_t width = pick < 5 ? 1 : 1 + rng_below(r, left);
    return (op){start, width, bits};
}

static void put(pith_encoder *e, op o) {
    if (o.width == 0) pith_encode_raw(e, o.start, o.bits);
    else pith_encode(e, (pith_mass){o.start, o.width}, o.bits);
}

static bool got(pith_decoder *d, op o) {
    if (o.width == 0) return pith_decode_raw(d, o.bits) == o.start;
    uint32_t point = pith_decode_point(d, o.bits);
    pith_decode_take(d, (pith_mass){o.start, o.width}, o.bits);
    return point >= o.start && point - o.start < o.width;
}

static const struct {
    int coder, lanes, bits;
} kinds[] = {{PITH_CODER_RANGE, 1, 24},
             {PITH_CODER_RANS64, 1, 24},
             {PITH_CODER_RANS64, 5, 24},
             {PITH_CODER_RANS32, 1, 16},
             {PITH_CODER_RANS32, 32, 16}};
enum { KINDS = sizeof kinds / sizeof *kinds, OPS = 20000, ITEMS = 200 };

static op ops[OPS];
static uint64_t marks[ITEMS + 1];

/* OPS random symbols in ITEMS items of very different lengths, some of them empty. */
static pith_bytes encode_all(int k, uint64_t seed) {
    rng r = rng_new(seed, (uint64_t)k);
    pith_encoder *e;
    assert_int_equal(pith_encoder_open(&e, kinds[k].coder, kinds[k].lanes, NULL), PITH_OK);
    for (int i = 0; i < OPS; i++) {
        ops[i] = random_op(&r, kinds[k].bits);
        if (i % (OPS / ITEMS) == 0) marks[i / (OPS / ITEMS)] = pith_encoder_mark(e);
        put(e, ops[i]);
    }
    pith_bytes out;
    assert_int_equal(pith_encoder_close(e, &out, NULL), PITH_OK);
    marks[ITEMS] = out.size * 8;
    return out;
}

static void gives_back_what_was_put(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            pith_bytes b = encode_all(k, seed);
            pith_decoder *d;
            assert_int_equal(pith_decoder_open(&d, kinds[k].coder, kinds[k].lanes, b, NULL), PITH_OK);
            for (int i = 0; i < OPS; i++) {
                if (i % (OPS / ITEMS) == 0) assert_int_equal(pith_decoder_mark(d, NULL), PITH_OK);
                assert_true(got(d, ops[i]));
            }
            assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
            memory_free(b.data);
        }
}

static void items_are_decodable_alone_and_in_any_order(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        pith_bytes b = encode_all(k, 77);
        pith_decoder *whole, *d;
        pith_decoder_open(&whole, kinds[k].coder, kinds[k].lanes, b, NULL);
        for (int item = ITEMS - 1; item >= 0; item--) {
            pith_bytes part = {b.data + marks[item] / 8, (size_t)(marks[item + 1] - marks[item]) / 8};
            pith_decoder_open(&d, kinds[k].coder, kinds[k].lanes, part, NULL);
            pith_decoder_seek(whole, marks[item]);
            for (int i = item * (OPS / ITEMS); i < (item + 1) * (OPS / ITEMS); i++) {
                assert_true(got(d, ops[i]));
                assert_true(got(whole, ops[i]));
            }
            assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
            assert_int_equal(pith_decoder_mark(whole, NULL), PITH_OK);
        }
        memory_free(whole);
        memory_free(b.data);
    }
}

static void empty_streams_have_no_bytes(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        pith_encoder *e;
        pith_bytes b;
        pith_encoder_open(&e, kinds[k].coder, kinds[k].lanes, NULL);
        assert_int_equal(pith_encoder_mark(e), 0);
        assert_int_equal(pith_encoder_mark(e), 0);
        assert_int_equal(pith_encoder_close(e, &b, NULL), PITH_OK);
        assert_int_equal(b.size, 0);
        pith_decoder *d;
        pith_decoder_open(&d, kinds[k].coder, kinds[k].lanes, b, NULL);
        assert_int_equal(pith_decoder_mark(d, NULL), PITH_OK);
        assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
        memory_free(b.data);
    }
}

/* 784 symbols of about 1.2 bits, as in one small picture: the whole stream within a byte of the information. */
static void an_item_costs_about_half_a_byte(void **state) {
    (void)state;
    rng r = rng_new(3, 0);
    pith_encoder *e;
    pith_encoder_open(&e, PITH_CODER_RANGE, 1, NULL);
    double information = 0;
    enum { PICTURES = 500 };
    for (int i = 0; i < PICTURES; i++) {
        for (int j = 0; j < 784; j++) {
            uint32_t v = rng_below(&r, 1u << 24);
            pith_mass m = v < 10000000 ? (pith_mass){0, 10000000} : (pith_mass){v & ~0xffffu, 65536};
            if (m.start && m.start < 10000000) m = (pith_mass){10000000, 65536};
            information -= log2(m.width / 16777216.0);
            pith_encode(e, m, 24);
        }
        pith_encoder_mark(e);
    }
    pith_bytes b;
    pith_encoder_close(e, &b, NULL);
    double over = ((double)b.size * 8 - information) / PICTURES;
    memory_free(b.data);
    assert_true(over > 0 && over < 6); /* bits: below 0.008 bits a pixel */
}

static void carries_run_through_full_bytes(void **state) {
    (void)state;
    pith_encoder *e;
    pith_bytes b;
    pith_encoder_open(&e, PITH_CODER_RANGE, 1, NULL);
    pith_encode(e, (pith_mass){0, 2}, 2);                                            /* [0, 1/2) */
    for (int i = 0; i < 40; i++) pith_encode(e, (pith_mass){(1u << 24) - 2, 2}, 24); /* ever nearer to 1/2 */
    pith_encode(e, (pith_mass){(1u << 24) - 1, 1}, 24);
    pith_encoder_close(e, &b, NULL);
    pith_decoder *d;
    pith_decoder_open(&d, PITH_CODER_RANGE, 1, b, NULL);
    assert_true(got(d, (op){0, 2, 2}));
    for (int i = 0; i < 40; i++) assert_true(got(d, (op){(1u << 24) - 2, 2, 24}));
    assert_true(got(d, (op){(1u << 24) - 1, 1, 24}));
    assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
    memory_free(b.data);
}

static pith_status decode_uniform(int k, pith_bytes b, int n) {
    pith_decoder *d;
    assert_int_equal(pith_decoder_open(&d, kinds[k].coder, kinds[k].lanes, b, NULL), PITH_OK);
    for (int i = 0; i < n; i++) {
        uint32_t p = pith_decode_point(d, 12);
        assert_true(p < 4096);
        pith_decode_take(d, (pith_mass){p & ~15u, 16}, 12);
    }
    return pith_decoder_close(d, NULL);
}

static void damage_is_noticed(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        rng r = rng_new(9, (uint64_t)k);
        pith_encoder *e;
        pith_bytes b;
        pith_encoder_open(&e, kinds[k].coder, kinds[k].lanes, NULL);
        for (int i = 0; i < 3000; i++) pith_encode(e, (pith_mass){rng_below(&r, 256) * 16, 16}, 12);
        pith_encoder_close(e, &b, NULL);
        assert_int_equal(decode_uniform(k, b, 3000), PITH_OK);
        for (size_t cut = 1; cut < 9; cut++) {
            pith_status s = decode_uniform(k, (pith_bytes){b.data, b.size - cut}, 3000);
            assert_true(s == PITH_TRUNCATED || s == PITH_CORRUPT);
        }
        assert_int_not_equal(decode_uniform(k, (pith_bytes){b.data, 0}, 3000), PITH_OK);
        assert_int_not_equal(decode_uniform(k, b, 2999), PITH_OK);
        b.data = memory_grow(b.data, b.size + 1, 1);
        b.data[b.size] = 0;
        assert_int_equal(decode_uniform(k, (pith_bytes){b.data, b.size + 1}, 3000), PITH_CORRUPT);
        for (size_t i = 0; i < b.size; i++) b.data[i] = (uint8_t)rng_u32(&r);
        decode_uniform(k, b, 100000); /* anything but a crash */
        memory_free(b.data);
    }
}

static void refuses_what_it_does_not_know(void **state) {
    (void)state;
    pith_encoder *e;
    pith_decoder *d;
    assert_int_equal(pith_encoder_open(&e, 3, 1, NULL), PITH_UNSUPPORTED);
    assert_int_equal(pith_encoder_open(&e, PITH_CODER_RANGE, 2, NULL), PITH_UNSUPPORTED);
    assert_int_equal(pith_decoder_open(&d, PITH_CODER_RANS32, 65, (pith_bytes){NULL, 0}, NULL), PITH_UNSUPPORTED);
    assert_int_equal(pith_decoder_open(&d, PITH_CODER_RANS32, 0, (pith_bytes){NULL, 0}, NULL), PITH_UNSUPPORTED);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        int failures = 0;
        for (int n = 1;; n++) {
            pith_encoder *e = NULL;
            pith_bytes b = {NULL, 0};
            memory_fail_at(n);
            pith_status s = pith_encoder_open(&e, kinds[k].coder, kinds[k].lanes, NULL);
            for (int i = 0; i < 300 && e; i++) {
                pith_encode_raw(e, 5, 12);
                if (i % 100 == 99) pith_encoder_mark(e);
            }
            if (e) s = pith_encoder_close(e, &b, NULL);
            memory_fail_at(0);
            memory_free(b.data);
            if (s == PITH_OK) break;
            assert_int_equal(s, PITH_NO_MEMORY);
            failures++;
        }
        assert_true(failures > 1);
    }
}

static uint32_t fnv(pith_bytes b) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < b.size; i++) h = (h ^ b.data[i]) * 16777619u;
    return h;
}

/* Streams are a format: these sums may never change. */
static void streams_stay_the_same(void **state) {
    (void)state;
    static const uint32_t pinned[KINDS] = {0x5c2e942f, 0x6e25370d, 0x4fc9cc0a, 0x38883800, 0xf256b6e5};
    for (int k = 0; k < KINDS; k++) {
        pith_bytes b = encode_all(k, 1);
        if (fnv(b) != pinned[k]) printf("coder %d: 0x%08xu\n", k, fnv(b));
        assert_int_equal(fnv(b), pinned[k]);
        memory_free(b.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put),        cmocka_unit_test(items_are_decodable_alone_and_in_any_order),
        cmocka_unit_test(empty_streams_have_no_bytes),    cmocka_unit_test(an_item_costs_about_half_a_byte),
        cmocka_unit_test(carries_run_through_full_bytes), cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(refuses_what_it_does_not_know),  cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(streams_stay_the_same),
    };
    return cmocka_run_group_tests_name("code/coder", tests, NULL, NULL);
}
