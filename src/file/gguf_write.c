/* file/gguf_write.c - GGUF version 3, streaming: metadata and tensor infos first, then the bytes of each tensor.
 *
 * Source: the GGUF specification (ggml docs/gguf.md). Memory: the head only. A file without tensors ends with its
 * metadata; a file with tensors is padded to the alignment before the data and after every tensor. */
#include "file/gguf.h"

#include "base/memory.h"
#include "file/meta_bytes.h"
#include "file/output.h"

#include <stdlib.h>

enum { GGUF_RANK_MAX = 4, GGUF_NAME_MAX = 63, GGUF_ALIGNMENT_MAX = 1 << 20 };

typedef struct planned { /* a declared tensor */
    char *name;
    pith_tensor layout;
} planned;

struct gguf_writer {
    output *out;
    char *path;
    meta *meta;
    planned *tensor;
    size_t count, capacity;
    uint64_t alignment;
    bool head_done;
    size_t current;   /* tensor whose bytes come next */
    uint64_t missing; /* of its bytes */
};

static pith_status no_memory(const gguf_writer *w, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, w ? w->path : NULL, -1, "out of memory");
}

pith_status gguf_writer_open(gguf_writer **out, const char *path, bool replace, const meta *m, pith_error *err) {
    gguf_writer *w = memory_zero(1, sizeof *w);
    if (!w) return no_memory(NULL, err);
    w->path = memory_text(path);
    pith_status s = w->path ? meta_copy(&w->meta, m, err) : no_memory(NULL, err);
    w->alignment = 32;
    if (s == PITH_OK && meta_has(m, "general.alignment") &&
        (!meta_u64(m, "general.alignment", &w->alignment) || w->alignment == 0 || w->alignment > GGUF_ALIGNMENT_MAX ||
         (w->alignment & (w->alignment - 1))))
        s = pith_fail(err, PITH_USAGE, path, -1, "expected general.alignment to be a power of two up to 2^20");
    if (s == PITH_OK) s = output_open(&w->out, path, replace, err);
    if (s != PITH_OK) {
        gguf_writer_abort(w);
        return s;
    }
    *out = w;
    return PITH_OK;
}

pith_status gguf_writer_declare(gguf_writer *w, const char *name, const pith_tensor *layout, pith_error *err) {
    size_t length = strlen(name);
    if (w->head_done) return pith_fail(err, PITH_USAGE, w->path, -1, "tensor %s is declared after data", name);
    if (length == 0 || length > GGUF_NAME_MAX)
        return pith_fail(err, PITH_UNSUPPORTED, w->path, -1,
                         "expected tensor names of 1 to %d bytes in a GGUF file, found %.80s", GGUF_NAME_MAX, name);
    if (layout->rank > GGUF_RANK_MAX)
        return pith_fail(err, PITH_UNSUPPORTED, w->path, -1,
                         "tensor %s: a GGUF file holds at most %d dimensions, not %u", name, GGUF_RANK_MAX,
                         layout->rank);
    if (pith_types[layout->type].gguf < 0)
        return pith_fail(err, PITH_UNSUPPORTED, w->path, -1, "tensor %s: a GGUF file cannot hold type %s", name,
                         pith_types[layout->type].name);
    if (memory_reserve((void **)&w->tensor, &w->capacity, w->count + 1, sizeof *w->tensor) != 0)
        return no_memory(w, err);
    planned *t = &w->tensor[w->count];
    *t = (planned){.name = memory_text(name), .layout = *layout};
    if (!t->name) return no_memory(w, err);
    t->layout.data = NULL;
    t->layout.owner = NULL;
    w->count++;
    return PITH_OK;
}

static pith_status pad(gguf_writer *w, pith_error *err) {
    static const uint8_t zeros[4096];
    uint64_t n = (w->alignment - output_position(w->out) % w->alignment) % w->alignment;
    pith_status s = PITH_OK;
    while (n && s == PITH_OK) {
        size_t now = n < sizeof zeros ? (size_t)n : sizeof zeros;
        s = output_write(w->out, zeros, now, err);
        n -= now;
    }
    return s;
}

static pith_status write_info(gguf_writer *w, const planned *t, uint64_t offset, pith_error *err) {
    uint8_t bytes[8 + GGUF_NAME_MAX + 4 + 8 * GGUF_RANK_MAX + 12], *p = bytes;
    size_t length = strlen(t->name);
    put64(p, length);
    memcpy(p + 8, t->name, length);
    p += 8 + length;
    put32(p, t->layout.rank);
    p += 4;
    for (int i = t->layout.rank; i-- > 0; p += 8) put64(p, (uint64_t)t->layout.shape[i]);
    put32(p, (uint32_t)pith_types[t->layout.type].gguf);
    put64(p + 4, offset);
    return output_write(w->out, bytes, (size_t)(p + 12 - bytes), err);
}

/* Once a tensor is whole: pads, and moves on to the next that has bytes. */
static pith_status next_tensor(gguf_writer *w, pith_error *err) {
    pith_status s = PITH_OK;
    while (s == PITH_OK && w->missing == 0 && w->current < w->count) {
        s = pad(w, err);
        if (++w->current < w->count) w->missing = pith_tensor_bytes(&w->tensor[w->current].layout);
    }
    return s;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static pith_status check_names(const gguf_writer *w, pith_error *err) {
    const char **names = memory_zero(w->count, sizeof *names);
    if (!names) return no_memory(w, err);
    for (size_t i = 0; i < w->count; i++) names[i] = w->tensor[i].name;
    qsort(names, w->count, sizeof *names, by_name);
    pith_status s = PITH_OK;
    for (size_t i = 1; i < w->count && s == PITH_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            s = pith_fail(err, PITH_USAGE, w->path, -1, "tensor %s is declared twice", names[i]);
    memory_free(names);
    return s;
}

static pith_status write_head(gguf_writer *w, pith_error *err) {
    uint8_t head[24] = "GGUF";
    pith_bytes pairs;
    uint64_t offset = 0;
    put32(head + 4, 3);
    put64(head + 8, w->count);
    put64(head + 16, meta_count(w->meta));
    pith_status s = check_names(w, err);
    if (s == PITH_OK) s = meta_serialize(w->meta, &pairs, err);
    if (s != PITH_OK) return s;
    s = output_write(w->out, head, sizeof head, err);
    if (s == PITH_OK) s = output_write(w->out, pairs.data, pairs.size, err);
    memory_free(pairs.data);
    for (size_t i = 0; i < w->count && s == PITH_OK; i++) {
        s = write_info(w, &w->tensor[i], offset, err);
        offset = (offset + pith_tensor_bytes(&w->tensor[i].layout) + w->alignment - 1) / w->alignment * w->alignment;
    }
    w->head_done = true;
    if (s != PITH_OK || w->count == 0) return s;
    s = pad(w, err);
    w->missing = pith_tensor_bytes(&w->tensor[0].layout);
    return s == PITH_OK ? next_tensor(w, err) : s; /* the first may be empty */
}

pith_status gguf_writer_write(gguf_writer *w, const void *bytes, size_t size, pith_error *err) {
    const uint8_t *p = bytes;
    pith_status s = w->head_done ? PITH_OK : write_head(w, err);
    while (s == PITH_OK && size) {
        if (w->current >= w->count) return pith_fail(err, PITH_USAGE, w->path, -1, "more tensor data than declared");
        size_t now = size < w->missing ? size : (size_t)w->missing;
        s = output_write(w->out, p, now, err);
        p += now;
        size -= now;
        w->missing -= now;
        if (s == PITH_OK) s = next_tensor(w, err);
    }
    return s;
}

static void writer_free(gguf_writer *w) {
    for (size_t i = 0; i < w->count; i++) memory_free(w->tensor[i].name);
    memory_free(w->tensor);
    memory_free(w->path);
    meta_free(w->meta);
    memory_free(w);
}

pith_status gguf_writer_commit_checked(gguf_writer *w, const output_check *check, pith_error *err) {
    pith_status s = w->head_done ? PITH_OK : write_head(w, err);
    if (s == PITH_OK && w->current < w->count)
        s = pith_fail(err, PITH_USAGE, w->path, -1, "less tensor data than declared");
    if (s == PITH_OK) {
        s = output_commit_checked(w->out, check, err);
        w->out = NULL;
    }
    gguf_writer_abort(w);
    return s;
}

pith_status gguf_writer_commit(gguf_writer *w, pith_error *err) { return gguf_writer_commit_checked(w, NULL, err); }

void gguf_writer_abort(gguf_writer *w) {
    if (!w) return;
    output_abort(w->out);
    writer_free(w);
}
