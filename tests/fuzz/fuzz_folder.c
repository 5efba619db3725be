/* fuzz_folder.c - HuggingFace folders: config.json, a zero byte, generation_config.json, a zero byte, the header of
 * model.safetensors; what opens is configured, packed on paper and described again.
 *
 * Aims at: src/file/hf_config.c src/file/hf_source.c */
#include "seed.h"

#include "base/memory.h"
#include "file/hf_config.h"
#include "file/model_sink.h"
#include "model/open.h"

enum { FILES = 3, DATA = 1 << 14 };
static const char *const names[FILES] = {"config.json", "generation_config.json", "model.safetensors"};
static char folder[64] = "/dev/shm/pith-fuzz-XXXXXX";
static int files[FILES];

static void clean(void) {
    char path[128];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void open_folder(void) {
    if (files[0]) return;
    if (access("/dev/shm", W_OK) != 0) strcpy(folder, "/tmp/pith-fuzz-XXXXXX");
    if (!mkdtemp(folder) || atexit(clean) != 0) exit(1);
    for (int i = 0; i < FILES; i++) {
        char path[128], file[64];
        files[i] = memfd_create(names[i], 0);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        snprintf(file, sizeof file, "/proc/self/fd/%d", files[i]);
        if (files[i] < 0 || symlink(file, path) != 0) exit(1);
    }
}

static void put(int i, const void *bytes, size_t size, off_t at) {
    if (ftruncate(files[i], at) != 0 || pwrite(files[i], bytes, size, at) != (ssize_t)size) exit(1);
}

/* Weights are zeros, as many bytes as the header is likely to speak of. */
static void put_weights(const uint8_t *header, size_t size) {
    uint64_t length = size;
    put(2, &length, sizeof length, 0);
    put(2, header, size, sizeof length);
    if (ftruncate(files[2], (off_t)(sizeof length + size + DATA)) != 0) exit(1);
}

static void use(model_source *s) {
    decoder_config config;
    pith_bytes made = {0};
    model_sink_options o = {.plan_only = true, .file_type = -1};
    model_sink *k = NULL;
    (void)llama_read_config(&config, s, NULL);
    if (hf_config_write(s, s->meta, &made, NULL) == PITH_OK) memory_free(made.data);
    if (model_sink_open(&k, "x.gguf", s, &o, NULL) == PITH_OK) model_sink_abort(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *first = size ? memchr(data, 0, size) : NULL;
    const uint8_t *second = first ? memchr(first + 1, 0, size - (size_t)(first + 1 - data)) : NULL;
    pith_error err = {0};
    model_source *s = NULL;
    if (!second) return 0;
    open_folder();
    put(0, data, (size_t)(first - data), 0);
    put(1, first + 1, (size_t)(second - first - 1), 0);
    put_weights(second + 1, size - (size_t)(second + 1 - data));
    if (model_source_open(&s, folder, NULL, &err) != PITH_OK) return 0;
    use(s);
    model_source_close(s);
    return 0;
}

size_t fuzz_seed(int k, uint8_t **data) {
    static const char *const configs[] = {
        "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
        "\"num_key_value_heads\":2,\"intermediate_size\":48,\"max_position_embeddings\":64,\"vocab_size\":64,"
        "\"rms_norm_eps\":1e-6,\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":10000.0,\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}}",
        "{\"model_type\":\"qwen2\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":4,\"head_dim\":8,"
        "\"intermediate_size\":48,\"max_position_embeddings\":64,\"sliding_window\":6,\"use_sliding_window\":true,"
        "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":16}}",
        "{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":1,\"n_head\":4,\"n_positions\":64,\"layer_norm_epsilon\":1e-5}"};
    char text[2048];
    if (k > 2) return 0;
    int n = snprintf(text, sizeof text, "%s#{\"eos_token_id\":[1,2],\"bos_token_id\":3}#%s", configs[k],
                     "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[64,32],\"data_offsets\":[0,4096]},"
                     "\"model.layers.0.self_attn.q_proj.weight\":{\"dtype\":\"F16\",\"shape\":[32,32],"
                     "\"data_offsets\":[4096,6144]},\"transformer.h.0.attn.c_attn.weight\":{\"dtype\":\"F32\","
                     "\"shape\":[32,80],\"data_offsets\":[6144,16384]}}");
    for (char *p = text; (p = strchr(p, '#'));) *p = 0;
    return seed_bytes(text, (size_t)n, data);
}
