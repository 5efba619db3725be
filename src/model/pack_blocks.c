/* model/pack_blocks.c - block types in fewer bytes: slices of rows, each split into its fields (codes, scales, mins,
 * bytes of the halves) and those coded as planes.
 *
 * u8 2: as in the base. u8 1, then each slice of rows: u32 length, planes as code/planes.h writes them. u8 0: the bytes
 * as they are. A slice holds as many whole rows as 2^20 weights are, at least one. Slices go in parallel; a slice takes
 * two bytes a weight of memory meanwhile. */
#include "model/pack_payload.h"

#include "base/bytes.h"
#include "base/parallel.h"
#include "code/planes.h"
#include "quant/format.h"

#include <string.h>

enum { SLICE_WEIGHTS = 1 << 20, SLICES_AT_ONCE = 16 };
enum { RAW, PLANES, BASE, WAYS }; /* first byte of a coded matrix: append only */

typedef struct slice {
    pith_bytes coded; /* encoding: owned */
    pith_status status;
    pith_error error;
} slice;

typedef struct job {
    pith_packed *packed;
    int64_t rows_a_slice;
    slice *slice;
    int64_t first; /* slice that slice[0] is */
} job;

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status open_packed(pith_packed *p, const pack_item *item, pith_error *err) {
    pith_tensor t;
    uint64_t bytes;
    int64_t shape[2] = {item->piece->rows, pith_tensor_cols(item->layout)};
    pith_status s = pith_tensor_layout(&t, item->layout->type, 2, shape, &bytes, err);
    if (s != PITH_OK) return s;
    t.data = item->bytes.data;
    return pith_packed_from_tensor(p, &t, err);
}

static int64_t rows_of(const pith_packed *p) {
    int64_t rows = SLICE_WEIGHTS / (p->cols > 0 ? p->cols : 1);
    return rows > 1 ? rows : 1;
}

static int64_t rows_in(const job *j, int64_t row) {
    return j->packed->rows - row < j->rows_a_slice ? j->packed->rows - row : j->rows_a_slice;
}

static void free_planes(pith_bytes *plane, int n) {
    for (int k = 0; k < n; k++) memory_free(plane[k].data);
}

static void encode_slices(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    job *j = user;
    for (int64_t i = begin; i < end; i++) {
        slice *x = &j->slice[i];
        pith_bytes plane[PITH_PLANES];
        int64_t row = (j->first + i) * j->rows_a_slice;
        int n = j->packed->format->split(j->packed, 0, row, rows_in(j, row), plane);
        x->status = n < 0 ? no_memory(&x->error) : planes_encode(plane, (size_t)n, &x->coded, &x->error);
        if (n > 0) free_planes(plane, n);
    }
}

/* Sizes of a slice's planes, from a split of nothing: planes hold whole blocks, so sizes are in proportion. */
static int plane_sizes(const pith_packed *p, int64_t rows, pith_bytes plane[PITH_PLANES]) {
    int n = p->format->split(p, 0, 0, 1, plane);
    if (n < 0) return -1;
    free_planes(plane, n);
    for (int k = 0; k < n; k++) plane[k] = (pith_bytes){NULL, plane[k].size * (size_t)rows};
    return n;
}

static pith_status decode_slice(const job *j, int64_t row, const slice *x, pith_error *err) {
    pith_bytes plane[PITH_PLANES];
    int64_t rows = rows_in(j, row);
    int n = plane_sizes(j->packed, rows, plane);
    if (n < 0) return no_memory(err);
    pith_status s = PITH_OK;
    for (int k = 0; k < n; k++)
        if (!(plane[k].data = memory_alloc(plane[k].size))) s = no_memory(err);
    if (s == PITH_OK) s = planes_decode(x->coded, plane, (size_t)n, err);
    if (s == PITH_OK) s = j->packed->format->join(j->packed, 0, row, rows, plane, err);
    free_planes(plane, n);
    return s;
}

static void decode_slices(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    job *j = user;
    for (int64_t i = begin; i < end; i++)
        j->slice[i].status = decode_slice(j, (j->first + i) * j->rows_a_slice, &j->slice[i], &j->slice[i].error);
}

/* The first failure of some slices, if any. */
static pith_status outcome(const slice *x, int64_t n, pith_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (x[i].status != PITH_OK)
            return pith_fail(err, x[i].status, x[i].error.where, x[i].error.offset, "%s", x[i].error.text);
    return PITH_OK;
}

static bool append_slices(const slice *x, int64_t n, growing_bytes *out) {
    for (int64_t i = 0; i < n; i++) {
        bytes_append32(out, (uint32_t)x[i].coded.size);
        bytes_append(out, x[i].coded.data, x[i].coded.size);
    }
    return !out->failed;
}

static pith_status encode_planes(const pith_context *c, pith_packed *p, growing_bytes *out, pith_error *err) {
    job j = {.packed = p, .rows_a_slice = rows_of(p)};
    int64_t slices = (p->rows + j.rows_a_slice - 1) / j.rows_a_slice;
    slice x[SLICES_AT_ONCE];
    pith_status s = PITH_OK;
    j.slice = x;
    for (; j.first < slices && s == PITH_OK; j.first += SLICES_AT_ONCE) {
        int64_t n = slices - j.first < SLICES_AT_ONCE ? slices - j.first : SLICES_AT_ONCE;
        s = pith_progress(c, (double)j.first, (double)slices, "slices", err);
        if (s != PITH_OK) break;
        memset(x, 0, sizeof x);
        parallel_for(n, 1, encode_slices, &j);
        s = outcome(x, n, err);
        if (s == PITH_OK && !append_slices(x, n, out)) s = no_memory(err);
        for (int64_t i = 0; i < n; i++) memory_free(x[i].coded.data);
    }
    return s;
}

pith_status pack_blocks_encode(const pith_context *c, const pack_item *item, pith_bytes *out, pith_error *err) {
    pith_packed p = {0};
    growing_bytes b = {0};
    pith_status s = PITH_OK;
    if (item->base.size && memcmp(item->base.data, item->bytes.data, item->bytes.size) == 0)
        bytes_append(&b, &(uint8_t){BASE}, 1);
    else {
        s = open_packed(&p, item, err);
        bytes_append(&b, &(uint8_t){PLANES}, 1);
        if (s == PITH_OK && p.format->split) s = encode_planes(c, &p, &b, err);
        if (s == PITH_OK && (!p.format->split || b.size > item->bytes.size)) {
            b.size = 0;
            bytes_append(&b, &(uint8_t){RAW}, 1);
            bytes_append(&b, item->bytes.data, item->bytes.size);
        }
        pith_packed_release(&p);
    }
    if (s == PITH_OK && b.failed) s = no_memory(err);
    if (s != PITH_OK) memory_free(b.data);
    *out = s == PITH_OK ? (pith_bytes){b.data, b.size} : (pith_bytes){NULL, 0};
    return s;
}

const char *pack_blocks_way(pith_bytes coded) {
    static const char *const name[WAYS] = {"raw", "planes", "base"};
    return coded.size && *coded.data < WAYS ? name[*coded.data] : "unknown";
}

/* ---- decoding ---- */

static pith_status take_slice(pith_bytes *in, pith_bytes *out, pith_error *err) {
    uint32_t length = 0;
    if (bytes_take32(in, &length) && bytes_take(in, length, out)) return PITH_OK;
    return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a slice of %u bytes, found %zu", length, in->size);
}

static pith_status decode_planes(const pith_context *c, pith_bytes in, pith_packed *p, pith_error *err) {
    job j = {.packed = p, .rows_a_slice = rows_of(p)};
    int64_t slices = (p->rows + j.rows_a_slice - 1) / j.rows_a_slice;
    slice x[SLICES_AT_ONCE];
    pith_status s = PITH_OK;
    j.slice = x;
    for (; j.first < slices && s == PITH_OK; j.first += SLICES_AT_ONCE) {
        int64_t n = slices - j.first < SLICES_AT_ONCE ? slices - j.first : SLICES_AT_ONCE;
        memset(x, 0, sizeof x);
        s = pith_progress(c, (double)j.first, (double)slices, "slices", err);
        for (int64_t i = 0; i < n && s == PITH_OK; i++) s = take_slice(&in, &x[i].coded, err);
        if (s != PITH_OK) break;
        parallel_for(n, 1, decode_slices, &j);
        s = outcome(x, n, err);
    }
    if (s == PITH_OK && in.size) s = pith_fail(err, PITH_CORRUPT, NULL, -1, "bytes behind the last slice");
    return s;
}

pith_status pack_blocks_decode(const pith_context *c, pith_bytes in, const pack_item *item, pith_error *err) {
    if (!in.size) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a coded tensor, found nothing");
    uint8_t way = *in.data++;
    in.size--;
    if (way == RAW && in.size == item->bytes.size) {
        if (in.size) memcpy(item->bytes.data, in.data, in.size);
        return PITH_OK;
    }
    if (way == BASE && !in.size && item->base.size == item->bytes.size) {
        if (item->base.size) memcpy(item->bytes.data, item->base.data, item->base.size);
        return PITH_OK;
    }
    pith_packed p = {0};
    pith_status s = open_packed(&p, item, err);
    if (s == PITH_OK && (way != PLANES || !p.format->split || !p.format->join))
        s = pith_fail(err, PITH_CORRUPT, NULL, -1, "expected a coded tensor, found another kind of bytes");
    if (s == PITH_OK && p.rows && p.cols) s = decode_planes(c, in, &p, err);
    pith_packed_release(&p);
    return s;
}
