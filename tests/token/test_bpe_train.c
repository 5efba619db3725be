/* The trainer: known merges and ties, documents apart, threads alike, files, interruption, lack of memory. */
#include "harness.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "token/bpe_count.h"
#include "token/bpe_train.h"
#include "token/pretoken.h"

#include <unistd.h>
#include <zlib.h>

static token_vocab train(const char *text, size_t vocab, uint64_t frequency) {
    bpe_train_options o = bpe_train_defaults();
    token_vocab v;
    o.vocab = vocab;
    o.min_frequency = frequency;
    pith_bytes bytes = {(uint8_t *)(uintptr_t)text, strlen(text)};
    assert_int_equal(bpe_train_text(NULL, bytes, &o, &v, NULL), PITH_OK);
    return v;
}

static void expect_merge(const token_vocab *v, size_t i, const char *left, const char *right) {
    assert_true(i < v->merge_count);
    token_merge m = v->merges[i];
    assert_int_equal(m.left.size, strlen(left));
    assert_int_equal(m.right.size, strlen(right));
    assert_memory_equal(token_vocab_text(v, m.left), left, m.left.size);
    assert_memory_equal(token_vocab_text(v, m.right), right, m.right.size);
}

static void merges_the_most_frequent_pair_and_the_lowest_of_equals(void **state) {
    (void)state;
    token_vocab v = train("hug pug pun bun hugs hug", 1000, 2);
    static const char *const merges[][2] = {
        {"u", "g"}, {"h", "ug"}, {"u", "n"}, {"\xc4\xa0", "p"}, {"\xc4\xa0", "hug"}};
    for (size_t i = 0; i < 5; i++) expect_merge(&v, i, merges[i][0], merges[i][1]);
    assert_int_equal(v.merge_count, 5);
    assert_int_equal(v.count, 257 + v.merge_count);
    assert_int_equal(token_vocab_find(&v, "<|endoftext|>"), 0);
    assert_int_equal(token_vocab_find(&v, "!"), 1); /* bytes follow in the order of their letters */
    token_vocab_free(&v);
    v = train("ab ab ab", 257, 1); /* no room for merges */
    assert_int_equal(v.merge_count, 0);
    token_vocab_free(&v);
    v = train("aaaa", 1000, 1);
    expect_merge(&v, 0, "a", "a");
    expect_merge(&v, 1, "aa", "aa");
    assert_int_equal(v.merge_count, 2);
    token_vocab_free(&v);
}

static void a_form_feed_line_parts_documents(void **state) {
    (void)state;
    token_vocab v = train("x\n\f\nx\n\f\nx\n\f\nx", 1000, 2), w = train("x\n \f \nx", 1000, 1);
    assert_int_equal(v.merge_count, 0); /* the separators are no text */
    assert_true(w.merge_count > 0);     /* within a line it is */
    token_vocab_free(&v);
    token_vocab_free(&w);
}

/* Three megabytes of made-up words: several stretches, two threads. */
static char *made_up_text(size_t size) {
    char *text = malloc(size + 64);
    rng r = rng_new(4, 0);
    size_t n = 0;
    while (n < size) {
        uint32_t word = rng_below(&r, 40) * rng_below(&r, 50);
        for (uint32_t k = 0; k < 2 + word % 7; k++) text[n++] = (char)('a' + (word * (k + 3) / 7 + k * k) % 26);
        text[n++] = rng_below(&r, 12) ? ' ' : '\n';
    }
    text[n] = 0;
    return text;
}

static bool count_word(void *table, const uint8_t *word, size_t size) {
    return word_table_add(table, word, size, 1) >= 0;
}

/* Words counted in stretches are those of the whole text, also where runs of white space meet the cuts. */
static void stretches_cut_no_word(void **state) {
    (void)state;
    enum { SIZE = 5 << 20 };
    uint8_t *text = malloc(SIZE);
    rng r = rng_new(6, 0);
    for (size_t i = 0; i < SIZE; i++) text[i] = (uint8_t) "ab1.\n\n\n  \t"[rng_below(&r, 10)];
    word_table cut = {0}, whole = {0};
    assert_int_equal(bpe_count_words(&cut, (pith_bytes){text, SIZE}, false, NULL), PITH_OK);
    assert_true(pretoken_split(pretoken_find("gpt-2"), text, SIZE, count_word, &whole));
    assert_int_equal(cut.count, whole.count);
    for (size_t i = 0; i < whole.count; i++) {
        int64_t k = word_table_find(&cut, whole.bytes + whole.words[i].at, whole.words[i].size);
        assert_true(k >= 0);
        assert_int_equal(cut.words[k].count, whole.words[i].count);
    }
    word_table_free(&cut);
    word_table_free(&whole);
    free(text);
}

static uint32_t fnv(pith_bytes b) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < b.size; i++) h = (h ^ b.data[i]) * 16777619u;
    return h;
}

static void threads_do_not_matter_and_the_result_is_pinned(void **state) {
    (void)state;
    char *text = made_up_text(3 << 20);
    for (int threads = 1; threads <= 4; threads++) {
        parallel_set_threads(threads);
        token_vocab v = train(text, 700, 2);
        pith_bytes json;
        assert_int_equal(token_vocab_to_json(&v, &json, NULL), PITH_OK);
        if (fnv(json) != 0xa37c0167u) print_message("0x%08xu\n", fnv(json));
        assert_int_equal(fnv(json), 0xa37c0167u);
        memory_free(json.data);
        token_vocab_free(&v);
    }
    parallel_set_threads(0);
    free(text);
}

static void trains_from_files_and_the_result_encodes(void **state) {
    (void)state;
    char folder[] = "/tmp/pith-bpe-XXXXXX", plain[64], packed[64], out[64];
    assert_non_null(mkdtemp(folder));
    snprintf(plain, sizeof plain, "%s/a.txt", folder);
    snprintf(packed, sizeof packed, "%s/b.txt.gz", folder);
    snprintf(out, sizeof out, "%s/tokenizer.json", folder);
    FILE *f = fopen(plain, "w");
    fputs("the cat the cat the dog\n", f);
    fclose(f);
    gzFile g = gzopen(packed, "w");
    gzputs(g, "the bird the bird\n");
    gzclose(g);
    const char *paths[] = {plain, packed};
    bpe_train_options o = bpe_train_defaults();
    o.vocab = 300;
    assert_int_equal(bpe_train_run(NULL, paths, 2, &o, out, NULL), PITH_OK);
    assert_int_equal(bpe_train_run(NULL, paths, 2, &o, out, NULL), PITH_USAGE); /* exists */
    assert_int_equal(bpe_train_run(NULL, paths, 1, &o, plain, NULL), PITH_USAGE);
    tokenizer *t;
    assert_int_equal(tokenizer_open_json(&t, folder, NULL), PITH_OK);
    token_list ids = {0};
    assert_int_equal(tokenizer_encode(t, " bird the", 9, 0, &ids, NULL), PITH_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(tokenizer_vocab(t)->eos, 0);
    memory_free(ids.ids);
    tokenizer_free(t);
    const char *none[] = {"/no/such/file"};
    assert_int_equal(bpe_train_run(NULL, none, 1, &o, "x.json", NULL), PITH_NOT_FOUND);
    o.vocab = 200;
    assert_int_equal(bpe_train_run(NULL, paths, 1, &o, "x.json", NULL), PITH_USAGE);
    unlink(plain);
    unlink(packed);
    unlink(out);
    rmdir(folder);
}

static bool stop(void *user, double done, double total, const char *unit) {
    (void)user, (void)done, (void)total, (void)unit;
    return false;
}

static void can_be_interrupted(void **state) {
    (void)state;
    pith_context c;
    pith_context_default(&c);
    c.progress = stop;
    char *text = made_up_text(100000);
    bpe_train_options o = bpe_train_defaults();
    token_vocab v;
    assert_int_equal(bpe_train_text(&c, (pith_bytes){(uint8_t *)text, strlen(text)}, &o, &v, NULL), PITH_INTERRUPTED);
    free(text);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    static const char text[] = "hug pug pun bun hugs hug";
    bpe_train_options o = bpe_train_defaults();
    int failures = 0;
    for (int n = 1;; n++) {
        token_vocab v;
        memory_fail_at(n);
        pith_status s = bpe_train_text(NULL, (pith_bytes){(uint8_t *)(uintptr_t)text, strlen(text)}, &o, &v, NULL);
        memory_fail_at(0);
        token_vocab_free(&v);
        if (s == PITH_OK) break;
        assert_int_equal(s, PITH_NO_MEMORY);
        failures++;
    }
    assert_true(failures > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_the_most_frequent_pair_and_the_lowest_of_equals),
        cmocka_unit_test(a_form_feed_line_parts_documents),
        cmocka_unit_test(stretches_cut_no_word),
        cmocka_unit_test(threads_do_not_matter_and_the_result_is_pinned),
        cmocka_unit_test(trains_from_files_and_the_result_encodes),
        cmocka_unit_test(can_be_interrupted),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("token/bpe_train", tests, NULL, NULL);
}
