/* judge/folders.h - the work folder of a run: made, emptied, measured. */
#ifndef JUDGE_FOLDERS_H
#define JUDGE_FOLDERS_H

#include "pith/status.h"

/* Makes a folder and those above it; one that exists is fine. */
pith_status folder_make(const char *path, pith_error *err);
/* Removes a folder and all in it, following no links; one that does not exist is fine. */
pith_status folder_remove(const char *path, pith_error *err);
/* Bytes of a file, or of all files in a folder and below. */
pith_status folder_bytes_of(const char *path, int64_t *bytes, pith_error *err);

#endif
