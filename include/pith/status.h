/* pith/status.h - how every call of the library reports failure, and the settings every long call takes.
 *
 * Every fallible call returns a pith_status. Words and place go to a pith_error the caller owns: the text is what a
 * user reads, so it is set once, where the cause is known. */
#ifndef PITH_STATUS_H
#define PITH_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_status { /* ABI: append only */
                           PITH_OK,
                           PITH_USAGE,     /* the call or command line is wrong */
                           PITH_NOT_FOUND, /* no such file, tensor, section */
                           PITH_NO_ACCESS, /* permission */
                           PITH_IO,        /* the system refused a read or write */
                           PITH_NO_SPACE,  /* disk or quota full */
                           PITH_NO_MEMORY,
                           PITH_TRUNCATED,   /* input ends early */
                           PITH_CORRUPT,     /* input contradicts itself or its checksum */
                           PITH_UNSUPPORTED, /* well formed, but not something pith can do */
                           PITH_LIMIT,       /* would exceed context.memory_limit or a fixed bound */
                           PITH_MISMATCH,    /* two inputs do not belong together */
                           PITH_NOT_FINITE,  /* NaN or infinity where a number is needed */
                           PITH_INTERRUPTED  /* the progress callback, or Ctrl-C, asked to stop */
} pith_status;

typedef struct pith_error { /* no heap; valid after any failure, also out of memory */
    pith_status status;
    int64_t offset;  /* byte in `where`, -1 if none */
    char where[128]; /* file, tensor or option */
    char text[384];  /* "expected ..., found ..." */
} pith_error;

/* Sets *err once (an error already set is kept) and returns `status`, so that a failure reads: return pith_fail(err,
 * ...). `err` may be NULL; `where` may be NULL; `offset` is -1 where there is none. */
#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
pith_status
pith_fail(pith_error *err, pith_status status, const char *where, int64_t offset, const char *fmt, ...);

/* Same for a failed system call: maps errno to a status and appends the system's words to the text. */
pith_status pith_fail_errno(pith_error *err, const char *where, int error_number, const char *what);

const char *pith_status_name(pith_status status); /* "truncated", for JSON */
int pith_status_exit_code(pith_status status);    /* 0, 2 for PITH_USAGE, 130 for PITH_INTERRUPTED, else 1 */

typedef struct pith_context { /* read-only during calls; one may serve many threads */
    uint32_t size;            /* sizeof, set by pith_context_default: fields may be appended */
    int threads;              /* 0: all cores */
    uint64_t memory_limit;    /* bytes one call may hold; a hostile header fails with PITH_LIMIT */
    uint64_t seed;            /* same input, options, seed: same bytes out */
    bool (*progress)(void *user, double done, double total, const char *unit); /* false: stop */
    void *user;
} pith_context;

/* Fills in: all cores, three quarters of physical memory, seed 0, no progress. */
void pith_context_default(pith_context *c);

/* Reports progress; PITH_INTERRUPTED when the callback asks to stop. `c` may be NULL. */
pith_status pith_progress(const pith_context *c, double done, double total, const char *unit, pith_error *err);

typedef struct pith_bytes { /* a run of bytes; who owns it stands where it is used */
    uint8_t *data;
    size_t size;
} pith_bytes;

#ifdef __cplusplus
}
#endif
#endif
