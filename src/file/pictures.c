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

typedef struct names {
    char **at;
    size_t count, room;
} names;

static void names_free(names *n) {
    for (size_t i = 0; i < n->count; i++) memory_free(n->at[i]);
    memory_free(n->at);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static pith_status list_pictures(const char *folder, names *n, pith_error *err) {
    DIR *d = opendir(folder);
    if (!d) return pith_fail_errno(err, folder, errno, "cannot open");
    pith_status s = PITH_OK;
    for (struct dirent *e; s == PITH_OK && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !picture_has_name(e->d_name)) continue;
        if (memory_reserve((void **)&n->at, &n->room, n->count + 1, sizeof *n->at) != 0) s = no_memory(err);
        else if (!(n->at[n->count] = join(folder, e->d_name))) s = no_memory(err);
        else n->count++;
    }
    closedir(d);
    if (s == PITH_OK && !n->count) return pith_fail(err, PITH_NOT_FOUND, folder, -1, "expected pictures, found none");
    if (s == PITH_OK) qsort(n->at, n->count, sizeof *n->at, by_bytes);
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

static pith_status read_folder(const char *folder, const pith_context *c, pith_tensor *out, pith_error *err) {
    names n = {0};
    pith_status s = list_pictures(folder, &n, err);
    for (size_t i = 0; i < n.count && s == PITH_OK; i++) {
        pith_tensor t;
        s = picture_read(n.at[i], c, &t, err);
        if (s == PITH_OK) s = expect_u8(&t, n.at[i], err);
        if (s == PITH_OK && i == 0) s = new_set(&t, n.count, folder, c, out, err);
        if (s == PITH_OK) s = add_picture(out, i, &t, n.at[i], err);
        pith_tensor_release(&t);
        if (s == PITH_OK) s = pith_progress(c, (double)(i + 1), (double)n.count, "pictures", err);
    }
    names_free(&n);
    if (s != PITH_OK) pith_tensor_release(out);
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

/* One of the set, borrowed. */
static pith_tensor picture_at(const pith_tensor *set, int64_t i) {
    pith_tensor t = *set;
    t.shape[0] = 1;
    t.data = (uint8_t *)set->data + (uint64_t)i * pith_tensor_bytes(&t);
    t.owner = NULL;
    return t;
}

static pith_status write_pictures(const char *folder, const pith_tensor *t, pith_error *err) {
    for (int64_t i = 0; i < t->shape[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06lld.png", (long long)i);
        char *path = join(folder, name);
        if (!path) return no_memory(err);
        pith_tensor one = picture_at(t, i);
        pith_status s = picture_write(path, false, &one, err);
        memory_free(path);
        if (s != PITH_OK) return s;
    }
    return PITH_OK;
}

/* Without the heap: this also tidies up after it ran out. */
static void remove_pictures(const char *folder, int64_t count) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int64_t i = 0; i < count && fd >= 0; i++) {
        char name[32];
        snprintf(name, sizeof name, "%06lld.png", (long long)i);
        unlinkat(fd, name, 0);
    }
    if (fd >= 0) close(fd);
    rmdir(folder);
}

/* Under a temporary name beside it; renaming a folder onto an empty one replaces it. */
static pith_status write_folder(const char *path, const pith_tensor *t, pith_error *err) {
    size_t n = strlen(path), room = n + 32;
    while (n > 1 && path[n - 1] == '/') n--;
    char *final = memory_text_n(path, n), *temporary = memory_alloc(room);
    pith_status s = final && temporary ? PITH_OK : no_memory(err);
    if (s == PITH_OK) {
        snprintf(temporary, room, "%s.tmp-%ld", final, (long)getpid());
        if (mkdir(temporary, 0777) != 0) s = pith_fail_errno(err, path, errno, "cannot create");
        else {
            s = write_pictures(temporary, t, err);
            if (s == PITH_OK && rename(temporary, final) != 0)
                s = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
                        ? pith_fail(err, PITH_USAGE, path, -1, "expected a new or empty folder")
                        : pith_fail_errno(err, path, errno, "cannot rename into place");
            if (s != PITH_OK) remove_pictures(temporary, t->shape[0]);
        }
    }
    memory_free(final);
    memory_free(temporary);
    return s;
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
