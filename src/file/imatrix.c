/* file/imatrix.c - importance matrices of llama.cpp, both forms.
 *
 * Source: llama.cpp tools/imatrix. Old form: count i32; for each matrix name (i32 length, bytes), calls i32, values i32
 * and that many f32, which are mean square times calls; then, optionally, chunks i32 and the name of the data set. GGUF
 * form: general.type "imatrix", imatrix.* keys, and for each matrix NAME.in_sum2 [experts][inputs] (sum of squares) and
 * NAME.counts [experts][1] (rows summed), both f32. The old form does not say how many experts share a name: they are
 * one long row there. Names are looked up linearly: a model has some hundred. */
#include "file/imatrix.h"

#include "base/memory.h"
#include "file/gguf.h"
#include "file/meta_bytes.h"

#include <math.h>
#include <stdio.h>

enum { NAME_LIMIT = 65535, ENTRY_LIMIT = 1 << 20 };

static pith_status no_memory(const char *where, pith_error *err) {
    return pith_fail(err, PITH_NO_MEMORY, where, -1, "out of memory for an importance matrix");
}

static void entry_free(imatrix_entry *e) {
    memory_free(e->name);
    memory_free(e->mean);
    memory_free(e->count);
}

void imatrix_free(imatrix *m) {
    for (size_t i = 0; i < m->count; i++) entry_free(&m->entries[i]);
    memory_free(m->entries);
    memory_free(m->dataset);
    memset(m, 0, sizeof *m);
}

const imatrix_entry *imatrix_find(const imatrix *m, const char *name) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->entries[i].name, name) == 0) return &m->entries[i];
    return NULL;
}

pith_status imatrix_add(imatrix *m, const char *name, uint64_t inputs, uint64_t experts, imatrix_entry **out,
                        pith_error *err) {
    imatrix_entry e = {.inputs = inputs, .experts = experts};
    size_t n;
    if (imatrix_find(m, name)) return pith_fail(err, PITH_CORRUPT, name, -1, "the matrix stands there twice");
    if (__builtin_mul_overflow(inputs, experts, &n)) return pith_fail(err, PITH_LIMIT, name, -1, "size overflows");
    if (memory_reserve((void **)&m->entries, &m->capacity, m->count + 1, sizeof *m->entries) != 0)
        return no_memory(name, err);
    e.name = memory_text(name);
    e.mean = memory_zero(n, sizeof *e.mean);
    e.count = memory_zero((size_t)experts, sizeof *e.count);
    if (!e.name || !e.mean || !e.count) {
        entry_free(&e);
        return no_memory(name, err);
    }
    m->entries[m->count] = e;
    *out = &m->entries[m->count++];
    return PITH_OK;
}

/* Mean from sum; what was never called counts as 1, as llama.cpp has it. */
static pith_status set_mean(imatrix_entry *e, uint64_t i, double sum, double count, const char *where,
                            pith_error *err) {
    if (!isfinite(sum) || !isfinite(count))
        return pith_fail(err, PITH_NOT_FINITE, where, -1, "%.64s: expected finite values", e->name);
    if (sum < 0 || count < 0)
        return pith_fail(err, PITH_CORRUPT, where, -1, "%.64s: expected values of 0 or more", e->name);
    e->mean[i] = count > 0 ? (float)(sum / count) : 1.0f;
    return PITH_OK;
}

/* ---- old form ---- */

typedef struct cursor {
    const uint8_t *bytes;
    size_t size, at;
    const char *where;
} cursor;

static pith_status read_i32(cursor *c, int32_t low, int32_t high, const char *what, int32_t *out, pith_error *err) {
    if (c->size - c->at < 4)
        return pith_fail(err, PITH_TRUNCATED, c->where, (int64_t)c->at, "expected %s, found the end of the file", what);
    *out = (int32_t)get32(c->bytes + c->at);
    if (*out < low || *out > high)
        return pith_fail(err, PITH_CORRUPT, c->where, (int64_t)c->at, "expected %s from %d to %d, found %d", what, low,
                         high, *out);
    c->at += 4;
    return PITH_OK;
}

/* A text of at least `low` bytes; the caller frees. */
static pith_status read_text(cursor *c, int32_t low, const char *what, char **out, pith_error *err) {
    int32_t length = 0;
    pith_status s = read_i32(c, low, NAME_LIMIT, what, &length, err);
    if (s != PITH_OK) return s;
    if ((size_t)length > c->size - c->at)
        return pith_fail(err, PITH_TRUNCATED, c->where, (int64_t)c->at, "expected %s, found the end of the file", what);
    *out = memory_text_n((const char *)c->bytes + c->at, (size_t)length);
    c->at += (size_t)length;
    return *out ? PITH_OK : no_memory(c->where, err);
}

static pith_status read_old_entry(imatrix *m, cursor *c, pith_error *err) {
    char *name = NULL;
    int32_t calls = 0, values = 0;
    imatrix_entry *e = NULL;
    pith_status s = read_text(c, 1, "the name of a matrix", &name, err);
    if (s == PITH_OK) s = read_i32(c, 0, INT32_MAX, "a number of calls", &calls, err);
    if (s == PITH_OK) s = read_i32(c, 1, INT32_MAX, "a number of values", &values, err);
    if (s == PITH_OK && (size_t)values > (c->size - c->at) / 4)
        s = pith_fail(err, PITH_TRUNCATED, c->where, (int64_t)c->at,
                      "%.64s: expected %d values, found the end of the file", name, values);
    if (s == PITH_OK) s = imatrix_add(m, name, (uint64_t)values, 1, &e, err);
    for (int32_t i = 0; i < values && s == PITH_OK; i++, c->at += 4) {
        uint32_t bits = get32(c->bytes + c->at);
        float value;
        memcpy(&value, &bits, sizeof value);
        s = set_mean(e, (uint64_t)i, value, calls ? calls : 1, c->where, err);
    }
    if (s == PITH_OK) e->count[0] = calls;
    memory_free(name);
    return s;
}

static pith_status parse_old(imatrix *m, cursor *c, pith_error *err) {
    int32_t count = 0, chunks = 0;
    pith_status s = read_i32(c, 1, ENTRY_LIMIT, "a number of matrices", &count, err);
    for (int32_t i = 0; i < count && s == PITH_OK; i++) s = read_old_entry(m, c, err);
    if (s != PITH_OK || c->at == c->size) return s; /* the oldest files end here */
    s = read_i32(c, 0, INT32_MAX, "a number of chunks", &chunks, err);
    m->chunks = (uint32_t)chunks;
    if (s == PITH_OK && c->at < c->size) s = read_text(c, 0, "the name of the data set", &m->dataset, err);
    return s;
}

/* ---- GGUF form ---- */

static int64_t find_tensor(const gguf *g, const char *name) {
    for (size_t i = 0; i < gguf_count(g); i++)
        if (strcmp(gguf_at(g, i)->name, name) == 0) return (int64_t)i;
    return -1;
}

static double f32_at(const pith_tensor *t, uint64_t i) {
    float value;
    memcpy(&value, (const uint8_t *)t->data + 4 * i, sizeof value);
    return value;
}

static pith_status fill_entry(imatrix_entry *e, const pith_tensor *sums, const pith_tensor *counts, const char *where,
                              pith_error *err) {
    pith_status s = PITH_OK;
    for (uint64_t x = 0; x < e->experts && s == PITH_OK; x++) {
        e->count[x] = f32_at(counts, x);
        for (uint64_t i = 0; i < e->inputs && s == PITH_OK; i++)
            s = set_mean(e, x * e->inputs + i, f32_at(sums, x * e->inputs + i), e->count[x], where, err);
    }
    return s;
}

static pith_status read_pair(imatrix *m, const gguf *g, size_t i, const char *where, pith_error *err) {
    static const char ending[] = ".in_sum2";
    const gguf_tensor *t = gguf_at(g, i);
    size_t length = strlen(t->name), cut = sizeof ending - 1;
    char name[NAME_LIMIT + 16];
    if (length <= cut || strcmp(t->name + length - cut, ending) != 0) return PITH_OK;
    snprintf(name, sizeof name, "%.*s.counts", (int)(length - cut), t->name);
    int64_t other = find_tensor(g, name);
    if (other < 0) return pith_fail(err, PITH_CORRUPT, where, -1, "expected tensor %.80s", name);
    uint64_t inputs = (uint64_t)pith_tensor_cols(&t->layout), experts = (uint64_t)pith_tensor_row_count(&t->layout);
    const pith_tensor *c = &gguf_at(g, (size_t)other)->layout;
    if (t->layout.type != PITH_F32 || c->type != PITH_F32 || inputs == 0 || experts == 0 ||
        (uint64_t)pith_tensor_elements(c) != experts)
        return pith_fail(err, PITH_CORRUPT, where, -1, "%.64s: expected f32 sums and one count for each of %llu rows",
                         name, (unsigned long long)experts);
    pith_tensor sums = {0}, counts = {0};
    imatrix_entry *e = NULL;
    name[length - cut] = 0;
    pith_status s = gguf_load(g, i, &sums, err);
    if (s == PITH_OK) s = gguf_load(g, (size_t)other, &counts, err);
    if (s == PITH_OK) s = imatrix_add(m, name, inputs, experts, &e, err);
    if (s == PITH_OK) s = fill_entry(e, &sums, &counts, where, err);
    pith_tensor_release(&sums);
    pith_tensor_release(&counts);
    return s;
}

static pith_status parse_gguf(imatrix *m, pith_buffer *b, const char *where, pith_error *err) {
    gguf *g;
    uint64_t v;
    meta_array sets;
    pith_status s = gguf_open_buffer(&g, b, where, err);
    if (s != PITH_OK) return s;
    const char *type = meta_text(gguf_meta(g), "general.type", NULL);
    if (!type || strcmp(type, "imatrix") != 0)
        s = pith_fail(err, PITH_MISMATCH, where, -1, "expected an importance matrix, found another GGUF file");
    if (meta_u64(gguf_meta(g), "imatrix.chunk_count", &v) && v <= UINT32_MAX) m->chunks = (uint32_t)v;
    if (meta_u64(gguf_meta(g), "imatrix.chunk_size", &v) && v <= UINT32_MAX) m->chunk_size = (uint32_t)v;
    if (meta_get_array(gguf_meta(g), "imatrix.datasets", &sets) && sets.type == META_TEXT && sets.count) {
        meta_string last = meta_array_text(&sets, sets.count - 1);
        m->dataset = memory_text_n(last.data, last.size);
        if (!m->dataset && s == PITH_OK) s = no_memory(where, err);
    }
    for (size_t i = 0; i < gguf_count(g) && s == PITH_OK; i++) s = read_pair(m, g, i, where, err);
    gguf_close(g);
    if (s == PITH_OK && m->count == 0) s = pith_fail(err, PITH_CORRUPT, where, -1, "expected at least one matrix");
    return s;
}

/* ---- public ---- */

static pith_status parse_buffer(imatrix *m, pith_buffer *b, const char *where, pith_error *err) {
    cursor c = {.bytes = pith_buffer_data(b), .size = (size_t)pith_buffer_size(b), .where = where};
    bool is_gguf = c.size >= 4 && memcmp(c.bytes, "GGUF", 4) == 0;
    memset(m, 0, sizeof *m);
    pith_status s = is_gguf ? parse_gguf(m, b, where, err) : parse_old(m, &c, err);
    if (s != PITH_OK) imatrix_free(m);
    return s;
}

pith_status imatrix_read(imatrix *m, const char *path, pith_error *err) {
    pith_buffer *b;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s != PITH_OK) return s;
    s = parse_buffer(m, b, path, err);
    pith_buffer_release(b);
    return s;
}

pith_status imatrix_parse(imatrix *m, const char *where, const void *bytes, size_t size, pith_error *err) {
    pith_buffer *b;
    pith_status s = pith_buffer_wrap(&b, (void *)bytes, size, NULL, NULL, err);
    if (s != PITH_OK) return s;
    s = parse_buffer(m, b, where, err);
    pith_buffer_release(b);
    return s;
}
