/* file/model_sink_folder.c - a model as a HuggingFace folder, built beside its final name and renamed when whole.
 *
 * A folder is replaced only if it is empty or looks like a model and holds nothing but ordinary files. */
#include "file/model_sink_parts.h"

#include "base/memory.h"
#include "file/hf_config.h"
#include "file/output.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4352 };

static pith_status join(const model_sink *k, const char *folder, const char *name, char out[PATH_ROOM],
                        pith_error *err) {
    if (snprintf(out, PATH_ROOM, "%s/%s", folder, name) < PATH_ROOM) return PITH_OK;
    return pith_fail(err, PITH_UNSUPPORTED, k->path, -1, "the path is too long");
}

/* Removes the files of a folder and the folder; keeps it when something else is in there. */
static void remove_folder(const char *path) {
    char file[PATH_ROOM];
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(file, sizeof file, "%s/%s", path, e->d_name) < PATH_ROOM) unlink(file);
    }
    closedir(d);
    rmdir(path);
}

/* What stands under the final name: *entries of it, whether one is config.json, whether all are files. */
static bool look_at(const char *path, size_t *entries, bool *model, bool *flat) {
    char file[PATH_ROOM];
    struct stat st;
    DIR *d = opendir(path);
    *entries = 0;
    *model = false;
    *flat = true;
    if (!d) return false;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        ++*entries;
        *model = *model || strcmp(e->d_name, "config.json") == 0;
        *flat = *flat && snprintf(file, sizeof file, "%s/%s", path, e->d_name) < PATH_ROOM && lstat(file, &st) == 0 &&
                S_ISREG(st.st_mode);
    }
    closedir(d);
    return true;
}

static pith_status check_target(const model_sink *k, pith_error *err) {
    struct stat st;
    size_t entries;
    bool model, flat;
    if (lstat(k->path, &st) != 0) return PITH_OK;
    if (!S_ISDIR(st.st_mode)) return pith_fail(err, PITH_USAGE, k->path, -1, "expected a new folder, found a file");
    if (!look_at(k->path, &entries, &model, &flat)) return pith_fail_errno(err, k->path, errno, "cannot open");
    if (entries == 0) return PITH_OK;
    if (!k->options.replace) return pith_fail(err, PITH_USAGE, k->path, -1, "exists already; --force replaces it");
    if (model && flat) return PITH_OK;
    return pith_fail(err, PITH_USAGE, k->path, -1, "is no folder of a model alone: remove it yourself");
}

static pith_status write_file(const model_sink *k, const char *name, pith_bytes bytes, pith_error *err) {
    char path[PATH_ROOM];
    struct stat st;
    if (strchr(name, '/') || strcmp(name, "..") == 0)
        return pith_fail(err, PITH_CORRUPT, k->path, -1, "expected a plain file name, found %.80s", name);
    pith_status status = join(k, k->folder, name, path, err);
    if (status != PITH_OK || stat(path, &st) == 0) return status; /* the first of a name wins */
    return output_file(path, false, bytes.data, bytes.size, err);
}

static bool travels(const char *name) {
    static const char *const not [] = {MODEL_HEADER, "model.safetensors.index.json", "tokenizer.bin",
                                       "model.safetensors"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (strcmp(name, not [i]) == 0) return false;
    return true;
}

static pith_status write_made(const model_sink *k, const char *name, pith_status made, pith_bytes bytes,
                              pith_error *err) {
    if (made != PITH_OK) return made;
    pith_status st = bytes.data ? write_file(k, name, bytes, err) : PITH_OK;
    memory_free(bytes.data);
    return st;
}

static pith_status write_small_files(const model_sink *k, pith_error *err) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < k->options.extra_count && st == PITH_OK; i++)
        st = write_file(k, k->options.extras[i].name, k->options.extras[i].bytes, err);
    for (size_t i = 0; i < k->source->extra_count && st == PITH_OK; i++)
        if (travels(k->source->extras[i].name))
            st = write_file(k, k->source->extras[i].name, k->source->extras[i].bytes, err);
    if (st != PITH_OK || model_source_extra(k->source, "config.json")) return st;
    pith_bytes made = {0};
    st = hf_config_write(k->source, k->meta, &made, err);
    st = write_made(k, "config.json", st, made, err);
    if (st == PITH_OK) {
        made = (pith_bytes){0};
        st = hf_generation_write(k->meta, &made, err);
        st = write_made(k, "generation_config.json", st, made, err);
    }
    if (st == PITH_OK) {
        made = (pith_bytes){0};
        st = hf_tokenizer_config_write(k->meta, &made, err);
        st = write_made(k, "tokenizer_config.json", st, made, err);
    }
    return st;
}

pith_status sink_folder_open(model_sink *k, pith_error *err) {
    char weights[PATH_ROOM];
    pith_status st = check_target(k, err);
    if (st != PITH_OK) return st;
    if (k->options.plan_only) return sink_plain_open(k, "", true, err);
    size_t room = strlen(k->path) + 32;
    char *folder = memory_alloc(room);
    if (!folder) return sink_no_memory(k, err);
    snprintf(folder, room, "%s.tmp-%ld", k->path, (long)getpid());
    if (mkdir(folder, 0777) != 0) {
        st = pith_fail_errno(err, folder, errno, "cannot make the folder");
        memory_free(folder);
        return st;
    }
    k->folder = folder;
    st = write_small_files(k, err);
    if (st == PITH_OK) st = join(k, k->folder, "model.safetensors", weights, err);
    return st == PITH_OK ? sink_plain_open(k, weights, true, err) : st;
}

pith_status sink_folder_commit(model_sink *k, pith_error *err) {
    char old[PATH_ROOM];
    if (rename(k->folder, k->path) != 0) { /* succeeds over nothing and over an empty folder */
        if (errno != ENOTEMPTY && errno != EEXIST) return pith_fail_errno(err, k->path, errno, "cannot rename to");
        if (snprintf(old, sizeof old, "%s.old-%ld", k->path, (long)getpid()) >= PATH_ROOM || rename(k->path, old) != 0)
            return pith_fail_errno(err, k->path, errno, "cannot move the old folder away");
        if (rename(k->folder, k->path) != 0) {
            int error_number = errno;
            rename(old, k->path);
            return pith_fail_errno(err, k->path, error_number, "cannot rename to");
        }
        remove_folder(old);
    }
    memory_free(k->folder);
    k->folder = NULL;
    return PITH_OK;
}

void sink_folder_abort(model_sink *k) { remove_folder(k->folder); }
