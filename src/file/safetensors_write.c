/* file/safetensors_write.c - header first, bytes as they come. */
#include "file/safetensors.h"

#include "base/memory.h"
#include "file/json.h"
#include "file/output.h"

#include <string.h>

struct safetensors_writer {
    output *out;
};

static json_t *entry_json(safetensors_entry *e, uint64_t at) {
    const pith_tensor *t = &e->layout;
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    e->begin = at;
    e->end = at + pith_tensor_bytes(t);
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", pith_types[t->type].safetensors, "shape", shape, "data_offsets",
                     (json_int_t)e->begin, (json_int_t)e->end);
}

static json_t *header_json(safetensors_entry *entries, size_t count, const char *metadata) {
    json_t *root = json_object();
    bool whole = root != NULL;
    if (whole && metadata) whole = json_object_set_new(root, "__metadata__", json_loads(metadata, 0, NULL)) == 0;
    uint64_t at = 0;
    for (size_t i = 0; i < count && whole; i++) {
        whole = json_object_set_new(root, entries[i].name, entry_json(&entries[i], at)) == 0;
        at = entries[i].end;
    }
    if (whole) return root;
    json_decref(root);
    return NULL;
}

pith_status safetensors_header(safetensors_entry *entries, size_t count, const char *metadata, pith_bytes *out,
                               pith_error *err) {
    for (size_t i = 0; i < count; i++)
        if (!pith_types[entries[i].layout.type].safetensors)
            return pith_fail(err, PITH_UNSUPPORTED, entries[i].name, -1, "safetensors cannot hold type %s",
                             pith_types[entries[i].layout.type].name);
    uint64_t refusals = json_refusals();
    json_t *root = header_json(entries, count, metadata);
    char *text = root && json_refusals() == refusals ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    size_t n = text ? strlen(text) : 0, padded = (n + 7) / 8 * 8;
    out->data = text ? memory_alloc(padded) : NULL;
    if (out->data) {
        memcpy(out->data, text, n);
        memset(out->data + n, ' ', padded - n);
        out->size = padded;
    }
    memory_free(text);
    return out->data ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status safetensors_writer_open(safetensors_writer **out, const char *path, bool replace, pith_bytes header,
                                    pith_error *err) {
    safetensors_writer *w = memory_zero(1, sizeof *w);
    if (!w) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    uint64_t length = header.size;
    pith_status s = output_open(&w->out, path, replace, err);
    if (s == PITH_OK) s = output_write(w->out, &length, 8, err);
    if (s == PITH_OK) s = output_write(w->out, header.data, header.size, err);
    if (s == PITH_OK) *out = w;
    else safetensors_writer_abort(w);
    return s;
}

pith_status safetensors_write(safetensors_writer *w, const void *data, size_t size, pith_error *err) {
    return output_write(w->out, data, size, err);
}

pith_status safetensors_writer_commit(safetensors_writer *w, pith_error *err) {
    pith_status s = output_commit(w->out, err);
    memory_free(w);
    return s;
}

void safetensors_writer_abort(safetensors_writer *w) {
    if (!w) return;
    output_abort(w->out);
    memory_free(w);
}
