/* Arenas, random numbers, the parallel loop, hashing, growing arrays. */
#include "harness.h"

#include "base/arena.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "pith/status.h"

#include <errno.h>
#include <math.h>

static void arena_marks_and_high_water(void **state) {
    (void)state;
    arena a;
    assert_int_equal(arena_open(&a, 1 << 20), 0);
    void *first = arena_alloc(&a, 100);
    assert_int_equal((uintptr_t)first % 64, 0);
    size_t mark = arena_mark(&a);
    assert_non_null(arena_alloc(&a, 1000));
    assert_int_equal(a.used, 128 + 1024);
    arena_release(&a, mark);
    assert_int_equal(a.used, 128);
    assert_int_equal(a.high, 128 + 1024);
    assert_null(arena_alloc(&a, 1 << 20));
    assert_null(arena_alloc(&a, SIZE_MAX - 3));
    assert_non_null(arena_alloc(&a, (1 << 20) - 128));
    arena_close(&a);
}

/* Known answer of Philox 4x32-10 for the all-zero and all-one inputs, from the Random123 distribution's test vectors.
 */
static void philox_known_answers(void **state) {
    (void)state;
    uint32_t out[4];
    rng_block(0, 0, 0, out);
    assert_int_equal(out[0], 0x6627e8d5);
    assert_int_equal(out[1], 0xe169c58d);
    assert_int_equal(out[2], 0xbc57ac4c);
    assert_int_equal(out[3], 0x9b00dbd8);
    rng_block(UINT64_MAX, UINT64_MAX, UINT64_MAX, out);
    assert_int_equal(out[0], 0x408f276d);
    assert_int_equal(out[1], 0x41c83b0e);
    assert_int_equal(out[2], 0xa20bc7c6);
    assert_int_equal(out[3], 0x6d5451fd);
}

static void random_numbers_have_their_moments(void **state) {
    (void)state;
    rng r = rng_new(7, 1);
    double sum = 0, square = 0;
    int counts[5] = {0};
    for (int i = 0; i < 100000; i++) {
        double x = rng_normal(&r);
        sum += x, square += x * x;
        counts[rng_below(&r, 5)]++;
        float f = rng_float(&r);
        assert_true(f >= 0 && f < 1);
    }
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(square / 1e5 - 1) < 0.02);
    for (int i = 0; i < 5; i++) assert_true(abs(counts[i] - 20000) < 700);
    uint32_t v[50], seen = 0;
    for (uint32_t i = 0; i < 50; i++) v[i] = i;
    rng_shuffle(&r, v, 50);
    for (uint32_t i = 0; i < 50; i++) seen += v[i];
    assert_int_equal(seen, 49 * 25);
}

static void add_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    int *hits = user;
    for (int64_t i = begin; i < end; i++) hits[i]++;
}

static void nested(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) parallel_for(10, 3, add_range, (int *)user + i * 10);
}

static void every_item_is_done_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        parallel_set_threads(threads);
        int hits[1000] = {0}, expected[1000] = {0};
        for (int64_t n = 0; n <= 1000; n += 37) {
            parallel_for(n, 7, add_range, hits);
            for (int64_t i = 0; i < n; i++) expected[i]++;
        }
        assert_memory_equal(hits, expected, sizeof hits);
        memset(hits, 0, sizeof hits);
        parallel_for(100, 1, nested, hits);
        for (int i = 0; i < 1000; i++) assert_int_equal(hits[i], 1);
    }
    parallel_set_threads(0);
}

/* Each loop needs what the one before it left. */
static void many_loops(void *user) {
    for (int k = 0; k < 2000; k++) {
        if (k % 2) parallel_expect((parallel_range[]){{user, 52 * sizeof(int)}, {user, 8}}, 2);
        parallel_for(50 + k % 3, 1 + k % 7, add_range, user);
    }
}

static void a_team_does_loop_after_loop(void **state) {
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        parallel_set_threads(threads);
        int hits[52] = {0};
        for (int k = 0; k < 3; k++) {
            parallel_team(many_loops, hits);
            parallel_for(52, 1, add_range, hits);
        }
        for (int i = 0; i < 52; i++) assert_int_equal(hits[i], 3 * (i < 50 ? 2001 : i == 50 ? 1334 : 667));
    }
    parallel_set_threads(0);
}

static void hashes_a_stream_like_the_whole(void **state) {
    (void)state;
    uint8_t data[1000];
    for (int i = 0; i < 1000; i++) data[i] = (uint8_t)(i * 7);
    hash_state *h = hash_new();
    hash_update(h, data, 333);
    hash_update(h, data + 333, 667);
    assert_true(hash_digest(h) == hash_bytes(data, 1000));
    assert_true(hash_bytes("", 0) == 0x2d06800538d394c2u);
    hash_free(h);
}

static void errors_keep_the_first_cause(void **state) {
    (void)state;
    pith_error e = {0};
    assert_int_equal(pith_fail(&e, PITH_CORRUPT, "file", 12, "expected %d", 3), PITH_CORRUPT);
    assert_int_equal(pith_fail(&e, PITH_IO, "other", 0, "later"), PITH_IO);
    assert_int_equal(e.status, PITH_CORRUPT);
    assert_string_equal(e.text, "expected 3");
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    memcpy(longer + 390, "tail", 5);
    pith_error f = {0};
    pith_fail_errno(&f, longer, ENOSPC, "cannot write");
    assert_int_equal(f.status, PITH_NO_SPACE);
    assert_string_equal(f.where + strlen(f.where) - 4, "tail");
    assert_int_equal(pith_status_exit_code(PITH_USAGE), 2);
    assert_int_equal(pith_status_exit_code(PITH_INTERRUPTED), 130);
    assert_int_equal(pith_status_exit_code(PITH_IO), 1);
}

static void allocation_fails_when_told(void **state) {
    (void)state;
    memory_fail_at(2);
    void *a = memory_alloc(1), *b = memory_zero(1, 1), *c = memory_aligned(1);
    int asked = (int)memory_count();
    memory_fail_at(0);
    assert_non_null(a);
    assert_null(b);
    assert_null(c);
    assert_int_equal(asked, 3);
    memory_free(a);
    assert_null(memory_grow(NULL, SIZE_MAX / 2, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_marks_and_high_water),        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(random_numbers_have_their_moments), cmocka_unit_test(every_item_is_done_once),
        cmocka_unit_test(a_team_does_loop_after_loop),       cmocka_unit_test(hashes_a_stream_like_the_whole),
        cmocka_unit_test(errors_keep_the_first_cause),       cmocka_unit_test(allocation_fails_when_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
