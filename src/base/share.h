/* base/share.h - where files that come with pith lie: the folder PITH_SHARE names, or, without it, share/ of the source
 * tree that the command was built in (build/NAME/pith) and share/pith of the prefix it is installed under. */
#ifndef BASE_SHARE_H
#define BASE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the i-th folder to try (i from 0, ends in no slash) to path; false past the last. It need not exist. */
bool share_folder(int i, char *path, size_t size);

#endif
