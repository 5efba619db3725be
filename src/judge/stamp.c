/* judge/stamp.c - hashes, /proc, uname and git. */
#include "judge/stamp.h"

#include "base/hash.h"
#include "base/isa.h"
#include "base/memory.h"
#include "tensor/tensor.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

pith_status stamp_file(const char *path, json_t **out, pith_error *err) {
    pith_buffer *b;
    char hex[17];
    pith_status s = pith_buffer_map(&b, path, err);
    if (s) return s;
    uint64_t size = pith_buffer_size(b);
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash_bytes(pith_buffer_data(b), (size_t)size));
    pith_buffer_release(b);
    *out = json_pack("{s:I, s:s}", "bytes", (json_int_t)size, "hash", hex);
    return *out ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status stamp_folder(const char *path, json_t **out, pith_error *err) {
    DIR *d = opendir(path);
    if (!d) return pith_fail_errno(err, path, errno, "cannot open");
    json_t *files = json_object();
    pith_status s = files ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (const struct dirent *e; !s && (e = readdir(d));) {
        char name[4096];
        struct stat st;
        json_t *file;
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name) continue;
        if (stat(name, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        s = stamp_file(name, &file, err);
        if (!s) json_object_set_new(files, e->d_name, file);
    }
    closedir(d);
    if (s) json_decref(files);
    else *out = files;
    return s;
}

/* The value of the first line of a /proc file that begins with `key`. */
static void proc_value(const char *path, const char *key, char *value, size_t size) {
    char line[512];
    FILE *f = fopen(path, "r");
    snprintf(value, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        const char *colon = strchr(line, ':');
        if (colon) snprintf(value, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

json_t *stamp_machine(void) {
    char cpu[128], system[256];
    struct utsname u;
    proc_value("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    if (uname(&u) != 0) memset(&u, 0, sizeof u);
    snprintf(system, sizeof system, "%.64s %.64s %.64s", u.sysname, u.release, u.machine);
    double pages = (double)sysconf(_SC_PHYS_PAGES), page = (double)sysconf(_SC_PAGESIZE);
    return json_pack("{s:s, s:I, s:I, s:s, s:s}", "cpu", cpu, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
                     "memory_mib", (json_int_t)(pages * page / 1048576), "isa", isa_name(isa_active()), "system",
                     system);
}

static void first_line(const char *path, char *line, int size) {
    FILE *f = fopen(path, "r");
    if (!f || !fgets(line, size, f)) line[0] = 0;
    if (f) fclose(f);
    line[strcspn(line, "\n")] = 0;
}

pith_status stamp_source(const environment *e, const char *folder, const char *scratch, json_t **out, pith_error *err) {
    static const char last[] = "git log -1 --format=%H -- ':(top)' ':(top,exclude)papers' 2>/dev/null";
    static const char changes[] =
        "git status --porcelain --untracked-files=no -- ':(top)' ':(top,exclude)papers' 2>/dev/null";
    char commit[64], changed[64];
    process_end end;
    pith_status s = process_run(last, e, folder, scratch, NULL, &end, err);
    if (s) return s;
    first_line(scratch, commit, sizeof commit);
    bool known = end.code == 0 && commit[0];
    s = process_run(changes, e, folder, scratch, NULL, &end, err);
    if (s) return s;
    first_line(scratch, changed, sizeof changed);
    unlink(scratch);
    *out = json_pack("{s:s, s:b}", "commit", known ? commit : "unknown", "changed", known && changed[0] != 0);
    return *out ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

void stamp_time(char text[32]) {
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}
