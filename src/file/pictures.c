/* file/pictures.c - sets of pictures: IDX files and folders. */
#include "file/pictures.h"

#include "base/memory.h"
#include "file/idx.h"
#include "file/picture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

/* "folder/name", to be freed; NULL without memory. */
static char *join(const char *folder, const char *name) {
    size_t n = strlen(folder), room = n + strlen(name) + 2;
    char *path = memory_alloc(room);
    if (path) snprintf(path, room, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
    return path;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

pith_status pictures_list(const char *folder, char ***files, size_t *count, pith_error *err) {
    size_t first = *count, room = first;
    DIR *d = opendir(folder);
    if (!d) return pith_fail_errno(err, folder, errno, "cannot open");
    pith_status s = PITH_OK;
    for (struct dirent *e; s == PITH_OK && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !picture_has_name(e->d_name)) continue;
        if (memory_reserve((void **)files, &room, *count + 1, sizeof **files) != 0) s = no_memory(err);
        else if (!((*files)[*count] = join(folder, e->d_name))) s = no_memory(err);
        else ++*count;
    }
    closedir(d);
    if (s == PITH_OK && *count == first)
        return pith_fail(err, PITH_NOT_FOUND, folder, -1, "expected pictures, found none");
    if (s == PITH_OK) qsort(*files + first, *count - first, sizeof **files, by_bytes);
    return s;
}

static pith_status expect_u8(const pith_tensor *t, const char *path, pith_error *err) {
    if (t->type == PITH_U8) return PITH_OK;
    return pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected 8-bit pictures, found %s", pith_types[t->type].name);
}

/* The whole set, once the first picture tells its size. */
static pith_status new_set(const pith_tensor *first, size_t count, const char *path, const pith_context *c,
                           pith_tensor *out, pith_error *err) {
    int64_t shape[] = {(int64_t)count, first->shape[1], first->shape[2], first->shape[3]};
    uint64_t bytes;
    pith_tensor layout;
    pith_status s = pith_tensor_layout(&layout, PITH_U8, 4, shape, &bytes, err);
    if (s == PITH_OK && c && bytes > c->memory_limit)
        s = pith_fail(err, PITH_LIMIT, path, -1, "expected at most %llu bytes of memory, the pictures need %llu",
                      (unsigned long long)c->memory_limit, (unsigned long long)bytes);
    return s == PITH_OK ? pith_tensor_new(out, PITH_U8, 4, shape, err) : s;
}

static pith_status add_picture(pith_tensor *set, size_t i, const pith_tensor *t, const char *path, pith_error *err) {
    if (memcmp(set->shape + 1, t->shape + 1, 3 * sizeof *t->shape) != 0)
        return pith_fail(err, PITH_MISMATCH, path, -1,
                         "expected %lld x %lld x %lld, as the first, found %lld x %lld x %lld",
                         (long long)set->shape[1], (long long)set->shape[2], (long long)set->shape[3],
                         (long long)t->shape[1], (long long)t->shape[2], (long long)t->shape[3]);
    size_t bytes = pith_tensor_bytes(t);
    memcpy((uint8_t *)set->data + i * bytes, t->data, bytes);
    return PITH_OK;
}

pith_status pictures_read_files(char *const *files, size_t count, const char *where, const pith_context *c,
                                pith_tensor *out, pith_error *err) {
    pith_status s = PITH_OK;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        pith_tensor t;
        s = picture_read(files[i], c, &t, err);
        if (s == PITH_OK) s = expect_u8(&t, files[i], err);
        if (s == PITH_OK && i == 0) s = new_set(&t, count, where, c, out, err);
        if (s == PITH_OK) s = add_picture(out, i, &t, files[i], err);
        pith_tensor_release(&t);
        if (s == PITH_OK) s = pith_progress(c, (double)(i + 1), (double)count, "pictures", err);
    }
    if (s != PITH_OK) pith_tensor_release(out);
    return s;
}

static pith_status read_folder(const char *folder, const pith_context *c, pith_tensor *out, pith_error *err) {
    char **files = NULL;
    size_t count = 0;
    pith_status s = pictures_list(folder, &files, &count, err);
    if (s == PITH_OK) s = pictures_read_files(files, count, folder, c, out, err);
    for (size_t i = 0; i < count; i++) memory_free(files[i]);
    memory_free(files);
    return s;
}

static pith_status read_idx(pith_bytes file, const char *path, const pith_context *c, pith_tensor *out,
                            pith_error *err) {
    pith_status s = idx_parse(file, path, c, out, err);
    if (s == PITH_OK) s = expect_u8(out, path, err);
    if (s == PITH_OK && out->rank == 3) { /* (N,H,W) is (N,H,W,1) */
        int64_t shape[] = {out->shape[0], out->shape[1], out->shape[2], 1};
        pith_tensor view;
        s = pith_tensor_wrap(&view, PITH_U8, 4, shape, out->owner, 0, err);
        pith_tensor_release(out);
        if (s == PITH_OK) *out = view;
    } else if (s == PITH_OK && out->rank != 4)
        s = pith_fail(err, PITH_MISMATCH, path, -1, "expected pictures (N,H,W), found rank %u", out->rank);
    if (s != PITH_OK) pith_tensor_release(out);
    return s;
}

static pith_status read_file(const char *path, const pith_context *c, pith_tensor *out, pith_error *err) {
    pith_buffer *file = NULL;
    pith_status s = pith_buffer_map(&file, path, err);
    if (s != PITH_OK) return s;
    pith_bytes bytes = {pith_buffer_data(file), pith_buffer_size(file)};
    if (idx_is(bytes)) s = read_idx(bytes, path, c, out, err);
    else {
        s = picture_parse(bytes, path, c, out, err);
        if (s == PITH_OK) s = expect_u8(out, path, err);
        if (s != PITH_OK) pith_tensor_release(out);
    }
    pith_buffer_release(file);
    return s;
}

pith_status pictures_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return read_folder(path, c, out, err);
    return read_file(path, c, out, err);
}

/* ---- a folder that appears whole ---- */

struct pictures_folder {
    const char *path;
    char *final, *temporary; /* without the slash; renaming a folder onto an empty one replaces it */
};

/* Without pith's heap: this also tidies up after it ran out. */
static void remove_folder(const char *folder) {
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
    rmdir(folder);
}

pith_status pictures_folder_open(pictures_folder **out, const char *path, pith_error *err) {
    size_t n = strlen(path), room = n + 32;
    while (n > 1 && path[n - 1] == '/') n--;
    pictures_folder *f = memory_zero(1, sizeof *f);
    if (!f) return no_memory(err);
    f->path = path;
    f->final = memory_text_n(path, n);
    f->temporary = memory_alloc(room);
    pith_status s = f->final && f->temporary ? PITH_OK : no_memory(err);
    if (s == PITH_OK) {
        snprintf(f->temporary, room, "%s.tmp-%ld", f->final, (long)getpid());
        if (mkdir(f->temporary, 0777) != 0) s = pith_fail_errno(err, path, errno, "cannot create");
    }
    if (s == PITH_OK) {
        *out = f;
        return PITH_OK;
    }
    memory_free(f->final);
    memory_free(f->temporary);
    memory_free(f);
    return s;
}

pith_status pictures_folder_add(pictures_folder *f, const char *name, const picture *p, pith_error *err) {
    char file[300];
    if (snprintf(file, sizeof file, "%s.png", name) >= (int)sizeof file || strchr(name, '/'))
        return pith_fail(err, PITH_UNSUPPORTED, name, -1, "expected a name of a file");
    char *path = join(f->temporary, file);
    if (!path) return no_memory(err);
    pith_status s = access(path, F_OK) == 0
                        ? pith_fail(err, PITH_MISMATCH, name, -1, "expected pictures of different names")
                        : picture_save(path, false, p, err);
    memory_free(path);
    return s;
}

pith_status pictures_folder_close(pictures_folder *f, pith_status s, pith_error *err) {
    if (s == PITH_OK && rename(f->temporary, f->final) != 0)
        s = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
                ? pith_fail(err, PITH_USAGE, f->path, -1, "expected a new or empty folder")
                : pith_fail_errno(err, f->path, errno, "cannot rename into place");
    if (s != PITH_OK) remove_folder(f->temporary);
    memory_free(f->final);
    memory_free(f->temporary);
    memory_free(f);
    return s;
}

/* One of the set, borrowed. */
static pith_tensor picture_at(const pith_tensor *set, int64_t i) {
    pith_tensor t = *set;
    t.shape[0] = 1;
    t.data = (uint8_t *)set->data + (uint64_t)i * pith_tensor_bytes(&t);
    t.owner = NULL;
    return t;
}

static pith_status write_folder(const char *path, const pith_tensor *t, pith_error *err) {
    pictures_folder *f = NULL;
    pith_status s = pictures_folder_open(&f, path, err);
    if (s != PITH_OK) return s;
    for (int64_t i = 0; i < t->shape[0] && s == PITH_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06lld", (long long)i);
        s = pictures_folder_add(f, name, &(picture){.samples = picture_at(t, i)}, err);
    }
    return pictures_folder_close(f, s, err);
}

pith_status pictures_write(const char *path, bool replace, const pith_tensor *t, pith_error *err) {
    if (t->rank != 4 || t->type != PITH_U8)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected u8 pictures (N,H,W,C), found %s of rank %u",
                         pith_types[t->type].name, t->rank);
    size_t n = strlen(path);
    if (n && path[n - 1] == '/') return write_folder(path, t, err);
    if (picture_has_name(path)) return picture_write(path, replace, t, err);
    pith_tensor flat = *t;
    if (t->shape[3] == 1) flat.rank = 3, flat.row_bytes = t->shape[2];
    return idx_write(path, replace, &flat, err);
}
