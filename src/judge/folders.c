/* judge/folders.c - walking trees of files. */
#include "judge/folders.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 16 };

pith_status folder_make(const char *path, pith_error *err) {
    char part[4096];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return pith_fail(err, PITH_USAGE, path, -1, "expected a shorter path");
    for (char *slash = part; slash;) {
        slash = strchr(slash + 1, '/');
        if (slash) *slash = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return pith_fail_errno(err, part, errno, "cannot create");
        if (slash) *slash = '/';
    }
    return PITH_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

pith_status folder_remove(const char *path, pith_error *err) {
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT) return PITH_OK;
    if (nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0)
        return pith_fail_errno(err, path, errno, "cannot remove");
    return PITH_OK;
}

static _Thread_local int64_t sum; /* nftw passes nothing on */

static int add_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)path, (void)at;
    if (type == FTW_F) sum += st->st_size;
    return 0;
}

pith_status folder_bytes_of(const char *path, int64_t *bytes, pith_error *err) {
    sum = 0;
    if (nftw(path, add_one, DESCRIPTORS, FTW_PHYS) != 0) return pith_fail_errno(err, path, errno, "cannot measure");
    *bytes = sum;
    return PITH_OK;
}
