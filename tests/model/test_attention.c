/* Attention over a cache against sums in double precision: every instruction set, shapes of heads and caches, prompts
 * and single tokens. */
#include "harness.h"

#include "base/isa.h"
#include "base/rng.h"
#include "model/attention.h"

#include <math.h>

enum { CAPACITY = 320, MOST_HEADS = 8, MOST_DIM = 128 };

typedef struct shape {
    uint16_t type;
    int64_t kv_heads, heads, dim, window;
} shape;

static const shape shapes[] = {
    {PITH_F16, 2, 2, 64, 0},  {PITH_F16, 2, 4, 128, 0}, {PITH_F16, 1, 3, 80, 0},    {PITH_F16, 2, 8, 64, 0},
    {PITH_F16, 2, 2, 64, 40}, {PITH_F16, 2, 2, 48, 0},  {PITH_Q8_0, 2, 2, 64, 200},
};

static float k[CAPACITY * MOST_HEADS * MOST_DIM], v[CAPACITY * MOST_HEADS * MOST_DIM],
    q[CAPACITY * MOST_HEADS * MOST_DIM], out[CAPACITY * MOST_HEADS * MOST_DIM];

static double reference(const shape *s, int64_t position, const float *query, int64_t head, int64_t feature) {
    int64_t kv = head / (s->heads / s->kv_heads), width = s->kv_heads * s->dim;
    int64_t from = s->window && position + 1 > s->window ? position + 1 - s->window : 0;
    double sum = 0, mixed = 0, high = -INFINITY;
    for (int64_t j = from; j <= position; j++) {
        double dot = 0;
        for (int64_t i = 0; i < s->dim; i++) dot += (double)query[i] * (double)k[j * width + kv * s->dim + i];
        double score = dot / sqrt((double)s->dim), shrink = score > high ? exp(high - score) : 1;
        high = score > high ? score : high;
        double weight = exp(score - high);
        sum = sum * shrink + weight;
        mixed = mixed * shrink + weight * (double)v[j * width + kv * s->dim + feature];
    }
    return mixed / sum;
}

static void check(const shape *s, const cache_block *c, float *scratch, int64_t position, int64_t n) {
    int64_t width = s->kv_heads * s->dim;
    cache_store(c, position, n, k + position * width, v + position * width);
    attention_run(c, s->heads, position, n, s->window, q, out, scratch);
    double allowed = s->type == PITH_F16 ? 3e-3 : 3e-2;
    int64_t step = n > 1 ? n - 1 : 1; /* the first and the last */
    for (int64_t i = 0; i < n; i += step)
        for (int64_t h = 0; h < s->heads; h++)
            for (int64_t e = 0; e < s->dim; e += 7) {
                int64_t at = (i * s->heads + h) * s->dim;
                double want = reference(s, position + i, q + at, h, e);
                assert_true(fabs((double)out[at + e] - want) < allowed);
            }
}

static void equals_sums_in_double_precision(void **state) {
    (void)state;
    rng r = rng_new(5, 6);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        k[i] = (float)rng_normal(&r), v[i] = (float)rng_normal(&r), q[i] = (float)rng_normal(&r);
    }
    for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++) {
        isa_force(level);
        for (const shape *s = shapes; s < shapes + sizeof shapes / sizeof *shapes; s++) {
            int64_t row = s->dim / pith_types[s->type].block * pith_types[s->type].block_bytes;
            uint8_t *bytes = calloc((size_t)(2 * s->kv_heads * CAPACITY), (size_t)row);
            cache_block c = {.type = s->type,
                             .kv_heads = s->kv_heads,
                             .capacity = CAPACITY,
                             .head_dim = s->dim,
                             .row_bytes = row,
                             .keys = bytes,
                             .values = bytes + s->kv_heads * CAPACITY * row};
            float *scratch = calloc((size_t)attention_scratch(&c, s->heads), sizeof *scratch);
            check(s, &c, scratch, 0, 1);
            check(s, &c, scratch, 1, 149); /* more than a tile */
            for (int64_t position = 150; position < 170; position++) check(s, &c, scratch, position, 1);
            check(s, &c, scratch, 170, 3);
            free(scratch);
            free(bytes);
        }
    }
    isa_force(isa_detected());
}

/* Scores hundreds apart, where most exponentials are nothing; then a key that is no number. */
static void scores_far_apart(void **state) {
    (void)state;
    enum { N = 150, DIM = 64 };
    const shape s = {PITH_F16, 1, 1, DIM, 0};
    static uint8_t bytes[2 * CAPACITY * DIM * 2];
    cache_block c = {.type = PITH_F16,
                     .kv_heads = 1,
                     .capacity = CAPACITY,
                     .head_dim = DIM,
                     .row_bytes = DIM * 2,
                     .keys = bytes,
                     .values = bytes + CAPACITY * DIM * 2};
    rng r = rng_new(7, 8);
    for (int i = 0; i < N * DIM; i++) {
        k[i] = pith_f16_to_f32(pith_f32_to_f16(40 * (float)rng_normal(&r)));
        v[i] = (float)rng_normal(&r), q[i] = 4 * (float)rng_normal(&r);
    }
    for (isa_level level = ISA_SCALAR; level <= isa_detected(); level++) {
        isa_force(level);
        float *scratch = calloc((size_t)attention_scratch(&c, 1), sizeof *scratch);
        check(&s, &c, scratch, 0, N);
        float kept = k[3 * DIM];
        k[3 * DIM] = NAN;
        cache_store(&c, 0, N, k, v);
        attention_run(&c, 1, 0, N, 0, q, out, scratch);
        for (int i = 0; i < N; i++) assert_int_equal(isnan(out[i * DIM]) != 0, i >= 3);
        k[3 * DIM] = kept;
        free(scratch);
    }
    isa_force(isa_detected());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_sums_in_double_precision),
                                       cmocka_unit_test(scores_far_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
