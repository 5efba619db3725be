/* train/corpus_file.c - reading text files, packed or not. */
#include "train/corpus.h"

#include "base/hash.h"
#include "base/memory.h"
#include "tensor/tensor.h"

#include <lzma.h>
#include <string.h>
#include <zlib.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static pith_status grow(pith_bytes *out, size_t *room, uint64_t limit, const char *path, pith_error *err) {
    size_t wanted = *room ? *room * 2 : (size_t)1 << 20;
    if (wanted > limit) wanted = limit > *room ? (size_t)limit : 0;
    if (!wanted)
        return pith_fail(err, PITH_LIMIT, path, -1, "unpacks to more than the %llu bytes allowed",
                         (unsigned long long)limit);
    uint8_t *p = memory_grow(out->data, wanted, 1);
    if (!p) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    out->data = p;
    *room = wanted;
    return PITH_OK;
}

static pith_status unpack_xz(const char *path, pith_bytes in, uint64_t limit, pith_bytes *out, pith_error *err) {
    lzma_stream z = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&z, limit, LZMA_CONCATENATED) != LZMA_OK)
        return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    z.next_in = in.data, z.avail_in = in.size;
    size_t room = 0;
    pith_status s = PITH_OK;
    lzma_ret code = LZMA_OK;
    while (s == PITH_OK && code == LZMA_OK) {
        if (out->size == room) s = grow(out, &room, limit, path, err);
        if (s != PITH_OK) break;
        z.next_out = out->data + out->size, z.avail_out = room - out->size;
        code = lzma_code(&z, LZMA_FINISH);
        out->size = room - z.avail_out;
    }
    lzma_end(&z);
    if (s == PITH_OK && code != LZMA_STREAM_END)
        s = pith_fail(err, PITH_CORRUPT, path, (int64_t)z.total_in, "the .xz data is damaged or cut short");
    return s;
}

static pith_status unpack_gz(const char *path, pith_bytes in, uint64_t limit, pith_bytes *out, pith_error *err) {
    z_stream z = {0};
    if (inflateInit2(&z, 15 + 32) != Z_OK) return pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    size_t room = 0, used = 0;
    pith_status s = PITH_OK;
    int code = Z_OK;
    while (s == PITH_OK && code == Z_OK) {
        if (out->size == room) s = grow(out, &room, limit, path, err);
        if (s != PITH_OK) break;
        size_t piece = in.size - used < 1u << 30 ? in.size - used : 1u << 30,
               space = room - out->size < 1u << 30 ? room - out->size : 1u << 30;
        z.next_in = in.data + used, z.avail_in = (uInt)piece;
        z.next_out = out->data + out->size, z.avail_out = (uInt)space;
        code = inflate(&z, Z_NO_FLUSH);
        used += piece - z.avail_in;
        out->size += space - z.avail_out;
        if (code == Z_BUF_ERROR && used < in.size) code = Z_OK;
    }
    inflateEnd(&z);
    if (s == PITH_OK && code != Z_STREAM_END)
        s = pith_fail(err, PITH_CORRUPT, path, (int64_t)used, "the .gz data is damaged or cut short");
    return s;
}

pith_status corpus_read_file(const char *path, uint64_t limit, pith_bytes *out, uint64_t *hash, pith_error *err) {
    *out = (pith_bytes){0};
    pith_buffer *file = NULL;
    pith_status s = pith_buffer_map(&file, path, err);
    if (s != PITH_OK) return s;
    pith_bytes in = {pith_buffer_data(file), (size_t)pith_buffer_size(file)};
    *hash = hash_bytes(in.data ? in.data : (const uint8_t *)"", in.size);
    if (ends_with(path, ".xz")) s = unpack_xz(path, in, limit, out, err);
    else if (ends_with(path, ".gz")) s = unpack_gz(path, in, limit, out, err);
    else if (in.size > limit)
        s = pith_fail(err, PITH_LIMIT, path, -1, "holds more than the %llu bytes allowed", (unsigned long long)limit);
    else if (!(out->data = memory_alloc(in.size))) s = pith_fail(err, PITH_NO_MEMORY, path, -1, "out of memory");
    else {
        if (in.size) memcpy(out->data, in.data, in.size);
        out->size = in.size;
    }
    pith_buffer_release(file);
    if (s != PITH_OK) {
        memory_free(out->data);
        *out = (pith_bytes){0};
    }
    return s;
}
