/* fuzz_gguf.c - GGUF files, and importance matrices in both forms: whatever opens can be read in full.
 *
 * Aims at: src/file/gguf_read.c src/file/imatrix.c */
#include "seed.h"

#include "base/hash.h"
#include "file/gguf.h"
#include "file/imatrix.h"

static void read_gguf(const uint8_t *data, size_t size) {
    pith_buffer *b;
    gguf *g;
    if (pith_buffer_wrap(&b, (void *)data, size, NULL, NULL, NULL) != PITH_OK) return;
    if (gguf_open_buffer(&g, b, "fuzz", NULL) == PITH_OK) {
        for (size_t i = 0; i < gguf_count(g); i++) {
            pith_tensor t;
            if (gguf_load(g, i, &t, NULL) != PITH_OK) abort();
            if (pith_tensor_bytes(&t)) (void)hash_bytes(t.data, pith_tensor_bytes(&t));
            pith_tensor_release(&t);
        }
        for (size_t i = 0; i < meta_count(gguf_meta(g)); i++) {
            meta_array a;
            if (!meta_get_array(gguf_meta(g), meta_key(gguf_meta(g), i), &a)) continue;
            for (uint64_t k = 0; k < a.count; k++) (void)meta_array_text(&a, k);
        }
        gguf_close(g);
    }
    pith_buffer_release(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    imatrix m;
    read_gguf(data, size);
    if (imatrix_parse(&m, "fuzz", data, size, NULL) == PITH_OK) imatrix_free(&m);
    return 0;
}

static size_t seed_model(uint8_t **data) {
    char path[128];
    meta *m;
    gguf_writer *w;
    pith_tensor t;
    uint64_t bytes;
    meta_string words[2] = {{"a", 1}, {"", 0}};
    float values[4] = {1, 2, 3, 4};
    seed_path(path, sizeof path, ".gguf");
    if (meta_new(&m, NULL) != PITH_OK) exit(1);
    meta_set_text(m, "general.architecture", "llama", NULL);
    meta_set_texts(m, "tokenizer.ggml.tokens", words, 2, NULL);
    meta_set_f32s(m, "tokenizer.ggml.scores", values, 2, NULL);
    pith_tensor_layout(&t, PITH_F32, 2, (int64_t[]){2, 2}, &bytes, NULL);
    if (gguf_writer_open(&w, path, true, m, NULL) != PITH_OK || gguf_writer_declare(w, "t", &t, NULL) != PITH_OK ||
        gguf_writer_write(w, values, sizeof values, NULL) != PITH_OK || gguf_writer_commit(w, NULL) != PITH_OK)
        exit(1);
    meta_free(m);
    return seed_take(path, data);
}

static size_t seed_imatrix(const char *ending, uint8_t **data) {
    char path[128];
    imatrix m = {0};
    imatrix_entry *e;
    seed_path(path, sizeof path, ending);
    if (imatrix_add(&m, "blk.0.attn_q.weight", 3, 2, &e, NULL) != PITH_OK) exit(1);
    e->count[0] = 5;
    e->mean[0] = 2;
    if (imatrix_write(&m, path, true, NULL) != PITH_OK) exit(1);
    imatrix_free(&m);
    return seed_take(path, data);
}

size_t fuzz_seed(int k, uint8_t **data) {
    if (k == 0) return seed_model(data);
    if (k == 1) return seed_imatrix(".gguf", data);
    return k == 2 ? seed_imatrix(".dat", data) : 0;
}
