/* fuzz_tokenizer.c - tokenizer.json, a zero byte, then a text: what loads must encode, decode and be written. Without
 * the zero byte, a llama2.c tokenizer of 259 tokens or a few more.
 *
 * Aims at: src/token/json_read.c src/token/llama2c.c src/token/vocab.c src/token/decode.c */
#include "seed.h"

#include "base/memory.h"
#include "token/tokenizer.h"

static void use(tokenizer *t, const uint8_t *text, size_t size) {
    for (unsigned flags = 0; flags < 4; flags++) {
        token_list ids = {0};
        pith_bytes out;
        if (tokenizer_encode(t, text, size, flags, &ids, NULL) == PITH_OK) {
            for (size_t i = 0; i < ids.count; i++)
                if (ids.ids[i] < 0 || (size_t)ids.ids[i] >= tokenizer_count(t)) abort();
            if (tokenizer_decode(t, ids.ids, ids.count, flags & 1, &out, NULL) != PITH_OK) abort();
            memory_free(out.data);
        }
        memory_free(ids.ids);
    }
    pith_bytes json;
    if (token_vocab_to_json(tokenizer_vocab(t), &json, NULL) == PITH_OK) memory_free(json.data);
    tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    pith_bytes none = {NULL, 0}, all = {(uint8_t *)(uintptr_t)data, size};
    tokenizer *t;
    for (size_t vocab = 259; vocab < 262; vocab++)
        if (tokenizer_from_llama2c(&t, "fuzz", all, vocab, NULL) == PITH_OK) use(t, data, size);
    if (!zero) return 0;
    all.size = (size_t)(zero - data);
    if (tokenizer_from_json(&t, "fuzz", all, none, none, NULL) == PITH_OK) use(t, zero + 1, size - all.size - 1);
    return 0;
}

static size_t llama2c_seed(uint8_t **data) {
    uint8_t file[8192] = {7};
    size_t at = 4;
    for (unsigned i = 0; i < 261; i++) {
        char text[16];
        int n = i < 3     ? 3
                : i < 259 ? snprintf(text, sizeof text, "<0x%02X>", i - 3)
                          : snprintf(text, sizeof text, "%c", 'a' + (int)i - 259);
        if (i < 3) memcpy(text, "<s>", 3);
        memcpy(file + at + 4, &n, 4);
        memcpy(file + at + 8, text, (size_t)n);
        at += 8 + (size_t)n;
    }
    return seed_bytes(file, at, data);
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const char *const seeds[] = {
        "{\"added_tokens\":[{\"id\":6,\"content\":\"<|x|>\",\"special\":true,\"rstrip\":true,\"lstrip\":true,\"single_word\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}]},\"post_processor\":{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"<|x|>\"}},{\"Sequence\":{}}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\","
        "\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u0120ab\":4,\"?\":5},"
        "\"merges\":[\"a b\",[\"\\u0120\",\"ab\"]]}}#ab ab <|x|> 1b",
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\"}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
        "{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},"
        "\"model\":{\"byte_fallback\":true,\"unk_token\":\"<u>\",\"vocab\":{\"<u>\":1,\"\\u2581\":2,\"a\":3,\"\\u2581a\":4,"
        "\"<0x41>\":5},\"merges\":[\"\\u2581 a\"]}}#a aA<s>b"};
    if (k == 2) return llama2c_seed(data);
    if (k > 2) return 0;
    uint8_t text[2048];
    size_t n = strlen(seeds[k]);
    memcpy(text, seeds[k], n);
    *strrchr((char *)memcpy(text, seeds[k], n + 1), '#') = 0;
    return seed_bytes(text, n, data);
}
