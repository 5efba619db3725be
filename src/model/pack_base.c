/* model/pack_base.c - opening a base and its hash: XXH3 over the hashes (u64) of its META, of name and bytes of each
 * small file, of each tensor's bytes. */
#include "model/pack_base.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "model/pack_reader.h"

#include <stdio.h>
#include <string.h>

static void update(hash_state *h, const void *data, size_t size) {
    uint8_t bytes[8];
    put64(bytes, hash_bytes(data, size));
    hash_update(h, bytes, sizeof bytes);
}

static pith_status hash_tensors(hash_state *h, model_source *s, const pith_context *c, pith_error *err) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < s->count && st == PITH_OK; i++) {
        pith_tensor t = {0};
        st = pith_progress(c, (double)i, (double)s->count, "tensors of the base", err);
        if (st == PITH_OK) st = model_source_load(s, i, &t, err);
        if (st != PITH_OK) break;
        size_t bytes = (size_t)pith_tensor_bytes(&t);
        update(h, t.data, bytes);
        if (t.owner) pith_buffer_forget(t.owner, t.data, bytes);
        pith_tensor_release(&t);
    }
    return st;
}

static pith_status hash_base(pack_base *b, const pith_context *c, pith_error *err) {
    const model_source *s = b->source;
    hash_state *h = hash_new();
    if (!h) return pith_fail(err, PITH_NO_MEMORY, s->path, -1, "out of memory");
    hash_reset(h);
    update(h, b->head.data, b->head.size);
    for (size_t i = 0; i < s->extra_count; i++) {
        if (strcmp(s->extras[i].name, MODEL_HEADER) == 0) continue;
        update(h, s->extras[i].name, strlen(s->extras[i].name));
        update(h, s->extras[i].bytes.data, s->extras[i].bytes.size);
    }
    pith_status st = hash_tensors(h, b->source, c, err);
    b->hash = hash_digest(h);
    hash_free(h);
    return st;
}

static pith_status describe(pack_base *b, pith_error *err) {
    const model_source *s = b->source;
    const model_extra *header = model_source_extra(s, MODEL_HEADER);
    bool packed = strcmp(s->format, "pith") == 0;
    pack_head h = {.rope_halves = s->rope_halves,
                   .as_header = header != NULL,
                   .group_bytes = PACK_BASE_GROUP_BYTES,
                   .meta = s->meta};
    if (header) h.header = header->bytes;
    snprintf(h.origin, sizeof h.origin, "%s", packed ? pack_origin(s) : s->format);
    for (size_t i = 0; i < s->count; i++) h.header_data += model_tensor_bytes(&s->tensors[i]);
    return pack_head_write(&h, s->tensors, s->count, &b->head, err);
}

pith_status pack_base_open(pack_base *b, const char *path, const pith_context *c, pith_error *err) {
    model_options o = {.context = c};
    memset(b, 0, sizeof *b);
    pith_status s = model_source_open(&b->source, path, &o, err);
    if (s == PITH_OK) s = describe(b, err);
    if (s == PITH_OK) s = hash_base(b, c, err);
    if (s != PITH_OK) pack_base_close(b);
    return s;
}

void pack_base_close(pack_base *b) {
    model_source_close(b->source);
    memory_free(b->head.data);
    memset(b, 0, sizeof *b);
}

static bool alike(const model_tensor *a, const model_tensor *b) {
    return strcmp(a->name, b->name) == 0 && a->layout.type == b->layout.type && a->layout.rank == b->layout.rank &&
           a->transposed == b->transposed &&
           memcmp(a->layout.shape, b->layout.shape, (size_t)a->layout.rank * sizeof *a->layout.shape) == 0;
}

/* -1: none. Models that belong together mostly have their tensors in one order. */
static int64_t find(const model_source *s, const model_tensor *t, size_t hint) {
    if (hint < s->count && alike(&s->tensors[hint], t)) return (int64_t)hint;
    for (size_t i = 0; i < s->count; i++)
        if (alike(&s->tensors[i], t)) return (int64_t)i;
    return -1;
}

pith_status pack_base_load(const pack_base *b, const model_tensor *tensors, pack_item *items, size_t count,
                           pack_base_rows *held, pith_error *err) {
    *held = (pack_base_rows){NULL, 0};
    if (!b->source) return PITH_OK;
    held->tensor = memory_zero(count, sizeof *held->tensor);
    if (!held->tensor) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t k = 0; k < count; k++) {
        const pack_piece *p = items[k].piece;
        int64_t at = find(b->source, &tensors[p->tensor], p->tensor);
        pith_tensor *t = &held->tensor[held->count];
        if (at < 0) continue;
        pith_status s = model_source_load(b->source, (size_t)at, t, err);
        if (s != PITH_OK) return s;
        items[k].base = (pith_bytes){(uint8_t *)t->data + p->row * t->row_bytes, items[k].bytes.size};
        held->count++;
    }
    return PITH_OK;
}

void pack_base_unload(pack_base_rows *held) {
    for (size_t i = 0; i < held->count; i++) {
        pith_tensor *t = &held->tensor[i];
        if (t->owner && t->data) pith_buffer_forget(t->owner, t->data, pith_tensor_bytes(t));
        pith_tensor_release(t);
    }
    memory_free(held->tensor);
    *held = (pack_base_rows){NULL, 0};
}

pith_bytes pack_base_extra(const pack_base *b, const char *name) {
    const model_extra *e = b->source ? model_source_extra(b->source, name) : NULL;
    return e ? e->bytes : (pith_bytes){NULL, 0};
}
