/* file/model_source.c - opening a model of any format, and what all formats share. */
#include "file/model_source.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 64 };

static pith_status no_memory(const char *where, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory");
}

/* First bytes of an ordinary file; none of a folder. */
static pith_status peek(const char *path, bool *folder, uint8_t head[HEAD], size_t *size, pith_error *err) {
    struct stat st;
    *size = 0;
    if (stat(path, &st) != 0) return pith_fail_errno(err, path, errno, "cannot open");
    *folder = S_ISDIR(st.st_mode);
    if (*folder) return PITH_OK;
    if (!S_ISREG(st.st_mode)) return pith_fail(err, PITH_USAGE, path, -1, "expected a model file or folder");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pith_fail_errno(err, path, errno, "cannot open");
    ssize_t got = read(fd, head, HEAD);
    int error_number = errno;
    close(fd);
    if (got < 0) return pith_fail_errno(err, path, error_number, "cannot read");
    *size = (size_t)got;
    return PITH_OK;
}

static const model_reader *reader_for(const char *path, bool folder, const uint8_t *head, size_t size) {
    for (const model_reader *const *r = model_readers; *r; r++)
        if ((*r)->fits(path, folder, head, size)) return *r;
    return NULL;
}

pith_status model_source_open(model_source **out, const char *path, const model_options *options, pith_error *err) {
    static const model_options none;
    uint8_t head[HEAD];
    size_t size;
    bool folder;
    pith_status st = peek(path, &folder, head, &size, err);
    if (st != PITH_OK) return st;
    const model_reader *reader = reader_for(path, folder, head, size);
    if (!reader)
        return pith_fail(
            err, PITH_UNSUPPORTED, path, -1,
            "expected a model (GGUF, safetensors, HuggingFace folder, llama2.c checkpoint or .pith), found %s",
            folder ? "a folder without config.json and weights"
            : size ? "another kind of file"
                   : "an empty file");
    model_source *s = memory_zero(1, sizeof *s);
    if (!s) return no_memory(path, err);
    s->format = reader->format;
    s->path = memory_text(path);
    st = s->path ? meta_new(&s->meta, err) : no_memory(path, err);
    if (st == PITH_OK) st = reader->open(s, path, options ? options : &none, err);
    if (st != PITH_OK) {
        model_source_close(s);
        return st;
    }
    *out = s;
    return PITH_OK;
}

static void tensor_free(model_tensor *t) {
    if (t->canonical != t->name) memory_free((char *)t->canonical);
    memory_free((char *)t->name);
}

void model_source_close(model_source *s) {
    if (!s) return;
    if (s->close) s->close(s);
    for (size_t i = 0; i < s->count; i++) tensor_free(&s->tensors[i]);
    for (size_t i = 0; i < s->extra_count; i++) {
        memory_free((char *)s->extras[i].name);
        memory_free(s->extras[i].bytes.data);
    }
    memory_free(s->tensors);
    memory_free(s->extras);
    meta_free(s->meta);
    memory_free(s->path);
    memory_free(s);
}

pith_status model_source_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    return s->load(s, i, out, err);
}

/* out[c][r] = in[r][c] for elements of `size` bytes; tiles keep both sides in cache. */
static void transpose(const uint8_t *in, uint8_t *out, int64_t rows, int64_t cols, size_t size) {
    enum { TILE = 32 };
    for (int64_t r0 = 0; r0 < rows; r0 += TILE)
        for (int64_t c0 = 0; c0 < cols; c0 += TILE)
            for (int64_t r = r0; r < rows && r < r0 + TILE; r++)
                for (int64_t c = c0; c < cols && c < c0 + TILE; c++)
                    memcpy(out + (size_t)(c * rows + r) * size, in + (size_t)(r * cols + c) * size, size);
}

pith_status model_source_canonical(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    const model_tensor *t = &s->tensors[i];
    pith_status st = model_source_load(s, i, out, err);
    if (st != PITH_OK || !t->transposed) return st;
    int64_t turned[2] = {t->layout.shape[1], t->layout.shape[0]};
    pith_tensor in = *out;
    memset(out, 0, sizeof *out);
    if (pith_types[in.type].block != 1)
        st = pith_fail(err, PITH_UNSUPPORTED, t->name, -1, "a transposed matrix of type %s", pith_types[in.type].name);
    if (st == PITH_OK) st = pith_tensor_new(out, in.type, 2, turned, err);
    if (st == PITH_OK) transpose(in.data, out->data, turned[1], turned[0], pith_types[in.type].block_bytes);
    pith_tensor_release(&in);
    return st;
}

int64_t model_source_find(const model_source *s, const char *canonical) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->tensors[i].canonical, canonical) == 0) return (int64_t)i;
    return -1;
}

const model_extra *model_source_extra(const model_source *s, const char *name) {
    for (size_t i = 0; i < s->extra_count; i++)
        if (strcmp(s->extras[i].name, name) == 0) return &s->extras[i];
    return NULL;
}

/* Grows an array to a power of two of elements when `count` has just filled one. */
static bool room(void **array, size_t count, size_t size) {
    if (count & (count - 1)) return true;
    void *grown = memory_grow(*array, count ? 2 * count : 1, size);
    if (grown) *array = grown;
    return grown != NULL;
}

pith_status model_source_add(model_source *s, const char *name, const char *canonical, const pith_tensor *layout,
                             bool transposed, pith_error *err) {
    if (!room((void **)&s->tensors, s->count, sizeof *s->tensors)) return no_memory(s->path, err);
    model_tensor t = {.layout = *layout, .transposed = transposed};
    t.layout.data = NULL;
    t.layout.owner = NULL;
    t.name = memory_text(name);
    t.canonical = t.name && strcmp(name, canonical) != 0 ? memory_text(canonical) : t.name;
    if (!t.canonical) {
        memory_free((char *)t.name);
        return no_memory(s->path, err);
    }
    s->tensors[s->count++] = t;
    return PITH_OK;
}

pith_status model_source_add_extra(model_source *s, const char *name, pith_bytes bytes, pith_error *err) {
    char *copy = memory_text(name);
    if (!copy || !room((void **)&s->extras, s->extra_count, sizeof *s->extras)) {
        memory_free(copy);
        memory_free(bytes.data);
        return no_memory(s->path, err);
    }
    s->extras[s->extra_count++] = (model_extra){copy, bytes};
    return PITH_OK;
}

int64_t model_tensor_elements(const model_tensor *t) { return pith_tensor_elements(&t->layout); }
uint64_t model_tensor_bytes(const model_tensor *t) { return pith_tensor_bytes(&t->layout); }
