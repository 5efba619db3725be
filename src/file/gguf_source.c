/* file/gguf_source.c - a GGUF file as a model source: names, metadata and row order are the canonical ones. */
#include "file/readers.h"

#include "file/gguf.h"

#include <string.h>

static bool gguf_fits(const char *path, bool folder, const uint8_t *head, size_t size) {
    size_t length = strlen(path);
    if (folder) return false;
    return (size >= 4 && memcmp(head, "GGUF", 4) == 0) || (length > 5 && strcmp(path + length - 5, ".gguf") == 0);
}

static pith_status source_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    return gguf_load(s->self, i, out, err);
}

static void source_close(model_source *s) { gguf_close(s->self); }

static pith_status source_open(model_source *s, const char *path, const model_options *options, pith_error *err) {
    (void)options;
    gguf *g;
    pith_status st = gguf_open(&g, path, err);
    if (st != PITH_OK) return st;
    s->self = g;
    s->load = source_load;
    s->close = source_close;
    meta_free(s->meta);
    s->meta = gguf_take_meta(g);
    s->file_bytes = gguf_file_bytes(g);
    for (size_t i = 0; i < gguf_count(g) && st == PITH_OK; i++)
        st = model_source_add(s, gguf_at(g, i)->name, gguf_at(g, i)->name, &gguf_at(g, i)->layout, false, err);
    return st;
}

const model_reader gguf_reader = {"gguf", gguf_fits, source_open};
