/* file/idx.c - reader and writer of IDX (Y. LeCun, C. Cortes: the MNIST database, "file format"): two zero bytes, a
 * type, the rank, one big-endian u32 per dimension, the elements. Gzip (RFC 1952) by zlib, whose checksum is checked.
 */
#include "file/idx.h"

#include "base/memory.h"
#include "file/output.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

enum { HEAD = 4, LONGEST_HEAD = HEAD + 4 * PITH_MAX_RANK, PIECE = 1 << 18, GZIP = 16 + MAX_WBITS };

/* Where bytes come from: plain memory, or gzip over it. */
typedef struct idx_stream {
    pith_bytes in;
    size_t at;
    bool gzip, ended;
    z_stream z;
} idx_stream;

static void *zip_alloc(void *user, unsigned count, unsigned size) {
    (void)user;
    return memory_zero(count, size);
}
static void zip_free(void *user, void *p) {
    (void)user;
    memory_free(p);
}

static pith_status stream_open(idx_stream *s, pith_bytes in, pith_error *err) {
    *s = (idx_stream){.in = in, .gzip = in.size >= 2 && in.data[0] == 0x1f && in.data[1] == 0x8b};
    if (!s->gzip) return PITH_OK;
    s->z.zalloc = zip_alloc, s->z.zfree = zip_free;
    if (inflateInit2(&s->z, GZIP) == Z_OK) return PITH_OK;
    s->gzip = false;
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

static void stream_close(idx_stream *s) {
    if (s->gzip) inflateEnd(&s->z);
}

/* Up to `size` bytes; *got is less only where the input ends. */
static pith_status stream_read(idx_stream *s, void *out, size_t size, size_t *got, const char *where, pith_error *err) {
    *got = 0;
    if (!s->gzip) {
        *got = s->in.size - s->at < size ? s->in.size - s->at : size;
        if (*got) memcpy(out, s->in.data + s->at, *got);
        s->at += *got;
        return PITH_OK;
    }
    while (*got < size && !s->ended) {
        size_t in = s->in.size - s->at, room = size - *got;
        s->z.next_in = s->in.data + s->at, s->z.avail_in = (unsigned)(in < INT_MAX ? in : INT_MAX);
        s->z.next_out = (uint8_t *)out + *got, s->z.avail_out = (unsigned)(room < INT_MAX ? room : INT_MAX);
        unsigned offered = s->z.avail_in, wanted = s->z.avail_out;
        int rc = inflate(&s->z, Z_NO_FLUSH);
        s->at += offered - s->z.avail_in, *got += wanted - s->z.avail_out;
        if (rc == Z_STREAM_END) s->ended = true;
        else if (rc == Z_MEM_ERROR) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
        else if (rc == Z_BUF_ERROR) return pith_fail(err, PITH_TRUNCATED, where, (int64_t)s->at, "the gzip data ends");
        else if (rc != Z_OK)
            return pith_fail(err, PITH_CORRUPT, where, (int64_t)s->at, "gzip: %s", s->z.msg ? s->z.msg : "bad data");
    }
    return PITH_OK;
}

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static int type_of(uint8_t code) {
    switch (code) {
    case 0x08: return PITH_U8;
    case 0x09: return PITH_I8;
    case 0x0b: return PITH_I16;
    case 0x0c: return PITH_I32;
    case 0x0d: return PITH_F32;
    case 0x0e: return PITH_F64;
    default: return -1;
    }
}

static void swap_elements(uint8_t *p, uint64_t bytes, unsigned size) {
    for (uint64_t i = 0; i + size <= bytes; i += size)
        for (unsigned a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t t = p[i + a];
            p[i + a] = p[i + b], p[i + b] = t;
        }
}

static pith_status read_exactly(idx_stream *s, void *out, uint64_t size, const char *where, pith_error *err) {
    size_t got;
    pith_status status = stream_read(s, out, size, &got, where, err);
    if (status == PITH_OK && got < size)
        status = pith_fail(err, PITH_TRUNCATED, where, (int64_t)s->at, "expected %llu more bytes, found %zu",
                           (unsigned long long)size, got);
    return status;
}

static pith_status read_header(idx_stream *s, const char *where, int *type, int *rank, int64_t *shape,
                               pith_error *err) {
    uint8_t head[LONGEST_HEAD];
    pith_status status = read_exactly(s, head, HEAD, where, err);
    if (status != PITH_OK) return status;
    *type = type_of(head[2]), *rank = head[3];
    if (head[0] || head[1] || *type < 0) return pith_fail(err, PITH_CORRUPT, where, 0, "expected an IDX file");
    if (*rank < 1 || *rank > PITH_MAX_RANK)
        return pith_fail(err, PITH_UNSUPPORTED, where, 3, "expected 1 to %d dimensions, found %d", PITH_MAX_RANK,
                         *rank);
    status = read_exactly(s, head + HEAD, 4 * (uint64_t)*rank, where, err);
    for (int i = 0; i < *rank && status == PITH_OK; i++) shape[i] = big32(head + HEAD + 4 * i);
    return status;
}

/* The input must end where the array does; reading past it also makes zlib check its sum. */
static pith_status expect_end(idx_stream *s, const char *where, pith_error *err) {
    uint8_t more;
    size_t got;
    pith_status status = stream_read(s, &more, 1, &got, where, err);
    if (status == PITH_OK && (got || s->at < s->in.size))
        status = pith_fail(err, PITH_CORRUPT, where, (int64_t)s->at, "expected the end of the file, found more bytes");
    return status;
}

static pith_status read_array(idx_stream *s, const char *where, const pith_context *c, pith_tensor *out,
                              pith_error *err) {
    int type, rank;
    int64_t shape[PITH_MAX_RANK];
    uint64_t bytes;
    pith_tensor layout;
    pith_status status = read_header(s, where, &type, &rank, shape, err);
    if (status == PITH_OK) status = pith_tensor_layout(&layout, (uint16_t)type, rank, shape, &bytes, err);
    if (status != PITH_OK) return status;
    if (c && bytes > c->memory_limit)
        return pith_fail(err, PITH_LIMIT, where, HEAD, "expected at most %llu bytes of memory, the array needs %llu",
                         (unsigned long long)c->memory_limit, (unsigned long long)bytes);
    /* Deflate cannot grow data more than 1032 times: a short file that promises more lies. */
    uint64_t left = s->in.size - s->at;
    if (bytes > (s->gzip ? 1032 * left + PIECE : left))
        return pith_fail(err, PITH_TRUNCATED, where, HEAD, "expected %llu bytes of data, the file holds %llu",
                         (unsigned long long)bytes, (unsigned long long)left);
    status = pith_tensor_new(out, (uint16_t)type, rank, shape, err);
    if (status == PITH_OK) status = read_exactly(s, out->data, bytes, where, err);
    if (status == PITH_OK) status = expect_end(s, where, err);
    if (status == PITH_OK) swap_elements(out->data, bytes, pith_types[type].block_bytes);
    else pith_tensor_release(out);
    return status;
}

pith_status idx_parse(pith_bytes file, const char *where, const pith_context *c, pith_tensor *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    idx_stream s;
    pith_status status = stream_open(&s, file, err);
    if (status != PITH_OK) return status;
    status = read_array(&s, where, c, out, err);
    stream_close(&s);
    return status;
}

pith_status idx_read(const char *path, const pith_context *c, pith_tensor *out, pith_error *err) {
    pith_buffer *file = NULL;
    memset(out, 0, sizeof *out);
    pith_status s = pith_buffer_map(&file, path, err);
    if (s == PITH_OK) s = idx_parse((pith_bytes){pith_buffer_data(file), pith_buffer_size(file)}, path, c, out, err);
    pith_buffer_release(file);
    return s;
}

bool idx_is(pith_bytes file) {
    if (file.size >= 2 && file.data[0] == 0x1f && file.data[1] == 0x8b) return true;
    return file.size >= HEAD && !file.data[0] && !file.data[1] && type_of(file.data[2]) >= 0 && file.data[3];
}

/* Deflates one run of bytes into the file. */
static pith_status deflate_into(z_stream *z, output *o, const uint8_t *data, uint64_t size, int flush,
                                pith_error *err) {
    uint8_t *piece = memory_alloc(PIECE);
    if (!piece) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    bool more = true;
    while (s == PITH_OK && (more || size)) {
        unsigned in = (unsigned)(size < INT_MAX ? size : INT_MAX);
        z->next_in = (uint8_t *)data, z->avail_in = in;
        z->next_out = piece, z->avail_out = PIECE;
        int rc = deflate(z, size > in ? Z_NO_FLUSH : flush);
        data += in - z->avail_in, size -= in - z->avail_in;
        more = z->avail_out == 0 || (flush == Z_FINISH && rc != Z_STREAM_END);
        s = output_write(o, piece, PIECE - z->avail_out, err);
    }
    memory_free(piece);
    return s;
}

static pith_status write_zipped(output *o, pith_bytes head, pith_bytes data, pith_error *err) {
    z_stream z = {.zalloc = zip_alloc, .zfree = zip_free};
    if (deflateInit2(&z, 9, Z_DEFLATED, GZIP, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = deflate_into(&z, o, head.data, head.size, Z_NO_FLUSH, err);
    if (s == PITH_OK) s = deflate_into(&z, o, data.data, data.size, Z_FINISH, err);
    deflateEnd(&z);
    return s;
}

pith_status idx_write(const char *path, bool replace, const pith_tensor *t, pith_error *err) {
    if ((t->type != PITH_U8 && t->type != PITH_I8) || t->rank < 1)
        return pith_fail(err, PITH_UNSUPPORTED, path, -1, "IDX is written from u8 or i8 of rank 1 or more, found %s",
                         pith_types[t->type].name);
    uint8_t head[LONGEST_HEAD] = {0, 0, t->type == PITH_U8 ? 0x08 : 0x09, t->rank};
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] > UINT32_MAX)
            return pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected dimensions below 2^32, found %lld",
                             (long long)t->shape[i]);
        for (int k = 0; k < 4; k++) head[HEAD + 4 * i + k] = (uint8_t)(t->shape[i] >> (24 - 8 * k));
    }
    pith_bytes h = {head, HEAD + 4 * (size_t)t->rank}, data = {t->data, pith_tensor_bytes(t)};
    size_t n = strlen(path);
    output *o = NULL;
    pith_status s = output_open(&o, path, replace, err);
    if (s != PITH_OK) return s;
    if (n > 3 && strcmp(path + n - 3, ".gz") == 0) s = write_zipped(o, h, data, err);
    else {
        s = output_write(o, h.data, h.size, err);
        if (s == PITH_OK) s = output_write(o, data.data, data.size, err);
    }
    if (s == PITH_OK) return output_commit(o, err);
    output_abort(o);
    return s;
}
