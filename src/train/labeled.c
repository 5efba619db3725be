/* train/labeled.c - finding, checking and parting the data of a classifier's recipe. */
#include "train/labeled.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH = 4096 };

void labeled_close(labeled *l) {
    picture_folder_close(l->folder);
    pith_tensor_release(&l->pictures);
    pith_tensor_release(&l->labels);
    order_close(&l->order);
    memset(l, 0, sizeof *l);
}

static pith_status find(const recipe *r, size_t i, char path[PATH], pith_error *err) {
    const char *name = pith_value_item(recipe_values(r), "data.files", i), *root = getenv("PITH_DATA");
    if (name[0] == '/') snprintf(path, PATH, "%s", name);
    else if (root && *root) snprintf(path, PATH, "%s/%s", root, name);
    else
        return recipe_fail(r, err, PITH_NOT_FOUND, "data.files",
                           "%s: expected the environment's PITH_DATA to name the folder of data sets (see pith data)",
                           name);
    return PITH_OK;
}

static pith_status compare_hash(const recipe *r, const char *path, size_t i, uint64_t hash, pith_error *err) {
    const char *expected = pith_value_item(recipe_values(r), "data.hashes", i);
    char found[24];
    snprintf(found, sizeof found, "%016llx", (unsigned long long)hash);
    if (strcmp(expected, found) == 0) return PITH_OK;
    return recipe_fail(r, err, PITH_MISMATCH, "data.hashes", "%s: expected the hash %s, found %s: the data are others",
                       path, expected, found);
}

/* --- IDX ---------------------------------------------------------------------------------------------------------- */

static pith_status check_hash(const recipe *r, const char *path, size_t i, pith_error *err) {
    if (!pith_value_item(recipe_values(r), "data.hashes", i)) return PITH_OK;
    pith_buffer *b;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s != PITH_OK) return s;
    uint64_t hash = hash_bytes(pith_buffer_data(b), pith_buffer_size(b));
    pith_buffer_release(b);
    return compare_hash(r, path, i, hash, err);
}

static pith_status read_idx(const recipe *r, const pith_context *c, size_t i, pith_tensor *out, pith_error *err) {
    char path[PATH];
    pith_error inner = {0};
    pith_status s = find(r, i, path, err);
    if (s != PITH_OK) return s;
    s = idx_read(path, c, out, &inner);
    if (s == PITH_OK && out->type != PITH_U8)
        s = pith_fail(&inner, PITH_UNSUPPORTED, NULL, -1, "expected unsigned bytes");
    if (s != PITH_OK) return recipe_fail(r, err, s, "data.files", "%s: %s", path, inner.text);
    return check_hash(r, path, i, err);
}

static pith_status open_idx(labeled *l, const recipe *r, const pith_context *c, pith_error *err) {
    const pith_tensor *x = &l->pictures, *y = &l->labels;
    pith_status s = read_idx(r, c, 0, &l->pictures, err);
    if (s == PITH_OK) s = read_idx(r, c, 1, &l->labels, err);
    if (s != PITH_OK) return s;
    if (x->rank < 3 || y->rank != 1 || x->shape[0] != y->shape[0] || x->shape[0] < 2)
        return recipe_fail(r, err, PITH_MISMATCH, "data.files", "expected as many pictures as labels, at least 2");
    l->height = x->shape[1], l->wide = x->shape[2], l->channels = x->rank == 4 ? x->shape[3] : 1;
    int64_t count = x->shape[0], held = (int64_t)((double)count * pith_value_real(recipe_values(r), "data.held_out"));
    const uint8_t *labels = y->data;
    for (int64_t i = 0; i < count; i++)
        if (labels[i] >= l->classes) l->classes = labels[i] + 1;
    l->trained = count - held;
    int64_t first = held ? l->trained : 0;
    l->held = count - first;
    l->held_pictures = (const uint8_t *)x->data + first * l->height * l->wide * l->channels;
    l->held_labels = labels + first;
    return order_open(&l->order, l->trained, err);
}

/* --- a folder ----------------------------------------------------------------------------------------------------- */

static pith_status read_held(labeled *l, pith_error *err) {
    int64_t held = picture_folder_held(l->folder), size = l->height * l->wide * l->channels;
    l->held = held ? held : l->trained;
    pith_status s = pith_tensor_new(&l->pictures, PITH_U8, 2, (int64_t[]){l->held, size}, err);
    if (s == PITH_OK) s = pith_tensor_new(&l->labels, PITH_U8, 1, &l->held, err);
    for (int64_t i = 0; i < l->held && s == PITH_OK; i++)
        s = picture_folder_middle(l->folder, held > 0, i, (uint8_t *)l->pictures.data + i * size,
                                  (uint8_t *)l->labels.data + i, err);
    l->held_pictures = l->pictures.data, l->held_labels = l->labels.data;
    return s;
}

static pith_status open_folder(labeled *l, const recipe *r, const char *path, const pith_context *c, pith_error *err) {
    const pith_values *v = recipe_values(r);
    picture_folder_options o = {.crop = pith_value_int(v, "data.crop"),
                                .channels = pith_value_flag(v, "data.grey") ? 1 : 3,
                                .batch = l->batch,
                                .held_out = pith_value_real(v, "data.held_out")};
    if (o.crop < 1)
        return recipe_fail(r, err, PITH_USAGE, "data.crop", "expected the edge of the samples to cut from a folder");
    pith_error inner = {0};
    pith_status s = picture_folder_open(&l->folder, path, &o, c, &inner);
    uint64_t hash;
    if (s == PITH_OK && pith_value_count(v, "data.hashes")) {
        s = picture_folder_hash(l->folder, &hash, &inner);
        if (s == PITH_OK && (s = compare_hash(r, path, 0, hash, err)) != PITH_OK) return s;
    }
    if (s == PITH_OK) {
        l->height = l->wide = o.crop, l->channels = o.channels;
        l->classes = picture_folder_classes(l->folder), l->trained = picture_folder_trained(l->folder);
        s = read_held(l, &inner);
    }
    return s == PITH_OK ? s : recipe_fail(r, err, s, "data.files", "%s: %s", inner.where, inner.text);
}

/* ------------------------------------------------------------------------------------------------------------------ */

pith_status labeled_open(labeled *l, const recipe *r, const pith_context *c, pith_error *err) {
    const pith_values *v = recipe_values(r);
    size_t n = pith_value_count(v, "data.files"), hashes = pith_value_count(v, "data.hashes");
    char path[PATH];
    struct stat st;
    memset(l, 0, sizeof *l);
    l->batch = pith_value_int(v, "batch");
    if (hashes && hashes != n)
        return recipe_fail(r, err, PITH_USAGE, "data.hashes", "expected %zu hashes, one a file, found %zu", n, hashes);
    pith_status s = n == 1 ? find(r, 0, path, err) : PITH_OK;
    if (s != PITH_OK) return s;
    if (n == 1 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) s = open_folder(l, r, path, c, err);
    else if (n == 2) s = open_idx(l, r, c, err);
    else
        s = recipe_fail(r, err, PITH_USAGE, "data.files",
                        "expected two IDX files, pictures and labels, or a folder of folders, found %zu", n);
    if (s == PITH_OK && l->batch > l->trained)
        s = recipe_fail(r, err, PITH_USAGE, "batch", "expected at most the %lld training pictures",
                        (long long)l->trained);
    return s;
}

pith_status labeled_batch(labeled *l, uint64_t seed, int64_t first, uint8_t *pictures, uint8_t *labels,
                          pith_error *err) {
    if (l->folder) return picture_folder_batch(l->folder, seed, first, pictures, labels, err);
    int64_t size = l->height * l->wide * l->channels;
    for (int64_t i = 0; i < l->batch; i++) {
        uint32_t number = order_at(&l->order, seed, first + i);
        memcpy(pictures + i * size, (const uint8_t *)l->pictures.data + number * size, (size_t)size);
        labels[i] = ((const uint8_t *)l->labels.data)[number];
    }
    return PITH_OK;
}
