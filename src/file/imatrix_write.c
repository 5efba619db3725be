/* file/imatrix_write.c - importance matrices in both of llama.cpp's forms (see imatrix.c). */
#include "file/imatrix.h"

#include "base/memory.h"
#include "file/gguf.h"
#include "file/meta_bytes.h"
#include "file/output.h"

#include <math.h>
#include <stdio.h>

static pith_status put_u32(output *o, uint32_t v, pith_error *err) {
    uint8_t bytes[4];
    put32(bytes, v);
    return output_write(o, bytes, sizeof bytes, err);
}

static pith_status put_f32(output *o, double v, pith_error *err) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return put_u32(o, bits, err);
}

static pith_status put_text(output *o, const char *text, pith_error *err) {
    pith_status s = put_u32(o, (uint32_t)strlen(text), err);
    return s == PITH_OK ? output_write(o, text, strlen(text), err) : s;
}

/* Calls are rows over the chunk's size, rounded up, so that none becomes zero. */
static uint32_t calls_of(const imatrix *m, const imatrix_entry *e) {
    double most = 0, size = m->chunk_size ? m->chunk_size : 1;
    for (uint64_t x = 0; x < e->experts; x++) most = fmax(most, e->count[x]);
    return (uint32_t)fmin(ceil(most / size), INT32_MAX);
}

static pith_status write_old(const imatrix *m, const char *path, bool replace, pith_error *err) {
    output *o;
    pith_status s = output_open(&o, path, replace, err);
    if (s != PITH_OK) return s;
    s = put_u32(o, (uint32_t)m->count, err);
    for (size_t i = 0; i < m->count && s == PITH_OK; i++) {
        const imatrix_entry *e = &m->entries[i];
        uint32_t calls = calls_of(m, e);
        s = put_text(o, e->name, err);
        if (s == PITH_OK) s = put_u32(o, calls, err);
        if (s == PITH_OK) s = put_u32(o, (uint32_t)(e->inputs * e->experts), err);
        for (uint64_t k = 0; k < e->inputs * e->experts && s == PITH_OK; k++)
            s = put_f32(o, (double)e->mean[k] * (calls ? calls : 1), err);
    }
    if (s == PITH_OK) s = put_u32(o, m->chunks, err);
    if (s == PITH_OK) s = put_text(o, m->dataset ? m->dataset : "", err);
    if (s == PITH_OK) return output_commit(o, err);
    output_abort(o);
    return s;
}

static pith_status make_meta(const imatrix *m, meta **out, pith_error *err) {
    pith_status s = meta_new(out, err);
    if (s != PITH_OK) return s;
    meta_string set = {m->dataset, m->dataset ? strlen(m->dataset) : 0};
    s = meta_set_text(*out, "general.type", "imatrix", err);
    if (s == PITH_OK) s = meta_set_texts(*out, "imatrix.datasets", &set, m->dataset != NULL, err);
    if (s == PITH_OK) s = meta_set_u32(*out, "imatrix.chunk_count", m->chunks, err);
    if (s == PITH_OK) s = meta_set_u32(*out, "imatrix.chunk_size", m->chunk_size, err);
    return s;
}

static pith_status declare_pair(gguf_writer *w, const imatrix_entry *e, pith_error *err) {
    char name[128];
    pith_tensor layout;
    uint64_t bytes;
    int64_t sums[2] = {(int64_t)e->experts, (int64_t)e->inputs}, counts[2] = {(int64_t)e->experts, 1};
    if (strlen(e->name) > 50)
        return pith_fail(err, PITH_UNSUPPORTED, e->name, -1, "the name is too long for a GGUF importance matrix");
    pith_status s = pith_tensor_layout(&layout, PITH_F32, 2, sums, &bytes, err);
    snprintf(name, sizeof name, "%s.in_sum2", e->name);
    if (s == PITH_OK) s = gguf_writer_declare(w, name, &layout, err);
    if (s == PITH_OK) s = pith_tensor_layout(&layout, PITH_F32, 2, counts, &bytes, err);
    snprintf(name, sizeof name, "%s.counts", e->name);
    return s == PITH_OK ? gguf_writer_declare(w, name, &layout, err) : s;
}

/* The sum whose quotient is the very mean again, where there is one: it lies at most a float beside the product. */
static float sum_of(float mean, double count) {
    float sum = (float)(mean * count);
    const float near[] = {sum, nextafterf(sum, INFINITY), nextafterf(sum, 0)};
    for (int i = 0; i < 3; i++)
        if ((float)(near[i] / count) == mean) return near[i];
    return sum;
}

static pith_status write_pair(gguf_writer *w, const imatrix_entry *e, pith_error *err) {
    float value;
    pith_status s = PITH_OK;
    for (uint64_t k = 0; k < e->inputs * e->experts && s == PITH_OK; k++) {
        double count = e->count[k / e->inputs];
        value = count > 0 ? sum_of(e->mean[k], count) : 0;
        s = gguf_writer_write(w, &value, sizeof value, err);
    }
    for (uint64_t x = 0; x < e->experts && s == PITH_OK; x++) {
        value = (float)e->count[x];
        s = gguf_writer_write(w, &value, sizeof value, err);
    }
    return s;
}

static pith_status write_gguf(const imatrix *m, const char *path, bool replace, pith_error *err) {
    meta *keys = NULL;
    gguf_writer *w = NULL;
    pith_status s = make_meta(m, &keys, err);
    if (s == PITH_OK) s = gguf_writer_open(&w, path, replace, keys, err);
    meta_free(keys);
    for (size_t i = 0; i < m->count && s == PITH_OK; i++) s = declare_pair(w, &m->entries[i], err);
    for (size_t i = 0; i < m->count && s == PITH_OK; i++) s = write_pair(w, &m->entries[i], err);
    if (s == PITH_OK) return gguf_writer_commit(w, err);
    gguf_writer_abort(w);
    return s;
}

pith_status imatrix_write(const imatrix *m, const char *path, bool replace, pith_error *err) {
    size_t n = strlen(path);
    bool old = n > 4 && strcmp(path + n - 4, ".dat") == 0;
    return old ? write_old(m, path, replace, err) : write_gguf(m, path, replace, err);
}
