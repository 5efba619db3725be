/* model/pack_group.c - the bytes of one group of tensors.
 *
 * u8 0: the items' bytes one after another. u8 1: u64 length and the items of plain types by code/tensor_ways.h, then
 * each item of a block type: u64 length, pack_blocks.c. What would not shrink is kept in the first way. */
#include "model/pack_payload.h"

#include "base/bytes.h"
#include "code/tensor_ways.h"

#include <string.h>

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static bool plain(const pack_item *item) { return !pith_type_is_packed(item->layout->type); }

typedef struct plain_items { /* the plain ones of a group, in tensor_ways' terms */
    tensor_item *item;
    int64_t (*shape)[2]; /* of pieces that are not whole */
    size_t count;
} plain_items;

static void plain_free(plain_items *p) {
    memory_free(p->item);
    memory_free(p->shape);
}

static pith_status plain_make(plain_items *p, const pack_item *items, size_t count, pith_error *err) {
    p->count = 0;
    p->item = memory_zero(count, sizeof *p->item);
    p->shape = memory_zero(count, sizeof *p->shape);
    if (!p->item || !p->shape) {
        plain_free(p);
        return no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (!plain(&items[i])) continue;
        const pith_tensor *t = items[i].layout;
        int64_t *cut = p->shape[p->count];
        cut[0] = items[i].piece->rows;
        cut[1] = pith_tensor_cols(t);
        p->item[p->count++] = (tensor_item){.type = t->type,
                                            .rank = items[i].piece->whole ? t->rank : 2,
                                            .shape = items[i].piece->whole ? t->shape : cut,
                                            .bytes = items[i].bytes,
                                            .base = items[i].base};
    }
    return PITH_OK;
}

/* ---- encoding ---- */

static bool append_sized(growing_bytes *out, pith_bytes bytes) {
    return bytes_append64(out, bytes.size) && bytes_append(out, bytes.data, bytes.size);
}

static pith_status append_plain(growing_bytes *out, const pith_context *c, const pack_item *items, size_t count,
                                pith_error *err) {
    plain_items p;
    pith_bytes coded = {NULL, 0};
    pith_status s = plain_make(&p, items, count, err);
    if (s != PITH_OK) return s;
    if (p.count) s = tensor_ways_encode(c, p.item, p.count, &coded, NULL, err);
    if (s == PITH_OK && !append_sized(out, coded)) s = no_memory(err);
    memory_free(coded.data);
    plain_free(&p);
    return s;
}

static pith_status append_blocks(growing_bytes *out, const pith_context *c, const pack_item *item, pith_error *err) {
    pith_bytes coded = {NULL, 0};
    pith_status s = pack_blocks_encode(c, item, &coded, err);
    if (s != PITH_OK) return s;
    if (!append_sized(out, coded)) s = no_memory(err);
    memory_free(coded.data);
    return s;
}

pith_status pack_group_encode(const pith_context *c, const pack_item *items, size_t count, pith_bytes *out,
                              pith_error *err) {
    growing_bytes g = {0};
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += items[i].bytes.size;
    pith_status s = bytes_append(&g, &(uint8_t){PACK_CODED}, 1) ? PITH_OK : no_memory(err);
    if (s == PITH_OK) s = append_plain(&g, c, items, count, err);
    for (size_t i = 0; i < count && s == PITH_OK; i++)
        if (!plain(&items[i])) s = append_blocks(&g, c, &items[i], err);
    if (s == PITH_OK && g.size > total) {
        g.size = 0;
        bytes_append(&g, &(uint8_t){PACK_RAW}, 1);
        for (size_t i = 0; i < count; i++) bytes_append(&g, items[i].bytes.data, items[i].bytes.size);
        if (g.failed) s = no_memory(err);
    }
    if (s == PITH_OK) *out = (pith_bytes){g.data, g.size};
    else memory_free(g.data);
    return s;
}

/* ---- decoding ---- */

static pith_status take_sized(pith_bytes *in, pith_bytes *out, pith_error *err) {
    uint64_t length;
    if (bytes_take64(in, &length) && bytes_take(in, length, out)) return PITH_OK;
    return pith_fail(err, PITH_TRUNCATED, NULL, -1, "a group of tensors ends early");
}

static pith_status decode_raw(pith_bytes in, const pack_item *items, size_t count, pith_error *err) {
    for (size_t i = 0; i < count; i++) {
        pith_bytes out = items[i].bytes, from;
        if (!bytes_take(&in, out.size, &from))
            return pith_fail(err, PITH_TRUNCATED, NULL, -1, "a group of tensors ends early");
        if (out.size) memcpy(out.data, from.data, out.size);
    }
    return in.size ? pith_fail(err, PITH_CORRUPT, NULL, -1, "bytes behind the last tensor of a group") : PITH_OK;
}

static pith_status take_coder(pith_bytes *in, uint8_t *coder, pith_error *err) {
    if (!in->size) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a group of tensors, found nothing");
    *coder = *in->data++;
    in->size--;
    if (*coder >= PACK_CODERS)
        return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected a coder this version knows, found number %u",
                         *coder);
    return PITH_OK;
}

static pith_status decode_plain(const pith_context *c, pith_bytes in, const pack_item *items, size_t count,
                                pith_error *err) {
    plain_items p;
    pith_status s = plain_make(&p, items, count, err);
    if (s != PITH_OK) return s;
    if (p.count) s = tensor_ways_decode(c, in, p.item, p.count, err);
    else if (in.size) s = pith_fail(err, PITH_CORRUPT, NULL, -1, "coded bytes that belong to no tensor");
    plain_free(&p);
    return s;
}

pith_status pack_group_decode(const pith_context *c, pith_bytes in, const pack_item *items, size_t count,
                              pith_error *err) {
    uint8_t coder = PACK_RAW;
    pith_bytes part;
    pith_status s = take_coder(&in, &coder, err);
    if (s == PITH_OK && coder == PACK_RAW) return decode_raw(in, items, count, err);
    if (s == PITH_OK) s = take_sized(&in, &part, err);
    if (s == PITH_OK) s = decode_plain(c, part, items, count, err);
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        if (plain(&items[i])) continue;
        s = take_sized(&in, &part, err);
        if (s == PITH_OK) s = pack_blocks_decode(c, part, &items[i], err);
    }
    if (s == PITH_OK && in.size) s = pith_fail(err, PITH_CORRUPT, NULL, -1, "bytes behind the last tensor of a group");
    return s;
}

/* ---- for people ---- */

static pith_status list_plain(pith_bytes in, const pack_item *items, size_t count, pack_coding *coding,
                              pith_error *err) {
    plain_items p;
    pith_status s = plain_make(&p, items, count, err);
    if (s != PITH_OK) return s;
    uint8_t *way = memory_zero(count, 1);
    uint64_t *size = memory_zero(count, sizeof *size);
    if (!way || !size) s = no_memory(err);
    if (s == PITH_OK && p.count) s = tensor_ways_list(in, p.item, p.count, way, size, err);
    for (size_t i = 0, k = 0; i < count && s == PITH_OK; i++) {
        if (!plain(&items[i])) continue;
        const char *name = tensor_way_name(way[k]);
        coding[i] = (pack_coding){name ? name : "unknown", size[k]};
        k++;
    }
    memory_free(way);
    memory_free(size);
    plain_free(&p);
    return s;
}

pith_status pack_group_list(pith_bytes in, const pack_item *items, size_t count, pack_coding *coding, pith_error *err) {
    uint8_t coder = PACK_RAW;
    pith_bytes part;
    pith_status s = take_coder(&in, &coder, err);
    if (s != PITH_OK) return s;
    if (coder == PACK_RAW) {
        for (size_t i = 0; i < count; i++) coding[i] = (pack_coding){"raw", items[i].bytes.size};
        return PITH_OK;
    }
    s = take_sized(&in, &part, err);
    if (s == PITH_OK) s = list_plain(part, items, count, coding, err);
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        if (plain(&items[i])) continue;
        s = take_sized(&in, &part, err);
        if (s == PITH_OK) coding[i] = (pack_coding){pack_blocks_way(part), part.size};
    }
    return s;
}
