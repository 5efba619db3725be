/* file/npy.c - reader and writer of .npy.
 *
 * Layout: numpy.lib.format of NumPy's documentation: magic, two bytes of version, header length (u16 in version 1, u32
 * later), a Python dictionary with the keys 'descr', 'fortran_order', 'shape', then the data. Only the dictionaries
 * NumPy writes are read, not Python at large. */
#include "file/npy.h"

#include "base/bytes.h"
#include "file/output.h"

#include <stdio.h>
#include <string.h>

enum { MAGIC = 6, FIXED = 10, LONGEST_HEADER = 65536, ALIGNED = 64 };
static const char magic[] = "\x93NUMPY";

static const struct {
    const char *descr;
    uint16_t type;
} descrs[] = {{"<f4", PITH_F32}, {"<f2", PITH_F16}, {"<f8", PITH_F64}, {"|i1", PITH_I8},
              {"<i2", PITH_I16}, {"<i4", PITH_I32}, {"<i8", PITH_I64}, {"|u1", PITH_U8},
              {"<u2", PITH_U16}, {"<u4", PITH_U32}, {"<u8", PITH_U64}, {"|b1", PITH_BOOL}};
enum { DESCRS = sizeof descrs / sizeof descrs[0] };

/* A cursor over the dictionary. */
typedef struct npy_text {
    const char *at, *end;
} npy_text;

static void skip_spaces(npy_text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')) t->at++;
}

static bool take(npy_text *t, char c) {
    skip_spaces(t);
    if (t->at == t->end || *t->at != c) return false;
    t->at++;
    return true;
}

static bool take_word(npy_text *t, const char *word) {
    size_t n = strlen(word);
    skip_spaces(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return false;
    t->at += n;
    return true;
}

static bool take_quoted(npy_text *t, char *out, size_t room) {
    skip_spaces(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    char quote = *t->at++;
    size_t n = 0;
    while (t->at < t->end && *t->at != quote && n + 1 < room) out[n++] = *t->at++;
    out[n] = 0;
    return take(t, quote);
}

static bool take_number(npy_text *t, int64_t *out) {
    skip_spaces(t);
    const char *from = t->at;
    *out = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *t->at - '0', out)) return false;
    return t->at > from;
}

typedef struct npy_header {
    char descr[32];
    bool fortran, has_descr, has_order, has_shape;
    int rank;
    int64_t shape[PITH_MAX_RANK];
} npy_header;

static bool take_shape(npy_text *t, npy_header *h) {
    if (!take(t, '(')) return false;
    while (!take(t, ')')) {
        int64_t n;
        if (!take_number(t, &n)) return false;
        if (h->rank < PITH_MAX_RANK) h->shape[h->rank] = n;
        h->rank++;
        if (!take(t, ',')) return take(t, ')');
    }
    return true;
}

static bool take_item(npy_text *t, npy_header *h) {
    char key[32];
    if (!take_quoted(t, key, sizeof key) || !take(t, ':')) return false;
    bool *seen = NULL, good = false;
    if (strcmp(key, "descr") == 0) seen = &h->has_descr, good = take_quoted(t, h->descr, sizeof h->descr);
    else if (strcmp(key, "shape") == 0) seen = &h->has_shape, good = take_shape(t, h);
    else if (strcmp(key, "fortran_order") == 0) {
        seen = &h->has_order;
        h->fortran = take_word(t, "True");
        good = h->fortran || take_word(t, "False");
    }
    if (!good || *seen) return false;
    *seen = true;
    return true;
}

static bool take_header(npy_text *t, npy_header *h) {
    if (!take(t, '{')) return false;
    while (!take(t, '}')) {
        if (!take_item(t, h)) return false;
        if (!take(t, ',')) {
            if (take(t, '}')) break;
            return false;
        }
    }
    skip_spaces(t);
    return t->at == t->end && h->has_descr && h->has_order && h->has_shape;
}

static int type_of(const char *descr) {
    for (int i = 0; i < DESCRS; i++)
        if (strcmp(descrs[i].descr, descr) == 0) return descrs[i].type;
    /* Byte order means nothing to one byte. */
    if (strcmp(descr, "<i1") == 0 || strcmp(descr, "i1") == 0) return PITH_I8;
    if (strcmp(descr, "<u1") == 0 || strcmp(descr, "u1") == 0) return PITH_U8;
    return -1;
}

static pith_status wrap_or_copy(pith_buffer *file, uint16_t type, const npy_header *h, uint64_t at,
                                const pith_context *c, pith_tensor *out, pith_error *err) {
    pith_tensor view;
    pith_status s = pith_tensor_wrap(&view, type, h->rank, h->shape, file, at, err);
    if (s != PITH_OK) return s;
    view.read_only = true;
    if ((uintptr_t)view.data % pith_types[type].block_bytes == 0) {
        *out = view;
        return PITH_OK;
    }
    uint64_t bytes = pith_tensor_bytes(&view);
    if (c && bytes > c->memory_limit)
        s = pith_fail(err, PITH_LIMIT, NULL, -1, "expected at most %llu bytes of memory, the array needs %llu",
                      (unsigned long long)c->memory_limit, (unsigned long long)bytes);
    else s = pith_tensor_new(out, type, h->rank, h->shape, err);
    if (s == PITH_OK && bytes) memcpy(out->data, view.data, bytes);
    pith_tensor_release(&view);
    return s;
}

static pith_status use_header(pith_buffer *file, const npy_header *h, uint64_t at, const char *where,
                              const pith_context *c, pith_tensor *out, pith_error *err) {
    int type = type_of(h->descr);
    if (type < 0)
        return pith_fail(err, PITH_UNSUPPORTED, where, FIXED, "expected a plain little-endian type, found '%s'",
                         h->descr);
    if (h->rank > PITH_MAX_RANK)
        return pith_fail(err, PITH_UNSUPPORTED, where, FIXED, "expected at most %d dimensions, found %d", PITH_MAX_RANK,
                         h->rank);
    if (h->fortran && h->rank > 1)
        return pith_fail(err, PITH_UNSUPPORTED, where, FIXED, "expected C order, found Fortran order");
    pith_tensor layout;
    uint64_t bytes, held = pith_buffer_size(file) - at;
    pith_status s = pith_tensor_layout(&layout, (uint16_t)type, h->rank, h->shape, &bytes, err);
    if (s != PITH_OK) return s;
    if (bytes != held)
        return pith_fail(err, bytes > held ? PITH_TRUNCATED : PITH_CORRUPT, where, (int64_t)at,
                         "expected %llu bytes of data, found %llu", (unsigned long long)bytes,
                         (unsigned long long)held);
    return wrap_or_copy(file, (uint16_t)type, h, at, c, out, err);
}

pith_status npy_parse(pith_buffer *file, const char *where, const pith_context *c, pith_tensor *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    const uint8_t *p = pith_buffer_data(file);
    uint64_t size = pith_buffer_size(file);
    if (size < FIXED) return pith_fail(err, PITH_TRUNCATED, where, 0, "expected an npy header, the file ends");
    if (memcmp(p, magic, MAGIC) != 0) return pith_fail(err, PITH_CORRUPT, where, 0, "expected an npy file");
    if (p[6] < 1 || p[6] > 3 || p[7] != 0)
        return pith_fail(err, PITH_UNSUPPORTED, where, MAGIC, "expected version 1.0, 2.0 or 3.0, found %u.%u", p[6],
                         p[7]);
    uint64_t fixed = p[6] == 1 ? FIXED : FIXED + 2;
    if (size < fixed) return pith_fail(err, PITH_TRUNCATED, where, 0, "expected an npy header, the file ends");
    uint64_t length = p[6] == 1 ? get16(p + 8) : get32(p + 8);
    if (length > LONGEST_HEADER)
        return pith_fail(err, PITH_LIMIT, where, MAGIC + 2, "expected a header of at most %d bytes, found %llu",
                         LONGEST_HEADER, (unsigned long long)length);
    if (length > size - fixed)
        return pith_fail(err, PITH_TRUNCATED, where, MAGIC + 2, "expected a header of %llu bytes, the file ends",
                         (unsigned long long)length);
    npy_text t = {(const char *)p + fixed, (const char *)p + fixed + length};
    npy_header h = {0};
    if (!take_header(&t, &h))
        return pith_fail(err, PITH_CORRUPT, where, t.at - (const char *)p,
                         "expected a dictionary of 'descr', 'fortran_order' and 'shape'");
    return use_header(file, &h, fixed + length, where, c, out, err);
}

pith_status npy_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err) {
    pith_buffer *file = NULL;
    memset(out, 0, sizeof *out);
    pith_status s = pith_buffer_map(&file, path, err);
    if (s == PITH_OK) s = npy_parse(file, path, c, out, err);
    pith_buffer_release(file);
    return s;
}

static const char *descr_of(uint16_t type) {
    for (int i = 0; i < DESCRS; i++)
        if (descrs[i].type == type) return descrs[i].descr;
    return NULL;
}

/* Magic to newline, padded so that the data begins at a multiple of 64. */
static size_t make_header(const pith_tensor *t, const char *descr, char *out, size_t room) {
    size_t n = FIXED;
    n += (size_t)snprintf(out + n, room - n, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < t->rank; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%lld%s", i ? " " : "", (long long)t->shape[i],
                              i + 1 < t->rank || t->rank == 1 ? "," : "");
    n += (size_t)snprintf(out + n, room - n, "), }");
    size_t whole = (n + 1 + ALIGNED - 1) / ALIGNED * ALIGNED;
    memset(out + n, ' ', whole - n - 1);
    out[whole - 1] = '\n';
    memcpy(out, magic, MAGIC);
    out[6] = 1, out[7] = 0;
    out[8] = (char)((whole - FIXED) & 255), out[9] = (char)((whole - FIXED) >> 8);
    return whole;
}

pith_status npy_begin(output **o, const char *path, bool replace, const pith_tensor *layout, pith_error *err) {
    const char *descr = descr_of(layout->type);
    char header[512];
    if (!descr)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "npy has no type for %s", pith_types[layout->type].name);
    size_t size = make_header(layout, descr, header, sizeof header);
    pith_status s = output_open(o, path, replace, err);
    if (s != PITH_OK) return s;
    s = output_write(*o, header, size, err);
    if (s == PITH_OK) return PITH_OK;
    output_abort(*o);
    *o = NULL;
    return s;
}

pith_status npy_write(const char *path, bool replace, const pith_tensor *t, pith_error *err) {
    output *o = NULL;
    pith_status s = npy_begin(&o, path, replace, t, err);
    if (s != PITH_OK) return s;
    s = output_write(o, t->data, pith_tensor_bytes(t), err);
    if (s == PITH_OK) return output_commit(o, err);
    output_abort(o);
    return s;
}
