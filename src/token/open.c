/* token/open.c - tokenizers from files by path. */
#include "base/memory.h"
#include "token/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LARGEST_FILE = 1 << 28 }; /* the largest published tokenizer.json has 40 MB */

/* The whole file; the caller frees. An absent file that need not exist gives no bytes. */
static pith_status read_file(const char *path, bool needed, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    FILE *f = fopen(path, "rb");
    if (!f)
        return errno == ENOENT && !needed ? PITH_OK : pith_fail_errno(err, path, errno, "cannot open the tokenizer");
    size_t capacity = 0, got;
    do {
        if (memory_reserve((void **)&out->data, &capacity, out->size + (1 << 16), 1) != 0) {
            fclose(f);
            memory_free(out->data);
            return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
        }
        got = fread(out->data + out->size, 1, capacity - out->size, f);
        out->size += got;
    } while (got > 0 && out->size <= LARGEST_FILE);
    int error = ferror(f) ? errno : 0;
    fclose(f);
    if (!error && out->size <= LARGEST_FILE) return PITH_OK;
    memory_free(out->data);
    *out = (pith_bytes){NULL, 0};
    if (error) return pith_fail_errno(err, path, error, "cannot read the tokenizer");
    return pith_fail(err, PITH_LIMIT, path, -1, "expected a tokenizer of at most %d bytes", LARGEST_FILE);
}

pith_status tokenizer_open_json(tokenizer **t, const char *path, pith_error *err) {
    static const char *const names[3] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"};
    *t = NULL;
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *slash = strrchr(path, '/');
    int parent = folder ? (int)strlen(path) : slash ? (int)(slash - path) : 0;
    char file[4096];
    pith_bytes bytes[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    pith_status s = PITH_OK;
    for (int i = 0; i < 3 && s == PITH_OK; i++) {
        int n = i == 0 && !folder
                    ? snprintf(file, sizeof file, "%s", path)
                    : snprintf(file, sizeof file, "%.*s%s%s", parent, path, parent || slash ? "/" : "", names[i]);
        if (n >= (int)sizeof file) s = pith_fail(err, PITH_USAGE, path, -1, "expected a shorter path");
        else s = read_file(file, i == 0, &bytes[i], err);
    }
    if (s == PITH_OK) s = tokenizer_from_json(t, path, bytes[0], bytes[1], bytes[2], err);
    for (int i = 0; i < 3; i++) memory_free(bytes[i].data);
    return s;
}

pith_status tokenizer_open_llama2c(tokenizer **t, const char *path, size_t vocab, pith_error *err) {
    *t = NULL;
    pith_bytes bytes;
    pith_status s = read_file(path, true, &bytes, err);
    if (s != PITH_OK) return s;
    s = tokenizer_from_llama2c(t, path, bytes, vocab, err);
    memory_free(bytes.data);
    return s;
}
