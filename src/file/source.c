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

bool pith_source_is(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    if (S_ISDIR(st.st_mode)) return folder_bytes(path) > 0;
    if (!S_ISREG(st.st_mode)) return false;
    if (picture_has_name(path)) return true;
    uint8_t head[64];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    return n && idx_is((pith_bytes){head, n});
}

pith_status pith_source_open(pith_source **out, const char *path, const pith_context *c, pith_error *err) {
    struct stat st;
    pith_source *s = memory_zero(1, sizeof *s);
    if (!s) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    s->kind = PITH_PICTURE;
    s->path = path;
    pith_status status = pictures_read(path, c, &s->array, err);
    if (status != PITH_OK) {
        memory_free(s);
        return status;
    }
    if (stat(path, &st) == 0) s->file_bytes = S_ISDIR(st.st_mode) ? folder_bytes(path) : (uint64_t)st.st_size;
    *out = s;
    return PITH_OK;
}

void pith_source_close(pith_source *s) {
    if (!s) return;
    pith_tensor_release(&s->array);
    memory_free(s);
}

pith_status pith_sink_pictures(pith_sink *k, const pith_tensor *pictures, pith_error *err) {
    return pictures_write(k->path, k->replace, pictures, err);
}
