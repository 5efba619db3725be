/* model/pack_head.c - META of a packed model: flags, metadata, the safetensors header it came with, tensors.
 *
 *   u32 flags (1 rotary halves, 2 tensors as in the header), u32 group bytes, u32 metadata pairs, u32 tensors,
 *   u32 header bytes, u64 data bytes the header speaks of, u8 length and text of the origin;
 *   the pairs as GGUF writes them; the header; unless flag 2, each tensor:
 *   u16 length and name, u16 length and GGUF name (0: the same), u8 type, u8 rank, u8 transposed, u64 sizes. */
#include "model/pack_payload.h"

#include "base/bytes.h"
#include "file/hf_names.h"
#include "file/safetensors.h"

#include <stdio.h>
#include <string.h>

enum { HALVES = 1, AS_HEADER = 2, FIXED = 28, LEAST_GROUP = 4096 };

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

/* ---- writing ---- */

/* Its `size` low bytes. */
static void put_number(growing_bytes *b, uint64_t v, size_t size) { bytes_append(b, &v, size); }

static void put_tensor(growing_bytes *b, const model_tensor *t) {
    size_t name = strlen(t->name), other = t->canonical == t->name ? 0 : strlen(t->canonical);
    put_number(b, name, 2);
    bytes_append(b, t->name, name);
    put_number(b, other, 2);
    bytes_append(b, t->canonical, other);
    put_number(b, t->layout.type, 1);
    put_number(b, t->layout.rank, 1);
    put_number(b, t->transposed, 1);
    for (int i = 0; i < t->layout.rank; i++) put_number(b, (uint64_t)t->layout.shape[i], 8);
}

pith_status pack_head_write(const pack_head *h, const model_tensor *tensors, size_t count, pith_bytes *out,
                            pith_error *err) {
    growing_bytes b = {0};
    pith_bytes pairs;
    for (size_t i = 0; i < count; i++)
        if (strlen(tensors[i].name) > UINT16_MAX || strlen(tensors[i].canonical) > UINT16_MAX)
            return pith_fail(err, PITH_UNSUPPORTED, tensors[i].name, -1, "the name is too long");
    pith_status s = meta_serialize(h->meta, &pairs, err);
    if (s != PITH_OK) return s;
    put_number(&b, (h->rope_halves ? HALVES : 0u) | (h->as_header ? AS_HEADER : 0u), 4);
    put_number(&b, h->group_bytes, 4);
    put_number(&b, meta_count(h->meta), 4);
    put_number(&b, count, 4);
    put_number(&b, h->header.size, 4);
    put_number(&b, h->header_data, 8);
    put_number(&b, strlen(h->origin), 1);
    bytes_append(&b, h->origin, strlen(h->origin));
    bytes_append(&b, pairs.data, pairs.size);
    bytes_append(&b, h->header.data, h->header.size);
    for (size_t i = 0; i < count && !h->as_header; i++) put_tensor(&b, &tensors[i]);
    memory_free(pairs.data);
    if (b.failed) {
        memory_free(b.data);
        return no_memory(err);
    }
    *out = (pith_bytes){b.data, b.size};
    return PITH_OK;
}

/* ---- reading ---- */

typedef struct input {
    const uint8_t *p;
    size_t left;
    const char *where;
    pith_error *err;
} input;

static bool take(input *in, size_t size, const uint8_t **p) {
    if (in->left < size) return false;
    *p = in->p;
    in->p += size;
    in->left -= size;
    return true;
}

static bool take_number(input *in, size_t size, uint64_t *v) {
    const uint8_t *p;
    *v = 0;
    if (!take(in, size, &p)) return false;
    memcpy(v, p, size);
    return true;
}

static pith_status ends_early(const input *in) {
    return pith_fail(in->err, PITH_TRUNCATED, in->where, -1, "the description of the model ends early");
}

static pith_status wrong(const input *in, const char *what) {
    return pith_fail(in->err, PITH_CORRUPT, in->where, -1, "the description of the model holds %s", what);
}

static pith_status take_name(input *in, char **out) {
    uint64_t length;
    const uint8_t *p;
    if (!take_number(in, 2, &length) || !take(in, length, &p)) return ends_early(in);
    if (memchr(p, 0, length)) return wrong(in, "a name with a zero byte");
    *out = memory_text_n((const char *)p, length);
    return *out ? PITH_OK : no_memory(in->err);
}

static pith_status take_layout(input *in, pith_tensor *layout, bool *transposed) {
    uint64_t type, rank, turned, size, bytes;
    int64_t shape[PITH_MAX_RANK];
    if (!take_number(in, 1, &type) || !take_number(in, 1, &rank) || !take_number(in, 1, &turned)) return ends_early(in);
    if (type >= PITH_TYPES) return wrong(in, "an unknown type of tensors");
    if (rank > PITH_MAX_RANK || turned > 1) return wrong(in, "an impossible tensor");
    for (uint64_t i = 0; i < rank; i++) {
        if (!take_number(in, 8, &size)) return ends_early(in);
        if (size > INT64_MAX) return wrong(in, "an impossible size");
        shape[i] = (int64_t)size;
    }
    *transposed = turned != 0;
    if (turned && rank != 2) return wrong(in, "a transposed tensor that is no matrix");
    return pith_tensor_layout(layout, (uint16_t)type, (int)rank, shape, &bytes, in->err);
}

static pith_status take_tensor(input *in, model_source *s) {
    char *name = NULL, *canonical = NULL;
    pith_tensor layout;
    bool transposed = false;
    pith_status st = take_name(in, &name);
    if (st == PITH_OK) st = take_name(in, &canonical);
    if (st == PITH_OK) st = take_layout(in, &layout, &transposed);
    if (st == PITH_OK) st = model_source_add(s, name, canonical[0] ? canonical : name, &layout, transposed, in->err);
    memory_free(name);
    memory_free(canonical);
    return st;
}

static pith_status tensors_of_header(const input *in, const pack_head *h, model_source *s) {
    safetensors f = {0};
    bool folder = strcmp(h->origin, "huggingface") == 0;
    pith_status st = safetensors_parse(&f, in->where, h->header, h->header_data, in->err);
    for (size_t i = 0; st == PITH_OK && i < f.count; i++) {
        const safetensors_entry *e = &f.entries[i];
        st = folder ? hf_add_tensor(s, e->name, &e->layout, in->err)
                    : model_source_add(s, e->name, e->name, &e->layout, false, in->err);
    }
    safetensors_close(&f);
    return st;
}

static pith_status take_header(input *in, uint64_t size, pack_head *h, model_source *s) {
    const uint8_t *p;
    if (!take(in, size, &p)) return ends_early(in);
    if (!size) return PITH_OK;
    uint8_t *copy = memory_alloc(size);
    if (!copy) return no_memory(in->err);
    memcpy(copy, p, size);
    h->header = (pith_bytes){copy, size};
    return model_source_add_extra(s, MODEL_HEADER, h->header, in->err);
}

pith_status pack_head_read(pack_head *h, pith_bytes bytes, model_source *s, pith_error *err) {
    input in = {bytes.data, bytes.size, s->path, err};
    uint64_t flags, group, pairs, tensors, header, data, length;
    const uint8_t *origin;
    size_t used;
    memset(h, 0, sizeof *h);
    if (!take_number(&in, 4, &flags) || !take_number(&in, 4, &group) || !take_number(&in, 4, &pairs) ||
        !take_number(&in, 4, &tensors) || !take_number(&in, 4, &header) || !take_number(&in, 8, &data) ||
        !take_number(&in, 1, &length) || !take(&in, length, &origin))
        return ends_early(&in);
    if (flags & ~(uint64_t)(HALVES | AS_HEADER) || length >= sizeof h->origin || group < LEAST_GROUP)
        return wrong(&in, "numbers that cannot be");
    memcpy(h->origin, origin, length);
    h->rope_halves = s->rope_halves = flags & HALVES;
    h->as_header = flags & AS_HEADER;
    h->group_bytes = (uint32_t)group;
    h->header_data = data;
    meta *m = NULL;
    pith_status st = meta_parse(&m, in.p, in.left, pairs, &used, s->path, 0, err);
    if (st != PITH_OK) return st;
    meta_free(s->meta);
    h->meta = s->meta = m;
    take(&in, used, &origin);
    st = take_header(&in, header, h, s);
    if (st == PITH_OK && h->as_header) st = tensors_of_header(&in, h, s);
    for (uint64_t i = 0; st == PITH_OK && !h->as_header && i < tensors; i++) st = take_tensor(&in, s);
    if (st == PITH_OK && (s->count != tensors || in.left)) st = wrong(&in, "another number of tensors");
    return st;
}
