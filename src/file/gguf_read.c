/* file/gguf_read.c - GGUF versions 2 and 3, little-endian, mapped; the files of a split read as one.
 *
 * Source: the GGUF specification (ggml docs/gguf.md). Layout: "GGUF", version u32, tensor count u64, pair count u64,
 * pairs, tensor infos, padding, data. Nothing in the file is trusted: every length, count, offset and size is checked
 * against the bytes that are there before it is used, and no two tensors may share a name or bytes.
 * Cost: one pass over the head and two sorts of the tensor list; the data are not touched. */
#include "file/gguf.h"

#include "base/memory.h"
#include "file/meta_bytes.h"

#include <stdio.h>
#include <stdlib.h>

enum { GGUF_HEAD = 24, GGUF_RANK_MAX = 4, GGUF_INFO_MIN = 24, GGUF_SPLIT_MAX = 10000 };

struct gguf {
    meta *meta;
    gguf_tensor *tensor;
    size_t count, capacity;
    pith_buffer **part;
    uint32_t parts;
    uint64_t file_bytes;
};

/* A place in the head of one file. */
typedef struct cursor {
    const uint8_t *bytes;
    size_t size, at;
    const char *where;
} cursor;

static pith_status no_memory(const char *where, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory");
}

static pith_status need(const cursor *c, uint64_t n, const char *what, pith_error *err) {
    if (n <= c->size - c->at) return PITH_OK;
    return pith_fail(err, PITH_TRUNCATED, c->where, (int64_t)c->at, "expected %s, found the end of the file", what);
}

/* ---- tensor infos ---- */

static pith_status read_name(cursor *c, char **name, pith_error *err) {
    pith_status s = need(c, 8, "a tensor name", err);
    if (s != PITH_OK) return s;
    uint64_t size = get64(c->bytes + c->at);
    if (size > META_KEY_MAX || size == 0 || size > c->size - c->at - 8)
        return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at, "expected a tensor name, found one of %llu bytes",
                         (unsigned long long)size);
    if (memchr(c->bytes + c->at + 8, 0, (size_t)size))
        return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at, "expected a tensor name without zero bytes");
    *name = memory_text_n((const char *)c->bytes + c->at + 8, (size_t)size);
    if (!*name) return no_memory(c->where, err);
    c->at += 8 + (size_t)size;
    return PITH_OK;
}

static pith_status read_shape(cursor *c, const char *name, int *rank, int64_t *shape, pith_error *err) {
    pith_status s = need(c, 4, "the dimensions of a tensor", err);
    if (s != PITH_OK) return s;
    uint32_t n = get32(c->bytes + c->at);
    if (n > GGUF_RANK_MAX)
        return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at,
                         "tensor %.64s: expected at most %d dimensions, found %u", name, GGUF_RANK_MAX, n);
    c->at += 4;
    s = need(c, 8 * n, "the dimensions of a tensor", err);
    if (s != PITH_OK) return s;
    for (uint32_t i = 0; i < n; i++, c->at += 8) {
        uint64_t d = get64(c->bytes + c->at);
        if (d > INT64_MAX)
            return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at, "tensor %.64s: dimension %llu is absurd",
                             name, (unsigned long long)d);
        shape[n - 1 - i] = (int64_t)d; /* the file counts from the contiguous dimension */
    }
    *rank = (int)n;
    return PITH_OK;
}

static pith_status read_type(cursor *c, const char *name, uint16_t *type, pith_error *err) {
    pith_status s = need(c, 12, "the type and offset of a tensor", err);
    if (s != PITH_OK) return s;
    uint32_t number = get32(c->bytes + c->at);
    int known = pith_type_by_gguf(number);
    if (known >= 0) {
        *type = (uint16_t)known;
        return PITH_OK;
    }
    const char *type_name = gguf_type_name(number);
    if (!type_name)
        return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at, "tensor %.64s: unknown tensor type %u", name,
                         number);
    return pith_fail(err, PITH_UNSUPPORTED, c->where, (int64_t)c->at,
                     "tensor %.64s: expected a type pith can use, found %s", name, type_name);
}

static pith_status read_info(gguf *g, cursor *c, uint32_t part, uint64_t alignment, pith_error *err) {
    char *name = NULL;
    int rank = 0;
    int64_t shape[GGUF_RANK_MAX];
    uint16_t type = 0;
    pith_tensor layout = {0};
    uint64_t bytes = 0, offset = 0;
    size_t start = c->at;
    pith_status s = read_name(c, &name, err);
    if (s == PITH_OK) s = read_shape(c, name, &rank, shape, err);
    if (s == PITH_OK) s = read_type(c, name, &type, err);
    if (s == PITH_OK) {
        pith_error inner = {0};
        s = pith_tensor_layout(&layout, type, rank, shape, &bytes, &inner);
        if (s != PITH_OK) s = pith_fail(err, s, c->where, (int64_t)start, "tensor %.64s: %s", name, inner.text);
    }
    if (s == PITH_OK) {
        offset = get64(c->bytes + c->at + 4);
        c->at += 12;
        if (offset % alignment)
            s = pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at - 8,
                          "tensor %.64s: expected an offset that is a multiple of %llu, found %llu", name,
                          (unsigned long long)alignment, (unsigned long long)offset);
    }
    if (s == PITH_OK && memory_reserve((void **)&g->tensor, &g->capacity, g->count + 1, sizeof *g->tensor) != 0)
        s = no_memory(c->where, err);
    if (s != PITH_OK) {
        memory_free(name);
        return s;
    }
    g->tensor[g->count++] = (gguf_tensor){.name = name, .layout = layout, .offset = offset, .part = part};
    return PITH_OK;
}

/* ---- one file ---- */

static pith_status read_head(cursor *c, uint64_t *tensors, uint64_t *pairs, pith_error *err) {
    if (c->size < GGUF_HEAD)
        return pith_fail(err, PITH_TRUNCATED, c->where, 0, "expected a GGUF head of %d bytes, found %llu", GGUF_HEAD,
                         (unsigned long long)c->size);
    if (memcmp(c->bytes, "GGUF", 4) != 0) return pith_fail(err, PITH_CORRUPT, c->where, 0, "expected a GGUF file");
    uint32_t version = get32(c->bytes + 4);
    if (version != 2 && version != 3)
        return pith_fail(err, PITH_UNSUPPORTED, c->where, 4, "expected GGUF version 2 or 3, found %s%u",
                         version && !(version & 0xffff) ? "a big-endian file, " : "", version);
    *tensors = get64(c->bytes + 8);
    *pairs = get64(c->bytes + 16);
    c->at = GGUF_HEAD;
    if (*tensors > c->size / GGUF_INFO_MIN || *pairs > c->size / 13)
        return pith_fail(err, PITH_CORRUPT, c->where, 8,
                         "%llu tensors and %llu metadata keys do not fit into %llu bytes", (unsigned long long)*tensors,
                         (unsigned long long)*pairs, (unsigned long long)c->size);
    return PITH_OK;
}

static pith_status read_alignment(const meta *m, const char *where, uint64_t *alignment, pith_error *err) {
    *alignment = 32;
    if (!meta_has(m, "general.alignment")) return PITH_OK;
    if (!meta_u64(m, "general.alignment", alignment) || *alignment == 0 || *alignment > 1 << 20 ||
        (*alignment & (*alignment - 1)))
        return pith_fail(err, PITH_CORRUPT, where, -1, "expected general.alignment to be a power of two up to 2^20");
    return PITH_OK;
}

static int by_offset(const void *a, const void *b) {
    const gguf_tensor *x = *(gguf_tensor *const *)a, *y = *(gguf_tensor *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    uint64_t xb = pith_tensor_bytes(&x->layout), yb = pith_tensor_bytes(&y->layout);
    return xb < yb ? -1 : xb > yb;
}

/* Every tensor inside the file, none over another. The file ends after the last one, or after its padding. */
static pith_status check_extents(gguf_tensor **sorted, size_t n, uint64_t size, uint64_t alignment, const char *where,
                                 pith_error *err) {
    uint64_t end = 0;
    qsort(sorted, n, sizeof *sorted, by_offset);
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = pith_tensor_bytes(&sorted[i]->layout);
        if (sorted[i]->offset > size || bytes > size - sorted[i]->offset)
            return pith_fail(err, PITH_TRUNCATED, where, (int64_t)(sorted[i]->offset & INT64_MAX),
                             "tensor %.64s: expected %llu bytes, found the end of the file at %llu", sorted[i]->name,
                             (unsigned long long)bytes, (unsigned long long)size);
        if (bytes && sorted[i]->offset < end)
            return pith_fail(err, PITH_CORRUPT, where, (int64_t)sorted[i]->offset,
                             "tensor %.64s lies over the bytes of another", sorted[i]->name);
        if (sorted[i]->offset + bytes > end) end = sorted[i]->offset + bytes;
    }
    if (n && size > end && size - end < (alignment - end % alignment) % alignment)
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)size, "expected padding up to a multiple of %llu",
                         (unsigned long long)alignment);
    return PITH_OK;
}

/* Turns offsets into file offsets and checks the extents of tensors [first, count). */
static pith_status place_tensors(gguf *g, size_t first, const cursor *c, uint64_t alignment, pith_error *err) {
    size_t n = g->count - first;
    uint64_t data = (c->at + alignment - 1) / alignment * alignment;
    gguf_tensor **sorted = memory_zero(n, sizeof *sorted);
    if (!sorted) return no_memory(c->where, err);
    pith_status s = PITH_OK;
    for (size_t i = 0; s == PITH_OK && i < n; i++) {
        sorted[i] = &g->tensor[first + i];
        if (__builtin_add_overflow(sorted[i]->offset, data, &sorted[i]->offset))
            s = pith_fail(err, PITH_CORRUPT, c->where, -1, "tensor %.64s: offset is absurd", sorted[i]->name);
    }
    if (s == PITH_OK) s = check_extents(sorted, n, c->size, alignment, c->where, err);
    memory_free(sorted);
    return s;
}

/* Appends the file in `buffer` (retained) as the next part. *m is its metadata, the caller's. */
static pith_status read_part(gguf *g, pith_buffer *buffer, const char *where, meta **m, pith_error *err) {
    cursor c = {.bytes = pith_buffer_data(buffer), .size = (size_t)pith_buffer_size(buffer), .where = where};
    uint64_t tensors = 0, pairs = 0, alignment = 32;
    size_t used = 0, first = g->count;
    *m = NULL;
    pith_buffer **part = memory_grow(g->part, g->parts + 1, sizeof *part);
    if (!part) return no_memory(where, err);
    g->part = part;
    g->part[g->parts++] = buffer;
    pith_buffer_retain(buffer);
    g->file_bytes += c.size;
    pith_status s = read_head(&c, &tensors, &pairs, err);
    if (s == PITH_OK) s = meta_parse(m, c.bytes + c.at, c.size - c.at, pairs, &used, where, c.at, err);
    if (s != PITH_OK) return s;
    c.at += used;
    s = read_alignment(*m, where, &alignment, err);
    for (uint64_t i = 0; s == PITH_OK && i < tensors; i++) s = read_info(g, &c, g->parts - 1, alignment, err);
    if (s == PITH_OK) s = place_tensors(g, first, &c, alignment, err);
    return s;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static pith_status check_names(const gguf *g, const char *where, pith_error *err) {
    const char **names = memory_zero(g->count, sizeof *names);
    if (!names) return no_memory(where, err);
    for (size_t i = 0; i < g->count; i++) names[i] = g->tensor[i].name;
    qsort(names, g->count, sizeof *names, by_name);
    pith_status s = PITH_OK;
    for (size_t i = 1; i < g->count && s == PITH_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            s = pith_fail(err, PITH_CORRUPT, where, -1, "tensor %.64s stands there twice", names[i]);
    memory_free(names);
    return s;
}

/* ---- splits ---- */

/* Opens part `index` (from 0) of a split and checks that it says so itself. */
static pith_status read_split_part(gguf *g, const char *path, uint64_t index, uint64_t count, pith_error *err) {
    pith_buffer *b;
    meta *m = NULL;
    uint64_t number, of;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s != PITH_OK) return s;
    s = read_part(g, b, path, &m, err);
    pith_buffer_release(b);
    if (s == PITH_OK &&
        (!meta_u64(m, "split.no", &number) || !meta_u64(m, "split.count", &of) || number != index || of != count))
        s = pith_fail(err, PITH_MISMATCH, path, -1, "expected file %llu of a split into %llu",
                      (unsigned long long)index + 1, (unsigned long long)count);
    meta_free(m);
    return s;
}

/* The first part is read; reads the others, whose names follow from its own. */
static pith_status read_split(gguf *g, const char *path, uint64_t count, pith_error *err) {
    uint64_t number = 0;
    char tail[64];
    size_t length = strlen(path);
    int n = snprintf(tail, sizeof tail, "-00001-of-%05u.gguf", (unsigned)count);
    meta_u64(g->meta, "split.no", &number);
    if (number != 0)
        return pith_fail(err, PITH_USAGE, path, -1,
                         "this is file %llu of %llu of a split model: open the first, which ends in %s",
                         (unsigned long long)number + 1, (unsigned long long)count, tail);
    if (length < (size_t)n || strcmp(path + length - n, tail) != 0)
        return pith_fail(err, PITH_MISMATCH, path, -1, "expected the name of a split model to end in %s", tail);
    char *other = memory_text(path);
    if (!other) return no_memory(path, err);
    pith_status s = PITH_OK;
    for (uint64_t i = 1; i < count && s == PITH_OK; i++) {
        snprintf(other + length - n, (size_t)n + 1, "-%05u-of-%05u.gguf", (unsigned)i + 1, (unsigned)count);
        s = read_split_part(g, other, i, count, err);
    }
    memory_free(other);
    uint64_t total;
    if (s == PITH_OK && meta_u64(g->meta, "split.tensors.count", &total) && total != g->count)
        s = pith_fail(err, PITH_MISMATCH, path, -1, "expected %llu tensors in all files, found %llu",
                      (unsigned long long)total, (unsigned long long)g->count);
    if (s == PITH_OK) meta_remove_prefix(g->meta, "split.");
    return s;
}

/* ---- public ---- */

static pith_status open_first(gguf **out, pith_buffer *buffer, const char *where, bool splits, pith_error *err) {
    gguf *g = memory_zero(1, sizeof *g);
    if (!g) return no_memory(where, err);
    uint64_t count = 0;
    pith_status s = read_part(g, buffer, where, &g->meta, err);
    if (s == PITH_OK && meta_u64(g->meta, "split.count", &count) && count > 1) {
        if (count > GGUF_SPLIT_MAX)
            s = pith_fail(err, PITH_CORRUPT, where, -1, "a split into %llu files is absurd", (unsigned long long)count);
        else if (!splits)
            s = pith_fail(err, PITH_UNSUPPORTED, where, -1, "expected one whole file, found part of a split");
        else s = read_split(g, where, count, err);
    }
    if (s == PITH_OK) s = check_names(g, where, err);
    if (s != PITH_OK) {
        gguf_close(g);
        return s;
    }
    *out = g;
    return PITH_OK;
}

pith_status gguf_open(gguf **g, const char *path, pith_error *err) {
    pith_buffer *b;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s != PITH_OK) return s;
    s = open_first(g, b, path, true, err);
    pith_buffer_release(b);
    return s;
}

pith_status gguf_open_buffer(gguf **g, pith_buffer *buffer, const char *where, pith_error *err) {
    return open_first(g, buffer, where, false, err);
}

void gguf_close(gguf *g) {
    if (!g) return;
    meta_free(g->meta);
    for (size_t i = 0; i < g->count; i++) memory_free((char *)g->tensor[i].name);
    for (uint32_t i = 0; i < g->parts; i++) pith_buffer_release(g->part[i]);
    memory_free(g->tensor);
    memory_free(g->part);
    memory_free(g);
}

const meta *gguf_meta(const gguf *g) { return g->meta; }

meta *gguf_take_meta(gguf *g) {
    meta *m = g->meta;
    g->meta = NULL;
    return m;
}

size_t gguf_count(const gguf *g) { return g->count; }
const gguf_tensor *gguf_at(const gguf *g, size_t i) { return &g->tensor[i]; }
uint64_t gguf_file_bytes(const gguf *g) { return g->file_bytes; }

pith_status gguf_load(const gguf *g, size_t i, pith_tensor *out, pith_error *err) {
    const gguf_tensor *t = &g->tensor[i];
    pith_status s =
        pith_tensor_wrap(out, t->layout.type, t->layout.rank, t->layout.shape, g->part[t->part], t->offset, err);
    if (s == PITH_OK) out->read_only = true;
    return s;
}
