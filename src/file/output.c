/* file/output.c - temporary name, rename, and durability. */
#include "file/output.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    int fd;
    bool stream; /* standard output: nothing to rename */
    uint64_t position;
    char *path, *temporary;
};

static atomic_llong steps, fail_at; /* fail_at 0: never */

void output_fail_at(int64_t n) {
    atomic_store(&steps, 0);
    atomic_store(&fail_at, n);
}

static bool disk_full(void) {
    long long n = atomic_fetch_add(&steps, 1) + 1, at = atomic_load(&fail_at);
    if (at == 0 || n < at) return false;
    errno = ENOSPC;
    return true;
}

static void discard(output *o) {
    if (o->fd >= 0 && !o->stream) close(o->fd);
    memory_free(o->path);
    memory_free(o->temporary);
    memory_free(o);
}

static pith_status check_target(const char *path, bool replace, pith_error *err) {
    struct stat st;
    if (stat(path, &st) != 0) return PITH_OK;
    if (S_ISDIR(st.st_mode)) return pith_fail(err, PITH_USAGE, path, -1, "expected a file to write, found a folder");
    if (!S_ISREG(st.st_mode)) return PITH_OK; /* a device takes what is written to it */
    if (!replace) return pith_fail(err, PITH_USAGE, path, -1, "exists already; --force replaces it");
    return PITH_OK;
}

/* A device or pipe (/dev/null, /dev/full) is written in place: there is nothing to lose and nothing to rename. */
static bool is_special(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

pith_status output_open(output **out, const char *path, bool replace, pith_error *err) {
    output *o = memory_zero(1, sizeof *o);
    if (!o) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    o->fd = -1;
    pith_status s = PITH_OK;
    if (strcmp(path, "-") == 0) {
        o->stream = true;
        o->fd = STDOUT_FILENO;
        path = "standard output";
    } else s = check_target(path, replace, err);
    size_t room = strlen(path) + 32;
    o->path = memory_text(path);
    o->temporary = memory_zero(room, 1);
    if (s == PITH_OK && (!o->path || !o->temporary)) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s == PITH_OK && !o->stream) {
        bool special = is_special(path);
        if (special) snprintf(o->temporary, room, "%s", path);
        else snprintf(o->temporary, room, "%s.tmp-%ld", path, (long)getpid());
        int how = special ? O_WRONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
        o->fd = disk_full() ? -1 : open(o->temporary, how, 0666);
        if (o->fd < 0) s = pith_fail_errno(err, path, errno, "cannot create");
    }
    if (s == PITH_OK) *out = o;
    else discard(o);
    return s;
}

pith_status output_write(output *o, const void *data, size_t size, pith_error *err) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = disk_full() ? -1 : write(o->fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return pith_fail_errno(err, o->path, n < 0 ? errno : EIO, "cannot write");
        p += n, size -= (size_t)n, o->position += (uint64_t)n;
    }
    return PITH_OK;
}

pith_status output_write_at(output *o, uint64_t offset, const void *data, size_t size, pith_error *err) {
    const uint8_t *p = data;
    while (size) {
        ssize_t n = disk_full() ? -1 : pwrite(o->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return pith_fail_errno(err, o->path, n < 0 ? errno : EIO, "cannot write");
        p += n, size -= (size_t)n, offset += (uint64_t)n;
    }
    return PITH_OK;
}

uint64_t output_position(const output *o) { return o->position; }

/* A rename survives a power cut only once its folder is on disk. Some file systems refuse to sync folders: no harm. */
static void sync_folder(const char *path) {
    char *copy = memory_text(path);
    if (!copy) return;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    memory_free(copy);
}

pith_status output_commit_checked(output *o, const output_check *check, pith_error *err) {
    pith_status s = PITH_OK;
    if (!o->stream && strcmp(o->path, o->temporary) != 0) {
        int fd = o->fd;
        o->fd = -1;
        if (disk_full() || fsync(fd) != 0) s = pith_fail_errno(err, o->path, errno, "cannot finish writing");
        if (close(fd) != 0 && s == PITH_OK) s = pith_fail_errno(err, o->path, errno, "cannot finish writing");
        if (s == PITH_OK && check && check->run) s = check->run(check->user, o->temporary, err);
        if (s == PITH_OK && (disk_full() || rename(o->temporary, o->path) != 0))
            s = pith_fail_errno(err, o->path, errno, "cannot rename into place");
        if (s == PITH_OK) sync_folder(o->path);
        else unlink(o->temporary);
    }
    discard(o);
    return s;
}

pith_status output_commit(output *o, pith_error *err) { return output_commit_checked(o, NULL, err); }

void output_abort(output *o) {
    if (!o) return;
    if (!o->stream && strcmp(o->path, o->temporary) != 0) unlink(o->temporary);
    discard(o);
}

pith_status output_not_input(const char *out, const char *in, pith_error *err) {
    struct stat a, b;
    if (stat(out, &a) != 0 || stat(in, &b) != 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino) return PITH_OK;
    return pith_fail(err, PITH_USAGE, out, -1, "the output is the input itself");
}

pith_status output_file(const char *path, bool replace, const void *data, size_t size, pith_error *err) {
    output *o = NULL;
    pith_status s = output_open(&o, path, replace, err);
    if (s != PITH_OK) return s;
    s = output_write(o, data, size, err);
    if (s == PITH_OK) return output_commit(o, err);
    output_abort(o);
    return s;
}
