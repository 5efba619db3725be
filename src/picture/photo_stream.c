/* picture/photo_stream.c - a photograph is cut into tiles of whole rows; each is a stream of its own with a hash.
 *
 * A tile has about 2^19 pixels: below that models learn too little, above it large pictures keep too few threads busy.
 * Stream: u32 rows of a tile (the last may have fewer), for each tile u32 bytes and u64 XXH3 of its samples as they lie
 * in memory (16 bits: low byte first), then the tiles. Planes are coded in the order green, red, blue, alpha. */
#include "picture/photo_stream.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "picture/photo_tile.h"

#include <stdatomic.h>
#include <string.h>

enum { TILE_PIXELS = 1 << 19, ENTRY = 12, SAMPLES_A_BYTE = 1 << 15 };

ISA_DECLARE(photo_kernels, photo_kernels);

static const uint8_t plane_order[PHOTO_CHANNELS + 1][PHOTO_CHANNELS] = {{0}, {0}, {0, 1}, {1, 0, 2}, {1, 0, 2, 3}};

typedef struct job { /* of all tiles; `found` and `part` have one a tile */
    const pith_context *c;
    const pith_tensor *t;
    int64_t rows, tiles;
    pith_bytes *part;
    uint64_t *hash;
    atomic_int status;
    atomic_llong done;
} job;

static bool make_tile(const job *j, int64_t k, photo_tile *tile) {
    const int64_t *shape = j->t->shape;
    int64_t left = shape[1] - k * j->rows;
    *tile = (photo_tile){.width = (int32_t)shape[2],
                         .rows = (int32_t)(left < j->rows ? left : j->rows),
                         .channels = (int32_t)shape[3],
                         .largest = j->t->type == PITH_U8 ? 255 : 65535};
    tile->stride = (size_t)tile->width + 2 * PHOTO_EDGE;
    tile->plane_size = tile->stride * ((size_t)tile->rows + 2 * PHOTO_EDGE);
    tile->planes = memory_zero(tile->plane_size * (size_t)tile->channels, sizeof *tile->planes);
    return tile->planes != NULL;
}

/* The samples of tile k, and how many bytes they are. */
static uint8_t *samples_of(const job *j, int64_t k, const photo_tile *tile, size_t *size) {
    size_t row = (size_t)tile->width * (size_t)tile->channels * (j->t->type == PITH_U8 ? 1 : 2);
    *size = row * (size_t)tile->rows;
    return (uint8_t *)j->t->data + (size_t)(k * j->rows) * row;
}

typedef void (*copy_fn)(uint8_t *samples, uint16_t *plane, size_t count, size_t step);

static void from_u8(uint8_t *s, uint16_t *plane, size_t count, size_t step) {
    for (size_t i = 0; i < count; i++) plane[i] = s[i * step];
}
static void to_u8(uint8_t *s, uint16_t *plane, size_t count, size_t step) {
    for (size_t i = 0; i < count; i++) s[i * step] = (uint8_t)plane[i];
}
static void from_u16(uint8_t *s, uint16_t *plane, size_t count, size_t step) {
    for (size_t i = 0; i < count; i++) plane[i] = (uint16_t)(s[2 * i * step] | s[2 * i * step + 1] << 8);
}
static void to_u16(uint8_t *s, uint16_t *plane, size_t count, size_t step) {
    for (size_t i = 0; i < count; i++) put16(s + 2 * i * step, plane[i]);
}

static void copy_planes(const job *j, int64_t k, const photo_tile *tile, bool back) {
    bool wide = j->t->type == PITH_U16;
    copy_fn copy = wide ? back ? to_u16 : from_u16 : back ? to_u8 : from_u8;
    size_t size, width = (size_t)tile->width, step = (size_t)tile->channels;
    uint8_t *samples = samples_of(j, k, tile, &size);
    for (int32_t y = 0; y < tile->rows; y++)
        for (size_t p = 0; p < step; p++) {
            uint16_t *plane =
                tile->planes + p * tile->plane_size + ((size_t)y + PHOTO_EDGE) * tile->stride + PHOTO_EDGE;
            size_t first = (size_t)y * width * step + plane_order[step][p];
            copy(samples + first * (wide ? 2 : 1), plane, width, step);
        }
}

static void fail(job *j, pith_status s) {
    int none = PITH_OK;
    atomic_compare_exchange_strong(&j->status, &none, (int)s);
}

static bool goes_on(job *j) {
    if (atomic_load(&j->status) != PITH_OK) return false;
    pith_status s = pith_progress(j->c, (double)atomic_load(&j->done), (double)j->tiles, "tiles", NULL);
    if (s != PITH_OK) fail(j, s);
    return s == PITH_OK;
}

static void encode_tiles(void *user, int64_t begin, int64_t end, int worker) {
    job *j = user;
    (void)worker;
    for (int64_t k = begin; k < end && goes_on(j); k++) {
        photo_tile tile;
        size_t size;
        bool ok = make_tile(j, k, &tile);
        if (ok) {
            const uint8_t *samples = samples_of(j, k, &tile, &size);
            j->hash[k] = hash_bytes(samples, size);
            copy_planes(j, k, &tile, false);
            ok = ISA_SELECT(photo_kernels)->encode(&tile, &j->part[k]);
        }
        if (!ok) fail(j, PITH_NO_MEMORY);
        memory_free(tile.planes);
        atomic_fetch_add(&j->done, 1);
    }
}

static void decode_tiles(void *user, int64_t begin, int64_t end, int worker) {
    job *j = user;
    (void)worker;
    for (int64_t k = begin; k < end && goes_on(j); k++) {
        photo_tile tile;
        size_t size;
        pith_status s = make_tile(j, k, &tile) ? PITH_OK : PITH_NO_MEMORY;
        if (s == PITH_OK) s = ISA_SELECT(photo_kernels)->decode(j->part[k], &tile);
        if (s == PITH_OK) {
            const uint8_t *samples = samples_of(j, k, &tile, &size);
            copy_planes(j, k, &tile, true);
            if (hash_bytes(samples, size) != j->hash[k]) s = PITH_CORRUPT;
        }
        if (s != PITH_OK) fail(j, s);
        memory_free(tile.planes);
        atomic_fetch_add(&j->done, 1);
    }
}

static pith_status open_job(job *j, const pith_context *c, const pith_tensor *t, int64_t rows, pith_error *err) {
    *j = (job){.c = c, .t = t, .rows = rows, .tiles = (t->shape[1] + rows - 1) / rows};
    j->part = memory_zero((size_t)j->tiles, sizeof *j->part);
    j->hash = memory_zero((size_t)j->tiles, sizeof *j->hash);
    if (j->part && j->hash) return PITH_OK;
    memory_free(j->part);
    memory_free(j->hash);
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld tiles", (long long)j->tiles);
}

/* As few tiles as hold about TILE_PIXELS each, of equal height. */
static int64_t rows_of_tiles(const pith_tensor *t) {
    int64_t pixels = t->shape[1] * t->shape[2], tiles = (pixels + TILE_PIXELS - 1) / TILE_PIXELS;
    if (tiles > t->shape[1]) tiles = t->shape[1];
    return (t->shape[1] + tiles - 1) / tiles;
}

static pith_status join(const job *j, pith_bytes *out, pith_error *err) {
    size_t size = 4 + ENTRY * (size_t)j->tiles, at = size;
    for (int64_t k = 0; k < j->tiles; k++) size += j->part[k].size;
    out->data = memory_alloc(size);
    out->size = size;
    if (!out->data) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %zu bytes", size);
    put32(out->data, (uint32_t)j->rows);
    for (int64_t k = 0; k < j->tiles; k++) {
        put32(out->data + 4 + ENTRY * k, (uint32_t)j->part[k].size);
        put64(out->data + 4 + ENTRY * k + 4, j->hash[k]);
        memcpy(out->data + at, j->part[k].data, j->part[k].size);
        at += j->part[k].size;
    }
    return PITH_OK;
}

pith_status photo_encode(const pith_context *c, const pith_tensor *t, pith_bytes *out, pith_error *err) {
    job j;
    *out = (pith_bytes){0};
    pith_status s = open_job(&j, c, t, rows_of_tiles(t), err);
    if (s != PITH_OK) return s;
    parallel_for(j.tiles, 1, encode_tiles, &j);
    s = (pith_status)atomic_load(&j.status);
    s = s == PITH_OK ? join(&j, out, err) : pith_fail(err, s, NULL, -1, "coding %s", pith_status_name(s));
    for (int64_t k = 0; k < j.tiles; k++) memory_free(j.part[k].data);
    memory_free(j.part);
    memory_free(j.hash);
    return s;
}

uint64_t photo_samples_limit(uint64_t bytes) {
    return bytes > UINT64_MAX / SAMPLES_A_BYTE ? UINT64_MAX : bytes * SAMPLES_A_BYTE;
}

static pith_status damaged(pith_error *err, const char *found) {
    return pith_fail(err, PITH_CORRUPT, "PHOT", -1, "expected a coded photograph, found %s", found);
}

static pith_status read_index(pith_bytes in, job *j, pith_error *err) {
    size_t at = 4 + ENTRY * (size_t)j->tiles;
    for (int64_t k = 0; k < j->tiles; k++) {
        const uint8_t *entry = in.data + 4 + ENTRY * k;
        j->part[k] = (pith_bytes){in.data + at, get32(entry)};
        j->hash[k] = get64(entry + 4);
        if (j->part[k].size > in.size - at) return damaged(err, "a tile that ends behind the picture");
        at += j->part[k].size;
    }
    return at == in.size ? PITH_OK : damaged(err, "bytes behind the last tile");
}

pith_status photo_decode(const pith_context *c, pith_bytes in, pith_tensor *t, pith_error *err) {
    job j;
    int64_t rows = in.size < 4 ? 0 : (int64_t)get32(in.data), height = t->shape[1];
    if (rows < 1 || rows > height) return damaged(err, "tiles of a wrong height");
    if ((uint64_t)((height + rows - 1) / rows) > (in.size - 4) / ENTRY) return damaged(err, "fewer bytes than tiles");
    if ((uint64_t)pith_tensor_elements(t) > photo_samples_limit(in.size))
        return pith_fail(err, PITH_LIMIT, "PHOT", -1, "expected at most %llu samples in %zu bytes, found %lld",
                         (unsigned long long)photo_samples_limit(in.size), in.size, (long long)pith_tensor_elements(t));
    pith_status s = open_job(&j, c, t, rows, err);
    if (s != PITH_OK) return s;
    s = read_index(in, &j, err);
    if (s == PITH_OK) {
        parallel_for(j.tiles, 1, decode_tiles, &j);
        s = (pith_status)atomic_load(&j.status);
        if (s == PITH_CORRUPT) s = damaged(err, "a tile that is none");
        else if (s != PITH_OK) s = pith_fail(err, s, NULL, -1, "decoding %s", pith_status_name(s));
    }
    memory_free(j.part);
    memory_free(j.hash);
    return s;
}
