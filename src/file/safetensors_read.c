/* file/safetensors_read.c - a header of a stranger, checked. */
#include "file/safetensors.h"

#include "base/memory.h"
#include "file/json.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH = 8 };
static const uint64_t longest_header = 100000000; /* the format's own limit */

void safetensors_close(safetensors *s) {
    for (size_t i = 0; i < s->count; i++) memory_free(s->entries[i].name);
    memory_free(s->entries);
    pith_buffer_release(s->file);
    memset(s, 0, sizeof *s);
}

static pith_status bad(const char *where, const char *name, const char *what, pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, where, -1, "tensor \"%.80s\": %s", name, what);
}

static pith_status read_shape(const char *where, const char *name, const json_t *list, int64_t shape[PITH_MAX_RANK],
                              int *rank, pith_error *err) {
    if (!json_is_array(list)) return bad(where, name, "expected a shape", err);
    *rank = (int)json_array_size(list);
    if (json_array_size(list) > PITH_MAX_RANK)
        return pith_fail(err, PITH_UNSUPPORTED, where, -1,
                         "tensor \"%.80s\": expected at most %d dimensions, found %zu", name, PITH_MAX_RANK,
                         json_array_size(list));
    for (int i = 0; i < *rank; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return bad(where, name, "expected dimensions of 0 or more", err);
        shape[i] = json_integer_value(v);
    }
    return PITH_OK;
}

static pith_status read_entry(const char *where, const char *name, const json_t *value, uint64_t data_size,
                              safetensors_entry *e, pith_error *err) {
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!dtype || !json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !json_is_integer(json_array_get(offsets, 0)) || !json_is_integer(json_array_get(offsets, 1)))
        return bad(where, name, "expected dtype, shape and two data_offsets", err);
    int type = pith_type_by_safetensors(dtype), rank = 0;
    if (type < 0)
        return pith_fail(err, PITH_UNSUPPORTED, where, -1, "tensor \"%.80s\": expected a known dtype, found \"%.40s\"",
                         name, dtype);
    int64_t shape[PITH_MAX_RANK];
    pith_status s = read_shape(where, name, json_object_get(value, "shape"), shape, &rank, err);
    if (s != PITH_OK) return s;
    uint64_t bytes;
    pith_error inner = {0};
    s = pith_tensor_layout(&e->layout, (uint16_t)type, rank, shape, &bytes, &inner);
    if (s != PITH_OK) return pith_fail(err, s, where, -1, "tensor \"%.80s\": %s", name, inner.text);
    json_int_t begin = json_integer_value(json_array_get(offsets, 0)),
               end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end < begin || (uint64_t)end > data_size)
        return pith_fail(err, PITH_TRUNCATED, where, -1,
                         "tensor \"%.80s\": expected bytes within the %llu the file holds, found %lld to %lld", name,
                         (unsigned long long)data_size, (long long)begin, (long long)end);
    if ((uint64_t)(end - begin) != bytes)
        return pith_fail(err, PITH_CORRUPT, where, -1,
                         "tensor \"%.80s\": expected %llu bytes for its shape, found %lld", name,
                         (unsigned long long)bytes, (long long)(end - begin));
    e->begin = (uint64_t)begin, e->end = (uint64_t)end;
    e->name = memory_text(name);
    return e->name ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

static int by_place(const void *a, const void *b) {
    const safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static pith_status check_places(const safetensors *s, const char *where, pith_error *err) {
    uint64_t at = 0;
    for (size_t i = 0; i < s->count; i++) {
        const safetensors_entry *e = &s->entries[i];
        if (e->begin != at)
            return bad(where, e->name,
                       e->begin < at ? "its bytes overlap another tensor's" : "there is a hole before its bytes", err);
        at = e->end;
    }
    if (at != s->data_size)
        return pith_fail(err, PITH_CORRUPT, where, -1, "expected %llu bytes of tensors, found %llu",
                         (unsigned long long)at, (unsigned long long)s->data_size);
    return PITH_OK;
}

static pith_status read_object(safetensors *s, const char *where, json_t *root, pith_error *err) {
    if (!json_is_object(root)) return pith_fail(err, PITH_CORRUPT, where, LENGTH, "expected a JSON object as header");
    s->entries = memory_zero(json_object_size(root), sizeof *s->entries);
    if (!s->entries) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        if (strcmp(name, "__metadata__") == 0) continue;
        pith_status status = read_entry(where, name, value, s->data_size, &s->entries[s->count], err);
        if (status != PITH_OK) return status;
        s->count++;
    }
    qsort(s->entries, s->count, sizeof *s->entries, by_place);
    return check_places(s, where, err);
}

pith_status safetensors_parse(safetensors *s, const char *where, pith_bytes header, uint64_t data_size,
                              pith_error *err) {
    s->header = header;
    s->data_size = data_size;
    pith_error own = {0};
    json_t *root;
    pith_status status = json_parse(&root, header.data, header.size, where, &own);
    if (status == PITH_OK) status = read_object(s, where, root, err);
    else pith_fail(err, status, where, own.offset < 0 ? -1 : LENGTH + own.offset, "the header: %s", own.text);
    json_decref(root);
    if (status != PITH_OK) safetensors_close(s);
    return status;
}

pith_status safetensors_open(safetensors *s, const char *path, pith_error *err) {
    memset(s, 0, sizeof *s);
    pith_status status = pith_buffer_map(&s->file, path, err);
    if (status != PITH_OK) return status;
    uint64_t size = pith_buffer_size(s->file), length = 0;
    const uint8_t *bytes = pith_buffer_data(s->file);
    if (size < LENGTH + 2)
        status = pith_fail(err, PITH_TRUNCATED, path, (int64_t)size, "expected a safetensors file, found %llu bytes",
                           (unsigned long long)size);
    else {
        memcpy(&length, bytes, LENGTH);
        if (length > longest_header || length > size - LENGTH)
            status = pith_fail(err, length > longest_header ? PITH_LIMIT : PITH_TRUNCATED, path, 0,
                               "expected a header within the file, found a length of %llu", (unsigned long long)length);
        else if (bytes[LENGTH] != '{') status = pith_fail(err, PITH_CORRUPT, path, LENGTH, "expected a JSON header");
    }
    if (status != PITH_OK) {
        safetensors_close(s);
        return status;
    }
    s->data_at = LENGTH + length;
    return safetensors_parse(s, path, (pith_bytes){(uint8_t *)bytes + LENGTH, (size_t)length}, size - s->data_at, err);
}

int64_t safetensors_find(const safetensors *s, const char *name) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->entries[i].name, name) == 0) return (int64_t)i;
    return -1;
}

pith_status safetensors_load(const safetensors *s, size_t i, pith_tensor *out, pith_error *err) {
    const pith_tensor *t = &s->entries[i].layout;
    pith_status status =
        pith_tensor_wrap(out, t->type, t->rank, t->shape, s->file, s->data_at + s->entries[i].begin, err);
    if (status == PITH_OK) out->read_only = true;
    return status;
}
