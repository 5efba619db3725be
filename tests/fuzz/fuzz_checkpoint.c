/* fuzz_checkpoint.c - llama2.c checkpoints of all versions: whatever opens can be read in full and configured.
 *
 * Aims at: src/file/llama2c.c */
#include "seed.h"

#include "base/hash.h"
#include "file/model_source.h"
#include "model/open.h"

static char path[128];

static void clean(void) {
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
}

/* The input under a name that ends in .bin, by which the oldest version is known. */
static const char *named(const uint8_t *data, size_t size) {
    const char *file = seed_file(data, size);
    if (!path[0]) {
        seed_path(path, sizeof path, ".bin");
        if (symlink(file, path) != 0 || atexit(clean) != 0) exit(1);
    }
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_context c;
    pith_context_default(&c);
    c.memory_limit = 1 << 24;
    model_options o = {.context = &c};
    pith_error err = {0};
    model_source *s = NULL;
    decoder_config config;
    if (model_source_open(&s, named(data, size), &o, &err) != PITH_OK) return 0;
    for (size_t i = 0; i < s->count; i++) {
        pith_tensor t = {0};
        if (model_source_load(s, i, &t, NULL) != PITH_OK) continue;
        if (pith_tensor_bytes(&t)) (void)hash_bytes(t.data, pith_tensor_bytes(&t));
        pith_tensor_release(&t);
    }
    (void)llama_read_config(&config, s, NULL);
    model_source_close(s);
    return 0;
}

/* A model of width 8, two blocks, 5 tokens: k 0 with a head of its own, 1 without, 2 and 3 the later versions. */
size_t fuzz_seed(int k, uint8_t **data) {
    enum { WIDTH = 8, FFN = 16, BLOCKS = 2, VOCAB = 5, CONTEXT = 4 };
    enum { MATRICES = 4 * WIDTH * WIDTH + 3 * WIDTH * FFN, WEIGHTS = BLOCKS * MATRICES + VOCAB * WIDTH };
    static uint8_t file[1 << 15];
    int32_t head[7] = {WIDTH, FFN, BLOCKS, 2, 2, k == 0 ? -VOCAB : VOCAB, CONTEXT};
    size_t norms = (2 * BLOCKS + 1) * WIDTH * 4, size;
    if (k > 3) return 0;
    memset(file, 1, sizeof file);
    if (k < 2) {
        memcpy(file, head, sizeof head);
        size = sizeof head + norms + WEIGHTS * 4 + CONTEXT * (WIDTH / 2) * 4 + (k == 0 ? VOCAB * WIDTH * 4 : 0);
        return seed_bytes(file, size, data);
    }
    memset(file, 0, 256);
    memcpy(file, "24ka", 4);
    file[4] = (uint8_t)(k - 1);
    memcpy(file + 8, head, sizeof head);
    file[36] = 1; /* the embedding is the head */
    file[37] = 8; /* weights a group */
    size = 256 + norms + (k == 2 ? WEIGHTS * 4 : WEIGHTS + WEIGHTS / 8 * 4);
    return seed_bytes(file, size, data);
}
