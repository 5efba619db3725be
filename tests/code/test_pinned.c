/* Streams of every coder and way, pinned: the same bytes from every compiler, optimization, instruction set and number
 * of threads, and back. tools/test-compilers runs this program built by gcc and clang, at -O0 and in release.
 *
 * A hash that changes means that the format does: then its version must, too. */
#include "harness.h"

#include "base/hash.h"
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "code/bulk.h"
#include "code/code.h"
#include "code/planes.h"
#include "code/tensor_ways.h"
#include "tensor/types.h"

enum { BYTES = 600000 };

/* Sums of uniform bytes: bell-shaped, without a function of the math library. */
static void fill(uint8_t *p, size_t n, uint64_t stream) {
    rng r = rng_new(20, stream);
    for (size_t i = 0; i < n; i++) {
        uint32_t v = rng_u32(&r);
        p[i] = (uint8_t)(((v & 63) + (v >> 8 & 63) + (v >> 16 & 63) + (v >> 24 & 63)) / 4 + (i >> 18) * 40);
    }
}

static void under_every_setting(void (*run)(void)) {
    for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            isa_force(level);
            parallel_set_threads(threads);
            run();
        }
    isa_force(isa_detected());
    parallel_set_threads(0);
}

static void assert_pinned(pith_bytes out, uint64_t expected) {
    uint64_t found = hash_bytes(out.data, out.size);
    if (found != expected)
        fail_msg("%s, %d threads: expected hash %016llx, found %016llx", isa_name(isa_active()), parallel_threads(),
                 (unsigned long long)expected, (unsigned long long)found);
}

static void code_bulk(void) {
    static const uint64_t expected[] = {0x09e470c9bb0d3761, 0xfd7e3fe3e8544911, 0x09f117ebef4ad70e, 0x717d1caa9123847b};
    static uint8_t in[BYTES], back[BYTES];
    fill(in, BYTES, 1);
    for (int bits = BULK_FAST; bits <= BULK_MOST_PRECISE; bits++) {
        pith_bytes out;
        assert_int_equal(bulk_encode((pith_bytes){in, BYTES}, bits, &out, NULL), PITH_OK);
        assert_pinned(out, expected[bits - BULK_FAST]);
        assert_int_equal(bulk_decode(out, (pith_bytes){back, BYTES}, NULL), PITH_OK);
        assert_memory_equal(in, back, BYTES);
        memory_free(out.data);
    }
}

static void bulk_streams(void **state) {
    (void)state;
    under_every_setting(code_bulk);
}

/* Symbol i of width 1 to 2^k, k going round. */
static pith_mass mass_of(uint32_t i, uint32_t v, int bits) {
    uint32_t width = 1u << i % (uint32_t)bits, start = v & ((1u << bits) - 1) & ~(width - 1);
    return (pith_mass){start, width};
}

static void generic_streams(void **state) {
    (void)state;
    enum { N = 30000 };
    static const uint64_t expected[] = {0x6a50426d73b77733, 0xd3d166053e60b722, 0x7a54ab59c6c1f4ef};
    for (int coder = PITH_CODER_RANGE; coder <= PITH_CODER_RANS32; coder++) {
        rng r = rng_new(21, 0), again = r;
        int lanes = coder == PITH_CODER_RANGE ? 1 : 8, most = coder == PITH_CODER_RANS32 ? 16 : 24;
        pith_encoder *e;
        pith_decoder *d;
        pith_bytes out;
        assert_int_equal(pith_encoder_open(&e, coder, lanes, NULL), PITH_OK);
        for (uint32_t i = 0; i < N; i++) {
            int bits = 1 + (int)(i * 7 % (uint32_t)most);
            pith_encode(e, mass_of(i, rng_u32(&r), bits), bits);
            if (i % 5000 == 4999) pith_encoder_mark(e);
        }
        assert_int_equal(pith_encoder_close(e, &out, NULL), PITH_OK);
        assert_pinned(out, expected[coder]);
        assert_int_equal(pith_decoder_open(&d, coder, lanes, out, NULL), PITH_OK);
        for (uint32_t i = 0; i < N; i++) {
            int bits = 1 + (int)(i * 7 % (uint32_t)most);
            pith_mass m = mass_of(i, rng_u32(&again), bits);
            assert_true(pith_decode_point(d, bits) - m.start < m.width);
            pith_decode_take(d, m, bits);
            if (i % 5000 == 4999) assert_int_equal(pith_decoder_mark(d, NULL), PITH_OK);
        }
        assert_int_equal(pith_decoder_close(d, NULL), PITH_OK);
        memory_free(out.data);
    }
}

/* ---- tensors ---- */

static const struct {
    uint16_t type;
    int rank;
    int64_t shape[4];
    size_t bytes;
    bool based;
} tensors[] = {{PITH_F32, 2, {160, 200}, 128000, false}, {PITH_F32, 4, {40, 20, 3, 3}, 28800, false},
               {PITH_BF16, 2, {300, 100}, 60000, false}, {PITH_F16, 1, {7000}, 14000, false},
               {PITH_F32, 2, {100, 200}, 80000, true},   {PITH_BF16, 2, {256, 128}, 65536, true},
               {PITH_I8, 2, {100, 100}, 10000, false},   {PITH_I32, 1, {3}, 12, false},
               {PITH_F32, 2, {100, 100}, 40000, false}};
enum { TENSORS = sizeof tensors / sizeof *tensors, ROOM = 480000, REPEATING = TENSORS - 1 };

/* Floats of uniform mantissas and exponents around their row's; `other`: some of the low bits differ. */
static void fill_words(uint8_t *p, size_t i, bool other) {
    rng r = rng_new(22, i), change = rng_new(23, i);
    size_t width = tensors[i].type == PITH_F32 ? 4 : 2, n = tensors[i].bytes / width;
    for (size_t k = 0; k < n; k++) {
        uint32_t u = rng_u32(&r), e = 110 + (uint32_t)(k / 200 % 5) + (u >> 4 & 3) + (u >> 6 & 3);
        uint32_t w = (u & 0x80000000u) | e << 23 | (u >> 8 & 0x7fffff);
        if (i == REPEATING) w = 0x3f000000u + (uint32_t)(k % 37) * 77777;
        if (tensors[i].type == PITH_F16) w = (u & 0x80000000u) | (10 + (e & 7)) << 26 | (u & 0x3ffffff);
        if (other) w += (rng_u32(&change) & 7) << (width == 4 ? 9 : 16);
        if (width == 2) w >>= 16;
        memcpy(p + k * width, &w, width == 4 ? 4 : 2);
    }
}

static void code_tensors(void) {
    static uint8_t in[ROOM], base[ROOM], back[ROOM];
    tensor_item item[TENSORS];
    size_t at = 0;
    for (size_t i = 0; i < TENSORS; at += tensors[i].bytes, i++) {
        bool words = tensors[i].type == PITH_F32 || tensors[i].type == PITH_BF16 || tensors[i].type == PITH_F16;
        if (words) fill_words(in + at, i, tensors[i].based);
        else fill(in + at, tensors[i].bytes, i);
        if (tensors[i].based) fill_words(base + at, i, false);
        item[i] = (tensor_item){.type = tensors[i].type,
                                .rank = tensors[i].rank,
                                .shape = tensors[i].shape,
                                .bytes = {in + at, tensors[i].bytes}};
        if (tensors[i].based) item[i].base = (pith_bytes){base + at, tensors[i].bytes};
    }
    assert_true(at <= ROOM);
    pith_bytes out;
    uint8_t ways[TENSORS];
    assert_int_equal(tensor_ways_encode(NULL, item, TENSORS, &out, ways, NULL), PITH_OK);
    assert_pinned(out, 0x803794d21a59c186);
    assert_int_equal(ways[0], TENSOR_FLOAT);
    assert_int_equal(ways[4], TENSOR_DELTA);
    assert_int_equal(ways[5], TENSOR_DELTA);
    memset(back, 0, sizeof back);
    for (size_t i = 0; i < TENSORS; i++) item[i].bytes.data = back + (item[i].bytes.data - in);
    assert_int_equal(tensor_ways_decode(NULL, out, item, TENSORS, NULL), PITH_OK);
    assert_memory_equal(in, back, at);
    memory_free(out.data);
}

static void tensor_streams(void **state) {
    (void)state;
    under_every_setting(code_tensors);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bulk_streams), cmocka_unit_test(generic_streams),
                                       cmocka_unit_test(tensor_streams)};
    return cmocka_run_group_tests_name("code/pinned", tests, NULL, NULL);
}
