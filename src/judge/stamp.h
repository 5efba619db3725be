/* judge/stamp.h - what a result must say of where it comes from: files by hash, the machine, the state of the source.
 */
#ifndef JUDGE_STAMP_H
#define JUDGE_STAMP_H

#include "judge/process.h"

#include <jansson.h>

/* {"bytes", "hash"} of a file; the hash is XXH3 as 16 hexadecimal digits. */
pith_status stamp_file(const char *path, json_t **out, pith_error *err);
/* Every file of a folder: {"name": {"bytes", "hash"}}. */
pith_status stamp_folder(const char *path, json_t **out, pith_error *err);
/* {"cpu", "cores", "memory_mib", "isa", "system"}; NULL without memory. */
json_t *stamp_machine(void);
/* {"commit", "changed"}: of the source tree that `folder` lies in, its last commit and whether files under version
 * control differ from it, both without papers/: results may be committed while others are still measured. "unknown"
 * where git does not know. `scratch` is a file that may be written. */
pith_status stamp_source(const environment *e, const char *folder, const char *scratch, json_t **out, pith_error *err);
void stamp_time(char text[32]); /* now, "2026-11-26T13:00:00Z" */

#endif
