/* file/hf_source.c - a HuggingFace folder as a model source: config.json, one safetensors file or a sharded index, and
 * the small files beside them, which are kept byte for byte. */
#include "file/readers.h"

#include "base/memory.h"
#include "file/hf_config.h"
#include "file/hf_names.h"
#include "file/json.h"
#include "file/safetensors.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { EXTRA_LIMIT = 1 << 28, SHARD_LIMIT = 10000 };

/* Besides config.json. tokenizer.json first: what the rest of pith reads of them. */
static const char *const extras[] = {
    "tokenizer.json", "tokenizer_config.json",   "generation_config.json", "chat_template.jinja", "chat_template.json",
    "vocab.json",     "special_tokens_map.json", "added_tokens.json",      "merges.txt",          "tokenizer.model",
};

typedef struct place { /* of a tensor */
    uint32_t shard, entry;
} place;

typedef struct folder {
    safetensors *shard;
    char **shard_name;
    size_t shards;
    place *at;
    size_t capacity;
} folder;

static pith_status no_memory(const model_source *s, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, s->path, -1, "out of memory");
}

/* PATH/NAME; the caller frees. NULL without memory. */
static char *join(const char *path, const char *name) {
    size_t n = strlen(path) + strlen(name) + 2;
    char *full = memory_alloc(n);
    if (full) snprintf(full, n, "%s/%s", path, name);
    return full;
}

static bool hf_fits(const char *path, bool is_folder, const uint8_t *head, size_t size) {
    (void)head, (void)size;
    char config[4352];
    struct stat st;
    int n = snprintf(config, sizeof config, "%s/config.json", path);
    return is_folder && n < (int)sizeof config && stat(config, &st) == 0;
}

static void hf_close(model_source *s) {
    folder *f = s->self;
    for (size_t i = 0; i < f->shards; i++) {
        safetensors_close(&f->shard[i]);
        memory_free(f->shard_name[i]);
    }
    memory_free(f->shard);
    memory_free(f->shard_name);
    memory_free(f->at);
    memory_free(f);
}

static pith_status hf_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    const folder *f = s->self;
    pith_status st = safetensors_load(&f->shard[f->at[i].shard], f->at[i].entry, out, err);
    if (st == PITH_OK) out->read_only = true;
    return st;
}

/* ---- small files ---- */

static pith_status add_file(model_source *s, const char *name, const char *path, pith_error *err) {
    pith_buffer *b;
    pith_status st = pith_buffer_map(&b, path, err);
    if (st != PITH_OK) return st;
    size_t size = (size_t)pith_buffer_size(b);
    uint8_t *copy = NULL;
    if (size > EXTRA_LIMIT)
        st = pith_fail(err, PITH_LIMIT, path, -1, "expected a file of at most %d bytes", EXTRA_LIMIT);
    else if (!(copy = memory_alloc(size))) st = no_memory(s, err);
    if (copy) {
        if (size) memcpy(copy, pith_buffer_data(b), size);
        st = model_source_add_extra(s, name, (pith_bytes){copy, size}, err);
    }
    pith_buffer_release(b);
    return st;
}

static pith_status add_extra_if_there(model_source *s, const char *name, pith_error *err) {
    struct stat status;
    char *path = join(s->path, name);
    if (!path) return no_memory(s, err);
    pith_status st = stat(path, &status) == 0 && S_ISREG(status.st_mode) ? add_file(s, name, path, err) : PITH_OK;
    memory_free(path);
    return st;
}

static pith_status read_config(model_source *s, pith_error *err) {
    pith_status st = add_extra_if_there(s, "config.json", err);
    if (st != PITH_OK) return st;
    const model_extra *config = model_source_extra(s, "config.json");
    if (!config) return pith_fail(err, PITH_NOT_FOUND, s->path, -1, "expected config.json to be a file");
    st = hf_config_read(s->meta, config->bytes, "config.json", err);
    for (size_t i = 0; i < sizeof extras / sizeof *extras && st == PITH_OK; i++)
        st = add_extra_if_there(s, extras[i], err);
    return st;
}

/* ---- tensors ---- */

static pith_status open_shard(model_source *s, const char *name, pith_error *err) {
    folder *f = s->self;
    for (size_t i = 0; i < f->shards; i++)
        if (strcmp(f->shard_name[i], name) == 0) return PITH_OK;
    if (f->shards == SHARD_LIMIT)
        return pith_fail(err, PITH_CORRUPT, s->path, -1, "the index names absurdly many files");
    if (strchr(name, '/'))
        return pith_fail(err, PITH_CORRUPT, s->path, -1, "the index names a file elsewhere: %.80s", name);
    safetensors *shard = memory_grow(f->shard, f->shards + 1, sizeof *shard);
    if (shard) f->shard = shard;
    char **names = shard ? memory_grow(f->shard_name, f->shards + 1, sizeof *names) : NULL;
    if (names) f->shard_name = names;
    char *path = names ? join(s->path, name) : NULL, *copy = path ? memory_text(name) : NULL;
    if (!copy) {
        memory_free(path);
        return no_memory(s, err);
    }
    memset(&f->shard[f->shards], 0, sizeof *f->shard);
    f->shard_name[f->shards] = copy;
    pith_status st = safetensors_open(&f->shard[f->shards], path, err);
    f->shards++;
    if (st == PITH_OK) s->file_bytes += pith_buffer_size(f->shard[f->shards - 1].file);
    memory_free(path);
    return st;
}

static pith_status add_tensor(model_source *s, size_t shard, size_t entry, pith_error *err) {
    folder *f = s->self;
    const safetensors_entry *e = &f->shard[shard].entries[entry];
    if (memory_reserve((void **)&f->at, &f->capacity, s->count + 1, sizeof *f->at) != 0) return no_memory(s, err);
    f->at[s->count] = (place){(uint32_t)shard, (uint32_t)entry};
    return hf_add_tensor(s, e->name, &e->layout, err);
}

/* Every tensor of every shard the index names; the index has to agree about where each is. */
static pith_status check_index(model_source *s, const json_t *map, pith_error *err) {
    folder *f = s->self;
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)map, name, file) {
        size_t i = 0;
        while (i < f->shards && strcmp(f->shard_name[i], json_string_value(file)) != 0) i++;
        if (i == f->shards || safetensors_find(&f->shard[i], name) < 0)
            return pith_fail(err, PITH_MISMATCH, s->path, -1, "expected tensor %.64s in %.80s, which holds none", name,
                             json_string_value(file));
    }
    return PITH_OK;
}

static pith_status open_index(model_source *s, pith_error *err) {
    static const char index[] = "model.safetensors.index.json";
    json_t *root;
    pith_status st = add_extra_if_there(s, index, err);
    if (st != PITH_OK) return st;
    const model_extra *e = model_source_extra(s, index);
    if (!e) return pith_fail(err, PITH_NOT_FOUND, s->path, -1, "expected model.safetensors or %s in the folder", index);
    st = json_parse(&root, e->bytes.data, e->bytes.size, index, err);
    if (st != PITH_OK) return st;
    const json_t *map = json_object_get(root, "weight_map");
    const char *name;
    json_t *file;
    if (!json_is_object(map)) st = pith_fail(err, PITH_CORRUPT, index, -1, "expected a weight_map");
    json_object_foreach((json_t *)map, name, file) {
        if (!json_is_string(file))
            st = pith_fail(err, PITH_CORRUPT, index, -1, "tensor %.64s: expected a file name", name);
        else st = open_shard(s, json_string_value(file), err);
        if (st != PITH_OK) break;
    }
    if (st == PITH_OK) st = check_index(s, map, err);
    json_decref(root);
    return st;
}

static pith_status keep_header(model_source *s, pith_error *err) {
    const folder *f = s->self;
    pith_bytes header = f->shard[0].header;
    uint8_t *copy = memory_alloc(header.size);
    if (!copy) return no_memory(s, err);
    memcpy(copy, header.data, header.size);
    return model_source_add_extra(s, MODEL_HEADER, (pith_bytes){copy, header.size}, err);
}

static pith_status open_weights(model_source *s, pith_error *err) {
    static const char single[] = "model.safetensors";
    struct stat status;
    folder *f = s->self;
    char *path = join(s->path, single);
    if (!path) return no_memory(s, err);
    bool one = stat(path, &status) == 0;
    memory_free(path);
    pith_status st = one ? open_shard(s, single, err) : open_index(s, err);
    for (size_t i = 0; i < f->shards && st == PITH_OK; i++)
        for (size_t k = 0; k < f->shard[i].count && st == PITH_OK; k++) st = add_tensor(s, i, k, err);
    return st == PITH_OK && one ? keep_header(s, err) : st;
}

static pith_status hf_open(model_source *s, const char *path, const model_options *options, pith_error *err) {
    (void)path, (void)options;
    folder *f = memory_zero(1, sizeof *f);
    if (!f) return no_memory(s, err);
    s->self = f;
    s->load = hf_load;
    s->close = hf_close;
    s->rope_halves = true;
    pith_status st = read_config(s, err);
    return st == PITH_OK ? open_weights(s, err) : st;
}

const model_reader huggingface_reader = {"huggingface", hf_fits, hf_open};
