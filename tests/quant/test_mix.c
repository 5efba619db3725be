/* Which format a tensor gets: plain names, mixes, rules, fallbacks, what is left alone. */
#include "harness.h"

#include "base/memory.h"
#include "quant/mix.h"

static pith_mix *opened(const char *name, const char *const *rules, size_t count, mix_model model) {
    pith_mix *m = NULL;
    pith_error err = {0};
    if (pith_mix_open(&m, name, rules, count, &model, &err) != PITH_OK) fail_msg("%s", err.text);
    return m;
}

static const char *chosen(const pith_mix *m, const char *tensor, int64_t rows, int64_t cols) {
    int64_t shape[2] = {rows, cols};
    return pith_types[pith_mix_choose(m, tensor, PITH_F16, 2, shape).type].name;
}

static void plain_name_is_for_every_matrix(void **state) {
    (void)state;
    pith_mix *m = opened("Q4_K", NULL, 0, (mix_model){.layers = 24});
    assert_string_equal(chosen(m, "blk.0.attn_v.weight", 64, 256), "q4_k");
    assert_string_equal(chosen(m, "output.weight", 64, 256), "q4_k");
    assert_string_equal(chosen(m, "token_embd.weight", 64, 256), "q4_k");
    assert_string_equal(chosen(m, "position_embd.weight", 64, 256), "f16");
    assert_string_equal(chosen(m, "blk.0.attn_q_norm.weight", 64, 256), "f16");
    int64_t shape[1] = {256};
    assert_int_equal(pith_mix_choose(m, "output_norm.weight", PITH_BF16, 1, shape).type, PITH_F32);
    assert_int_equal(pith_mix_choose(m, "table.weight", PITH_I32, 1, shape).type, PITH_I32);
    pith_mix_free(m);
}

/* As llama.cpp chooses for 24 layers: more bits in layers 0-2, 21-23 and every third between. */
static void mixes_follow_their_tables(void **state) {
    (void)state;
    pith_mix *m = opened("q4_k_m", NULL, 0, (mix_model){.layers = 24, .heads = 16, .kv_heads = 16});
    static const int more[24] = {1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1};
    for (int i = 0; i < 24; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", i);
        assert_string_equal(chosen(m, name, 256, 256), more[i] ? "q6_k" : "q4_k");
    }
    assert_string_equal(chosen(m, "output.weight", 64, 256), "q6_k");
    assert_string_equal(chosen(m, "output.weight", 64, 288), "q8_0");
    assert_string_equal(chosen(m, "token_embd.weight", 64, 256), "q4_k");
    pith_mix_free(m);
    m = opened("q4_k_s", NULL, 0, (mix_model){.layers = 16, .tied = true});
    assert_string_equal(chosen(m, "token_embd.weight", 64, 256), "q6_k");
    assert_string_equal(chosen(m, "blk.3.attn_v.weight", 64, 256), "q5_k");
    assert_string_equal(chosen(m, "blk.4.attn_v.weight", 64, 256), "q4_k");
    assert_string_equal(chosen(m, "blk.1.ffn_down.weight", 64, 256), "q5_k");
    assert_string_equal(chosen(m, "blk.2.ffn_down.weight", 64, 256), "q4_k");
    pith_mix_free(m);
    m = opened("q2_k_m", NULL, 0, (mix_model){.layers = 16, .heads = 32, .kv_heads = 8});
    assert_string_equal(chosen(m, "blk.9.attn_v.weight", 64, 256), "q4_k");
    assert_string_equal(chosen(m, "blk.9.attn_output.weight", 64, 256), "q3_k");
    assert_string_equal(chosen(m, "blk.9.ffn_up.weight", 64, 256), "q2_k");
    pith_mix_free(m);
    for (int weighed = 0; weighed < 2; weighed++) {
        m = opened("q4_0_m", NULL, 0, (mix_model){.layers = 16, .importance = weighed});
        assert_string_equal(chosen(m, "output.weight", 64, 256), "q6_k");
        assert_string_equal(chosen(m, "blk.1.ffn_down.weight", 64, 256), weighed ? "q4_1" : "q4_0");
        assert_string_equal(chosen(m, "blk.2.ffn_down.weight", 64, 256), "q4_0");
        pith_mix_free(m);
        m = opened("iq4_nl_m", NULL, 0, (mix_model){.layers = 16, .importance = weighed});
        assert_string_equal(chosen(m, "blk.1.ffn_down.weight", 64, 256), weighed ? "iq4_nl" : "q5_k");
        pith_mix_free(m);
    }
}

static void columns_that_do_not_divide(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"q4_k", "q5_0"},   {"q5_k", "q5_1"},   {"q6_k", "q8_0"},
                                           {"q3_k", "iq4_nl"}, {"q2_k", "iq4_nl"}, {"iq4_xs", "iq4_nl"},
                                           {"tq1_0", "q4_0"},  {"tq2_0", "q4_0"},  {"q4_0", "q4_0"},
                                           {"mxfp4", "mxfp4"}, {"bf16", "bf16"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        pith_mix *m = opened(pairs[i][0], NULL, 0, (mix_model){0});
        int64_t shape[2] = {4, 288};
        mix_choice c = pith_mix_choose(m, "a.weight", PITH_F32, 2, shape);
        assert_string_equal(pith_types[c.type].name, pairs[i][1]);
        assert_string_equal(pith_types[c.wanted].name, pairs[i][0]);
        assert_string_equal(chosen(m, "a.weight", 4, 50), pith_types[c.type].block > 1 ? "f16" : pairs[i][0]);
        pith_mix_free(m);
    }
}

static void rules_come_first(void **state) {
    (void)state;
    static const char *const rules[] = {"blk\\.[0-3]\\.=q8_0", "^(output|position_embd)=F32", "attn_(q|k)\\.=q5_k"};
    pith_mix *m = opened("q4_0", rules, 3, (mix_model){.layers = 8});
    assert_string_equal(chosen(m, "blk.2.attn_q.weight", 64, 256), "q8_0");
    assert_string_equal(chosen(m, "blk.4.attn_q.weight", 64, 256), "q5_k");
    assert_string_equal(chosen(m, "blk.4.attn_q.weight", 64, 288), "q5_1");
    assert_string_equal(chosen(m, "output.weight", 64, 256), "f32");
    assert_string_equal(chosen(m, "position_embd.weight", 64, 256), "f32");
    assert_string_equal(chosen(m, "blk.4.ffn_up.weight", 64, 256), "q4_0");
    pith_mix_free(m);
}

static void bad_names_are_usage_errors(void **state) {
    (void)state;
    static const char *const bad[] = {"nothing", "=q4_0", "a=q9", "(=q4_0"};
    for (size_t i = 0; i < 4; i++) {
        pith_mix *m = NULL;
        pith_error err = {0};
        assert_int_equal(pith_mix_open(&m, "q4_0", bad + i, 1, NULL, &err), PITH_USAGE);
        assert_string_equal(err.where, "tensor-type");
    }
    pith_mix *m = NULL;
    pith_error err = {0};
    assert_int_equal(pith_mix_open(&m, "q4_k_x", NULL, 0, NULL, &err), PITH_USAGE);
    assert_non_null(strstr(err.text, "q4_k_m"));
    assert_int_equal(pith_mix_file_type("q4_k_m"), 15);
    assert_int_equal(pith_mix_file_type("Q8_0"), 7);
    assert_int_equal(pith_mix_file_type("q4_k_x"), -1);
}

static void memory_failures_are_clean(void **state) {
    (void)state;
    static const char *const rules[] = {"a=q4_0"};
    for (int64_t n = 1;; n++) {
        pith_mix *m = NULL;
        memory_fail_at(n);
        pith_status s = pith_mix_open(&m, "q4_k_m", rules, 1, NULL, NULL);
        memory_fail_at(0);
        pith_mix_free(m);
        if (s == PITH_OK) break;
        assert_int_equal(s, PITH_NO_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_name_is_for_every_matrix), cmocka_unit_test(mixes_follow_their_tables),
        cmocka_unit_test(columns_that_do_not_divide),     cmocka_unit_test(rules_come_first),
        cmocka_unit_test(bad_names_are_usage_errors),     cmocka_unit_test(memory_failures_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
