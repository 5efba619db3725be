/* Tokenizers from every source: what is encoded comes back, broken UTF-8 included; bad files and lack of memory. */
#include "harness.h"

#include "base/memory.h"
#include "base/rng.h"
#include "token/gguf_vocab.h"
#include "token/pretoken.h"
#include "token/tokenizer.h"
#include "token/unicode.h"

/* A byte-level BPE with a few merges, a control token and one that swallows white space. */
static const char byte_level[] =
    "{\"added_tokens\":[{\"id\":260,\"content\":\"<|end|>\",\"special\":true,\"rstrip\":true},"
    "{\"id\":261,\"content\":\"[X]\",\"special\":false}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|end|>\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{%s\"he\":256,\"ll\":257,\"hell\":258,\"\\u0120hell\":259},"
    "\"merges\":[\"h e\",[\"l\",\"l\"],\"he ll\",\"\\u0120 hell\"]}}";

static const char scored[] = /* the same words as SentencePiece: mark, byte fallback, merges */
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":1,\"content\":\"<s>\",\"special\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},\"pre_tokenizer\":null,"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<s>\":1,%s"
    "\"\\u2581\":258,\"h\":259,\"e\":260,\"l\":261,\"he\":262,\"ll\":263,\"hell\":264,\"\\u2581hell\":265},"
    "\"merges\":[\"h e\",\"l l\",\"he ll\",\"\\u2581 hell\"]}}";

/* The JSON with its 256 byte tokens written in; the caller frees. */
static char *with_bytes(const char *format, bool letters) {
    char *list = calloc(1, 1 << 14), *json = calloc(1, 1 << 15), *p = list;
    for (int i = 0; i < 256; i++) {
        if (letters) p += sprintf(p, "\"\\u%04x\":%d,", token_byte_letter((uint8_t)i), i);
        else p += sprintf(p, "\"<0x%02X>\":%d,", (unsigned)i, i + 2);
    }
    sprintf(json, format, list);
    free(list);
    return json;
}

static tokenizer *from_text(char *json) {
    tokenizer *t = NULL;
    pith_error err = {0};
    pith_bytes none = {NULL, 0};
    pith_status s = tokenizer_from_json(&t, "test", (pith_bytes){(uint8_t *)json, strlen(json)}, none, none, &err);
    if (s != PITH_OK) print_message("%s\n", err.text);
    assert_int_equal(s, PITH_OK);
    free(json);
    return t;
}

enum { SOURCES = 3 };
static tokenizer *source(int i) {
    tokenizer *t;
    if (i == 0) return from_text(with_bytes(byte_level, true));
    if (i == 1) return from_text(with_bytes(scored, false));
    assert_int_equal(tokenizer_new_bytes(&t, NULL, 0, NULL), PITH_OK);
    return t;
}

static void expect(const tokenizer *t, const char *text, unsigned flags, const int32_t *ids, size_t count) {
    token_list got = {0};
    assert_int_equal(tokenizer_encode(t, text, strlen(text), flags, &got, NULL), PITH_OK);
    assert_int_equal(got.count, count);
    assert_memory_equal(got.ids, ids, count * sizeof *ids);
    memory_free(got.ids);
}
#define EXPECT(t, text, flags, ...) \
    expect(t, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void byte_level_merges_and_specials(void **state) {
    (void)state;
    tokenizer *t = source(0);
    EXPECT(t, "hell hello", 0, 258, 259, 'o');
    EXPECT(t, "hell", TOKEN_ADD_START, 260, 258);
    EXPECT(t, "a<|end|>  hell", TOKEN_PARSE_SPECIAL, 'a', 260, 258);
    EXPECT(t, "<|", 0, '<', '|');
    EXPECT(t, "a[X]b", 0, 'a', 261, 'b');
    token_list plain = {0};
    tokenizer_encode(t, "<|end|>", 7, 0, &plain, NULL);
    for (size_t i = 0; i < plain.count; i++) assert_int_not_equal(plain.ids[i], 260);
    memory_free(plain.ids);
    tokenizer_free(t);
}

static void sentencepiece_marks_spaces_and_falls_back_to_bytes(void **state) {
    (void)state;
    tokenizer *t = source(1);
    EXPECT(t, "hell", 0, 265);
    EXPECT(t, "hell hell", 0, 265, 265);
    EXPECT(t, "hz", 0, 258, 259, 2 + 'z');
    EXPECT(t, "<s>hell", TOKEN_PARSE_SPECIAL, 1, 265);
    tokenizer_free(t);
}

/* Bytes that are mostly text, with broken and cut characters among them. */
static size_t random_text(rng *r, uint8_t *out, size_t most, bool broken) {
    size_t n = 0, wanted = rng_below(r, (uint32_t)most - 8);
    while (n < wanted) {
        switch (rng_below(r, 6)) {
        case 0: out[n++] = (uint8_t)(broken ? rng_u32(r) : 'x'); break;
        case 1: n += unicode_write(broken ? rng_below(r, 0x110000) : 0x1f600, out + n); break;
        case 2: n += unicode_write(rng_below(r, 0x3000), out + n); break;
        case 3: out[n++] = " \n\r\t"[rng_below(r, 4)]; break;
        default: out[n++] = "hell o'S12.A"[rng_below(r, 12)];
        }
    }
    return n;
}

static void comes_back_whole_and_streamed(void **state) {
    (void)state;
    static uint8_t text[8192], stream[8192 + 64];
    for (int i = 0; i < SOURCES; i++) {
        tokenizer *t = source(i);
        rng r = rng_new(5, (uint64_t)i);
        for (int k = 0; k < 300; k++) {
            size_t n = random_text(&r, text, k % 10 ? 200 : sizeof text, k % 2), at = 0;
            token_list ids = {0};
            assert_int_equal(tokenizer_encode(t, text, n, 0, &ids, NULL), PITH_OK);
            token_decoder d = token_decoder_new(t, false);
            for (size_t j = 0; j < ids.count; j++) {
                size_t more = token_decoder_push(&d, ids.ids[j], stream + at, token_decoder_room(t));
                if (k % 2 == 0) assert_int_equal(unicode_complete(stream + at, more), more);
                at += more;
            }
            at += token_decoder_end(&d, stream + at);
            assert_int_equal(at, n);
            assert_memory_equal(stream, text, n);
            pith_bytes whole;
            assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, false, &whole, NULL), PITH_OK);
            assert_int_equal(whole.size, n);
            memory_free(whole.data);
            memory_free(ids.ids);
        }
        tokenizer_free(t);
    }
}

static void long_texts_use_the_word_table_and_agree_with_short_ones(void **state) {
    (void)state;
    for (int i = 0; i < SOURCES; i++) {
        tokenizer *t = source(i);
        char text[9001];
        for (int k = 0; k < 9000; k += 9) memcpy(text + k, k % 2 ? " hellhe l" : " he hello", 9);
        token_list whole = {0}, parts = {0};
        assert_int_equal(tokenizer_encode(t, text, 9000, 0, &whole, NULL), PITH_OK);
        if (i != 1) /* SentencePiece would prefix every part */
            for (int k = 0; k < 9000; k += 9)
                assert_int_equal(tokenizer_encode(t, text + k, 9, 0, &parts, NULL), PITH_OK);
        if (i != 1) {
            assert_int_equal(parts.count, whole.count);
            assert_memory_equal(parts.ids, whole.ids, whole.count * sizeof *whole.ids);
        }
        memory_free(whole.ids);
        memory_free(parts.ids);
        tokenizer_free(t);
    }
}

/* Every row gives pieces that are the text, whatever the text. */
static bool gather(void *user, const uint8_t *piece, size_t size) {
    const uint8_t **next = user;
    assert_ptr_equal(*next, piece);
    assert_true(size > 0);
    *next += size;
    return true;
}

static void pieces_are_the_text(void **state) {
    (void)state;
    static const char *const names[] = {"gpt-2",        "starcoder",   "falcon",    "deepseek-coder",
                                        "deepseek-llm", "deepseek-v3", "llama-bpe", "qwen2",
                                        "tekken",       "gpt-4o",      "default"};
    static uint8_t text[2048];
    rng r = rng_new(8, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int k = 0; k < 300; k++) {
            size_t n = random_text(&r, text, sizeof text, true);
            const uint8_t *next = text;
            assert_true(pretoken_split(pretoken_find(names[i]), text, n, gather, &next));
            assert_ptr_equal(next, text + n);
        }
}

static bool list_piece(void *user, const uint8_t *piece, size_t size) {
    char *out = user;
    size_t n = strlen(out);
    memcpy(out + n, piece, size);
    strcpy(out + n + size, "|");
    return true;
}

static void pieces_are_those_of_the_expressions(void **state) {
    (void)state;
    static const struct {
        const char *row, *text, *pieces;
    } cases[] = {
        {"gpt-2", "I'll  go 12345\n\n x's", "I|'ll| | go| 12345|\n\n| x|'s|"},
        {"llama-bpe", "I'LL  go 12345\n\n x's", "I|'LL| | go| |123|45|\n\n| x|'s|"},
        {"qwen2", "a12 (b)\r\n c", "a|1|2| (|b|)\r\n| c|"},
        {"starcoder", "a12 3", "a|1|2| |3|"},
        {"falcon", "a, 12345.", "a|,| |123|45|.|"},
        {"tekken", "HelloWorld ABCdef/\n x1", "Hello|World| ABCdef|/\n| x|1|"},
        {"gpt-4o", "It's DON'T 1234", "It's| DON'T| |123|4|"},
        {"deepseek-v3", "a.b 1234 \xe4\xb8\x80z", "a|.b| |123|4| |\xe4\xb8\x80|z|"},
        {"deepseek-coder", "if x1:\n", "if| x|1|:|\n|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[256] = "";
        pretoken_split(pretoken_find(cases[i].row), (const uint8_t *)cases[i].text, strlen(cases[i].text), list_piece,
                       got);
        if (strcmp(got, cases[i].pieces) != 0) print_message("%s: %s\n", cases[i].row, got);
        assert_string_equal(got, cases[i].pieces);
    }
}

static void json_written_gives_the_same_ids(void **state) {
    (void)state;
    static uint8_t text[4096];
    rng r = rng_new(12, 0);
    for (int i = 0; i < SOURCES; i++) {
        tokenizer *t = source(i), *again;
        pith_bytes json, none = {NULL, 0};
        assert_int_equal(token_vocab_to_json(tokenizer_vocab(t), &json, NULL), PITH_OK);
        assert_int_equal(tokenizer_from_json(&again, "again", json, none, none, NULL), PITH_OK);
        memory_free(json.data);
        for (int k = 0; k < 50; k++) {
            size_t n = random_text(&r, text, sizeof text, true);
            token_list a = {0}, b = {0};
            tokenizer_encode(t, text, n, TOKEN_ADD_START | TOKEN_PARSE_SPECIAL, &a, NULL);
            tokenizer_encode(again, text, n, TOKEN_ADD_START | TOKEN_PARSE_SPECIAL, &b, NULL);
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
            memory_free(a.ids);
            memory_free(b.ids);
        }
        tokenizer_free(t);
        tokenizer_free(again);
    }
}

static void neighbors_name_start_end_and_template(void **state) {
    (void)state;
    char *json = with_bytes(byte_level, true);
    char config[] =
        "{\"eos_token\":{\"content\":\"[X]\"},\"chat_template\":[{\"name\":\"default\",\"template\":\"T\"}]}";
    char generation[] = "{\"eos_token_id\":[261,260]}";
    tokenizer *t;
    assert_int_equal(tokenizer_from_json(&t, "test", (pith_bytes){(uint8_t *)json, strlen(json)},
                                         (pith_bytes){(uint8_t *)config, strlen(config)},
                                         (pith_bytes){(uint8_t *)generation, strlen(generation)}, NULL),
                     PITH_OK);
    assert_int_equal(tokenizer_vocab(t)->eos, 261);
    assert_true(tokenizer_is_stop(t, 260) && tokenizer_is_stop(t, 261) && !tokenizer_is_stop(t, 'a'));
    assert_string_equal(tokenizer_vocab(t)->chat_template, "T");
    assert_int_equal(tokenizer_find(t, " hell"), 259);
    tokenizer_free(t);
    free(json);
}

static void refuses_by_name(void **state) {
    (void)state;
    static const struct {
        const char *json, *word;
        pith_status status;
    } cases[] = {
        {"{\"model\":{\"type\":\"WordPiece\"}}", "WordPiece", PITH_UNSUPPORTED},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram", PITH_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"Lowercase\"}}", "Lowercase", PITH_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", "Whitespace", PITH_UNSUPPORTED},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "a", PITH_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":2000000000},\"merges\":[]}}", "gap", PITH_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "left right", PITH_CORRUPT},
        {"{\"model\":", "JSON", PITH_CORRUPT},
        {"[]", "object", PITH_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t;
        pith_error err = {0};
        pith_bytes none = {NULL, 0};
        pith_status s = tokenizer_from_json(
            &t, "test", (pith_bytes){(uint8_t *)(uintptr_t)cases[i].json, strlen(cases[i].json)}, none, none, &err);
        if (s != cases[i].status || !strstr(err.text, cases[i].word)) print_message("case %zu: %s\n", i, err.text);
        assert_int_equal(s, cases[i].status);
        assert_non_null(strstr(err.text, cases[i].word));
        assert_null(t);
    }
}

static void llama2c_reads_the_published_file_and_no_other_size(void **state) {
    (void)state;
    const char *path = harness_data("lm/stories260K/tok512.bin");
    if (!path) skip();
    tokenizer *t;
    assert_int_equal(tokenizer_open_llama2c(&t, path, 512, NULL), PITH_OK);
    EXPECT(t, "Once upon a time", TOKEN_ADD_START, 1, 403, 407, 261, 378);
    tokenizer_free(t);
    assert_int_equal(tokenizer_open_llama2c(&t, path, 511, NULL), PITH_MISMATCH);
    assert_int_equal(tokenizer_open_llama2c(&t, path, 513, NULL), PITH_TRUNCATED);
    assert_int_equal(tokenizer_open_llama2c(&t, "no/such/file", 512, NULL), PITH_NOT_FOUND);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        char *json = with_bytes(i ? scored : byte_level, i == 0);
        int failures = 0;
        pith_bytes none = {NULL, 0};
        for (int64_t n = 1;; n += n < 60 ? 1 : n / 8) {
            tokenizer *t;
            token_list ids = {0};
            meta *m = NULL;
            pith_bytes out = {NULL, 0};
            pith_error err = {0};
            memory_fail_at(n);
            pith_status s =
                tokenizer_from_json(&t, "test", (pith_bytes){(uint8_t *)json, strlen(json)}, none, none, &err);
            if (s == PITH_OK) s = tokenizer_encode(t, "hell yes, hello", 15, TOKEN_ADD_START, &ids, &err);
            if (s == PITH_OK) s = meta_new(&m, &err);
            if (s == PITH_OK) s = token_vocab_to_meta(tokenizer_vocab(t), 99, m, &err);
            if (s == PITH_OK) s = tokenizer_decode(t, ids.ids, ids.count, false, &out, &err);
            memory_fail_at(0);
            memory_free(out.data);
            memory_free(ids.ids);
            meta_free(m);
            tokenizer_free(t);
            if (s == PITH_OK) break;
            if (s != PITH_NO_MEMORY) print_message("allocation %d: %s\n", (int)n, err.text);
            assert_int_equal(s, PITH_NO_MEMORY);
            failures++;
        }
        assert_true(failures > 50);
        free(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_merges_and_specials),
        cmocka_unit_test(sentencepiece_marks_spaces_and_falls_back_to_bytes),
        cmocka_unit_test(comes_back_whole_and_streamed),
        cmocka_unit_test(long_texts_use_the_word_table_and_agree_with_short_ones),
        cmocka_unit_test(pieces_are_the_text),
        cmocka_unit_test(pieces_are_those_of_the_expressions),
        cmocka_unit_test(json_written_gives_the_same_ids),
        cmocka_unit_test(neighbors_name_start_end_and_template),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(llama2c_reads_the_published_file_and_no_other_size),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("token/tokenizer", tests, NULL, NULL);
}
