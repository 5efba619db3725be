/* What loading a .pith holds at its height: the weights once, and a group or two of tensors beside them. */
#include "model/workplace.h"

#include "cli/command.h"
#include "file/gguf.h"
#include "model/open.h"
#include "model/pack_payload.h"
#include "quant/random.h"

enum { WIDTH = 512, FFN = 1536, BLOCKS = 20, VOCAB = 64, LINEARS = 7 };

static const struct {
    const char *name;
    int64_t rows, cols;
} linears[LINEARS] = {{"attn_q", WIDTH, WIDTH},      {"attn_k", WIDTH, WIDTH}, {"attn_v", WIDTH, WIDTH},
                      {"attn_output", WIDTH, WIDTH}, {"ffn_gate", FFN, WIDTH}, {"ffn_up", FFN, WIDTH},
                      {"ffn_down", WIDTH, FFN}};

typedef struct writing {
    gguf_writer *file;
    bool declare; /* or write */
    rng random;
    uint64_t bytes;
} writing;

static void put(writing *w, const char *name, int64_t rows, int64_t cols) {
    pith_packed p;
    pith_tensor layout;
    float ones[WIDTH];
    uint64_t bytes;
    for (int i = 0; i < WIDTH; i++) ones[i] = 1;
    if (cols) pith_tensor_layout(&layout, PITH_Q4_K, 2, (int64_t[]){rows, cols}, &bytes, NULL);
    else pith_tensor_layout(&layout, PITH_F32, 1, &rows, &bytes, NULL);
    if (w->declare) {
        assert_int_equal(gguf_writer_declare(w->file, name, &layout, NULL), PITH_OK);
        return;
    }
    w->bytes += bytes;
    if (!cols) {
        assert_int_equal(gguf_writer_write(w->file, ones, bytes, NULL), PITH_OK);
        return;
    }
    assert_int_equal(quant_random(pith_format_by_id(PITH_Q4_K), rows, cols, 0.02f, &w->random, &p, NULL), PITH_OK);
    assert_int_equal(gguf_writer_write(w->file, p.part[0].data, bytes, NULL), PITH_OK);
    pith_packed_release(&p);
}

static void put_all(writing *w) {
    char name[64];
    put(w, "token_embd.weight", VOCAB, WIDTH);
    put(w, "output_norm.weight", WIDTH, 0);
    for (int b = 0; b < BLOCKS; b++) {
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", b);
        put(w, name, WIDTH, 0);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", b);
        put(w, name, WIDTH, 0);
        for (int k = 0; k < LINEARS; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", b, linears[k].name);
            put(w, name, linears[k].rows, linears[k].cols);
        }
    }
}

static uint64_t write_model(const char *path) {
    meta *m;
    writing w = {.declare = true, .random = rng_new(1, 2)};
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    meta_set_text(m, "general.architecture", "llama", NULL);
    meta_set_u32(m, "llama.block_count", BLOCKS, NULL);
    meta_set_u32(m, "llama.embedding_length", WIDTH, NULL);
    meta_set_u32(m, "llama.feed_forward_length", FFN, NULL);
    meta_set_u32(m, "llama.context_length", 64, NULL);
    meta_set_u32(m, "llama.attention.head_count", 8, NULL);
    assert_int_equal(gguf_writer_open(&w.file, path, true, m, NULL), PITH_OK);
    put_all(&w);
    w.declare = false;
    put_all(&w);
    assert_int_equal(gguf_writer_commit(w.file, NULL), PITH_OK);
    meta_free(m);
    return w.bytes;
}

static uint64_t resident(const char *key) { /* "VmRSS:", "VmHWM:"; bytes */
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) sscanf(line + strlen(key), "%llu", &kib);
    if (f) fclose(f);
    return kib << 10;
}

/* The height begins anew. False where the system does not do that. */
static bool forget_height(void) {
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return false;
    bool done = fputs("5", f) >= 0;
    return fclose(f) == 0 && done;
}

static void a_packed_model_is_held_once_while_it_loads(void **state) {
    (void)state;
    uint64_t bytes = write_model("model.gguf");
    char *argv[] = {"pith", "pack", "model.gguf", "-o", "model.pith", "--type", "lossless", "--no-verify", "-q", NULL};
    assert_int_equal(command_main(9, argv), 0);
#ifdef __SANITIZE_ADDRESS__
    skip(); /* its quarantine holds what was freed */
#endif
    if (!forget_height()) skip();
    uint64_t before = resident("VmRSS:");
    pith_error err = {0};
    pith_context c;
    pith_context_default(&c);
    model_source *s;
    llama *m;
    assert_int_equal(model_source_open(&s, "model.pith", &(model_options){.context = &c}, &err), PITH_OK);
    if (llama_open(&m, s, &c, &err) != PITH_OK) fail_msg("%s", err.text);
    uint64_t height = resident("VmHWM:") - before, after = resident("VmRSS:") - before;
    uint64_t group = PACK_GROUP_BYTES;
    if (height > bytes + bytes / 20 + 2 * group || after > bytes + bytes / 20 + group)
        fail_msg("%llu bytes of tensors: %llu resident at the height, %llu afterwards", (unsigned long long)bytes,
                 (unsigned long long)height, (unsigned long long)after);
    llama_free(m);
    model_source_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_packed_model_is_held_once_while_it_loads)};
    return cmocka_run_group_tests(tests, workplace_open, workplace_close);
}
