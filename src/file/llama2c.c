/* file/llama2c.c - checkpoints of karpathy's llama2.c: version 0 (no magic, f32), 1 ("ak42", f32), 2 ("ak42", int8).
 *
 * Source: llama2.c export.py and run.c. All hold seven i32 (width, ffn, blocks, heads, kv heads, vocabulary, context)
 * and then every matrix of every block, kind by kind. Version 0 says "head of its own" by a negative vocabulary and
 * carries two rotation tables nobody reads; version 2 holds int8 with one f32 scale per group, and is given out as
 * f32. Rotary pairs are adjacent, as in GGUF. The file must have exactly the size its header implies. The tokenizer
 * stands in another file, whose size alone tells whether it fits. */
#include "file/readers.h"

#include "base/memory.h"
#include "file/meta_bytes.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { LEGACY_HEAD = 28, HEAD = 256, MAGIC = 0x616b3432, SIZE_LIMIT = 1 << 28, BLOCK_LIMIT = 4096 };

typedef struct llama2c {
    pith_buffer *file;
    int version;
    int64_t width, ffn, blocks, heads, kv_heads, vocab, context, group;
    bool tied;
    uint64_t *at; /* of each tensor of the source */
    size_t capacity;
    uint64_t end; /* of what has been placed */
} llama2c;

static bool llama2c_fits(const char *path, bool folder, const uint8_t *head, size_t size) {
    size_t length = strlen(path);
    if (folder) return false;
    return (size >= 4 && get32(head) == MAGIC) || (length > 4 && strcmp(path + length - 4, ".bin") == 0);
}

static void llama2c_close(model_source *s) {
    llama2c *c = s->self;
    pith_buffer_release(c->file);
    memory_free(c->at);
    memory_free(c);
}

static void dequantize(const uint8_t *p, int64_t elements, int64_t group, float *out) {
    const uint8_t *scales = p + elements;
    for (int64_t g = 0; g < elements / group; g++) {
        uint32_t bits = get32(scales + 4 * g);
        float scale;
        memcpy(&scale, &bits, sizeof scale);
        for (int64_t i = g * group; i < (g + 1) * group; i++) out[i] = (float)(int8_t)p[i] * scale;
    }
}

static pith_status llama2c_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    const llama2c *c = s->self;
    const pith_tensor *t = &s->tensors[i].layout;
    if (c->version == 2 && t->rank == 2) {
        pith_status st = pith_tensor_new(out, PITH_F32, t->rank, t->shape, err);
        if (st == PITH_OK)
            dequantize((const uint8_t *)pith_buffer_data(c->file) + c->at[i], pith_tensor_elements(t), c->group,
                       out->data);
        return st;
    }
    pith_status st = pith_tensor_wrap(out, PITH_F32, t->rank, t->shape, c->file, c->at[i], err);
    if (st == PITH_OK) out->read_only = true;
    return st;
}

/* ---- header ---- */

static pith_status check_header(const llama2c *c, const char *path, pith_error *err) {
    const int64_t sizes[] = {c->width, c->ffn, c->vocab, c->context};
    bool good = c->blocks > 0 && c->blocks <= BLOCK_LIMIT && c->heads > 0 && c->kv_heads > 0;
    for (int i = 0; i < 4; i++) good = good && sizes[i] > 0 && sizes[i] <= SIZE_LIMIT;
    good = good && c->heads <= c->width && c->width % c->heads == 0 && c->kv_heads <= c->heads &&
           c->heads % c->kv_heads == 0 && c->width / c->heads % 2 == 0;
    if (good && c->version == 2) good = c->group > 0 && c->width % c->group == 0 && c->ffn % c->group == 0;
    if (good) return PITH_OK;
    return pith_fail(
        err, PITH_CORRUPT, path, 0,
        "expected the header of a llama2.c checkpoint, found width %lld, ffn %lld, blocks %lld, heads %lld, "
        "kv heads %lld, vocabulary %lld, context %lld",
        (long long)c->width, (long long)c->ffn, (long long)c->blocks, (long long)c->heads, (long long)c->kv_heads,
        (long long)c->vocab, (long long)c->context);
}

static pith_status read_header(llama2c *c, const char *path, pith_error *err) {
    const uint8_t *p = pith_buffer_data(c->file);
    uint64_t size = pith_buffer_size(c->file);
    if (size < LEGACY_HEAD)
        return pith_fail(err, PITH_TRUNCATED, path, 0, "expected a llama2.c header of %d bytes, found %llu",
                         LEGACY_HEAD, (unsigned long long)size);
    bool legacy = get32(p) != MAGIC;
    if (!legacy && size < HEAD)
        return pith_fail(err, PITH_TRUNCATED, path, 0, "expected a llama2.c header of %d bytes, found %llu", HEAD,
                         (unsigned long long)size);
    c->version = legacy ? 0 : (int)get32(p + 4);
    if (!legacy && c->version != 1 && c->version != 2)
        return pith_fail(err, PITH_UNSUPPORTED, path, 4,
                         "expected a llama2.c checkpoint of version 0, 1 or 2, found %d", c->version);
    int64_t *const field[] = {&c->width, &c->ffn, &c->blocks, &c->heads, &c->kv_heads, &c->vocab, &c->context};
    for (int i = 0; i < 7; i++) *field[i] = (int32_t)get32(p + (legacy ? 0 : 8) + 4 * i);
    c->tied = legacy ? c->vocab > 0 : p[36] != 0;
    if (legacy && c->vocab < 0) c->vocab = -c->vocab;
    if (c->version == 2) c->group = (int32_t)get32(p + 37);
    c->end = legacy ? LEGACY_HEAD : HEAD;
    return check_header(c, path, err);
}

/* ---- tensors ---- */

/* The next tensor in the file; rows 0: a vector. */
static pith_status place(model_source *s, const char *name, int64_t rows, int64_t cols, pith_error *err) {
    llama2c *c = s->self;
    pith_tensor layout;
    uint64_t bytes;
    int64_t shape[2] = {rows ? rows : cols, cols};
    pith_status st = pith_tensor_layout(&layout, PITH_F32, rows ? 2 : 1, shape, &bytes, err);
    if (st != PITH_OK) return st;
    if (c->version == 2 && rows) bytes = bytes / 4 + bytes / (uint64_t)c->group;
    if (memory_reserve((void **)&c->at, &c->capacity, s->count + 1, sizeof *c->at) != 0)
        return pith_fail(err, PITH_NO_MEMORY, s->path, -1, "out of memory");
    c->at[s->count] = c->end;
    if (bytes > pith_buffer_size(c->file) - c->end)
        return pith_fail(err, PITH_TRUNCATED, s->path, (int64_t)c->end, "expected %llu bytes for %s, found %llu",
                         (unsigned long long)bytes, name, (unsigned long long)(pith_buffer_size(c->file) - c->end));
    c->end += bytes;
    return model_source_add(s, name, name, &layout, false, err);
}

static pith_status place_blocks(model_source *s, const char *kind, int64_t rows, int64_t cols, pith_error *err) {
    const llama2c *c = s->self;
    pith_status st = PITH_OK;
    char name[64];
    for (int64_t i = 0; i < c->blocks && st == PITH_OK; i++) {
        snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)i, kind);
        st = place(s, name, rows, cols, err);
    }
    return st;
}

static pith_status place_matrices(model_source *s, bool norm_between, pith_error *err) {
    const llama2c *c = s->self;
    int64_t keys = c->width / c->heads * c->kv_heads;
    pith_status st = place_blocks(s, "attn_q", c->width, c->width, err);
    if (st == PITH_OK) st = place_blocks(s, "attn_k", keys, c->width, err);
    if (st == PITH_OK) st = place_blocks(s, "attn_v", keys, c->width, err);
    if (st == PITH_OK) st = place_blocks(s, "attn_output", c->width, c->width, err);
    if (st == PITH_OK && norm_between) st = place_blocks(s, "ffn_norm", 0, c->width, err);
    if (st == PITH_OK) st = place_blocks(s, "ffn_gate", c->ffn, c->width, err);
    if (st == PITH_OK) st = place_blocks(s, "ffn_down", c->width, c->ffn, err);
    if (st == PITH_OK) st = place_blocks(s, "ffn_up", c->ffn, c->width, err);
    return st;
}

static pith_status place_all(model_source *s, pith_error *err) {
    llama2c *c = s->self;
    bool legacy = c->version == 0;
    pith_status st = legacy ? place(s, "token_embd.weight", c->vocab, c->width, err) : PITH_OK;
    if (st == PITH_OK) st = place_blocks(s, "attn_norm", 0, c->width, err);
    if (st == PITH_OK && !legacy) st = place_blocks(s, "ffn_norm", 0, c->width, err);
    if (st == PITH_OK && !legacy) st = place(s, "output_norm.weight", 0, c->width, err);
    if (st == PITH_OK && !legacy) st = place(s, "token_embd.weight", c->vocab, c->width, err);
    if (st == PITH_OK) st = place_matrices(s, legacy, err);
    if (st == PITH_OK && legacy) {
        st = place(s, "output_norm.weight", 0, c->width, err);
        c->end += (uint64_t)(c->context * (c->width / c->heads) * 4); /* the rotation tables */
        if (st == PITH_OK && c->end > pith_buffer_size(c->file))
            st = pith_fail(err, PITH_TRUNCATED, s->path, -1, "expected the rotation tables, found the end of the file");
    }
    if (st == PITH_OK && !c->tied) st = place(s, "output.weight", c->vocab, c->width, err);
    if (st == PITH_OK && c->end != pith_buffer_size(c->file))
        st = pith_fail(err, PITH_CORRUPT, s->path, (int64_t)c->end, "expected a file of %llu bytes, found %llu",
                       (unsigned long long)c->end, (unsigned long long)pith_buffer_size(c->file));
    return st;
}

static pith_status describe(model_source *s, pith_error *err) {
    const llama2c *c = s->self;
    const struct {
        const char *key;
        int64_t value;
    } keys[] = {
        {"llama.block_count", c->blocks},
        {"llama.context_length", c->context},
        {"llama.embedding_length", c->width},
        {"llama.feed_forward_length", c->ffn},
        {"llama.attention.head_count", c->heads},
        {"llama.attention.head_count_kv", c->kv_heads},
        {"llama.rope.dimension_count", c->width / c->heads},
        {"llama.vocab_size", c->vocab},
        {"general.file_type", 0},
    };
    pith_status st = meta_set_text(s->meta, "general.architecture", "llama", err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && st == PITH_OK; i++)
        st = meta_set_u32(s->meta, keys[i].key, (uint32_t)keys[i].value, err);
    if (st == PITH_OK) st = meta_set_f32(s->meta, "llama.attention.layer_norm_rms_epsilon", 1e-5f, err);
    if (st == PITH_OK) st = meta_set_f32(s->meta, "llama.rope.freq_base", 10000.0f, err);
    return st;
}

/* ---- tokenizer ---- */

/* Longest size u32, then for each token score f32, size u32, bytes; nothing after the last. */
static bool tokenizer_fits(const uint8_t *p, uint64_t size, int64_t vocab) {
    uint64_t at = 4;
    if (size < 4) return false;
    for (int64_t i = 0; i < vocab; i++) {
        if (size - at < 8) return false;
        uint32_t length = get32(p + at + 4);
        if (length > size - at - 8) return false;
        at += 8 + (uint64_t)length;
    }
    return at == size;
}

/* Adds the file as an extra if it fits; *found tells. */
static pith_status try_tokenizer(model_source *s, const char *path, bool *found, pith_error *err) {
    const llama2c *c = s->self;
    pith_buffer *b;
    pith_status st = pith_buffer_map(&b, path, err);
    if (st != PITH_OK) return st;
    *found = tokenizer_fits(pith_buffer_data(b), pith_buffer_size(b), c->vocab);
    if (*found && !model_source_extra(s, "tokenizer.bin")) {
        size_t size = (size_t)pith_buffer_size(b);
        uint8_t *copy = memory_alloc(size);
        if (copy) memcpy(copy, pith_buffer_data(b), size);
        st = copy ? model_source_add_extra(s, "tokenizer.bin", (pith_bytes){copy, size}, err)
                  : pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    }
    pith_buffer_release(b);
    return st;
}

static bool tokenizer_name(const char *name) {
    size_t n = strlen(name);
    return n > 7 && strncmp(name, "tok", 3) == 0 && strcmp(name + n - 4, ".bin") == 0;
}

/* The one tok*.bin beside the checkpoint that fits. None, or several: the model stays without. */
static pith_status find_tokenizer(model_source *s, pith_error *err) {
    const char *slash = strrchr(s->path, '/');
    char folder[4096], path[4608];
    if (slash && slash - s->path >= (ptrdiff_t)sizeof folder) return PITH_OK;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - s->path + 1) : 2, slash ? s->path : "./");
    DIR *d = opendir(folder);
    if (!d) return PITH_OK;
    pith_status st = PITH_OK;
    int fitting = 0;
    for (struct dirent *e = readdir(d); e && st == PITH_OK; e = readdir(d)) {
        bool found = false;
        if (!tokenizer_name(e->d_name)) continue;
        snprintf(path, sizeof path, "%s%s", folder, e->d_name);
        pith_error unreadable = {0}; /* a neighbor that cannot be read is no tokenizer of this model */
        st = try_tokenizer(s, path, &found, &unreadable);
        if (st == PITH_NO_MEMORY) pith_fail(err, st, path, -1, "out of memory");
        else st = PITH_OK;
        fitting += found;
    }
    closedir(d);
    if (fitting > 1) {
        model_extra *last = &s->extras[--s->extra_count];
        memory_free((char *)last->name);
        memory_free(last->bytes.data);
    }
    return st;
}

static pith_status llama2c_open(model_source *s, const char *path, const model_options *options, pith_error *err) {
    llama2c *c = memory_zero(1, sizeof *c);
    if (!c) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    s->self = c;
    s->load = llama2c_load;
    s->close = llama2c_close;
    pith_status st = pith_buffer_map(&c->file, path, err);
    if (st == PITH_OK) st = read_header(c, path, err);
    if (st == PITH_OK) st = place_all(s, err);
    if (st == PITH_OK) st = describe(s, err);
    if (st != PITH_OK) return st;
    s->file_bytes = pith_buffer_size(c->file);
    if (!options->tokenizer) return find_tokenizer(s, err);
    bool found = false;
    st = try_tokenizer(s, options->tokenizer, &found, err);
    if (st == PITH_OK && !found)
        st = pith_fail(err, PITH_MISMATCH, options->tokenizer, -1, "expected a llama2.c tokenizer of %lld tokens",
                       (long long)c->vocab);
    return st;
}

const model_reader llama2c_reader = {"llama2.c", llama2c_fits, llama2c_open};
