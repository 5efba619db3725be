/* file/meta.c - the list of typed keys: lookups, conversions, setters. The byte form lives in meta_bytes.c. */
#include "file/meta.h"

#include "base/memory.h"
#include "file/meta_bytes.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct meta_entry {
    char *key;
    meta_type type;
    uint8_t *bytes; /* one zero follows, so that texts are terminated */
    size_t size;
    uint64_t *start; /* array of texts: where each begins, after the array's head */
} meta_entry;

struct meta {
    meta_entry *entry;
    size_t count, capacity;
};

static pith_status no_memory(pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory for metadata");
}

pith_status meta_new(meta **m, pith_error *err) {
    *m = memory_zero(1, sizeof **m);
    return *m ? PITH_OK : no_memory(err);
}

static void entry_free(meta_entry *e) {
    memory_free(e->key);
    memory_free(e->bytes);
    memory_free(e->start);
}

void meta_free(meta *m) {
    if (!m) return;
    for (size_t i = 0; i < m->count; i++) entry_free(&m->entry[i]);
    memory_free(m->entry);
    memory_free(m);
}

pith_status meta_copy(meta **out, const meta *m, pith_error *err) {
    pith_status s = meta_new(out, err);
    for (size_t i = 0; s == PITH_OK && i < m->count; i++) {
        const meta_entry *e = &m->entry[i];
        s = meta_append(*out, e->key, strlen(e->key), e->type, e->bytes, e->size, err);
    }
    if (s != PITH_OK) {
        meta_free(*out);
        *out = NULL;
    }
    return s;
}

size_t meta_count(const meta *m) { return m->count; }
const char *meta_key(const meta *m, size_t i) { return m->entry[i].key; }
meta_type meta_type_at(const meta *m, size_t i) { return m->entry[i].type; }
pith_bytes meta_bytes_at(const meta *m, size_t i) { return (pith_bytes){m->entry[i].bytes, m->entry[i].size}; }

int64_t meta_find(const meta *m, const char *key) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entry[i].key, key) == 0) return (int64_t)i;
    return -1;
}

static const meta_entry *find(const meta *m, const char *key) {
    int64_t i = meta_find(m, key);
    return i < 0 ? NULL : &m->entry[i];
}

bool meta_has(const meta *m, const char *key) { return find(m, key) != NULL; }

static void remove_at(meta *m, size_t i) {
    entry_free(&m->entry[i]);
    memmove(&m->entry[i], &m->entry[i + 1], (m->count - i - 1) * sizeof *m->entry);
    m->count--;
}

void meta_remove(meta *m, const char *key) {
    int64_t i = meta_find(m, key);
    if (i >= 0) remove_at(m, (size_t)i);
}

void meta_remove_prefix(meta *m, const char *prefix) {
    size_t n = strlen(prefix);
    for (size_t i = m->count; i-- > 0;)
        if (strncmp(m->entry[i].key, prefix, n) == 0) remove_at(m, i);
}

/* ---- building ---- */

static bool index_texts(meta_entry *e) {
    uint64_t count = get64(e->bytes + 4), at = 0;
    e->start = memory_zero((size_t)count, sizeof *e->start); /* count was checked against the size */
    if (!e->start) return false;
    for (uint64_t i = 0; i < count; i++) {
        e->start[i] = at;
        at += 8 + get64(e->bytes + META_ARRAY_HEAD + at);
    }
    return true;
}

static bool entry_make(meta_entry *e, const char *key, size_t key_size, meta_type type, size_t size) {
    *e = (meta_entry){.key = memory_text_n(key, key_size), .type = type, .size = size};
    e->bytes = size < SIZE_MAX ? memory_alloc(size + 1) : NULL;
    if (e->key && e->bytes) {
        e->bytes[size] = 0;
        return true;
    }
    entry_free(e);
    return false;
}

/* To be called once the bytes are in place; false (and e freed) without memory. */
static bool entry_finish(meta_entry *e) {
    if (e->type != META_ARRAY || get32(e->bytes) != META_TEXT || index_texts(e)) return true;
    entry_free(e);
    return false;
}

pith_status meta_append(meta *m, const char *key, size_t key_size, meta_type type, const uint8_t *bytes, size_t size,
                        pith_error *err) {
    meta_entry e;
    if (memory_reserve((void **)&m->entry, &m->capacity, m->count + 1, sizeof *m->entry) != 0 ||
        !entry_make(&e, key, key_size, type, size))
        return no_memory(err);
    memcpy(e.bytes, bytes, size);
    if (!entry_finish(&e)) return no_memory(err);
    m->entry[m->count++] = e;
    return PITH_OK;
}

/* Puts a finished entry in the place of one with the same key, else at the end. */
static pith_status put(meta *m, meta_entry *e, pith_error *err) {
    if (!entry_finish(e)) return no_memory(err);
    int64_t i = meta_find(m, e->key);
    if (i >= 0) {
        entry_free(&m->entry[i]);
        m->entry[i] = *e;
        return PITH_OK;
    }
    if (memory_reserve((void **)&m->entry, &m->capacity, m->count + 1, sizeof *m->entry) != 0) {
        entry_free(e);
        return no_memory(err);
    }
    m->entry[m->count++] = *e;
    return PITH_OK;
}

static pith_status set_number(meta *m, const char *key, meta_type type, uint64_t bits, pith_error *err) {
    meta_entry e;
    if (!entry_make(&e, key, strlen(key), type, meta_type_size(type))) return no_memory(err);
    memcpy(e.bytes, &bits, e.size); /* the low bytes of it */
    return put(m, &e, err);
}

static uint32_t float_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

pith_status meta_set_u32(meta *m, const char *key, uint32_t value, pith_error *err) {
    return set_number(m, key, META_U32, value, err);
}
pith_status meta_set_u64(meta *m, const char *key, uint64_t value, pith_error *err) {
    return set_number(m, key, META_U64, value, err);
}
pith_status meta_set_i32(meta *m, const char *key, int32_t value, pith_error *err) {
    return set_number(m, key, META_I32, (uint32_t)value, err);
}
pith_status meta_set_f32(meta *m, const char *key, float value, pith_error *err) {
    return set_number(m, key, META_F32, float_bits(value), err);
}
pith_status meta_set_flag(meta *m, const char *key, bool value, pith_error *err) {
    return set_number(m, key, META_BOOL, value, err);
}

pith_status meta_set_text(meta *m, const char *key, const char *value, pith_error *err) {
    return meta_set_text_n(m, key, value, strlen(value), err);
}

pith_status meta_set_text_n(meta *m, const char *key, const char *value, size_t size, pith_error *err) {
    meta_entry e;
    if (size > SIZE_MAX - 16 || !entry_make(&e, key, strlen(key), META_TEXT, size + 8)) return no_memory(err);
    put64(e.bytes, size);
    if (size) memcpy(e.bytes + 8, value, size);
    return put(m, &e, err);
}

static bool array_make(meta_entry *e, const char *key, meta_type type, uint64_t count, size_t element_bytes) {
    size_t size;
    if (__builtin_add_overflow(element_bytes, (size_t)META_ARRAY_HEAD, &size) ||
        !entry_make(e, key, strlen(key), META_ARRAY, size))
        return false;
    put32(e->bytes, type);
    put64(e->bytes + 4, count);
    return true;
}

pith_status meta_set_texts(meta *m, const char *key, const meta_string *values, uint64_t count, pith_error *err) {
    meta_entry e;
    size_t size = 0;
    for (uint64_t i = 0; i < count; i++)
        if (__builtin_add_overflow(size, values[i].size, &size) || __builtin_add_overflow(size, (size_t)8, &size))
            return no_memory(err);
    if (!array_make(&e, key, META_TEXT, count, size)) return no_memory(err);
    uint8_t *p = e.bytes + META_ARRAY_HEAD;
    for (uint64_t i = 0; i < count; i++) {
        put64(p, values[i].size);
        if (values[i].size) memcpy(p + 8, values[i].data, values[i].size);
        p += 8 + values[i].size;
    }
    return put(m, &e, err);
}

pith_status meta_set_i32s(meta *m, const char *key, const int32_t *values, uint64_t count, pith_error *err) {
    meta_entry e;
    if (count > SIZE_MAX / 8 || !array_make(&e, key, META_I32, count, (size_t)count * 4)) return no_memory(err);
    for (uint64_t i = 0; i < count; i++) put32(e.bytes + META_ARRAY_HEAD + 4 * i, (uint32_t)values[i]);
    return put(m, &e, err);
}

pith_status meta_set_f32s(meta *m, const char *key, const float *values, uint64_t count, pith_error *err) {
    meta_entry e;
    if (count > SIZE_MAX / 8 || !array_make(&e, key, META_F32, count, (size_t)count * 4)) return no_memory(err);
    for (uint64_t i = 0; i < count; i++) put32(e.bytes + META_ARRAY_HEAD + 4 * i, float_bits(values[i]));
    return put(m, &e, err);
}

pith_status meta_set_bytes(meta *m, const char *key, meta_type type, const void *bytes, size_t size, pith_error *err) {
    size_t used;
    const char *wrong = meta_value_end(bytes, size, type, 0, &used);
    if (wrong || used != size)
        return pith_fail(err, PITH_CORRUPT, key, -1, "expected one metadata value, found %s",
                         wrong ? wrong : "bytes after it");
    meta_entry e;
    if (!entry_make(&e, key, strlen(key), type, size)) return no_memory(err);
    memcpy(e.bytes, bytes, size);
    return put(m, &e, err);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char *meta_duplicate(const meta *m, bool *failed) {
    char **keys = memory_zero(m->count, sizeof *keys);
    *failed = !keys;
    if (!keys) return NULL;
    for (size_t i = 0; i < m->count; i++) keys[i] = m->entry[i].key;
    qsort(keys, m->count, sizeof *keys, by_text);
    const char *twice = NULL;
    for (size_t i = 1; i < m->count && !twice; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0) twice = keys[i];
    memory_free(keys);
    return twice;
}

/* ---- reading ---- */

/* An integer or bool as sign and magnitude; false for other types. */
static bool integer(meta_type type, const uint8_t *p, bool *negative, uint64_t *magnitude) {
    int64_t v;
    *negative = false;
    switch (type) {
    case META_U8:
    case META_BOOL: *magnitude = p[0]; return true;
    case META_U16: *magnitude = (uint64_t)p[0] | (uint64_t)p[1] << 8; return true;
    case META_U32: *magnitude = get32(p); return true;
    case META_U64: *magnitude = get64(p); return true;
    case META_I8: v = (int8_t)p[0]; break;
    case META_I16: v = (int16_t)(uint16_t)(p[0] | p[1] << 8); break;
    case META_I32: v = (int32_t)get32(p); break;
    case META_I64: v = (int64_t)get64(p); break;
    default: return false;
    }
    *negative = v < 0;
    *magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    return true;
}

static bool number_u64(meta_type type, const uint8_t *p, uint64_t *out) {
    bool negative;
    uint64_t magnitude;
    if (!integer(type, p, &negative, &magnitude) || negative) return false;
    *out = magnitude;
    return true;
}

static bool number_i64(meta_type type, const uint8_t *p, int64_t *out) {
    bool negative;
    uint64_t magnitude;
    if (!integer(type, p, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative) return false;
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

static bool number_f64(meta_type type, const uint8_t *p, double *out) {
    bool negative;
    uint64_t bits;
    if (type == META_F32) {
        uint32_t half = get32(p);
        float f;
        memcpy(&f, &half, sizeof f);
        *out = f;
    } else if (type == META_F64) {
        bits = get64(p);
        memcpy(out, &bits, sizeof bits);
    } else if (integer(type, p, &negative, &bits)) {
        *out = negative ? -(double)bits : (double)bits;
    } else {
        return false;
    }
    return true;
}

bool meta_u64(const meta *m, const char *key, uint64_t *out) {
    const meta_entry *e = find(m, key);
    return e && number_u64(e->type, e->bytes, out);
}
bool meta_i64(const meta *m, const char *key, int64_t *out) {
    const meta_entry *e = find(m, key);
    return e && number_i64(e->type, e->bytes, out);
}
bool meta_f64(const meta *m, const char *key, double *out) {
    const meta_entry *e = find(m, key);
    return e && number_f64(e->type, e->bytes, out);
}
bool meta_flag(const meta *m, const char *key, bool *out) {
    uint64_t v;
    if (!meta_u64(m, key, &v) || v > 1) return false;
    *out = v != 0;
    return true;
}

const char *meta_text(const meta *m, const char *key, size_t *size) {
    const meta_entry *e = find(m, key);
    if (!e || e->type != META_TEXT) return NULL;
    if (size) *size = e->size - 8;
    return (const char *)e->bytes + 8;
}

bool meta_get_array(const meta *m, const char *key, meta_array *out) {
    const meta_entry *e = find(m, key);
    if (!e || e->type != META_ARRAY) return false;
    *out = (meta_array){.type = (meta_type)get32(e->bytes),
                        .count = get64(e->bytes + 4),
                        .bytes = e->bytes + META_ARRAY_HEAD,
                        .start = e->start};
    return true;
}

static const uint8_t *element(const meta_array *a, uint64_t i) { return a->bytes + i * meta_type_size(a->type); }

bool meta_array_u64(const meta_array *a, uint64_t i, uint64_t *out) { return number_u64(a->type, element(a, i), out); }
bool meta_array_i64(const meta_array *a, uint64_t i, int64_t *out) { return number_i64(a->type, element(a, i), out); }
bool meta_array_f64(const meta_array *a, uint64_t i, double *out) { return number_f64(a->type, element(a, i), out); }

meta_string meta_array_text(const meta_array *a, uint64_t i) {
    if (!a->start) return (meta_string){"", 0};
    const uint8_t *p = a->bytes + a->start[i];
    return (meta_string){(const char *)p + 8, (size_t)get64(p)};
}

/* "llama." + key. False when the model names no architecture or the name is absurdly long. */
static bool model_key(const meta *m, const char *key, char full[256]) {
    const char *architecture = meta_text(m, "general.architecture", NULL);
    if (!architecture) return false;
    int n = snprintf(full, 256, "%s.%s", architecture, key);
    return n > 0 && n < 256;
}

bool meta_model_u64(const meta *m, const char *key, uint64_t *out) {
    char full[256];
    return model_key(m, key, full) && meta_u64(m, full, out);
}
bool meta_model_f64(const meta *m, const char *key, double *out) {
    char full[256];
    return model_key(m, key, full) && meta_f64(m, full, out);
}
bool meta_model_flag(const meta *m, const char *key, bool *out) {
    char full[256];
    return model_key(m, key, full) && meta_flag(m, full, out);
}
const char *meta_model_text(const meta *m, const char *key) {
    char full[256];
    return model_key(m, key, full) ? meta_text(m, full, NULL) : NULL;
}
bool meta_model_array(const meta *m, const char *key, meta_array *out) {
    char full[256];
    return model_key(m, key, full) && meta_get_array(m, full, out);
}
