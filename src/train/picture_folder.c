/* train/picture_folder.c - listing classes, cutting samples. */
#include "train/picture_folder.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "file/picture.h"
#include "file/pictures.h"
#include "train/ahead.h"
#include "train/order.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CLASSES = 256 };

typedef struct entry {
    char *path;
    uint8_t label;
    bool held;
} entry;

struct picture_folder {
    picture_folder_options o;
    const pith_context *c;
    size_t root; /* length of the folder's path */
    entry *list; /* training ones, then those held out */
    size_t room;
    int64_t count, trained, classes;
    sample_order order; /* used by whoever fills a slot */
    ahead *ahead;
};

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

void picture_folder_close(picture_folder *f) {
    if (!f) return;
    ahead_free(f->ahead);
    for (int64_t i = 0; i < f->count; i++) memory_free(f->list[i].path);
    memory_free(f->list);
    order_close(&f->order);
    memory_free(f);
}

int64_t picture_folder_classes(const picture_folder *f) { return f->classes; }
int64_t picture_folder_trained(const picture_folder *f) { return f->trained; }
int64_t picture_folder_held(const picture_folder *f) { return f->count - f->trained; }

/* --- listing ------------------------------------------------------------------------------------------------------ */

typedef struct names {
    char **at;
    size_t count, room;
} names;

static void names_free(names *n) {
    for (size_t i = 0; i < n->count; i++) memory_free(n->at[i]);
    memory_free(n->at);
}

/* The pictures of one folder become a class; a folder without any is none. */
static pith_status add_class(picture_folder *f, const char *folder, pith_error *err) {
    names n = {0};
    pith_error inner = {0};
    pith_status s = pictures_list(folder, &n.at, &n.count, &inner);
    if (s == PITH_NOT_FOUND && n.count == 0) return PITH_OK;
    if (s != PITH_OK) pith_fail(err, s, inner.where, inner.offset, "%s", inner.text);
    else if (f->classes == CLASSES) s = pith_fail(err, PITH_LIMIT, folder, -1, "expected at most %d classes", CLASSES);
    if (s == PITH_OK && memory_reserve((void **)&f->list, &f->room, (size_t)f->count + n.count, sizeof *f->list) != 0)
        s = no_memory(err);
    int64_t every = f->o.held_out > 0 ? (int64_t)(1 / f->o.held_out + 0.5) : 0;
    for (size_t i = 0; i < n.count && s == PITH_OK; i++) {
        bool held = every && (int64_t)i % every == every / 2;
        f->list[f->count++] = (entry){n.at[i], (uint8_t)f->classes, held};
        n.at[i] = NULL; /* the list owns it */
    }
    f->classes++;
    names_free(&n);
    return s;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static pith_status list_folders(const char *path, names *out, pith_error *err) {
    DIR *d = opendir(path);
    if (!d) return pith_fail_errno(err, path, errno, "cannot open");
    pith_status s = PITH_OK;
    for (struct dirent *e; s == PITH_OK && (e = readdir(d));) {
        char name[4096];
        struct stat st;
        if (e->d_name[0] == '.' || (size_t)snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= sizeof name)
            continue;
        if (stat(name, &st) != 0 || !S_ISDIR(st.st_mode)) continue;
        if (memory_reserve((void **)&out->at, &out->room, out->count + 1, sizeof *out->at) != 0 ||
            !(out->at[out->count] = memory_text(name)))
            s = no_memory(err);
        else out->count++;
    }
    closedir(d);
    if (out->count) qsort(out->at, out->count, sizeof *out->at, by_bytes);
    return s;
}

/* Training pictures first, the order within each kind kept. */
static pith_status part(picture_folder *f, pith_error *err) {
    entry *parted = memory_zero((size_t)f->count, sizeof *parted);
    if (!parted) return no_memory(err);
    int64_t at = 0;
    for (int held = 0; held < 2; held++) {
        for (int64_t i = 0; i < f->count; i++)
            if (f->list[i].held == held) parted[at++] = f->list[i];
        if (!held) f->trained = at;
    }
    memory_free(f->list);
    f->list = parted;
    return PITH_OK;
}

static pith_status list_all(picture_folder *f, const char *path, pith_error *err) {
    names folders = {0};
    pith_status s = add_class(f, path, err);
    if (s == PITH_OK) s = list_folders(path, &folders, err);
    for (size_t i = 0; i < folders.count && s == PITH_OK; i++) s = add_class(f, folders.at[i], err);
    names_free(&folders);
    if (s == PITH_OK && !f->count)
        s = pith_fail(err, PITH_NOT_FOUND, path, -1, "expected pictures in folders, one a class, found none");
    return s == PITH_OK ? part(f, err) : s;
}

pith_status picture_folder_hash(const picture_folder *f, uint64_t *hash, pith_error *err) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < f->count; i++) {
        pith_buffer *b;
        const char *name = f->list[i].path + f->root;
        pith_status s = pith_buffer_map(&b, f->list[i].path, err);
        if (s != PITH_OK) return s;
        /* a sum: the share held out changes the order of the list, not the data */
        sum +=
            hash_bytes(name, strlen(name)) * 0x9E3779B97F4A7C15u ^ hash_bytes(pith_buffer_data(b), pith_buffer_size(b));
        pith_buffer_release(b);
    }
    *hash = sum;
    return PITH_OK;
}

/* --- cutting ------------------------------------------------------------------------------------------------------ */

/* One pixel as f's channels. Grey of RGB: the weights of BT.601 in 256ths. */
static void convert_pixel(const uint8_t *from, int64_t c, uint8_t *to, int64_t channels) {
    bool rgb = c >= 3;
    if (channels == 1) to[0] = rgb ? (uint8_t)((77 * from[0] + 150 * from[1] + 29 * from[2] + 128) >> 8) : from[0];
    else
        for (int i = 0; i < 3; i++) to[i] = from[rgb ? i : 0];
}

/* A square of the picture, at random or (r NULL) in the middle. */
static pith_status cut(const picture_folder *f, const entry *e, rng *r, uint8_t *out, pith_error *err) {
    pith_tensor t;
    int64_t crop = f->o.crop, channels = f->o.channels;
    pith_status s = picture_read(e->path, f->c, &t, err);
    if (s != PITH_OK) return s;
    int64_t spare_y = t.shape[1] - crop, spare_x = t.shape[2] - crop, c = t.shape[3];
    if (t.type != PITH_U8)
        s = pith_fail(err, PITH_UNSUPPORTED, e->path, -1, "expected 8-bit pictures, found %s", pith_types[t.type].name);
    else if (spare_y < 0 || spare_x < 0)
        s = pith_fail(err, PITH_MISMATCH, e->path, -1, "expected at least %lld x %lld pixels, found %lld x %lld",
                      (long long)crop, (long long)crop, (long long)t.shape[1], (long long)t.shape[2]);
    else {
        int64_t top = r ? rng_below(r, (uint32_t)spare_y + 1) : spare_y / 2,
                left = r ? rng_below(r, (uint32_t)spare_x + 1) : spare_x / 2;
        const uint8_t *from = t.data;
        for (int64_t y = 0; y < crop; y++)
            for (int64_t x = 0; x < crop; x++)
                convert_pixel(from + ((top + y) * t.shape[2] + left + x) * c, c, out + (y * crop + x) * channels,
                              channels);
    }
    pith_tensor_release(&t);
    return s;
}

static int64_t sample_bytes(const picture_folder *f) { return f->o.crop * f->o.crop * f->o.channels; }

static pith_status fill(void *user, uint64_t seed, int64_t first, void *slot, pith_error *err) {
    picture_folder *f = user;
    uint8_t *pictures = slot, *labels = pictures + f->o.batch * sample_bytes(f);
    for (int64_t i = 0; i < f->o.batch; i++) {
        const entry *e = &f->list[order_at(&f->order, seed, first + i)];
        rng r = rng_new(seed, 0x63726f70u ^ (uint64_t)(first + i) << 8);
        pith_status s = cut(f, e, &r, pictures + i * sample_bytes(f), err);
        if (s != PITH_OK) return s;
        labels[i] = e->label;
    }
    return PITH_OK;
}

pith_status picture_folder_batch(picture_folder *f, uint64_t seed, int64_t first, uint8_t *pictures, uint8_t *labels,
                                 pith_error *err) {
    const void *slot;
    pith_status s = ahead_take(f->ahead, seed, first, first + f->o.batch, &slot, err);
    if (s != PITH_OK) return s;
    size_t bytes = (size_t)(f->o.batch * sample_bytes(f));
    memcpy(pictures, slot, bytes);
    memcpy(labels, (const uint8_t *)slot + bytes, (size_t)f->o.batch);
    return PITH_OK;
}

pith_status picture_folder_middle(const picture_folder *f, bool held, int64_t i, uint8_t *sample, uint8_t *label,
                                  pith_error *err) {
    const entry *e = &f->list[i + (held ? f->trained : 0)];
    *label = e->label;
    return cut(f, e, NULL, sample, err);
}

pith_status picture_folder_open(picture_folder **out, const char *path, const picture_folder_options *o,
                                const pith_context *c, pith_error *err) {
    picture_folder *f = *out = memory_zero(1, sizeof *f);
    if (!f) return no_memory(err);
    f->o = *o, f->c = c, f->root = strlen(path);
    pith_status s = list_all(f, path, err);
    if (s == PITH_OK && !f->trained)
        s = pith_fail(err, PITH_USAGE, path, -1, "expected pictures to train on, found none but those held out");
    if (s == PITH_OK) s = order_open(&f->order, f->trained, err);
    if (s == PITH_OK) s = ahead_new(&f->ahead, (size_t)(o->batch * (sample_bytes(f) + 1)), fill, f, err);
    if (s == PITH_OK) return PITH_OK;
    picture_folder_close(f);
    *out = NULL;
    return s;
}
