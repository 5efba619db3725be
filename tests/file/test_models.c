/* Model sources and sinks: names, configurations, row order, every conversion there and back, importance matrices. */
#include "harness.h"

#include "base/memory.h"
#include "base/rng.h"
#include "file/hf_config.h"
#include "file/hf_names.h"
#include "file/imatrix.h"
#include "file/model_sink.h"
#include "file/output.h"
#include "file/safetensors.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pith-models-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void empty(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char file[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (unlink(file) != 0) empty(file);
    }
    closedir(d);
    rmdir(path);
}

static int tear_down(void **state) {
    (void)state;
    empty(folder);
    return 0;
}

/* ---- a small llama2.c checkpoint ---- */

enum { WIDTH = 8, FFN = 12, BLOCKS = 2, HEADS = 2, VOCAB = 20, CONTEXT = 6 };

static size_t llama2c_bytes(uint8_t **out, bool tied) {
    const int32_t head[7] = {WIDTH, FFN, BLOCKS, HEADS, 1, tied ? VOCAB : -VOCAB, CONTEXT};
    size_t floats = VOCAB * WIDTH * (tied ? 1 : 2) + WIDTH + CONTEXT * WIDTH / HEADS +
                    BLOCKS * (2 * WIDTH + 3 * WIDTH * WIDTH + 3 * WIDTH * FFN);
    rng r = rng_new(3, 1);
    *out = malloc(28 + 4 * floats);
    memcpy(*out, head, 28);
    for (size_t i = 0; i < floats; i++) {
        float f = (float)rng_normal(&r);
        memcpy(*out + 28 + 4 * i, &f, 4);
    }
    return 28 + 4 * floats;
}

static const char *write_llama2c(bool tied) {
    uint8_t *bytes;
    size_t n = llama2c_bytes(&bytes, tied);
    const char *path = in_folder("m.bin");
    assert_int_equal(output_file(path, true, bytes, n, NULL), PITH_OK);
    free(bytes);
    return path;
}

static model_source *open_source(const char *path) {
    model_source *s;
    pith_error err = {0};
    if (model_source_open(&s, path, NULL, &err) != PITH_OK) fail_msg("%s: %s", err.where, err.text);
    return s;
}

static void convert(const char *from, const char *to) {
    model_source *s = open_source(from);
    model_sink_options o = {.replace = true, .file_type = -1};
    pith_error err = {0};
    if (model_sink_copy(to, s, &o, NULL, &err) != PITH_OK) fail_msg("%s: %s", err.where, err.text);
    model_source_close(s);
}

static void assert_same_file(const char *a, const char *b) {
    pith_buffer *x, *y;
    assert_int_equal(pith_buffer_map(&x, a, NULL), PITH_OK);
    assert_int_equal(pith_buffer_map(&y, b, NULL), PITH_OK);
    assert_int_equal(pith_buffer_size(x), pith_buffer_size(y));
    assert_memory_equal(pith_buffer_data(x), pith_buffer_data(y), pith_buffer_size(x));
    pith_buffer_release(x);
    pith_buffer_release(y);
}

/* ---- names and order ---- */

static void names_translate_both_ways(void **state) {
    (void)state;
    static const struct {
        const char *architecture, *hf, *gguf;
        bool transposed;
    } cases[] = {
        {"llama", "model.layers.31.self_attn.q_proj.weight", "blk.31.attn_q.weight", false},
        {"qwen2", "model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias", false},
        {"qwen3", "model.layers.7.self_attn.q_norm.weight", "blk.7.attn_q_norm.weight", false},
        {"smollm3", "model.embed_tokens.weight", "token_embd.weight", false},
        {"gpt2", "transformer.h.2.mlp.c_fc.weight", "blk.2.ffn_up.weight", true},
        {"gpt2", "transformer.h.2.mlp.c_fc.bias", "blk.2.ffn_up.bias", false},
    };
    char name[HF_NAME];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool transposed = !cases[i].transposed;
        assert_true(hf_to_canonical(cases[i].architecture, cases[i].hf, name, &transposed));
        assert_string_equal(name, cases[i].gguf);
        assert_int_equal(transposed, cases[i].transposed);
        assert_true(hf_from_canonical(cases[i].architecture, cases[i].gguf, name, &transposed));
        assert_string_equal(name, cases[i].hf);
    }
    bool t;
    assert_true(hf_to_canonical("gpt2", "h.0.ln_1.weight", name, &t)); /* as first published, without a prefix */
    assert_string_equal(name, "blk.0.attn_norm.weight");
    assert_false(hf_to_canonical("llama", "model.layers.01.mlp.up_proj.weight", name, &t)); /* no second spelling */
    assert_false(hf_to_canonical("llama", "model.layers..mlp.up_proj.weight", name, &t));
    assert_false(hf_to_canonical("llama", "model.layers.1.mlp.up_proj.scale", name, &t));
    assert_false(hf_to_canonical("unheard", "model.norm.weight", name, &t));
}

static void rows_reorder_and_return(void **state) {
    (void)state;
    static const uint16_t types[] = {PITH_F32, PITH_BF16, PITH_Q4_K};
    for (int k = 0; k < 3; k++) {
        pith_tensor t;
        assert_int_equal(pith_tensor_new(&t, types[k], 2, (int64_t[]){12, 256}, NULL), PITH_OK);
        size_t n = (size_t)pith_tensor_bytes(&t);
        uint8_t *bytes = t.data, *there = malloc(n), *back = malloc(n);
        for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i / (size_t)t.row_bytes + 16 * (i % 7));
        assert_int_equal(model_reorder_rows(&t, 2, true, there, NULL), PITH_OK);
        /* head of 6: rows 0 3 1 4 2 5 */
        assert_memory_equal(there + t.row_bytes, bytes + 3 * t.row_bytes, (size_t)t.row_bytes);
        assert_memory_equal(there + 8 * t.row_bytes, bytes + 7 * t.row_bytes, (size_t)t.row_bytes);
        pith_tensor other = t;
        other.data = there;
        assert_int_equal(model_reorder_rows(&other, 2, false, back, NULL), PITH_OK);
        assert_memory_equal(back, bytes, n);
        assert_int_equal(model_reorder_rows(&t, 5, true, there, NULL), PITH_MISMATCH);
        assert_int_equal(model_reorder_rows(&t, 4, true, there, NULL), PITH_MISMATCH); /* three rows have no half */
        pith_tensor_release(&t);
        free(there);
        free(back);
    }
}

/* ---- configurations ---- */

static pith_status read_config(meta *m, const char *text, pith_error *err) {
    return hf_config_read(m, (pith_bytes){(uint8_t *)text, strlen(text)}, "config.json", err);
}

#define SMALL                                                                                        \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"num_attention_heads\":4,\"num_hidden_layers\":2," \
    "\"intermediate_size\":96,\"vocab_size\":100"

static void configurations_are_read(void **state) {
    (void)state;
    meta *m;
    uint64_t u;
    double d;
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    assert_int_equal(read_config(m,
                                 "{" SMALL ",\"head_dim\":32,\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":"
                                 "\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                                 "\"original_max_position_embeddings\":8192}}",
                                 NULL),
                     PITH_OK);
    assert_true(meta_model_u64(m, "attention.key_length", &u) && u == 32);
    assert_true(meta_model_u64(m, "attention.head_count_kv", &u) && u == 4); /* as many as heads where it is silent */
    assert_true(meta_model_f64(m, "rope.freq_base", &d) && d == 5e5);
    assert_string_equal(meta_model_text(m, "rope.scaling.type"), "llama3");
    assert_true(meta_model_u64(m, "rope.scaling.original_context_length", &u) && u == 8192);
    meta_free(m);
    assert_int_equal(meta_new(&m, NULL), PITH_OK);
    assert_int_equal(read_config(m, "{\"model_type\":\"novel\"}", NULL), PITH_OK); /* its tensors can be packed */
    assert_string_equal(meta_text(m, "general.architecture", NULL), "novel");
    meta_free(m);
}

static void bad_configurations_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"{\"model_type\":\"llama\"}", "hidden_size"},
        {"{" SMALL ",\"hidden_act\":\"relu\"}", "relu"},
        {"{" SMALL ",\"num_key_value_heads\":-1}", "num_key_value_heads"},
        {"{" SMALL ",\"num_key_value_heads\":1e3}", "num_key_value_heads"},
        {"{\"hidden_size\":1}", "model_type"},
        {"[]", "model_type"},
        {"{\"a\":1,\"a\":2}", "JSON"},
        {"{\"a\":", "JSON"},
        {"", "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        meta *m;
        pith_error err = {0};
        assert_int_equal(meta_new(&m, NULL), PITH_OK);
        assert_int_not_equal(read_config(m, cases[i].text, &err), PITH_OK);
        if (!strstr(err.text, cases[i].word)) fail_msg("%s: %s", cases[i].text, err.text);
        meta_free(m);
    }
}

/* ---- conversions ---- */

static void every_road_gives_the_same_gguf(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        const char *bin = write_llama2c(tied);
        convert(bin, in_folder("a.gguf"));
        convert(in_folder("a.gguf"), in_folder("hf"));
        convert(in_folder("hf"), in_folder("b.gguf"));
        convert(in_folder("b.gguf"), in_folder("c.gguf"));
        assert_same_file(in_folder("b.gguf"), in_folder("c.gguf"));
        model_source *a = open_source(in_folder("a.gguf")), *b = open_source(in_folder("b.gguf"));
        assert_int_equal(a->count, b->count);
        for (size_t i = 0; i < a->count; i++) { /* the folder sorts its tensors its own way */
            pith_tensor x, y;
            int64_t k = model_source_find(b, a->tensors[i].canonical);
            assert_true(k >= 0);
            assert_int_equal(model_source_load(a, i, &x, NULL), PITH_OK);
            assert_int_equal(model_source_load(b, (size_t)k, &y, NULL), PITH_OK);
            assert_int_equal(pith_tensor_bytes(&x), pith_tensor_bytes(&y));
            assert_memory_equal(x.data, y.data, pith_tensor_bytes(&x));
            pith_tensor_release(&x);
            pith_tensor_release(&y);
        }
        model_source_close(a);
        model_source_close(b);
    }
}

static void a_folder_comes_back_as_it_was(void **state) {
    (void)state;
    convert(write_llama2c(true), in_folder("one"));
    convert(in_folder("one"), in_folder("two"));
    assert_same_file(in_folder("one/model.safetensors"), in_folder("two/model.safetensors"));
    assert_same_file(in_folder("one/config.json"), in_folder("two/config.json"));
    convert(in_folder("one/model.safetensors"), in_folder("x.safetensors"));
    assert_same_file(in_folder("one/model.safetensors"), in_folder("x.safetensors"));
}

static void a_sink_keeps_what_it_may_not_replace(void **state) {
    (void)state;
    const char *bin = write_llama2c(true);
    model_source *s = open_source(bin);
    model_sink_options o = {.file_type = -1};
    convert(bin, in_folder("kept"));
    assert_int_equal(model_sink_copy(in_folder("kept"), s, &o, NULL, NULL), PITH_USAGE);
    o.replace = true;
    assert_int_equal(mkdir(in_folder("kept/own"), 0777), 0); /* not a folder of a model alone any more */
    assert_int_equal(model_sink_copy(in_folder("kept"), s, &o, NULL, NULL), PITH_USAGE);
    assert_int_equal(access(in_folder("kept/model.safetensors"), F_OK), 0);
    model_sink *k;
    assert_int_equal(model_sink_open(&k, in_folder("gone"), s, &o, NULL), PITH_OK);
    model_sink_abort(k);
    assert_int_not_equal(access(in_folder("gone"), F_OK), 0);
    model_source_close(s);
    DIR *d = opendir(folder);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) assert_null(strstr(e->d_name, ".tmp-"));
    closedir(d);
}

/* ---- hostile checkpoints and memory ---- */

static void cut_checkpoints_are_refused(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t n = llama2c_bytes(&bytes, true);
    for (size_t cut = 0; cut < n; cut += cut < 40 ? 1 : 97) {
        model_source *s;
        pith_error err = {0};
        assert_int_equal(output_file(in_folder("cut.bin"), true, bytes, cut, NULL), PITH_OK);
        assert_int_not_equal(model_source_open(&s, in_folder("cut.bin"), NULL, &err), PITH_OK);
        assert_true(err.text[0]);
    }
    free(bytes);
}

static void tokenizers_beside_a_checkpoint(void **state) {
    (void)state;
    uint8_t file[4 + VOCAB * 9] = {1};
    for (int i = 0; i < VOCAB; i++) {
        file[4 + 9 * i + 4] = 1;
        file[4 + 9 * i + 8] = (uint8_t)('a' + i);
    }
    char bin[256], tok2[256];
    snprintf(bin, sizeof bin, "%s", write_llama2c(true));
    snprintf(tok2, sizeof tok2, "%s", in_folder("tok2.bin"));
    assert_int_equal(output_file(in_folder("tok1.bin"), true, file, sizeof file, NULL), PITH_OK);
    assert_int_equal(output_file(tok2, true, file, sizeof file - 9, NULL), PITH_OK);
    model_source *s = open_source(bin);
    assert_non_null(model_source_extra(s, "tokenizer.bin")); /* only one of the two fits */
    model_source_close(s);
    assert_int_equal(output_file(tok2, true, file, sizeof file, NULL), PITH_OK);
    s = open_source(bin);
    assert_null(model_source_extra(s, "tokenizer.bin")); /* which of the two, nobody can tell */
    model_source_close(s);
    model_options o = {.tokenizer = tok2};
    assert_int_equal(model_source_open(&s, bin, &o, NULL), PITH_OK);
    assert_non_null(model_source_extra(s, "tokenizer.bin"));
    model_source_close(s);
    o.tokenizer = bin;
    assert_int_equal(model_source_open(&s, bin, &o, NULL), PITH_MISMATCH);
    unlink(in_folder("tok1.bin"));
    unlink(tok2);
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    char from[2][256];
    convert(write_llama2c(true), in_folder("hm"));
    snprintf(from[0], sizeof from[0], "%s", in_folder("m.bin"));
    snprintf(from[1], sizeof from[1], "%s", in_folder("hm"));
    for (int k = 0; k < 4; k++) {
        const char *to = in_folder(k / 2 ? "h" : "m.gguf");
        for (int64_t n = 1;; n++) {
            model_source *s = NULL;
            model_sink_options o = {.replace = true, .file_type = -1};
            pith_error err = {0};
            memory_fail_at(n);
            pith_status st = model_source_open(&s, from[k % 2], NULL, &err);
            if (st == PITH_OK) st = model_sink_copy(to, s, &o, NULL, &err);
            memory_fail_at(0);
            model_source_close(s);
            if (st == PITH_OK) break;
            /* jansson does not always say that it was memory it lacked */
            if (st != PITH_NO_MEMORY && st != PITH_CORRUPT)
                fail_msg("%s to %s, allocation %d: %s", from[k % 2], to, (int)n, err.text);
        }
        if (k / 2) empty(to);
    }
}

/* ---- importance ---- */

static void importance_comes_back_in_both_forms(void **state) {
    (void)state;
    static const char *const names[] = {"i.gguf", "i.dat"};
    for (int k = 0; k < 2; k++) {
        imatrix m = {.chunks = 3, .chunk_size = 10, .dataset = memory_text("t.txt")}, back;
        imatrix_entry *e;
        assert_int_equal(imatrix_add(&m, "blk.0.attn_q.weight", 4, 1, &e, NULL), PITH_OK);
        e->count[0] = 30;
        for (int i = 0; i < 4; i++) e->mean[i] = 0.5f * (float)i;
        assert_int_equal(imatrix_add(&m, "output.weight", 2, 1, &e, NULL), PITH_OK);
        e->count[0] = 7;
        e->mean[0] = 3;
        assert_int_equal(imatrix_write(&m, in_folder(names[k]), true, NULL), PITH_OK);
        assert_int_equal(imatrix_read(&back, in_folder(names[k]), NULL), PITH_OK);
        assert_int_equal(back.count, 2);
        assert_int_equal(back.chunks, 3);
        assert_string_equal(back.dataset, "t.txt");
        const imatrix_entry *q = imatrix_find(&back, "blk.0.attn_q.weight");
        assert_non_null(q);
        for (int i = 0; i < 4; i++) assert_true(fabsf(q->mean[i] - 0.5f * (float)i) < 1e-6f);
        assert_true(q->count[0] == (k ? 3 : 30)); /* the old form counts calls */
        assert_null(imatrix_find(&back, "nothing"));
        imatrix_free(&m);
        imatrix_free(&back);
        pith_buffer *b;
        assert_int_equal(pith_buffer_map(&b, in_folder(names[k]), NULL), PITH_OK);
        for (size_t cut = 0; cut < pith_buffer_size(b); cut++) {
            if (imatrix_parse(&back, "cut", pith_buffer_data(b), cut, NULL) != PITH_OK) continue;
            imatrix_free(&back);
            /* old files may end before the chunks or before the data set's name, GGUF files before the last padding */
            size_t missing = pith_buffer_size(b) - cut;
            if (k ? missing != 13 && missing != 9 : missing != 28) fail_msg("accepted without %zu bytes", missing);
        }
        pith_buffer_release(b);
    }
}

/* Written by llama-imatrix (llama.cpp 0c1e570) from stories260K and 22 chunks of 512 tokens. */
static void importance_of_llama_cpp_is_read(void **state) {
    (void)state;
    imatrix m[2];
    pith_error err = {0};
    static const char *const files[] = {"llama-imatrix.gguf", "llama-imatrix.dat"};
    for (int k = 0; k < 2; k++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/file/fixtures/%s", PITH_SOURCE_DIR, files[k]);
        if (imatrix_read(&m[k], path, &err) != PITH_OK) fail_msg("%s: %s", err.where, err.text);
        assert_int_equal(m[k].count, 5 * 7); /* the head is the embedding: not among them */
        assert_string_equal(m[k].dataset, "ev20.txt");
    }
    assert_int_equal(m[0].chunk_size, 512);
    assert_int_equal(m[0].chunks, m[1].chunks);
    for (size_t i = 0; i < m[0].count; i++) {
        const imatrix_entry *a = &m[0].entries[i], *b = imatrix_find(&m[1], a->name);
        assert_non_null(b);
        assert_int_equal(a->inputs, b->inputs);
        assert_int_equal(a->inputs, strstr(a->name, "ffn_down") ? 172 : 64);
        assert_true(a->count[0] == 512.0 * m[0].chunks && b->count[0] == m[1].chunks);
        for (uint64_t c = 0; c < a->inputs; c++)
            assert_true(a->mean[c] > 0 && fabsf(a->mean[c] - b->mean[c]) <= 1e-6f * a->mean[c]);
    }
    imatrix_free(&m[0]);
    imatrix_free(&m[1]);
}

static void importance_must_be_finite(void **state) {
    (void)state;
    uint8_t file[4 + 4 + 1 + 4 + 4 + 4] = {1, 0, 0, 0, 1, 0, 0, 0, 'w', 1, 0, 0, 0, 1, 0, 0, 0};
    const float values[] = {2, NAN, INFINITY, -1};
    const pith_status wanted[] = {PITH_OK, PITH_NOT_FINITE, PITH_NOT_FINITE, PITH_CORRUPT};
    for (int i = 0; i < 4; i++) {
        imatrix m;
        memcpy(file + 17, &values[i], 4);
        assert_int_equal(imatrix_parse(&m, "test", file, sizeof file, NULL), wanted[i]);
        imatrix_free(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_translate_both_ways),
        cmocka_unit_test(rows_reorder_and_return),
        cmocka_unit_test(configurations_are_read),
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(every_road_gives_the_same_gguf),
        cmocka_unit_test(a_folder_comes_back_as_it_was),
        cmocka_unit_test(a_sink_keeps_what_it_may_not_replace),
        cmocka_unit_test(cut_checkpoints_are_refused),
        cmocka_unit_test(tokenizers_beside_a_checkpoint),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(importance_comes_back_in_both_forms),
        cmocka_unit_test(importance_of_llama_cpp_is_read),
        cmocka_unit_test(importance_must_be_finite),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
