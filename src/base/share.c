/* base/share.c - the search path of shared files, from the environment or from the place of the running command. */
#include "base/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool share_folder(int i, char *path, size_t size) {
    static const char *const below[] = {"/../../share", "/../share/pith"};
    const char *set = getenv("PITH_SHARE");
    if (set && *set) return i == 0 && snprintf(path, size, "%s", set) < (int)size;
    if (i < 0 || i >= (int)(sizeof below / sizeof *below)) return false;
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return false;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (!slash) return false;
    *slash = 0;
    return snprintf(path, size, "%s%s", self, below[i]) < (int)size;
}
