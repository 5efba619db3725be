/* file/source.c - pictures as the source and sink of methods. */
#include "file/source.h"

#include "base/memory.h"
#include "file/idx.h"
#include "file/picture.h"
#include "file/pictures.h"
#include "file/sink.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes of the pictures in a folder; 0 where it holds none. */
static uint64_t folder_bytes(const char *path) {
    DIR *d = opendir(path);
    uint64_t sum = 0;
    if (!d) return 0;
    for (const struct dirent *e; (e = readdir(d));) {
        char name[4096];
        struct stat st;
        if (!picture_has_name(e->d_name) || snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name)
            continue;
        if (stat(name, &st) == 0) sum += (uint64_t)st.st_size;
    }
    closedir(d);
    return sum;
}

static uint64_t bytes_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* A picture's path becomes a file of the source, a folder's all of its pictures. */
static pith_status add_path(pith_source *s, const char *path, pith_error *err) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        s->file_bytes += folder_bytes(path);
        return pictures_list(path, &s->files, &s->count, err);
    }
    char **grown = memory_grow(s->files, s->count + 1, sizeof *grown);
    if (grown) s->files = grown;
    if (!grown || !(s->files[s->count] = memory_text(path)))
        return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    s->count++;
    s->file_bytes += bytes_of(path);
    return PITH_OK;
}

static bool is_idx(const char *path) {
    struct stat st;
    uint8_t head[64];
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    return n && idx_is((pith_bytes){head, n});
}

bool pith_source_is(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    if (S_ISDIR(st.st_mode)) return folder_bytes(path) > 0;
    return S_ISREG(st.st_mode) && (picture_has_name(path) || is_idx(path));
}

pith_status pith_source_open(pith_source **out, const char *const *paths, size_t count, const pith_context *c,
                             pith_error *err) {
    pith_source *s = memory_zero(1, sizeof *s);
    if (!s) return pith_fail(err, PITH_NO_MEMORY, paths[0], -1, "out of memory");
    s->kind = PITH_PICTURE;
    s->path = paths[0];
    s->context = c;
    pith_status status = PITH_OK;
    if (count == 1 && is_idx(paths[0])) {
        status = pictures_read(paths[0], c, &s->array, err);
        if (status == PITH_OK) s->count = (size_t)s->array.shape[0], s->file_bytes = bytes_of(paths[0]);
    } else
        for (size_t i = 0; i < count && status == PITH_OK; i++) status = add_path(s, paths[i], err);
    if (status == PITH_OK) *out = s;
    else pith_source_close(s);
    return status;
}

void pith_source_close(pith_source *s) {
    if (!s) return;
    pith_tensor_release(&s->array);
    for (size_t i = 0; s->files && i < s->count; i++) memory_free(s->files[i]);
    memory_free(s->files);
    memory_free(s);
}

pith_status pith_source_array(pith_source *s, pith_error *err) {
    if (s->array.data) return PITH_OK;
    return pictures_read_files(s->files, s->count, s->path, s->context, &s->array, err);
}

pith_status pith_source_picture(const pith_source *s, size_t k, picture *out, pith_error *err) {
    if (s->files) return picture_load(s->files[k], s->context, out, err);
    int64_t shape[] = {1, s->array.shape[1], s->array.shape[2], s->array.shape[3]};
    *out = (picture){0};
    uint64_t bytes = pith_tensor_bytes(&s->array) / (uint64_t)s->array.shape[0];
    pith_status status = pith_tensor_new(&out->samples, PITH_U8, 4, shape, err);
    if (status == PITH_OK) memcpy(out->samples.data, (uint8_t *)s->array.data + k * bytes, bytes);
    return status;
}

void pith_source_name(const pith_source *s, size_t k, char *name, size_t room) {
    if (!s->files) {
        snprintf(name, room, "%06zu", k);
        return;
    }
    const char *slash = strrchr(s->files[k], '/'), *base = slash ? slash + 1 : s->files[k];
    snprintf(name, room, "%s", base);
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
}

pith_status pith_sink_pictures(pith_sink *k, const pith_tensor *pictures, pith_error *err) {
    return pictures_write(k->path, k->replace, pictures, err);
}

pith_status pith_sink_begin(pith_sink *k, size_t count, pith_error *err) {
    size_t n = strlen(k->path);
    if (n && k->path[n - 1] == '/') return pictures_folder_open(&k->folder, k->path, err);
    if (count == 1 && picture_has_name(k->path)) return PITH_OK;
    return pith_fail(err, PITH_USAGE, "-o", -1,
                     count == 1 ? "expected x.png, x.pgm, x.ppm or DIR/, found %s"
                                : "expected DIR/ for several pictures (or --only K), found %s",
                     k->path);
}

pith_status pith_sink_picture(pith_sink *k, const char *name, const picture *p, pith_error *err) {
    return k->folder ? pictures_folder_add(k->folder, name, p, err) : picture_save(k->path, k->replace, p, err);
}

pith_status pith_sink_end(pith_sink *k, pith_status so_far, pith_error *err) {
    return k->folder ? pictures_folder_close(k->folder, so_far, err) : so_far;
}
