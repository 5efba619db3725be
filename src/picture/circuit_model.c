/* picture/circuit_model.c - models of circuits by path, by name (the hash a packed file holds) or by shape. */
#include "picture/circuit_model.h"

#include "base/bytes.h"
#include "base/share.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static bool fits(const circuit_wanted *w, const circuit *c) {
    return (!w->name || w->name == c->hash) &&
           (!w->width || (w->width == c->tree.width && w->height == c->tree.height && w->channels == c->tree.channels));
}

pith_status circuit_model_read(const pith_context *c, const circuit_wanted *w, pith_bytes file, const char *where,
                               circuit_model *out, pith_error *err) {
    *out = (circuit_model){.file = file};
    pith_status s = circuit_read(file, c ? c->memory_limit : UINT64_MAX, &out->circuit, err);
    if (s) return s;
    if (fits(w, out->circuit)) return PITH_OK;
    const circuit_tree *t = &out->circuit->tree;
    s = w->name && w->name != out->circuit->hash
            ? pith_fail(err, PITH_MISMATCH, where, -1, "expected the model %016llx, found %016llx",
                        (unsigned long long)w->name, (unsigned long long)out->circuit->hash)
            : pith_fail(err, PITH_MISMATCH, where, -1,
                        "expected a model for pictures of %dx%dx%d, found one for %dx%dx%d", w->width, w->height,
                        w->channels, t->width, t->height, t->channels);
    circuit_model_close(out);
    return s;
}

static pith_status read_path(const pith_context *c, const circuit_wanted *w, const char *path, circuit_model *out,
                             pith_error *err) {
    pith_buffer *b = NULL;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s) return s;
    s = circuit_model_read(c, w, (pith_bytes){pith_buffer_data(b), (size_t)pith_buffer_size(b)}, path, out, err);
    if (s) pith_buffer_release(b);
    else out->owner = b;
    return s;
}

/* Does the file at `path` look like the model wanted, without being read whole? Its size then stands in *size. */
static bool could_be(const circuit_wanted *w, const char *path, uint64_t *size) {
    uint8_t head[16], tail[8];
    FILE *f = fopen(path, "rb");
    bool ok = f && fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, "PCRC", 4) == 0;
    ok = ok && fseek(f, -8, SEEK_END) == 0 && fread(tail, 1, sizeof tail, f) == sizeof tail;
    long end = ok ? ftell(f) : 0;
    if (f) fclose(f);
    if (!ok) return false;
    *size = (uint64_t)end;
    if (w->name) return w->name == get64(tail);
    return get16(head + 8) == w->width && get16(head + 10) == w->height && get16(head + 12) == w->channels;
}

pith_status circuit_model_path(const circuit_wanted *w, char best[CIRCUIT_PATH], pith_error *err) {
    char folder[4096], path[CIRCUIT_PATH], looked[256] = "";
    uint64_t size, largest = 0;
    best[0] = 0;
    for (int i = 0; share_folder(i, folder, sizeof folder) && !best[0]; i++) {
        DIR *d = opendir(folder);
        snprintf(looked + strlen(looked), sizeof looked - strlen(looked), "%s%.120s", i ? ", " : "", folder);
        for (const struct dirent *e; d && (e = readdir(d));) {
            size_t length = strlen(e->d_name);
            if (length < 8 || strcmp(e->d_name + length - 8, ".circuit") != 0) continue;
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            if (!could_be(w, path, &size) || size <= largest) continue;
            largest = size;
            memcpy(best, path, sizeof path);
        }
        if (d) closedir(d);
    }
    if (best[0]) return PITH_OK;
    if (w->name)
        return pith_fail(err, PITH_NOT_FOUND, "model", -1,
                         "expected the model %016llx in %s: name its file with --model", (unsigned long long)w->name,
                         looked);
    return pith_fail(err, PITH_NOT_FOUND, "model", -1,
                     "expected a model for pictures of %dx%dx%d in %s: train one with pith train circuit", w->width,
                     w->height, w->channels, looked);
}

pith_status circuit_model_find(const pith_context *c, const circuit_wanted *w, circuit_model *out, pith_error *err) {
    char path[CIRCUIT_PATH];
    *out = (circuit_model){0};
    pith_status s = w->path ? PITH_OK : circuit_model_path(w, path, err);
    return s ? s : read_path(c, w, w->path ? w->path : path, out, err);
}

void circuit_model_close(circuit_model *m) {
    circuit_free(m->circuit);
    pith_buffer_release(m->owner);
    *m = (circuit_model){0};
}
