/* fuzz_encode.c - any bytes: byte-level tokens give them back, pieces of every pre-tokenizer are them.
 *
 * Aims at: src/token/encode.c src/token/merge.c src/token/pretoken.c src/token/pretoken_gpt.c */
#include "seed.h"

#include "base/memory.h"
#include "token/pretoken.h"
#include "token/tokenizer.h"

static bool gather(void *user, const uint8_t *piece, size_t size) {
    const uint8_t **next = user;
    if (*next != piece || size == 0) abort();
    *next += size;
    return true;
}

static tokenizer *make(const char *pre) {
    static const char *const merges[][2] = {{"a", "b"}, {"\xc4\xa0", "a"}, {"ab", "ab"}, {"1", "2"}};
    token_vocab v = token_vocab_empty(TOKEN_BPE);
    strcpy(v.pre, pre);
    for (unsigned i = 0; i < 256; i++) {
        uint32_t letter = token_byte_letter((uint8_t)i);
        char text[2] = {(char)(letter < 128 ? letter : 0xc0 | letter >> 6), (char)(0x80 | (letter & 63))};
        if (token_vocab_add(&v, text, letter < 128 ? 1 : 2, 0, TOKEN_NORMAL, NULL) != PITH_OK) abort();
    }
    static const char *const joined[] = {"ab",
                                         "\xc4\xa0"
                                         "a",
                                         "abab", "12"};
    for (int i = 0; i < 4; i++) {
        if (token_vocab_add(&v, joined[i], strlen(joined[i]), 0, TOKEN_NORMAL, NULL) != PITH_OK) abort();
        if (token_vocab_add_merge(&v, merges[i][0], strlen(merges[i][0]), merges[i][1], strlen(merges[i][1]), NULL) !=
            PITH_OK)
            abort();
    }
    tokenizer *t;
    if (tokenizer_new(&t, &v, NULL) != PITH_OK) abort();
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const rows[] = {"gpt-2",        "starcoder",   "falcon",    "deepseek-coder",
                                       "deepseek-llm", "deepseek-v3", "llama-bpe", "qwen2",
                                       "tekken",       "gpt-4o",      "default"};
    static tokenizer *t;
    if (!t) t = make("llama-bpe");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint8_t *next = data;
        if (!pretoken_split(pretoken_find(rows[i]), data, size, gather, &next) || next != data + size) abort();
    }
    token_list ids = {0};
    pith_bytes back;
    if (tokenizer_encode(t, data, size, 0, &ids, NULL) != PITH_OK) abort();
    if (tokenizer_decode(t, ids.ids, ids.count, false, &back, NULL) != PITH_OK) abort();
    if (back.size != size || (size && memcmp(back.data, data, size) != 0)) abort();
    memory_free(back.data);
    memory_free(ids.ids);
    return 0;
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const char *const seeds[] = {"I'll go, 12345 \n\n  x.y's ABCdef/\r\n",
                                        "\xe4\xb8\x80\xe3\x81\x82 a\xcc\x81 \xf0\x9f\x98\x80 \xc2\xbd\xff\xc3",
                                        "   \t\t  \xe3\x80\x80!!! 'S 'LL abab ab"};
    if (k > 2) return 0;
    return seed_bytes((const uint8_t *)seeds[k], strlen(seeds[k]), data);
}
