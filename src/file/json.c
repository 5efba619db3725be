/* file/json.c - the little that pith needs around jansson. */
#include "file/json.h"

#include "base/memory.h"

#include <pthread.h>

/* jansson calls a lack of memory in a string a syntax error; this knows better. */
static _Thread_local uint64_t refused;

static void *allocate(size_t size) {
    void *p = memory_alloc(size);
    refused += p == NULL;
    return p;
}

static void adopt(void) { json_set_alloc_funcs(allocate, memory_free); }

void memory_adopt_jansson(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, adopt);
}

uint64_t json_refusals(void) { return refused; }

pith_status json_parse(json_t **out, const void *bytes, size_t size, const char *where, pith_error *err) {
    json_error_t e;
    memory_adopt_jansson();
    uint64_t before = refused;
    *out = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &e);
    if (*out) return PITH_OK;
    if (refused != before || json_error_code(&e) == json_error_out_of_memory)
        return pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory");
    return pith_fail(err, PITH_CORRUPT, where, e.position, "expected JSON, found in line %d: %s", e.line, e.text);
}

char *json_print(const json_t *value, int indent) {
    memory_adopt_jansson();
    return json_dumps(value, (indent ? JSON_INDENT((size_t)indent) : JSON_COMPACT) | JSON_ENCODE_ANY |
                                 JSON_REAL_PRECISION(15));
}

const char *json_get_text(const json_t *object, const char *key, const char *fallback) {
    const json_t *v = json_object_get(object, key);
    return json_is_string(v) ? json_string_value(v) : fallback;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

double json_get_real(const json_t *object, const char *key, double fallback) {
    const json_t *v = json_object_get(object, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

bool json_get_flag(const json_t *object, const char *key, bool fallback) {
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}
