/* The bulk coder: round trips, sizes near the entropy, the same bytes from every instruction set, damage. */
#include "harness.h"

#include "base/bytes.h"
#include "base/isa.h"
#include "base/rng.h"
#include "code/bulk.h"
#include "code/bulk_kernels.h"
#include "code/code.h"
#include "code/rans.h"
#include "code/table.h"

#include <math.h>

static void fill(uint8_t *p, size_t n, int kind, uint64_t seed) {
    rng r = rng_new(seed, (uint64_t)kind);
    for (size_t i = 0; i < n; i++) switch (kind) {
        case 0: p[i] = (uint8_t)(int)lrint(rng_normal(&r) * 8); break;
        case 1: p[i] = (uint8_t)rng_u32(&r); break;
        case 2: p[i] = (uint8_t)(rng_below(&r, 1000) == 0 ? rng_u32(&r) : 7); break;
        case 3: p[i] = 200; break;
        case 4: p[i] = (uint8_t)(lrint(rng_normal(&r) * 5) + (i >> 17) * 60); break; /* changes from block to block */
        default: p[i] = (uint8_t)(rng_u32(&r) & 1 ? 3 : 250);
        }
}

enum { KINDS = 6 };

static double entropy_bytes(const uint8_t *p, size_t n) {
    uint32_t counts[256] = {0};
    table_count(counts, p, n);
    return table_cost(NULL, counts) / 8;
}

static void round_trips(void **state) {
    (void)state;
    static const size_t sizes[] = {0,    1,     2,     31,     33,     100,        2047,
                                   2048, 33000, 65536, 131071, 131137, BULK_CHUNK, BULK_CHUNK + 12345};
    static uint8_t in[2 * BULK_CHUNK], back[2 * BULK_CHUNK];
    for (int kind = 0; kind < KINDS; kind++) {
        fill(in, sizeof in, kind, 1);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (int bits = BULK_MIN_BITS; bits <= BULK_MAX_BITS; bits += k > 10 ? 3 : 1) {
                pith_bytes out;
                assert_int_equal(bulk_encode((pith_bytes){in, sizes[k]}, bits, &out, NULL), PITH_OK);
                memset(back, 0xee, sizes[k]);
                assert_int_equal(bulk_decode(out, (pith_bytes){back, sizes[k]}, NULL), PITH_OK);
                assert_memory_equal(in, back, sizes[k]);
                memory_free(out.data);
            }
    }
}

static void sizes_are_near_the_entropy(void **state) {
    (void)state;
    static uint8_t in[2 << 20];
    static const struct {
        int bits;
        double over;
    } settings[] = {{12, 1.0020}, {14, 1.0005}, {15, 1.0003}}; /* half a chunk: states and table weigh double */
    for (int kind = 0; kind < KINDS; kind += KINDS - 1) {      /* five bits, one bit */
        fill(in, sizeof in, kind, 5);
        double ideal = entropy_bytes(in, sizeof in);
        for (int k = 0; k < 3; k++) {
            pith_bytes out;
            assert_int_equal(bulk_encode((pith_bytes){in, sizeof in}, settings[k].bits, &out, NULL), PITH_OK);
            printf("%d bits: %.4f %% over the entropy\n", settings[k].bits, 100 * ((double)out.size / ideal - 1));
            assert_true((double)out.size < ideal * settings[k].over);
            memory_free(out.data);
        }
    }
    fill(in, sizeof in, 4, 5); /* own tables where the source changes: far below the entropy of the whole */
    pith_bytes out;
    assert_int_equal(bulk_encode((pith_bytes){in, sizeof in}, 12, &out, NULL), PITH_OK);
    assert_true((double)out.size < 0.8 * entropy_bytes(in, sizeof in));
    memory_free(out.data);
    fill(in, sizeof in, 1, 5); /* noise costs a header */
    assert_int_equal(bulk_encode((pith_bytes){in, sizeof in}, 12, &out, NULL), PITH_OK);
    assert_int_equal(out.size, sizeof in + 5);
    memory_free(out.data);
    fill(in, sizeof in, 3, 5);
    assert_int_equal(bulk_encode((pith_bytes){in, sizeof in}, 12, &out, NULL), PITH_OK);
    assert_int_equal(out.size, 6);
    memory_free(out.data);
}

static void every_instruction_set_writes_and_reads_the_same(void **state) {
    (void)state;
    static uint8_t in[270001], back[sizeof in];
    for (int kind = 0; kind < KINDS; kind++)
        for (int bits = 10; bits <= 15; bits += kind ? 3 : 1) {
            fill(in, sizeof in, kind, 11);
            pith_bytes first = {NULL, 0};
            for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++) {
                isa_force(level);
                pith_bytes out;
                assert_int_equal(bulk_encode((pith_bytes){in, sizeof in}, bits, &out, NULL), PITH_OK);
                if (!first.data) {
                    first = out;
                } else {
                    assert_int_equal(out.size, first.size);
                    assert_memory_equal(out.data, first.data, out.size);
                    memory_free(out.data);
                }
                memset(back, 0, sizeof back);
                assert_int_equal(bulk_decode(first, (pith_bytes){back, sizeof back}, NULL), PITH_OK);
                assert_memory_equal(in, back, sizeof back);
            }
            memory_free(first.data);
        }
    isa_force(isa_detected());
}

/* A bank of tables chosen symbol by symbol: every set alike, and the same words as the generic coder writes. */
static void banks_agree_with_the_generic_coder(void **state) {
    (void)state;
    ISA_DECLARE(bulk_kernels, bulk_kernels);
    enum { TABLES = 7, N = 10007 };
    static uint8_t in[N], index[N], back[N], words[2 * N + 64];
    for (int bits = 10; bits <= 15; bits++)
        for (int lanes = 32; lanes <= 64; lanes *= 2) {
            pith_table t[TABLES];
            uint32_t start[TABLES][256];
            rng r = rng_new(4, (uint64_t)bits);
            for (int k = 0; k < TABLES; k++) {
                uint32_t counts[256] = {0}, sum = 0;
                for (int s = 0; s < 256; s++) counts[s] = rng_below(&r, 4) == 0 ? rng_below(&r, 1000) : 0;
                counts[k] = 50;
                table_fit(&t[k], counts, bits);
                for (int s = 0; s < 256; s++) {
                    start[k][s] = sum;
                    sum += t[k].width[s];
                }
                assert_int_equal(sum, 1u << bits);
            }
            pith_encoder *e;
            pith_encoder_open(&e, PITH_CODER_RANS32, lanes, NULL);
            for (int i = 0; i < N; i++) {
                index[i] = (uint8_t)rng_below(&r, TABLES);
                do in[i] = (uint8_t)rng_u32(&r);
                while (!t[index[i]].width[in[i]]);
                pith_encode(e, (pith_mass){start[index[i]][in[i]], t[index[i]].width[in[i]]}, bits);
            }
            pith_bytes generic;
            assert_int_equal(pith_encoder_close(e, &generic, NULL), PITH_OK);
            bulk_bank bank;
            assert_true(table_bank_new(&bank, t, TABLES, true));
            for (int level = 0; level <= (int)isa_detected(); level++) {
                const bulk_kernels *k = ISA_AT(bulk_kernels, level);
                uint32_t x[BULK_LANES];
                for (int l = 0; l < lanes; l++) x[l] = RANS32_LOW;
                uint8_t *end = words + sizeof words, *p = k->encode(&bank, index, x, lanes, end, in, N);
                assert_int_equal(generic.size, (size_t)(end - p) + 4 * (size_t)lanes);
                assert_memory_equal(generic.data, x, 4 * (size_t)lanes);
                assert_memory_equal(generic.data + 4 * lanes, p, (size_t)(end - p));
                assert_ptr_equal(k->decode(&bank, index, x, lanes, p, end, back, N), end);
                assert_memory_equal(in, back, N);
                for (int l = 0; l < lanes; l++) assert_int_equal(x[l], RANS32_LOW);
            }
            table_bank_free(&bank);
            memory_free(generic.data);
        }
}

/* As kinds that are no longer written had it: 16-bit words with fine tables (2), states of 64 bits (3). */
static pith_bytes older_chunk(int kind, int bits, int code, int lanes, pith_bytes in) {
    uint32_t counts[256] = {0}, start[256], sum = 0;
    pith_table t;
    binary_encoder tables;
    pith_encoder *e;
    pith_bytes item;
    table_count(counts, in.data, in.size);
    table_fit(&t, counts, bits);
    for (int s = 0; s < 256; s++) start[s] = sum, sum += t.width[s];
    binary_encode_open(&tables);
    table_write(&tables, &t, NULL);
    assert_true(binary_encode_close(&tables));
    assert_int_equal(pith_encoder_open(&e, kind == 2 ? PITH_CODER_RANS32 : PITH_CODER_RANS64, lanes, NULL), PITH_OK);
    for (size_t i = 0; i < in.size; i++) pith_encode(e, (pith_mass){start[in.data[i]], t.width[in.data[i]]}, bits);
    assert_int_equal(pith_encoder_close(e, &item, NULL), PITH_OK);
    growing_bytes b = {0};
    uint8_t head[4] = {(uint8_t)kind, (uint8_t)(bits | code << 4)};
    put16(head + 2, (uint16_t)tables.size);
    bytes_append(&b, head, 4);
    bytes_append(&b, tables.bytes, tables.size);
    assert_true(bytes_append(&b, item.data, item.size));
    memory_free(tables.bytes);
    memory_free(item.data);
    return (pith_bytes){b.data, b.size};
}

static void older_kinds_are_read(void **state) {
    (void)state;
    static const struct {
        int kind, bits, code, lanes;
    } older[] = {{2, 13, 3, 64}, {2, 14, 2, 32}, {2, 15, 0, 2}, {3, 15, 3, 32}, {3, 15, 0, 1}, {3, 13, 1, 4}};
    static uint8_t in[60000], back[sizeof in];
    fill(in, sizeof in, 0, 9);
    for (size_t k = 0; k < sizeof older / sizeof *older; k++)
        for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++) {
            isa_force(level);
            pith_bytes b =
                older_chunk(older[k].kind, older[k].bits, older[k].code, older[k].lanes, (pith_bytes){in, sizeof in});
            memset(back, 0, sizeof back);
            assert_int_equal(bulk_decode_chunk(b, (pith_bytes){back, sizeof back}, NULL), PITH_OK);
            assert_memory_equal(in, back, sizeof back);
            b.data[b.size / 2] ^= 4;
            assert_int_equal(bulk_decode_chunk(b, (pith_bytes){back, sizeof back}, NULL), PITH_CORRUPT);
            memory_free(b.data);
        }
    isa_force(isa_detected());
}

static void damage_at(int bits) {
    enum { N = 200000 };
    static uint8_t in[N], back[N];
    fill(in, N, 0, 3);
    pith_bytes out;
    assert_int_equal(bulk_encode((pith_bytes){in, N}, bits, &out, NULL), PITH_OK);
    rng r = rng_new(8, 0);
    int missed = 0;
    for (int i = 0; i < 400; i++) {
        size_t at = i < 200 ? (size_t)i : rng_below(&r, (uint32_t)out.size);
        uint8_t old = out.data[at];
        out.data[at] = (uint8_t)(old ^ 1u << rng_below(&r, 8));
        pith_status s = bulk_decode(out, (pith_bytes){back, N}, NULL);
        missed += s == PITH_OK; /* the first state may name another symbol that leads to the same next state */
        out.data[at] = old;
    }
    assert_true(missed < 10);
    for (size_t cut = 1; cut < out.size; cut = cut * 3 / 2 + 1) {
        /* exact size, so that the address sanitizer sees every read beyond it */
        uint8_t *copy = memory_alloc(out.size - cut);
        memcpy(copy, out.data, out.size - cut);
        assert_int_not_equal(bulk_decode((pith_bytes){copy, out.size - cut}, (pith_bytes){back, N}, NULL), PITH_OK);
        uint32_t size = (uint32_t)(out.size - cut - 4); /* the same with a length that fits */
        if (out.size - cut > 4) {
            memcpy(copy, &size, 4);
            assert_int_not_equal(bulk_decode((pith_bytes){copy, out.size - cut}, (pith_bytes){back, N}, NULL), PITH_OK);
        }
        memory_free(copy);
    }
    assert_int_not_equal(bulk_decode(out, (pith_bytes){back, N - 1}, NULL), PITH_OK);
    memory_free(out.data);
}

static void damage_ends_in_an_error_or_in_bounds(void **state) {
    (void)state;
    damage_at(BULK_FAST);
    damage_at(BULK_PRECISE);
}

static void tables_fit_and_come_back(void **state) {
    (void)state;
    rng r = rng_new(2, 2);
    pith_table before = {.bits = 0};
    for (int i = 0; i < 500; i++) {
        int bits = 10 + i % 6;
        uint32_t counts[256] = {0};
        uint32_t kinds = 1 + rng_below(&r, 256), most = 1u << (1 + rng_below(&r, 24));
        for (uint32_t s = 0; s < kinds; s++) counts[rng_below(&r, 256)] = 1 + rng_below(&r, most);
        pith_table t, back;
        table_fit(&t, counts, bits);
        for (int s = 0; s < 256; s++) assert_int_equal(t.width[s] > 0, counts[s] > 0);
        binary_encoder e;
        binary_encode_open(&e);
        const pith_table *hint = i % 3 ? &before : NULL;
        if (i == 0) hint = NULL;
        table_write(&e, &t, hint);
        assert_true(binary_encode_close(&e));
        binary_decoder d;
        binary_decode_open(&d, (pith_bytes){e.bytes, e.size});
        assert_true(table_read(&d, &back, bits, hint));
        assert_memory_equal(t.width, back.width, sizeof t.width);
        assert_int_equal(binary_decode_close(&d), e.size);
        memory_free(e.bytes);
        before = t;
    }
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    static uint8_t in[100000], back[100000];
    fill(in, sizeof in, 0, 3);
    pith_bytes out, kept = {NULL, 0};
    for (int n = 1; !kept.data; n++) {
        memory_fail_at(n);
        pith_status s = bulk_encode((pith_bytes){in, sizeof in}, 12, &out, NULL);
        memory_fail_at(0);
        if (s == PITH_OK) kept = out;
        else assert_int_equal(s, PITH_NO_MEMORY);
    }
    for (int n = 1;; n++) {
        memory_fail_at(n);
        pith_status s = bulk_decode(kept, (pith_bytes){back, sizeof back}, NULL);
        memory_fail_at(0);
        if (s == PITH_OK) break;
        assert_int_equal(s, PITH_NO_MEMORY);
    }
    memory_free(kept.data);
}

/* 10^9 symbols: every counter and offset beyond 2^31 and 2^32 bits. Only where PITH_DEEP is set: 3 GB of memory. */
static void a_billion_symbols(void **state) {
    (void)state;
    enum { N = 1000000000 };
    if (!getenv("PITH_DEEP")) skip();
    uint8_t *in = memory_alloc(N), *back = memory_zero(N, 1);
    assert_non_null(in);
    assert_non_null(back);
    static uint8_t some[1 << 20];
    rng r = rng_new(3, 3);
    for (size_t i = 0; i < sizeof some; i++) some[i] = (uint8_t)(int)lrint(rng_normal(&r) * 8);
    for (size_t i = 0; i < N; i++) in[i] = some[rng_u32(&r) % sizeof some];
    for (int bits = BULK_FAST; bits <= BULK_MOST_PRECISE; bits += 3) {
        pith_bytes out;
        assert_int_equal(bulk_encode((pith_bytes){in, N}, bits, &out, NULL), PITH_OK);
        assert_true(out.size > N / 2 && out.size < N / 4 * 3);
        assert_int_equal(bulk_decode(out, (pith_bytes){back, N}, NULL), PITH_OK);
        assert_true(memcmp(in, back, N) == 0);
        memory_free(out.data);
    }
    memory_free(in);
    memory_free(back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(sizes_are_near_the_entropy),
        cmocka_unit_test(every_instruction_set_writes_and_reads_the_same),
        cmocka_unit_test(banks_agree_with_the_generic_coder),
        cmocka_unit_test(older_kinds_are_read),
        cmocka_unit_test(damage_ends_in_an_error_or_in_bounds),
        cmocka_unit_test(tables_fit_and_come_back),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(a_billion_symbols),
    };
    return cmocka_run_group_tests_name("code/bulk", tests, NULL, NULL);
}
