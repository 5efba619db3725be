/* The sampler's filters on distributions small enough to know the answer. */
#include "harness.h"

#include "model/sampler.h"

#include <math.h>

enum { VOCAB = 8 };
static const float logits[VOCAB] = {0, 1, 2, 5, 4.9f, -1, NAN, 3};

static sampler *make(sampler_settings set) {
    sampler *s = NULL;
    assert_int_equal(sampler_new(&s, &set, VOCAB, NULL), PITH_OK);
    return s;
}

static void histogram(sampler_settings set, const float *l, int counts[VOCAB]) {
    sampler *s = make(set);
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < 20000; i++) counts[sampler_draw(s, l)]++;
    sampler_free(s);
}

static void greedy_takes_the_likeliest(void **state) {
    (void)state;
    sampler *s = make((sampler_settings){.repeat_penalty = 1});
    assert_int_equal(sampler_draw(s, logits), 3);
    sampler_free(s);
    float equal[VOCAB] = {0};
    s = make((sampler_settings){.repeat_penalty = 1});
    assert_int_equal(sampler_draw(s, equal), 0);
    sampler_free(s);
}

static void filters_cut_where_they_say(void **state) {
    (void)state;
    int counts[VOCAB];
    sampler_settings set = {.temperature = 1, .top_k = 2, .top_p = 1, .repeat_penalty = 1, .seed = 3};
    histogram(set, logits, counts);
    assert_int_equal(counts[3] + counts[4], 20000);
    assert_true(fabs(counts[3] / 20000.0 - 1 / (1 + exp(-0.1))) < 0.02);
    set.top_k = 0, set.top_p = 0.5f;
    histogram(set, logits, counts);
    assert_int_equal(counts[3] + counts[4], 20000);
    set.top_p = 1, set.min_p = 0.1f; /* token 7 has e^-2 = 0.135 of the likeliest, token 2 e^-3 = 0.0498 */
    histogram(set, logits, counts);
    assert_true(counts[7] > 0);
    assert_int_equal(counts[2], 0);
    set.min_p = 0;
    histogram(set, logits, counts);
    assert_true(counts[2] > 0);
    assert_int_equal(counts[6], 0); /* NaN is never drawn */
    set.temperature = 0.01f;
    histogram(set, logits, counts);
    assert_true(counts[3] > 19900);
}

static void finds_the_best_of_many(void **state) {
    (void)state;
    enum { MANY = 1000, BEST = 5 }; /* long enough for stretches to be passed over, and no multiple of one */
    float many[MANY];
    int counts[MANY] = {0}, found = 0;
    for (int i = 0; i < MANY; i++) many[i] = (float)(i * 7919 % MANY) / MANY;
    many[100] = NAN;
    sampler_settings set = {.temperature = 1, .top_k = BEST, .top_p = 1, .repeat_penalty = 1, .seed = 3};
    sampler *s = NULL;
    assert_int_equal(sampler_new(&s, &set, MANY, NULL), PITH_OK);
    for (int i = 0; i < 1000; i++) counts[sampler_draw(s, many)]++;
    sampler_free(s);
    for (int i = 0; i < MANY; i++)
        if (counts[i]) {
            assert_true(i * 7919 % MANY >= MANY - BEST);
            found++;
        }
    assert_int_equal(found, BEST);
}

/* Without top-k: what would be left if all were sorted, and the same draws as with a top-k that leaves nothing out. */
static void filters_of_all_are_those_of_the_sorted(void **state) {
    (void)state;
    enum { MANY = 1000 };
    static const float filters[][2] = {{0.9f, 0}, {0.3f, 0}, {1, 0.2f}, {0.8f, 0.1f}, {0.999f, 0}}; /* top_p, min_p */
    float many[MANY];
    for (int i = 0; i < MANY; i++) many[i] = (float)(i * 7919 % MANY) / 100;
    many[100] = NAN;
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        sampler_settings set = {.temperature = 2, .top_p = filters[f][0], .min_p = filters[f][1], .repeat_penalty = 1};
        sampler *all = NULL, *sorted = NULL;
        assert_int_equal(sampler_new(&all, &set, MANY, NULL), PITH_OK);
        set.top_k = MANY - 1; /* the token whose logit is NaN is left out anyway */
        assert_int_equal(sampler_new(&sorted, &set, MANY, NULL), PITH_OK);
        for (int i = 0; i < 300; i++) assert_int_equal(sampler_draw(all, many), sampler_draw(sorted, many));
        sampler_free(all), sampler_free(sorted);
    }
}

static void penalty_discourages_repeats(void **state) {
    (void)state;
    sampler *s = make((sampler_settings){.repeat_penalty = 2, .repeat_last = 2});
    int32_t first = sampler_draw(s, logits), second = sampler_draw(s, logits), third = sampler_draw(s, logits),
            fourth = sampler_draw(s, logits);
    assert_int_equal(first, 3);
    assert_int_equal(second, 4);
    assert_int_equal(third, 7);  /* 3 and 4 are recent: 2.5 and 2.45 against 3 */
    assert_int_equal(fourth, 3); /* 3 has left the window of two */
    sampler_free(s);
}

static void same_seed_same_tokens(void **state) {
    (void)state;
    sampler_settings set = sampler_defaults();
    set.seed = 42;
    sampler *a = make(set), *b = make(set);
    set.seed = 43;
    sampler *other = make(set);
    int differ = 0;
    for (int i = 0; i < 200; i++) {
        int32_t t = sampler_draw(a, logits);
        assert_int_equal(t, sampler_draw(b, logits));
        differ += t != sampler_draw(other, logits);
    }
    assert_true(differ > 0);
    sampler_free(a), sampler_free(b), sampler_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_takes_the_likeliest),
                                       cmocka_unit_test(filters_cut_where_they_say),
                                       cmocka_unit_test(penalty_discourages_repeats),
                                       cmocka_unit_test(finds_the_best_of_many),
                                       cmocka_unit_test(filters_of_all_are_those_of_the_sorted),
                                       cmocka_unit_test(same_seed_same_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
