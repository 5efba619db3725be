/* file/safetensors_source.c - one safetensors file as a model source: tensors and its header, nothing else is known. */
#include "file/readers.h"

#include "base/memory.h"
#include "file/safetensors.h"

#include <string.h>

static bool safetensors_fits(const char *path, bool folder, const uint8_t *head, size_t size) {
    size_t length = strlen(path);
    if (folder) return false;
    return (length > 12 && strcmp(path + length - 12, ".safetensors") == 0) ||
           (size > 9 && head[7] == 0 && head[8] == '{');
}

static pith_status source_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    pith_status st = safetensors_load(s->self, i, out, err);
    if (st == PITH_OK) out->read_only = true;
    return st;
}

static void source_close(model_source *s) {
    safetensors_close(s->self);
    memory_free(s->self);
}

static pith_status source_open(model_source *s, const char *path, const model_options *options, pith_error *err) {
    (void)options;
    safetensors *f = memory_zero(1, sizeof *f);
    if (!f) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    s->self = f;
    s->load = source_load;
    s->close = source_close;
    pith_status st = safetensors_open(f, path, err);
    if (st != PITH_OK) return st;
    s->file_bytes = pith_buffer_size(f->file);
    for (size_t i = 0; i < f->count && st == PITH_OK; i++)
        st = model_source_add(s, f->entries[i].name, f->entries[i].name, &f->entries[i].layout, false, err);
    if (st != PITH_OK) return st;
    uint8_t *copy = memory_alloc(f->header.size);
    if (!copy) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    memcpy(copy, f->header.data, f->header.size);
    return model_source_add_extra(s, MODEL_HEADER, (pith_bytes){copy, f->header.size}, err);
}

const model_reader safetensors_reader = {"safetensors", safetensors_fits, source_open};
