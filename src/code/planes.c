/* code/planes.c - byte planes by the smallest of three ways: for each plane a kind (u8) and a length (u64), then all
 * payloads. */
#include "code/planes.h"

#include "base/bytes.h"
#include "code/bulk.h"
#include "code/table.h"

#include <string.h>
#include <zstd.h>

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

enum { QUICK = 3, BEST = 19, LARGE = 1 << 22, BEST_LARGE = 12, SURE = 4096, SAMPLE = 16384 };

static pith_status zstd_at(pith_bytes in, int level, pith_bytes *out, pith_error *err) {
    size_t room = ZSTD_compressBound(in.size);
    uint8_t *data = memory_alloc(room);
    if (!data) return no_memory(err);
    size_t size = ZSTD_compress(data, room, in.data, in.size, level);
    if (ZSTD_isError(size)) {
        memory_free(data);
        return no_memory(err); /* with enough room nothing else can go wrong */
    }
    *out = (pith_bytes){data, size};
    return PITH_OK;
}

static pith_status zstd_size(pith_bytes in, int level, size_t *size, pith_error *err) {
    pith_bytes out = {NULL, 0};
    pith_status s = zstd_at(in, level, &out, err);
    if (s != PITH_OK) return s;
    *size = out.size;
    memory_free(out.data);
    return PITH_OK;
}

/* Whether the best level may come below `rival`: at once if a quick one does; else, where that one comes near, if the
 * best finds more in a piece of the middle than the entropy of its bytes. Most planes of weights are noise to it. */
static pith_status promising(pith_bytes in, size_t rival, bool *yes, pith_error *err) {
    size_t size = 0;
    pith_status s = zstd_size(in, QUICK, &size, err);
    *yes = s == PITH_OK && size < rival;
    if (s != PITH_OK || *yes || size > rival + rival / 8) return s;
    pith_bytes piece = in;
    if (in.size > 2 * SAMPLE) piece = (pith_bytes){in.data + (in.size - SAMPLE) / 2, SAMPLE};
    uint32_t counts[256] = {0};
    table_count(counts, piece.data, piece.size);
    s = zstd_size(piece, BEST, &size, err);
    *yes = s == PITH_OK && (double)size < table_cost(NULL, counts) / 8;
    return s;
}

pith_status planes_zstd(pith_bytes in, size_t rival, pith_bytes *out, pith_error *err) {
    bool yes = true;
    *out = (pith_bytes){NULL, 0};
    pith_status s = in.size > SURE ? promising(in, rival, &yes, err) : PITH_OK;
    return s == PITH_OK && yes ? zstd_at(in, in.size > LARGE ? BEST_LARGE : BEST, out, err) : s;
}

pith_status planes_unzstd(pith_bytes in, pith_bytes out, pith_error *err) {
    size_t size = ZSTD_decompress(out.data, out.size, in.data, in.size);
    if (ZSTD_isError(size) || size != out.size)
        return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %zu bytes in a zstd frame, found %s", out.size,
                         ZSTD_isError(size) ? ZSTD_getErrorName(size) : "fewer");
    return PITH_OK;
}

static pith_status encode_one(pith_bytes in, uint8_t *kind, pith_bytes *out, pith_error *err) {
    pith_bytes z;
    pith_status s = bulk_encode(in, BULK_FAST, out, err);
    if (s != PITH_OK) return s;
    *kind = PLANES_BULK;
    if (out->size <= 16 + in.size / 4096) return PITH_OK; /* as good as nothing left */
    s = planes_zstd(in, out->size, &z, err);
    if (s == PITH_OK && z.data && z.size < out->size) {
        memory_free(out->data);
        *out = z;
        *kind = PLANES_ZSTD;
    } else memory_free(z.data);
    if (s == PITH_OK && out->size >= in.size && in.size > 0) {
        memcpy(out->data, in.data, in.size); /* neither shrank: there is room */
        out->size = in.size;
        *kind = PLANES_RAW;
    }
    return s;
}

enum { ENTRY = 9 };

pith_status planes_encode(const pith_bytes *planes, size_t count, pith_bytes *out, pith_error *err) {
    size_t total = ENTRY * count, done = 0;
    pith_bytes *coded = memory_zero(count, sizeof *coded);
    uint8_t *kind = memory_zero(count, 1);
    pith_status s = coded && kind ? PITH_OK : no_memory(err);
    *out = (pith_bytes){NULL, 0};
    for (; done < count && s == PITH_OK; done++) {
        s = encode_one(planes[done], &kind[done], &coded[done], err);
        total += coded[done].size;
    }
    uint8_t *p = s == PITH_OK ? memory_alloc(total) : NULL;
    if (p) {
        *out = (pith_bytes){p, total};
        for (size_t i = 0; i < count; i++, p += ENTRY) {
            *p = kind[i];
            put64(p + 1, coded[i].size);
        }
        for (size_t i = 0; i < count; p += coded[i].size, i++) memcpy(p, coded[i].data, coded[i].size);
    } else if (s == PITH_OK) s = no_memory(err);
    for (size_t i = 0; coded && i < done; i++) memory_free(coded[i].data);
    memory_free(coded);
    memory_free(kind);
    return s;
}

static pith_status decode_one(int kind, pith_bytes in, pith_bytes out, pith_error *err) {
    switch (kind) {
    case PLANES_RAW:
        if (in.size != out.size) break;
        if (out.size) memcpy(out.data, in.data, out.size);
        return PITH_OK;
    case PLANES_BULK: return bulk_decode(in, out, err);
    case PLANES_ZSTD: return planes_unzstd(in, out, err);
    default: break;
    }
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected a plane of %zu bytes, found kind %d of %zu", out.size, kind,
                     in.size);
}

pith_status planes_decode(pith_bytes in, const pith_bytes *planes, size_t count, pith_error *err) {
    if (in.size / ENTRY < count)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %zu planes, found %zu bytes", count, in.size);
    size_t at = ENTRY * count;
    for (size_t i = 0; i < count; i++) {
        uint64_t size = get64(in.data + ENTRY * i + 1);
        if (in.size - at < size)
            return pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)at, "expected a plane of %llu bytes, found %zu",
                             (unsigned long long)size, in.size - at);
        pith_status s = decode_one(in.data[ENTRY * i], (pith_bytes){in.data + at, (size_t)size}, planes[i], err);
        if (s != PITH_OK) return s;
        at += (size_t)size;
    }
    if (at != in.size)
        return pith_fail(err, PITH_CORRUPT, NULL, (int64_t)at, "expected the last plane's end, found more");
    return PITH_OK;
}

void planes_split(const uint8_t *in, size_t n, int width, uint8_t *out) {
    for (int k = 0; k < width; k++)
        for (size_t i = 0; i < n; i++) out[(size_t)k * n + i] = in[i * (size_t)width + (size_t)k];
}

void planes_join(const uint8_t *in, size_t n, int width, uint8_t *out) {
    for (int k = 0; k < width; k++)
        for (size_t i = 0; i < n; i++) out[i * (size_t)width + (size_t)k] = in[(size_t)k * n + i];
}
