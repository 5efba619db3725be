/* file/container_read.c - nothing is believed before it is checked: frame and index when a file is opened, a section's
 * hash when it is first viewed, the padding between by verify and at opening. */
#include "file/container.h"

#include "base/hash.h"
#include "base/memory.h"
#include "file/container_layout.h"

#include <stdio.h>
#include <stdlib.h>

struct pith_reader {
    char *path;
    pith_buffer *file;
    const uint8_t *bytes;
    uint64_t size, index_at, index_size, index_hash, count;
    uint64_t memory_limit;
    pith_section *sections;
    char *names;   /* terminated copies, NAME_LONGEST + 1 apart */
    bool *checked; /* hash seen to fit */
};

/* Five bytes, so that a file damaged in the rest is told so by the reader. */
bool pith_file_is_packed(const char *path) {
    enum { KNOWN_BY = 5 };
    char head[KNOWN_BY];
    FILE *f = fopen(path, "rb");
    bool packed = f && fread(head, 1, KNOWN_BY, f) == KNOWN_BY && memcmp(head, CONTAINER_MAGIC, KNOWN_BY) == 0;
    if (f) fclose(f);
    return packed;
}

static pith_status corrupt(const pith_reader *r, uint64_t at, pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, r->path, (int64_t)at, "%s", what);
}

static bool all_zero(const uint8_t *p, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

static pith_status check_frame(const pith_reader *r, const uint8_t *p, uint64_t at, const char *mark, pith_error *err) {
    if (memcmp(p, CONTAINER_MAGIC, 8) != 0 || memcmp(p + 9, mark, 3) != 0 || p[8])
        return pith_fail(err, at ? PITH_TRUNCATED : PITH_CORRUPT, r->path, (int64_t)at,
                         at ? "expected the trailer of a .pith file: the file ends early or is damaged"
                            : "expected a .pith file");
    if (get64(p + 56) != hash_bytes(p, 56))
        return corrupt(r, at, err, "the frame's checksum does not fit: the file is damaged");
    if (get16(p + 12) != PITH_CONTAINER_MAJOR)
        return pith_fail(err, PITH_UNSUPPORTED, r->path, (int64_t)at + 12, "expected container version %d, found %u",
                         PITH_CONTAINER_MAJOR, get16(p + 12));
    return PITH_OK;
}

static pith_status read_frames(pith_reader *r, pith_error *err) {
    if (r->size < 2 * FRAME)
        return pith_fail(err, PITH_TRUNCATED, r->path, (int64_t)r->size,
                         "expected a .pith file of at least %d bytes, found %llu", 2 * FRAME,
                         (unsigned long long)r->size);
    const uint8_t *head = r->bytes, *tail = r->bytes + r->size - FRAME;
    pith_status s = check_frame(r, head, 0, "\0\0", err);
    if (s == PITH_OK) s = check_frame(r, tail, r->size - FRAME, "END", err);
    if (s != PITH_OK) return s;
    bool streamed = all_zero(head + 16, 32);
    if (get64(head + 48) || get16(head + 14) != get16(tail + 14) ||
        (!streamed && memcmp(head + 16, tail + 16, 32) != 0))
        return corrupt(r, 16, err, "header and trailer disagree");
    r->index_at = get64(tail + 24), r->index_size = get64(tail + 32), r->index_hash = get64(tail + 40),
    r->count = get64(tail + 48);
    if (get64(tail + 16) != r->size)
        return pith_fail(err, PITH_TRUNCATED, r->path, -1, "expected %llu bytes, found %llu",
                         (unsigned long long)get64(tail + 16), (unsigned long long)r->size);
    if (r->index_at % ALIGNMENT || r->index_at < FRAME || r->index_at > r->size - FRAME ||
        r->index_size > r->size - FRAME - r->index_at ||
        round_up(r->index_at + r->index_size, ALIGNMENT) != r->size - FRAME || r->count > r->index_size / ENTRY)
        return corrupt(r, r->size - FRAME + 24, err, "the index lies outside the file");
    if (hash_bytes(r->bytes + r->index_at, r->index_size) != r->index_hash)
        return corrupt(r, r->index_at, err, "the index's checksum does not fit: the file is damaged");
    return PITH_OK;
}

static pith_status read_entry(pith_reader *r, uint64_t i, uint64_t *at, uint64_t *expected, pith_error *err) {
    uint64_t end = r->index_at + r->index_size;
    if (end - *at < ENTRY) return corrupt(r, *at, err, "the index ends inside an entry");
    const uint8_t *e = r->bytes + *at;
    uint64_t length = get32(e + 12), padded = round_up(length, NAME_ALIGNMENT);
    if (length > NAME_LONGEST || end - *at - ENTRY < padded)
        return corrupt(r, *at + 12, err, "a section's name is longer than allowed");
    if (!all_zero(e + 48, 48) || !all_zero(e + ENTRY + length, padded - length))
        return corrupt(r, *at + 48, err, "reserved bytes of the index are not zero");
    if (memchr(e + ENTRY, 0, length)) return corrupt(r, *at + ENTRY, err, "a section's name holds a zero byte");
    char *name = r->names + i * (NAME_LONGEST + 1);
    memcpy(name, e + ENTRY, length);
    name[length] = 0;
    pith_section *s = &r->sections[i];
    *s = (pith_section){.method = get16(e + 4),
                        .version = get16(e + 6),
                        .flags = get32(e + 8),
                        .offset = get64(e + 16),
                        .stored = get64(e + 24),
                        .raw = get64(e + 32),
                        .xxh3 = get64(e + 40),
                        .name = name};
    memcpy(s->kind, e, 4);
    if (s->flags & ~(uint32_t)PITH_SECTION_MUST_UNDERSTAND)
        return corrupt(r, *at + 8, err, "unknown flags on a section");
    /* sections lie one after the other: with the padding checked, no byte of the file is outside a hash */
    if (s->offset != *expected || s->stored > r->index_at - s->offset)
        return corrupt(r, *at + 16, err, "a section lies outside its place");
    if (s->raw > r->memory_limit)
        return pith_fail(err, PITH_LIMIT, r->path, (int64_t)*at + 32,
                         "section \"%s\" says it needs %llu bytes, more than the limit of %llu", name,
                         (unsigned long long)s->raw, (unsigned long long)r->memory_limit);
    uint64_t after = round_up(s->offset + s->stored, ALIGNMENT);
    if (after > r->index_at || !all_zero(r->bytes + s->offset + s->stored, after - s->offset - s->stored))
        return corrupt(r, s->offset + s->stored, err, "padding is not zero");
    *expected = after;
    *at += ENTRY + padded;
    return PITH_OK;
}

static int by_kind_and_name(const void *a, const void *b) {
    const pith_section *x = *(const pith_section *const *)a, *y = *(const pith_section *const *)b;
    int kind = memcmp(x->kind, y->kind, 4);
    return kind ? kind : strcmp(x->name, y->name);
}

static pith_status check_unique(pith_reader *r, pith_error *err) {
    const pith_section **sorted = memory_zero(r->count, sizeof *sorted);
    if (!sorted) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (uint64_t i = 0; i < r->count; i++) sorted[i] = &r->sections[i];
    qsort(sorted, r->count, sizeof *sorted, by_kind_and_name);
    pith_status s = PITH_OK;
    for (uint64_t i = 1; i < r->count && s == PITH_OK; i++)
        if (by_kind_and_name(&sorted[i - 1], &sorted[i]) == 0)
            s = pith_fail(err, PITH_CORRUPT, r->path, -1, "two sections are named \"%s\"", sorted[i]->name);
    memory_free(sorted);
    return s;
}

static pith_status read_index(pith_reader *r, pith_error *err) {
    r->sections = memory_zero(r->count, sizeof *r->sections);
    r->names = memory_zero(r->count, NAME_LONGEST + 1);
    r->checked = memory_zero(r->count, sizeof *r->checked);
    if (!r->sections || !r->names || !r->checked) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    uint64_t at = r->index_at, expected = FRAME;
    pith_status s = PITH_OK;
    for (uint64_t i = 0; i < r->count && s == PITH_OK; i++) s = read_entry(r, i, &at, &expected, err);
    if (s != PITH_OK) return s;
    uint64_t end = r->index_at + r->index_size;
    if (at != end || expected != r->index_at || !all_zero(r->bytes + end, r->size - FRAME - end))
        return corrupt(r, at, err, "bytes that belong to no section");
    return check_unique(r, err);
}

pith_status pith_reader_open(pith_reader **out, const char *path, const pith_context *c, pith_error *err) {
    pith_reader *r = memory_zero(1, sizeof *r);
    if (!r || !(r->path = memory_text(path))) {
        memory_free(r);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    pith_context defaults;
    pith_context_default(&defaults);
    r->memory_limit = c ? c->memory_limit : defaults.memory_limit;
    pith_status s = pith_buffer_map(&r->file, path, err);
    if (s == PITH_OK) {
        r->bytes = pith_buffer_data(r->file);
        r->size = pith_buffer_size(r->file);
        s = read_frames(r, err);
    }
    if (s == PITH_OK) s = read_index(r, err);
    if (s == PITH_OK) *out = r;
    else pith_reader_close(r);
    return s;
}

void pith_reader_close(pith_reader *r) {
    if (!r) return;
    pith_buffer_release(r->file);
    memory_free(r->sections);
    memory_free(r->names);
    memory_free(r->checked);
    memory_free(r->path);
    memory_free(r);
}

size_t pith_reader_count(const pith_reader *r) { return (size_t)r->count; }
const pith_section *pith_reader_section(const pith_reader *r, size_t i) { return &r->sections[i]; }

int64_t pith_reader_find(const pith_reader *r, const char kind[4], const char *name) {
    for (size_t i = 0; i < r->count; i++)
        if (memcmp(r->sections[i].kind, kind, 4) == 0 && (!name || strcmp(r->sections[i].name, name) == 0))
            return (int64_t)i;
    return -1;
}

pith_status pith_reader_view(pith_reader *r, size_t i, pith_bytes *out, pith_error *err) {
    const pith_section *s = &r->sections[i];
    uint8_t *data = (uint8_t *)r->bytes + s->offset;
    if (!r->checked[i]) {
        if (hash_bytes(data, s->stored) != s->xxh3)
            return pith_fail(err, PITH_CORRUPT, r->path, (int64_t)s->offset,
                             "the checksum of section \"%s\" does not fit: the file is damaged", s->name);
        r->checked[i] = true;
    }
    *out = (pith_bytes){data, s->stored};
    return PITH_OK;
}

pith_status pith_reader_buffer(pith_reader *r, size_t i, pith_buffer **b, uint64_t *offset, pith_error *err) {
    pith_bytes ignored;
    pith_status s = pith_reader_view(r, i, &ignored, err);
    if (s != PITH_OK) return s;
    pith_buffer_retain(r->file);
    *b = r->file;
    *offset = r->sections[i].offset;
    return PITH_OK;
}

pith_status pith_reader_verify(pith_reader *r, const pith_context *c, pith_error *err) {
    pith_status s = PITH_OK;
    for (size_t i = 0; i < r->count && s == PITH_OK; i++) {
        pith_bytes ignored;
        s = pith_reader_view(r, i, &ignored, err);
        if (s == PITH_OK)
            s = pith_progress(c, (double)(r->sections[i].offset + r->sections[i].stored), (double)r->size, "bytes",
                              err);
    }
    return s;
}
