/* model/pack_reader.c - a packed model as a source.
 *
 * A group is expanded when the first of its tensors is asked for; the others wait until they are, and who gets one is
 * its only owner. The two groups last expanded wait, so that a block of layers on the border of two does not expand
 * them again and again. What the file map brought into memory is let go of behind each group. So a model that is loaded
 * holds its weights once, and beside them a group or two; a tensor asked for twice costs its group once more. */
#include "model/pack_reader.h"

#include "base/memory.h"
#include "model/pack_base.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { KEPT = 2 };

typedef struct packed_file {
    pith_reader *file;
    const pith_context *context;
    pack_head head;
    pack_base base; /* zeroed where the file is no difference */
    pack_groups groups;
    size_t *section;   /* of each group */
    size_t *first;     /* group of a tensor's first piece */
    pith_tensor *held; /* expanded and not asked for yet; zeroed else */
    pack_item *item;
    size_t kept[KEPT]; /* groups expanded, the latest first; SIZE_MAX: none */
} packed_file;

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static bool packed_fits(const char *path, bool folder, const uint8_t *head, size_t size) {
    size_t length = strlen(path);
    if (folder) return false;
    return (size >= 5 && memcmp(head, "\x89PITH", 5) == 0) || (length > 5 && strcmp(path + length - 5, ".pith") == 0);
}

/* ---- expanding ---- */

/* Tensors of the group that begin in it. */
static void release_group(model_source *s, size_t g) {
    packed_file *f = s->self;
    if (g == SIZE_MAX) return;
    for (size_t k = f->groups.first[g]; k < f->groups.first[g + 1]; k++)
        pith_tensor_release(&f->held[f->groups.piece[k].tensor]);
}

static pith_status read_group(model_source *s, size_t g, pith_error *err) {
    packed_file *f = s->self;
    size_t first = f->groups.first[g], count = f->groups.first[g + 1] - first;
    pith_bytes stored;
    pith_buffer *map;
    uint64_t offset;
    pack_base_rows base;
    for (size_t k = 0; k < count; k++) {
        const pack_piece *p = &f->groups.piece[first + k];
        const pith_tensor *t = &s->tensors[p->tensor].layout;
        uint8_t *data = f->held[p->tensor].data;
        f->item[k] = (pack_item){t, p, {data + p->row * t->row_bytes, (size_t)pack_piece_bytes(p, s->tensors)}, {0}};
    }
    pith_status st = pack_base_load(&f->base, s->tensors, f->item, count, &base, err);
    if (st == PITH_OK) st = pith_reader_view(f->file, f->section[g], &stored, err);
    if (st == PITH_OK) st = pack_group_decode(f->context, stored, f->item, count, err);
    pack_base_unload(&base);
    if (st == PITH_OK) st = pith_reader_buffer(f->file, f->section[g], &map, &offset, err);
    if (st != PITH_OK) return st;
    pith_buffer_forget(map, stored.data, stored.size);
    pith_buffer_release(map);
    return PITH_OK;
}

/* All groups that hold pieces of the tensors of group g: more than one where a tensor is cut. */
static pith_status expand(model_source *s, size_t g, pith_error *err) {
    packed_file *f = s->self;
    pith_status st = PITH_OK;
    size_t last = f->groups.piece[f->groups.first[g]].tensor;
    for (size_t k = f->groups.first[g]; k < f->groups.first[g + 1] && st == PITH_OK; k++) {
        size_t i = f->groups.piece[k].tensor;
        const pith_tensor *t = &s->tensors[i].layout;
        st = pith_tensor_new(&f->held[i], t->type, t->rank, t->shape, err);
    }
    do {
        if (st == PITH_OK) st = read_group(s, g, err);
        g++;
    } while (st == PITH_OK && g < f->groups.count && f->groups.piece[f->groups.first[g]].tensor == last);
    return st;
}

/* Makes group g the latest: it or the oldest gives way. */
static void keep(model_source *s, size_t g) {
    packed_file *f = s->self;
    int slot = 0;
    while (slot < KEPT - 1 && f->kept[slot] != g) slot++;
    release_group(s, f->kept[slot]);
    memmove(f->kept + 1, f->kept, (size_t)slot * sizeof *f->kept);
    f->kept[0] = g;
}

static pith_status packed_load(model_source *s, size_t i, pith_tensor *out, pith_error *err) {
    packed_file *f = s->self;
    if (!f->held[i].data) {
        size_t g = f->first[i];
        keep(s, g);
        pith_status st = expand(s, g, err);
        if (st != PITH_OK) {
            release_group(s, g);
            f->kept[0] = SIZE_MAX;
            return st;
        }
    }
    *out = f->held[i];
    out->read_only = true;
    memset(&f->held[i], 0, sizeof f->held[i]);
    return PITH_OK;
}

/* ---- opening ---- */

static void packed_close(model_source *s) {
    packed_file *f = s->self;
    for (size_t i = 0; f->held && i < s->count; i++) pith_tensor_release(&f->held[i]);
    memory_free(f->held);
    memory_free(f->item);
    memory_free(f->section);
    memory_free(f->first);
    pack_groups_free(&f->groups);
    pack_base_close(&f->base);
    pith_reader_close(f->file);
    memory_free(f);
}

static pith_status open_base(model_source *s, packed_file *f, const char *path, pith_error *err) {
    pack_base_name b;
    bool found;
    pith_status st = pack_base_name_read(f->file, &found, &b, err);
    if (st != PITH_OK) return st;
    if (!found && path)
        return pith_fail(err, PITH_USAGE, "--base", -1, "expected none: %s was packed without a base", s->path);
    if (!found) return PITH_OK;
    if (!path)
        return pith_fail(err, PITH_NOT_FOUND, s->path, -1,
                         "this is the difference to a model: expected --base with \"%s\" (hash %016llx)", b.name,
                         (unsigned long long)b.hash);
    st = pack_base_open(&f->base, path, f->context, err);
    if (st == PITH_OK && f->base.hash != b.hash)
        st = pith_fail(err, PITH_MISMATCH, path, -1,
                       "expected the base \"%s\" (hash %016llx), found a model of hash %016llx", b.name,
                       (unsigned long long)b.hash, (unsigned long long)f->base.hash);
    return st;
}

static pith_status read_head(model_source *s, packed_file *f, pith_error *err) {
    int64_t at = pith_reader_find(f->file, "META", "model");
    pith_bytes bytes;
    if (at < 0 || pith_reader_section(f->file, (size_t)at)->method != PACK_METHOD)
        return pith_fail(err, PITH_UNSUPPORTED, s->path, -1, "expected a .pith file that holds a model");
    if (pith_reader_section(f->file, (size_t)at)->version != PACK_VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, s->path, -1, "expected version %d of packed models, found %u",
                         PACK_VERSION, pith_reader_section(f->file, (size_t)at)->version);
    pith_status st = pack_section_read(f->file, (size_t)at, f->base.head, &bytes, err);
    if (st != PITH_OK) return st;
    st = pack_head_read(&f->head, bytes, s, err);
    memory_free(bytes.data);
    return st;
}

/* Sections in order: each must be META, the next group, or a file. */
static pith_status read_sections(model_source *s, packed_file *f, pith_error *err) {
    size_t groups = 0, count = pith_reader_count(f->file);
    pith_status st = PITH_OK;
    f->section = memory_zero(count, sizeof *f->section);
    if (!f->section) return no_memory(err);
    for (size_t i = 0; i < count && st == PITH_OK; i++) {
        const pith_section *x = pith_reader_section(f->file, i);
        char name[24];
        snprintf(name, sizeof name, "%zu", groups);
        if (memcmp(x->kind, "TENS", 4) == 0) {
            if (strcmp(x->name, name) != 0 || x->method != PACK_METHOD || x->version != PACK_VERSION)
                return pith_fail(err, PITH_CORRUPT, s->path, (int64_t)x->offset, "expected tensors %s, found \"%s\"",
                                 name, x->name);
            f->section[groups++] = i;
        } else if (memcmp(x->kind, "FILE", 4) == 0) {
            pith_bytes bytes;
            st = pack_section_read(f->file, i, pack_base_extra(&f->base, x->name), &bytes, err);
            if (st == PITH_OK) st = model_source_add_extra(s, x->name, bytes, err);
        } else if (memcmp(x->kind, "META", 4) != 0 && memcmp(x->kind, "BASE", 4) != 0 &&
                   x->flags & PITH_SECTION_MUST_UNDERSTAND)
            return pith_fail(err, PITH_UNSUPPORTED, s->path, (int64_t)x->offset,
                             "section \"%s\" must be understood, but is of an unknown kind", x->name);
    }
    if (st != PITH_OK) return st;
    st = pack_groups_make(&f->groups, s->tensors, s->count, f->head.group_bytes, groups, err);
    if (st == PITH_OK && f->groups.count != groups)
        st = pith_fail(err, PITH_CORRUPT, s->path, -1, "expected %zu groups of tensors, found %zu", f->groups.count,
                       groups);
    return st;
}

/* A section must say the size its tensors have: the container has compared it with the memory limit. */
static pith_status check_groups(const model_source *s, packed_file *f, pith_error *err) {
    f->first = memory_zero(s->count, sizeof *f->first);
    f->held = memory_zero(s->count, sizeof *f->held);
    f->item = memory_zero(s->count, sizeof *f->item);
    if (!f->first || !f->held || !f->item) return no_memory(err);
    for (size_t g = f->groups.count; g-- > 0;) {
        const pith_section *x = pith_reader_section(f->file, f->section[g]);
        uint64_t sum = 0;
        for (size_t k = f->groups.first[g]; k < f->groups.first[g + 1]; k++) {
            sum += pack_piece_bytes(&f->groups.piece[k], s->tensors);
            f->first[f->groups.piece[k].tensor] = g;
        }
        if (sum != x->raw)
            return pith_fail(err, PITH_CORRUPT, s->path, (int64_t)x->offset,
                             "expected tensors of %llu bytes, found a section that says %llu", (unsigned long long)sum,
                             (unsigned long long)x->raw);
    }
    return PITH_OK;
}

static pith_status packed_open(model_source *s, const char *path, const model_options *options, pith_error *err) {
    packed_file *f = memory_zero(1, sizeof *f);
    if (!f) return no_memory(err);
    s->self = f;
    s->load = packed_load;
    s->close = packed_close;
    f->context = options->context;
    for (int k = 0; k < KEPT; k++) f->kept[k] = SIZE_MAX;
    pith_status st = pith_reader_open(&f->file, path, options->context, err);
    if (st == PITH_OK) st = open_base(s, f, options->base, err);
    if (st == PITH_OK) st = read_head(s, f, err);
    if (st == PITH_OK) st = read_sections(s, f, err);
    if (st == PITH_OK) st = check_groups(s, f, err);
    if (st != PITH_OK) return st;
    struct stat size;
    if (stat(path, &size) == 0) s->file_bytes = (uint64_t)size.st_size;
    return PITH_OK;
}

const model_reader packed_reader = {"pith", packed_fits, packed_open};

/* ---- what only .pith can tell ---- */

const char *pack_origin(const model_source *s) { return ((const packed_file *)s->self)->head.origin; }

pith_status pack_codings(model_source *s, pack_coding *coding, pith_error *err) {
    packed_file *f = s->self;
    pith_status st = PITH_OK;
    pack_coding *some = memory_zero(s->count, sizeof *some);
    if (!some) return no_memory(err);
    memset(coding, 0, s->count * sizeof *coding);
    for (size_t g = 0; g < f->groups.count && st == PITH_OK; g++) {
        size_t first = f->groups.first[g], count = f->groups.first[g + 1] - first;
        pith_bytes stored;
        for (size_t k = 0; k < count; k++) {
            const pack_piece *p = &f->groups.piece[first + k];
            f->item[k] =
                (pack_item){&s->tensors[p->tensor].layout, p, {NULL, (size_t)pack_piece_bytes(p, s->tensors)}, {0}};
        }
        st = pith_reader_view(f->file, f->section[g], &stored, err);
        if (st == PITH_OK) st = pack_group_list(stored, f->item, count, some, err);
        for (size_t k = 0; k < count && st == PITH_OK; k++) {
            pack_coding *to = &coding[f->groups.piece[first + k].tensor];
            to->coder = some[k].coder;
            to->bytes += some[k].bytes;
        }
    }
    memory_free(some);
    return st;
}

pith_status pack_check(model_source *s, const pith_context *c, pith_error *err) {
    return pith_reader_verify(((packed_file *)s->self)->file, c, err);
}
