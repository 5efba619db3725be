/* file/output.h - a file that appears whole or not at all.
 *
 * Bytes go to a temporary name beside the final one; commit makes them durable and renames; anything else leaves what
 * was there before. Every writer of pith stands on this. */
#ifndef FILE_OUTPUT_H
#define FILE_OUTPUT_H

#include "pith/status.h"

typedef struct output output;

/* path "-": standard output (no rename; commit flushes). Refuses an existing path with PITH_USAGE unless `replace`;
 * a missing folder, a folder as target, no permission fail here. */
pith_status output_open(output **o, const char *path, bool replace, pith_error *err);
pith_status output_write(output *o, const void *data, size_t size, pith_error *err);
pith_status output_write_at(output *o, uint64_t offset, const void *data, size_t size,
                            pith_error *err);          /* not for "-" */
uint64_t output_position(const output *o);             /* bytes written so far by output_write */
pith_status output_commit(output *o, pith_error *err); /* fsync, rename, fsync folder; frees o always */
/* The same, but the finished file is looked at under its temporary name first: if `run` fails, what was there before
 * stays. check NULL: none; standard output and devices are not looked at. */
typedef struct output_check {
    pith_status (*run)(void *user, const char *path, pith_error *err);
    void *user;
} output_check;
pith_status output_commit_checked(output *o, const output_check *check, pith_error *err);
void output_abort(output *o); /* unlinks the temporary; frees; safe on NULL */

/* Fails with PITH_USAGE when both paths name the same existing file (also through links). */
pith_status output_not_input(const char *out, const char *in, pith_error *err);

/* Tests: the n-th step that needs the disk (create, write, sync, rename) from now on fails with ENOSPC, and every later
 * one too; 0 switches this off. */
void output_fail_at(int64_t n);

/* One small file, whole. */
pith_status output_file(const char *path, bool replace, const void *data, size_t size, pith_error *err);

#endif
