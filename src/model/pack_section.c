/* model/pack_section.c - the small sections of a packed model: zstd frames, where there is a base with its bytes of the
 * same kind as prefix, so that what both models share costs next to nothing; and the name of that base. */
#include "model/pack_payload.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

enum { LEVEL = 19, LEAST_WINDOW = 10, MOST_WINDOW = 27 };

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static int window_for(size_t bytes) {
    int log = LEAST_WINDOW;
    while (log < MOST_WINDOW && bytes >> log) log++;
    return log;
}

/* 0 where it would not get shorter. */
static size_t compress(ZSTD_CCtx *z, uint8_t *out, size_t room, pith_bytes bytes, pith_bytes prefix) {
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
    if (prefix.size) {
        ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_for(bytes.size + prefix.size));
        ZSTD_CCtx_refPrefix(z, prefix.data, prefix.size);
    }
    size_t n = ZSTD_compress2(z, out, room, bytes.data, bytes.size);
    return ZSTD_isError(n) || n >= bytes.size ? 0 : n;
}

pith_status pack_section_write(pith_writer *w, const char kind[4], const char *name, pith_bytes bytes,
                               pith_bytes prefix, pith_error *err) {
    size_t room = ZSTD_compressBound(bytes.size);
    uint8_t *packed = memory_alloc(room);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    pith_status s = packed && z ? PITH_OK : no_memory(err);
    if (s == PITH_OK) {
        size_t n = compress(z, packed, room, bytes, prefix);
        pith_section section = {.method = PACK_METHOD, .version = PACK_VERSION, .raw = bytes.size, .name = name};
        memcpy(section.kind, kind, 4);
        if (memcmp(kind, "FILE", 4) != 0) section.flags = PITH_SECTION_MUST_UNDERSTAND;
        s = pith_writer_begin(w, &section, err);
        if (s == PITH_OK) s = pith_writer_write(w, n ? packed : bytes.data, n ? n : bytes.size, err);
        if (s == PITH_OK) s = pith_writer_end(w, err);
    }
    ZSTD_freeCCtx(z);
    memory_free(packed);
    return s;
}

static bool expand(pith_bytes in, pith_bytes prefix, pith_bytes out) {
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (z && prefix.size) ZSTD_DCtx_refPrefix(z, prefix.data, prefix.size);
    bool whole = z && ZSTD_decompressDCtx(z, out.data, out.size, in.data, in.size) == out.size;
    ZSTD_freeDCtx(z);
    return whole;
}

pith_status pack_section_read(pith_reader *r, size_t i, pith_bytes prefix, pith_bytes *out, pith_error *err) {
    const pith_section *section = pith_reader_section(r, i);
    pith_bytes stored;
    pith_status s = pith_reader_view(r, i, &stored, err);
    if (s != PITH_OK) return s;
    pith_bytes raw = {memory_alloc((size_t)section->raw), (size_t)section->raw};
    if (!raw.data) return no_memory(err);
    if (raw.size == stored.size && raw.size) memcpy(raw.data, stored.data, stored.size);
    else if (raw.size != stored.size && !expand(stored, prefix, raw)) {
        memory_free(raw.data);
        return pith_fail(err, PITH_CORRUPT, section->name, (int64_t)section->offset,
                         "expected a zstd frame of %zu bytes", raw.size);
    }
    *out = raw;
    return PITH_OK;
}

/* ---- the base's name: u64 hash, text ---- */

pith_status pack_base_name_write(pith_writer *w, const pack_base_name *b, pith_error *err) {
    uint8_t bytes[8 + sizeof b->name];
    size_t length = strlen(b->name);
    put64(bytes, b->hash);
    memcpy(bytes + 8, b->name, length);
    return pack_section_write(w, "BASE", "model", (pith_bytes){bytes, 8 + length}, (pith_bytes){NULL, 0}, err);
}

pith_status pack_base_name_read(pith_reader *r, bool *found, pack_base_name *b, pith_error *err) {
    int64_t at = pith_reader_find(r, "BASE", "model");
    pith_bytes bytes;
    memset(b, 0, sizeof *b);
    *found = at >= 0;
    if (at < 0) return PITH_OK;
    const pith_section *x = pith_reader_section(r, (size_t)at);
    if (x->method != PACK_METHOD || x->version != PACK_VERSION)
        return pith_fail(err, PITH_UNSUPPORTED, x->name, (int64_t)x->offset, "a base of an unknown kind");
    pith_status s = pack_section_read(r, (size_t)at, (pith_bytes){NULL, 0}, &bytes, err);
    if (s != PITH_OK) return s;
    if (bytes.size < 8 || bytes.size - 8 >= sizeof b->name)
        s = pith_fail(err, PITH_CORRUPT, x->name, (int64_t)x->offset, "expected the hash and name of a base");
    else {
        b->hash = get64(bytes.data);
        memcpy(b->name, bytes.data + 8, bytes.size - 8);
    }
    memory_free(bytes.data);
    return s;
}
