/* model/pack_writer.c - sections of a packed model, in the order they are written. */
#include "model/pack_writer.h"

#include "base/memory.h"
#include "model/pack_payload.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct pack_writer {
    const pack_contents *what;
    const pith_context *context;
    pith_writer *file;
    pack_groups groups;
    pack_item *item; /* of the open group; layouts are the contents' */
    pith_tensor *held;
    size_t next, group; /* tensor and group to come */
};

static const pack_base *base_of(const pack_writer *w) {
    static const pack_base none;
    return w->what->base ? w->what->base : &none;
}

static pith_status write_base(pack_writer *w, pith_error *err) {
    if (!w->what->base) return PITH_OK;
    pack_base_name b = {.hash = w->what->base->hash};
    snprintf(b.name, sizeof b.name, "%s", w->what->base_name);
    return pack_base_name_write(w->file, &b, err);
}

static pith_status write_head(pack_writer *w, pith_error *err) {
    const pack_contents *what = w->what;
    pack_head h = {.rope_halves = what->rope_halves,
                   .as_header = what->header.size > 0,
                   .group_bytes = PACK_GROUP_BYTES,
                   .meta = what->meta,
                   .header = what->header};
    snprintf(h.origin, sizeof h.origin, "%s", what->origin);
    for (size_t i = 0; i < what->count; i++) h.header_data += model_tensor_bytes(&what->tensors[i]);
    pith_bytes bytes;
    pith_status s = pack_head_write(&h, what->tensors, what->count, &bytes, err);
    if (s != PITH_OK) return s;
    s = pack_section_write(w->file, "META", "model", bytes, base_of(w)->head, err);
    memory_free(bytes.data);
    return s;
}

pith_status pack_writer_open(pack_writer **out, const char *path, bool replace, const pack_contents *what,
                             const pith_context *c, pith_error *err) {
    pack_writer *w = memory_zero(1, sizeof *w);
    if (!w) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    w->what = what;
    w->context = c;
    pith_status s = pack_groups_make(&w->groups, what->tensors, what->count, PACK_GROUP_BYTES, SIZE_MAX, err);
    w->item = memory_zero(what->count, sizeof *w->item);
    w->held = memory_zero(what->count, sizeof *w->held);
    if (s == PITH_OK && (!w->item || !w->held)) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s == PITH_OK) s = pith_writer_open(&w->file, path, replace, err);
    if (s == PITH_OK) s = write_base(w, err);
    if (s == PITH_OK) s = write_head(w, err);
    if (s == PITH_OK) *out = w;
    else pack_writer_abort(w);
    return s;
}

/* Lets go of a tensor and, if a file holds it, of the memory behind it. */
static void drop(pith_tensor *t) {
    if (t->owner) pith_buffer_forget(t->owner, t->data, pith_tensor_bytes(t));
    pith_tensor_release(t);
}

/* Group w->group, whose tensors are all held. */
static pith_status write_group(pack_writer *w, pith_error *err) {
    size_t first = w->groups.first[w->group], count = w->groups.first[w->group + 1] - first;
    pith_section section = {
        .method = PACK_METHOD, .version = PACK_VERSION, .flags = PITH_SECTION_MUST_UNDERSTAND, .kind = "TENS"};
    char name[24];
    pith_bytes coded;
    snprintf(name, sizeof name, "%zu", w->group);
    section.name = name;
    for (size_t k = 0; k < count; k++) {
        const pack_piece *p = &w->groups.piece[first + k];
        const pith_tensor *t = &w->held[p->tensor];
        uint64_t bytes = pack_piece_bytes(p, w->what->tensors);
        w->item[k] = (pack_item){.layout = &w->what->tensors[p->tensor].layout,
                                 .piece = p,
                                 .bytes = {(uint8_t *)t->data + p->row * t->row_bytes, (size_t)bytes}};
        section.raw += bytes;
    }
    pack_base_rows base;
    pith_status s = pack_base_load(base_of(w), w->what->tensors, w->item, count, &base, err);
    if (s == PITH_OK) s = pack_group_encode(w->context, w->item, count, &coded, err);
    pack_base_unload(&base);
    if (s != PITH_OK) return s;
    s = pith_writer_begin(w->file, &section, err);
    if (s == PITH_OK) s = pith_writer_write(w->file, coded.data, coded.size, err);
    if (s == PITH_OK) s = pith_writer_end(w->file, err);
    memory_free(coded.data);
    w->group++;
    return s;
}

pith_status pack_writer_put(pack_writer *w, size_t i, const pith_tensor *t, pith_error *err) {
    assert(i == w->next && i < w->what->count);
    const pith_tensor *announced = &w->what->tensors[i].layout;
    if (t->type != announced->type || pith_tensor_bytes(t) != pith_tensor_bytes(announced))
        return pith_fail(err, PITH_USAGE, w->what->tensors[i].name, -1, "the tensor differs from what was announced");
    w->held[i] = *t;
    pith_tensor_retain(&w->held[i]);
    w->next++;
    pith_status s = PITH_OK;
    while (s == PITH_OK && w->group < w->groups.count) {
        size_t end = w->groups.first[w->group + 1], last = w->groups.piece[end - 1].tensor;
        if (last >= w->next) break;
        size_t first = w->groups.piece[w->groups.first[w->group]].tensor;
        s = write_group(w, err);
        bool more = w->group < w->groups.count && w->groups.piece[end].tensor == last;
        for (size_t k = first; !more && k <= last; k++) drop(&w->held[k]);
    }
    return s;
}

static pith_status write_file(pack_writer *w, const model_extra *e, pith_error *err) {
    return pack_section_write(w->file, "FILE", e->name, e->bytes, pack_base_extra(base_of(w), e->name), err);
}

pith_status pack_writer_commit(pack_writer *w, const output_check *check, pith_error *err) {
    pith_status s = PITH_OK;
    assert(w->next == w->what->count);
    for (size_t i = 0; i < w->what->extra_count && s == PITH_OK; i++)
        if (strcmp(w->what->extras[i].name, MODEL_HEADER) != 0) s = write_file(w, &w->what->extras[i], err);
    if (s == PITH_OK) {
        s = pith_writer_commit_checked(w->file, check, err);
        w->file = NULL;
    }
    pack_writer_abort(w);
    return s;
}

void pack_writer_abort(pack_writer *w) {
    if (!w) return;
    pith_writer_abort(w->file);
    for (size_t i = 0; w->held && i < w->next; i++) pith_tensor_release(&w->held[i]);
    memory_free(w->held);
    memory_free(w->item);
    pack_groups_free(&w->groups);
    memory_free(w);
}
