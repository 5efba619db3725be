/* seed.h - seeds for fuzz targets: literal bytes, and files written by pith's own writers. */
#ifndef FUZZ_SEED_H
#define FUZZ_SEED_H

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline size_t seed_bytes(const void *bytes, size_t size, uint8_t **data) {
    *data = malloc(size);
    if (!*data) return 0;
    memcpy(*data, bytes, size);
    return size;
}

/* A name that ends as asked, in a new folder of its own. */
static inline void seed_path(char *path, size_t room, const char *ending) {
    char folder[] = "/tmp/pith-seed-XXXXXX";
    if (!mkdtemp(folder)) exit(1);
    snprintf(path, room, "%s/seed%s", folder, ending);
}

/* The bytes of a small file, which is removed with its folder. */
static inline size_t seed_take(char *path, uint8_t **data) {
    FILE *f = fopen(path, "rb");
    uint8_t bytes[65536];
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
    return seed_bytes(bytes, n, data);
}

/* An input as a file in memory, for readers that take only paths; overwritten by the next. */
static inline const char *seed_file(const uint8_t *data, size_t size) {
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) exit(1);
    return path;
}

#endif
