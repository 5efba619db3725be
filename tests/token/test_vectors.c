/* Published vocabularies with their test texts: ids as given, text back, and the same after a trip through metadata. */
#include "harness.h"

#include "base/memory.h"
#include "file/gguf.h"
#include "token/gguf_vocab.h"

static char *read_text(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

static void check_one(const tokenizer *t, const char *text, size_t size, char *expected) {
    token_list ids = {0};
    pith_error err = {0};
    assert_int_equal(tokenizer_encode(t, text, size, 0, &ids, &err), PITH_OK);
    size_t i = 0;
    for (char *word = strtok(expected, " "); word; word = strtok(NULL, " "), i++) {
        assert_true(i < ids.count);
        if (ids.ids[i] != atoi(word)) print_message("text <%.*s> token %zu\n", (int)size, text, i);
        assert_int_equal(ids.ids[i], atoi(word));
    }
    assert_int_equal(i, ids.count);
    pith_bytes back;
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, false, &back, &err), PITH_OK);
    assert_int_equal(back.size, size);
    assert_memory_equal(back.data, text, size);
    memory_free(back.data);
    memory_free(ids.ids);
}

static int check_all(const tokenizer *t, char *in, char *out) {
    static const char mark[] = "\n__ggml_vocab_test__\n";
    int n = 0;
    for (char *end; (end = strstr(in, mark)) != NULL; in = end + strlen(mark), n++) {
        char *line_end = strchr(out, '\n');
        assert_non_null(line_end);
        *line_end = 0;
        check_one(t, in, (size_t)(end - in), out);
        out = line_end + 1;
    }
    return n;
}

static void matches(void **state) {
    const char *name = *state;
    char set[128], path[4200];
    snprintf(set, sizeof set, "lm/ggml-vocab/ggml-vocab-%s.gguf", name);
    const char *found = harness_data(set);
    if (!found) skip();
    gguf *g;
    pith_error err = {0};
    assert_int_equal(gguf_open(&g, found, &err), PITH_OK);
    tokenizer *t, *again;
    assert_int_equal(tokenizer_from_meta(&t, gguf_meta(g), &err), PITH_OK);
    meta *m;
    assert_int_equal(meta_new(&m, &err), PITH_OK);
    assert_int_equal(token_vocab_to_meta(tokenizer_vocab(t), tokenizer_count(t) + 3, m, &err), PITH_OK);
    assert_int_equal(tokenizer_from_meta(&again, m, &err), PITH_OK);
    assert_int_equal(tokenizer_count(again), tokenizer_count(t) + 3);
    for (int trip = 0; trip < 2; trip++) {
        snprintf(path, sizeof path, "%s.inp", found);
        char *in = read_text(path);
        snprintf(path, sizeof path, "%s.out", found);
        char *out = read_text(path);
        assert_non_null(in);
        assert_non_null(out);
        assert_true(check_all(trip ? again : t, in, out) > 40);
        free(in);
        free(out);
    }
    tokenizer_free(t);
    tokenizer_free(again);
    meta_free(m);
    gguf_close(g);
}

static void wordpiece_is_refused_by_name(void **state) {
    (void)state;
    const char *found = harness_data("lm/ggml-vocab/ggml-vocab-bert-bge.gguf");
    if (!found) skip();
    gguf *g;
    tokenizer *t;
    pith_error err = {0};
    assert_int_equal(gguf_open(&g, found, &err), PITH_OK);
    assert_int_equal(tokenizer_from_meta(&t, gguf_meta(g), &err), PITH_UNSUPPORTED);
    assert_non_null(strstr(err.text, "WordPiece"));
    gguf_close(g);
}

int main(void) {
#define VECTORS(name) \
    { "vectors of " name, matches, NULL, NULL, (void *)(uintptr_t)name }
    const struct CMUnitTest tests[] = {
        VECTORS("gpt-2"),
        VECTORS("starcoder"),
        VECTORS("llama-spm"),
        VECTORS("phi-3"),
        VECTORS("refact"),
        VECTORS("falcon"),
        VECTORS("mpt"),
        VECTORS("deepseek-coder"),
        VECTORS("deepseek-llm"),
        VECTORS("llama-bpe"),
        VECTORS("qwen2"),
        VECTORS("command-r"),
        cmocka_unit_test(wordpiece_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("token/vectors", tests, NULL, NULL);
}
