/* base/status.c - the error record. */
#include "pith/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

pith_status pith_fail(pith_error *err, pith_status status, const char *where, int64_t offset, const char *fmt, ...) {
    if (!err || err->status != PITH_OK) return status;
    err->status = status;
    err->offset = offset;
    if (where) {
        size_t n = strlen(where), room = sizeof err->where - 1;
        /* of a long path the end is what tells files apart */
        if (n > room) snprintf(err->where, sizeof err->where, "...%s", where + n - (room - 3));
        else memcpy(err->where, where, n + 1);
    } else err->where[0] = 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return status;
}

static pith_status status_of_errno(int e) {
    switch (e) {
    case ENOENT:
    case ENOTDIR: return PITH_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return PITH_NO_ACCESS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return PITH_NO_SPACE;
    case ENOMEM: return PITH_NO_MEMORY;
    case EINTR: return PITH_INTERRUPTED;
    default: return PITH_IO;
    }
}

pith_status pith_fail_errno(pith_error *err, const char *where, int error_number, const char *what) {
    return pith_fail(err, status_of_errno(error_number), where, -1, "%s: %s", what, strerror(error_number));
}

const char *pith_status_name(pith_status s) {
    static const char *const names[] = {"ok",       "usage",     "not found",  "no access",  "io",
                                        "no space", "no memory", "truncated",  "corrupt",    "unsupported",
                                        "limit",    "mismatch",  "not finite", "interrupted"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

int pith_status_exit_code(pith_status s) {
    return s == PITH_OK ? 0 : s == PITH_USAGE ? 2 : s == PITH_INTERRUPTED ? 130 : 1;
}

void pith_context_default(pith_context *c) {
    memset(c, 0, sizeof *c);
    c->size = sizeof *c;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    c->memory_limit = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 4 * 3 : (uint64_t)4 << 30;
}

pith_status pith_progress(const pith_context *c, double done, double total, const char *unit, pith_error *err) {
    if (!c || !c->progress || c->progress(c->user, done, total, unit)) return PITH_OK;
    return pith_fail(err, PITH_INTERRUPTED, NULL, -1, "interrupted");
}
