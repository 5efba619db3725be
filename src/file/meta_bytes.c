/* file/meta_bytes.c - metadata in the byte form of GGUF: checking, parsing, writing.
 *
 * Source: the GGUF specification (ggml docs/gguf.md). A pair is key text, type u32, value; a text is length u64 and
 * bytes; an array is element type u32, count u64 and elements, which may be arrays again. Cost: one pass. */
#include "file/meta_bytes.h"

#include "base/memory.h"

static const struct {
    const char *name;
    size_t size;
} types[META_TYPES] = {
    [META_U8] = {"u8", 1},   [META_I8] = {"i8", 1},    [META_U16] = {"u16", 2}, [META_I16] = {"i16", 2},
    [META_U32] = {"u32", 4}, [META_I32] = {"i32", 4},  [META_F32] = {"f32", 4}, [META_BOOL] = {"bool", 1},
    [META_TEXT] = {"text"},  [META_ARRAY] = {"array"}, [META_U64] = {"u64", 8}, [META_I64] = {"i64", 8},
    [META_F64] = {"f64", 8},
};

const char *meta_type_name(meta_type type) { return (unsigned)type < META_TYPES ? types[type].name : "unknown"; }
size_t meta_type_size(meta_type type) { return (unsigned)type < META_TYPES ? types[type].size : 0; }

static const char *numbers_end(const uint8_t *p, size_t size, meta_type type, uint64_t count, size_t *used) {
    size_t bytes;
    if (__builtin_mul_overflow(count, meta_type_size(type), &bytes) || bytes > size) return "a value cut short";
    if (type == META_BOOL)
        for (size_t i = 0; i < bytes; i++)
            if (p[i] > 1) return "a bool that is neither 0 nor 1";
    *used = bytes;
    return NULL;
}

static const char *text_end(const uint8_t *p, size_t size, size_t *used) {
    if (size < 8) return "a text cut short";
    uint64_t length = get64(p);
    if (length > size - 8) return "a text longer than the file";
    *used = 8 + (size_t)length;
    return NULL;
}

static const char *array_end(const uint8_t *p, size_t size, int depth, size_t *used) {
    if (depth >= META_DEPTH_MAX) return "arrays nested too deep";
    if (size < META_ARRAY_HEAD) return "an array cut short";
    uint32_t type = get32(p);
    uint64_t count = get64(p + 4);
    size_t at = META_ARRAY_HEAD, one;
    if (type >= META_TYPES) return "an array of an unknown type";
    if (meta_type_size(type)) {
        const char *wrong = numbers_end(p + at, size - at, type, count, &one);
        *used = at + one * !wrong;
        return wrong;
    }
    if (count > (size - at) / 8) return "an array longer than the file";
    for (uint64_t i = 0; i < count; i++, at += one) {
        const char *wrong = meta_value_end(p + at, size - at, type, depth + 1, &one);
        if (wrong) return wrong;
    }
    *used = at;
    return NULL;
}

const char *meta_value_end(const uint8_t *p, size_t size, meta_type type, int depth, size_t *used) {
    *used = 0;
    if (type == META_TEXT) return text_end(p, size, used);
    if (type == META_ARRAY) return array_end(p, size, depth, used);
    if ((unsigned)type >= META_TYPES) return "a value of an unknown type";
    return numbers_end(p, size, type, 1, used);
}

static pith_status parse_pair(meta *m, const uint8_t *p, size_t size, size_t *used, const char *where, uint64_t offset,
                              pith_error *err) {
    size_t key_bytes = 0, value_bytes = 0;
    const char *wrong = text_end(p, size, &key_bytes);
    if (wrong)
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)offset, "expected a metadata key, found %s", wrong);
    const char *key = (const char *)p + 8;
    size_t key_size = key_bytes - 8;
    if (key_size == 0 || key_size > META_KEY_MAX || memchr(key, 0, key_size))
        return pith_fail(err, PITH_CORRUPT, where, (int64_t)offset,
                         "expected a metadata key of 1 to %d bytes without zeros, found one of %llu", META_KEY_MAX,
                         (unsigned long long)key_size);
    if (size - key_bytes < 4)
        return pith_fail(err, PITH_TRUNCATED, where, (int64_t)(offset + key_bytes),
                         "expected the type of a metadata value, found the end of the file");
    uint32_t type = get32(p + key_bytes);
    size_t at = key_bytes + 4;
    wrong = meta_value_end(p + at, size - at, (meta_type)type, 0, &value_bytes);
    if (wrong)
        return pith_fail(err, PITH_CORRUPT, where, (int64_t)(offset + at), "metadata key %.*s: found %s (type %u)",
                         (int)(key_size < 64 ? key_size : 64), key, wrong, type);
    *used = at + value_bytes;
    return meta_append(m, key, key_size, (meta_type)type, p + at, value_bytes, err);
}

pith_status meta_parse(meta **out, const uint8_t *bytes, size_t size, uint64_t count, size_t *used, const char *where,
                       uint64_t offset, pith_error *err) {
    meta *m;
    size_t at = 0, one;
    pith_status s = meta_new(&m, err);
    if (s != PITH_OK) return s;
    for (uint64_t i = 0; s == PITH_OK && i < count; i++, at += one) {
        one = 0;
        s = parse_pair(m, bytes + at, size - at, &one, where, offset + at, err);
    }
    if (s == PITH_OK) {
        bool failed;
        const char *twice = meta_duplicate(m, &failed);
        if (failed) s = pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory for metadata");
        else if (twice) s = pith_fail(err, PITH_CORRUPT, where, -1, "metadata key %.64s stands there twice", twice);
    }
    if (s != PITH_OK) {
        meta_free(m);
        return s;
    }
    *used = at;
    *out = m;
    return PITH_OK;
}

pith_status meta_serialize(const meta *m, pith_bytes *out, pith_error *err) {
    size_t size = 0;
    for (size_t i = 0; i < meta_count(m); i++) size += 12 + strlen(meta_key(m, i)) + meta_bytes_at(m, i).size;
    uint8_t *p = memory_alloc(size);
    if (!p) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory for metadata");
    *out = (pith_bytes){p, size};
    for (size_t i = 0; i < meta_count(m); i++) {
        size_t key_size = strlen(meta_key(m, i));
        pith_bytes value = meta_bytes_at(m, i);
        put64(p, key_size);
        memcpy(p + 8, meta_key(m, i), key_size);
        put32(p + 8 + key_size, meta_type_at(m, i));
        p += 12 + key_size;
        memcpy(p, value.data, value.size);
        p += value.size;
    }
    return PITH_OK;
}
