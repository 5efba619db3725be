/* code/tensor_ways.c - chooses a way for each tensor and joins the payloads of a group.
 *
 * A group: the ways, as runs (way u8, tensors as a number of 7 bits a byte); then three payloads, each after its length
 * (u64): what the ways of single tensors wrote (each after its own length, a number), the small tensors, joined, by
 * planes.h, and the floating-point pieces of TENSOR_FLOAT and of the words that TENSOR_COPY could not copy. */
#include "code/tensor_ways.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "code/copy_way.h"
#include "code/delta_way.h"
#include "code/float_way.h"
#include "code/planes.h"
#include "code/table.h"
#include "tensor/types.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const char *const names[TENSOR_WAYS] = {"raw",   "small", "same", "zstd", "planes",
                                               "float", "copy",  "base", "delta"};

const char *tensor_way_name(int way) { return way >= 0 && way < TENSOR_WAYS ? names[way] : NULL; }

enum { SMALL = 512 }; /* bytes up to which a tensor that is not floating-point has no payload of its own */

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status wrong(pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected coded tensors, found %s", what);
}

static int word_bytes(uint16_t type) { return type == PITH_F32 ? 4 : 2; }
static int mantissa_bits(uint16_t type) { return type == PITH_F32 ? 23 : type == PITH_F16 ? 10 : 7; }

/* ---- the list of floating-point pieces ---- */

typedef struct pieces {
    float_piece *piece;
    size_t count, capacity;
} pieces;

static bool add_pieces(pieces *p, uint16_t type, int rank, const int64_t *shape, uint8_t *data) {
    size_t n = float_cut(type, rank, shape, data, NULL);
    if (memory_reserve((void **)&p->piece, &p->capacity, p->count + n, sizeof *p->piece) != 0) return false;
    p->count += float_cut(type, rank, shape, data, p->piece + p->count);
    return true;
}

static bool add_words(pieces *p, uint16_t type, pith_bytes words) {
    int64_t n = (int64_t)(words.size / (size_t)word_bytes(type));
    return add_pieces(p, type, 1, &n, words.data);
}

/* ---- choosing ---- */

typedef struct candidate { /* payload so far the smallest of a tensor's */
    int way;
    double size;
    pith_bytes payload;
    pith_bytes literals; /* of TENSOR_COPY */
    size_t same;         /* of TENSOR_SAME */
    pith_error error;
} candidate;

enum { WAVE = 64 }; /* tensors chosen for at once */

typedef struct encoding {
    const tensor_item *item;
    size_t count, first; /* first: tensor that best[0] is of */
    uint8_t *way;
    uint64_t *hash;
    uint8_t **literals; /* of TENSOR_COPY, alive until the pieces are coded */
    candidate best[WAVE];
    growing_bytes single, small;
    pieces floats;
    pith_error *err;
} encoding;

static void offer(candidate *best, int way, pith_bytes payload) {
    if (payload.data && (double)payload.size < best->size) {
        memory_free(best->payload.data);
        best->way = way;
        best->size = (double)payload.size;
        best->payload = payload;
    } else memory_free(payload.data);
}

/* Bytes of the planes' order-0 entropy: a quick look at TENSOR_PLANES. */
static double planes_guess(pith_bytes in, int width) {
    double bits = 0;
    for (int k = 0; k < width; k++) {
        uint32_t counts[256] = {0};
        for (size_t i = (size_t)k; i < in.size; i += (size_t)width) counts[in.data[i]]++;
        bits += table_cost(NULL, counts) + 1000;
    }
    return bits / 8;
}

static void lay_planes(size_t size, int width, uint8_t *memory, pith_bytes *planes) {
    size_t n = size / (size_t)width;
    for (int k = 0; k < width; k++) planes[k] = (pith_bytes){memory + (size_t)k * n, n};
}

enum { MOST_PLANES = 16 };

/* Elements of plain types and short blocks lie apart; longer blocks have no bytes that belong together. */
static int plane_count(const tensor_item *t) {
    int width = pith_types[t->type].block_bytes;
    return width > MOST_PLANES ? 1 : width;
}

static pith_status try_planes(const tensor_item *t, candidate *best) {
    int width = plane_count(t);
    pith_bytes planes[MOST_PLANES], out;
    uint8_t *other = memory_alloc(t->bytes.size);
    if (!other) return no_memory(&best->error);
    planes_split(t->bytes.data, t->bytes.size / (size_t)width, width, other);
    lay_planes(t->bytes.size, width, other, planes);
    pith_status s = planes_encode(planes, (size_t)width, &out, &best->error);
    memory_free(other);
    if (s == PITH_OK) offer(best, TENSOR_PLANES, out);
    return s;
}

static pith_status try_zstd(const tensor_item *t, candidate *best) {
    pith_bytes out;
    size_t rival = best->size < (double)t->bytes.size ? (size_t)best->size : t->bytes.size;
    pith_status s = planes_zstd(t->bytes, rival, &out, &best->error);
    if (s == PITH_OK) offer(best, TENSOR_ZSTD, out);
    return s;
}

static double words_guess(uint16_t type, pith_bytes words) {
    pieces p = {NULL, 0, 0};
    double sum = add_words(&p, type, words) ? 0 : INFINITY;
    for (size_t i = 0; i < p.count; i++) sum += float_guess(&p.piece[i]);
    memory_free(p.piece);
    return sum;
}

enum { COPY_MOST = 1 << 26, COPY_SURE = 1 << 18, COPY_SAMPLE = 1 << 15, COPY_GRAIN = 256 };

/* Payload: lengths of script, signs and literals, then the first two by planes.h. */
static pith_status copy_payload(const copy_parts *c, pith_bytes *out, pith_error *err) {
    growing_bytes b = {0};
    pith_bytes planes[2] = {c->script, c->signs}, coded;
    pith_status s = planes_encode(planes, 2, &coded, err);
    if (s != PITH_OK) return s;
    bool ok = bytes_append_varint(&b, c->script.size) && bytes_append_varint(&b, c->signs.size) &&
              bytes_append_varint(&b, c->literals.size) && bytes_append(&b, coded.data, coded.size);
    memory_free(coded.data);
    if (!ok) memory_free(b.data);
    *out = (pith_bytes){ok ? b.data : NULL, b.size};
    return ok ? PITH_OK : no_memory(err);
}

/* Whether some of the aligned runs of 256 bytes come twice: a look at all of a tensor, at the speed of a hash. */
static bool runs_repeat(pith_bytes in) {
    enum { SLOTS = 1 << 14 };
    size_t repeats = 0, runs = in.size / COPY_GRAIN;
    uint64_t *seen = memory_zero(SLOTS, sizeof *seen);
    for (size_t i = 0; seen && i < runs; i++) {
        uint64_t h = hash_bytes(in.data + i * COPY_GRAIN, COPY_GRAIN);
        repeats += seen[h % SLOTS] == h;
        seen[h % SLOTS] = h;
    }
    memory_free(seen);
    return repeats > runs / 64;
}

/* Whether seeking repeats may pay: in large tensors, where a piece of the middle or a coarse look at all finds some. */
static pith_status copies_likely(const tensor_item *t, bool *likely, pith_error *err) {
    copy_parts c;
    *likely = true;
    if (t->bytes.size <= COPY_SURE || runs_repeat(t->bytes)) return PITH_OK;
    pith_bytes piece = {t->bytes.data + (t->bytes.size / 2 & ~(size_t)63), COPY_SAMPLE};
    pith_status s = copy_encode(piece, word_bytes(t->type), &c, err);
    *likely = s == PITH_OK && c.literals.size < piece.size - piece.size / 32;
    memory_free(c.script.data);
    memory_free(c.signs.data);
    memory_free(c.literals.data);
    return s;
}

static pith_status try_copy(const tensor_item *t, candidate *best) {
    copy_parts c;
    pith_bytes payload = {NULL, 0};
    bool likely;
    pith_status s = copies_likely(t, &likely, &best->error);
    if (s != PITH_OK || !likely) return s;
    s = copy_encode(t->bytes, word_bytes(t->type), &c, &best->error);
    /* a script longer than a sixteenth of the tensor copies little at a time */
    if (s == PITH_OK && c.literals.size < t->bytes.size - t->bytes.size / 16) {
        double rest = words_guess(t->type, c.literals);
        s = copy_payload(&c, &payload, &best->error);
        if (s == PITH_OK && rest + (double)payload.size < 0.998 * best->size) {
            memory_free(best->payload.data);
            best->way = TENSOR_COPY;
            best->size = rest + (double)payload.size;
            best->payload = payload;
            best->literals = c.literals;
            payload.data = NULL;
            c.literals.data = NULL;
        }
    }
    memory_free(payload.data);
    memory_free(c.script.data);
    memory_free(c.signs.data);
    memory_free(c.literals.data);
    return s;
}

static double float_item_guess(const tensor_item *t, pieces *p) {
    double sum = add_pieces(p, t->type, t->rank, t->shape, t->bytes.data) ? 0 : INFINITY;
    /* of many pieces the first four stand for all */
    size_t some = p->count < 4 ? p->count : 4;
    for (size_t i = 0; i < some; i++) sum += float_guess(&p->piece[i]);
    return some ? sum * (double)p->count / (double)some : sum;
}

static pith_status choose_float(const tensor_item *t, candidate *best) {
    pieces own = {NULL, 0, 0};
    pith_status s = PITH_OK;
    double guess = float_item_guess(t, &own);
    memory_free(own.piece);
    if (guess < best->size) {
        best->way = TENSOR_FLOAT;
        best->size = guess;
    }
    if (t->base.size) {
        pith_bytes out;
        s = delta_encode(t->bytes, t->base.data, word_bytes(t->type), mantissa_bits(t->type), &out, &best->error);
        if (s == PITH_OK) offer(best, TENSOR_DELTA, out);
    }
    if (s == PITH_OK && planes_guess(t->bytes, word_bytes(t->type)) < 1.02 * best->size) s = try_planes(t, best);
    if (s == PITH_OK && t->bytes.size > SMALL) s = try_zstd(t, best);
    if (s == PITH_OK && t->bytes.size > SMALL && t->bytes.size <= COPY_MOST) s = try_copy(t, best);
    return s;
}

static pith_status choose_plain(const tensor_item *t, candidate *best) {
    pith_status s = try_planes(t, best);
    return s == PITH_OK ? try_zstd(t, best) : s;
}

/* An earlier tensor with the same bytes; `i` where there is none. */
static size_t find_same(const encoding *e, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (e->hash[k] == e->hash[i] && e->item[k].bytes.size == e->item[i].bytes.size &&
            memcmp(e->item[k].bytes.data, e->item[i].bytes.data, e->item[i].bytes.size) == 0)
            return k;
    return i;
}

/* The way of tensor i and what it writes there, whatever the others do. */
static void choose(const encoding *e, size_t i, candidate *best) {
    const tensor_item *t = &e->item[i];
    *best = (candidate){.way = TENSOR_RAW, .size = (double)t->bytes.size};
    best->same = t->bytes.size > 16 ? find_same(e, i) : i;
    if (t->base.size && memcmp(t->base.data, t->bytes.data, t->bytes.size) == 0) best->way = TENSOR_BASE;
    else if (best->same < i) best->way = TENSOR_SAME;
    else if (t->bytes.size <= (float_type(t->type) ? 16 : SMALL)) best->way = TENSOR_SMALL;
    else if (float_type(t->type)) choose_float(t, best);
    else choose_plain(t, best);
}

static void choose_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    encoding *e = user;
    for (int64_t i = begin; i < end; i++) choose(e, e->first + (size_t)i, &e->best[i]);
}

static void hash_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    encoding *e = user;
    for (int64_t i = begin; i < end; i++) e->hash[i] = hash_bytes(e->item[i].bytes.data, e->item[i].bytes.size);
}

/* Puts what was chosen for tensor i where it belongs. */
static pith_status keep(encoding *e, size_t i, candidate *best) {
    const tensor_item *t = &e->item[i];
    bool ok = true;
    e->way[i] = (uint8_t)best->way;
    e->literals[i] = best->literals.data;
    if (best->error.status != PITH_OK) return pith_fail(e->err, best->error.status, NULL, -1, "%s", best->error.text);
    switch (best->way) {
    case TENSOR_BASE: break;
    case TENSOR_SAME: ok = bytes_append_varint(&e->single, best->same); break;
    case TENSOR_SMALL: ok = bytes_append(&e->small, t->bytes.data, t->bytes.size); break;
    case TENSOR_RAW: ok = bytes_append(&e->single, t->bytes.data, t->bytes.size); break;
    case TENSOR_FLOAT: ok = add_pieces(&e->floats, t->type, t->rank, t->shape, t->bytes.data); break;
    default:
        ok = bytes_append_varint(&e->single, best->payload.size) &&
             bytes_append(&e->single, best->payload.data, best->payload.size);
        if (ok && best->way == TENSOR_COPY) ok = add_words(&e->floats, t->type, best->literals);
    }
    return ok ? PITH_OK : no_memory(e->err);
}

static pith_status choose_all(const pith_context *c, encoding *e) {
    double total = 0, done = 0;
    pith_status s = PITH_OK;
    parallel_for((int64_t)e->count, 1, hash_range, e);
    for (size_t i = 0; i < e->count; i++) total += (double)e->item[i].bytes.size;
    for (; e->first < e->count && s == PITH_OK; e->first += WAVE) {
        size_t n = e->count - e->first < WAVE ? e->count - e->first : WAVE;
        parallel_for((int64_t)n, 1, choose_range, e);
        for (size_t k = 0; k < n; k++) {
            pith_status one = s == PITH_OK ? keep(e, e->first + k, &e->best[k]) : s;
            if (s != PITH_OK) memory_free(e->best[k].literals.data); /* not kept */
            s = one;
            memory_free(e->best[k].payload.data);
            done += (double)e->item[e->first + k].bytes.size;
        }
        if (s == PITH_OK) s = pith_progress(c, done, total, "bytes", e->err);
    }
    return s;
}

/* ---- the group ---- */

static bool append_ways(growing_bytes *b, const uint8_t *way, size_t count) {
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && way[next] == way[i]; next++) continue;
        if (!bytes_append(b, &way[i], 1) || !bytes_append_varint(b, next - i)) return false;
    }
    return true;
}

static bool append_payload(growing_bytes *b, const void *data, size_t size) {
    return bytes_append64(b, size) && bytes_append(b, data, size);
}

static pith_status finish(encoding *e, pith_bytes *out) {
    growing_bytes all = {0};
    pith_bytes small = {NULL, 0}, floats = {NULL, 0}, plane = {e->small.data, e->small.size};
    pith_status s = plane.size ? planes_encode(&plane, 1, &small, e->err) : PITH_OK;
    if (s == PITH_OK && e->floats.count)
        s = float_encode(e->floats.piece, e->floats.count, FLOAT_ALL_CONTEXTS, &floats, e->err);
    if (s == PITH_OK &&
        !(append_ways(&all, e->way, e->count) && append_payload(&all, e->single.data, e->single.size) &&
          append_payload(&all, small.data, small.size) && append_payload(&all, floats.data, floats.size)))
        s = no_memory(e->err);
    memory_free(small.data);
    memory_free(floats.data);
    if (s == PITH_OK) *out = (pith_bytes){all.data, all.size};
    else memory_free(all.data);
    return s;
}

pith_status tensor_ways_encode(const pith_context *c, const tensor_item *items, size_t count, pith_bytes *out,
                               uint8_t *ways, pith_error *err) {
    encoding *e = memory_zero(1, sizeof *e);
    *out = (pith_bytes){NULL, 0};
    if (!e) return no_memory(err);
    *e = (encoding){.item = items, .count = count, .err = err};
    for (size_t i = 0; i < count; i++)
        assert(items[i].type < PITH_TYPES && (!items[i].base.size || items[i].base.size == items[i].bytes.size));
    e->way = memory_zero(count, 1);
    e->hash = memory_zero(count, sizeof *e->hash);
    e->literals = memory_zero(count, sizeof *e->literals);
    pith_status s = e->way && e->hash && e->literals ? choose_all(c, e) : no_memory(err);
    if (s == PITH_OK) s = finish(e, out);
    if (s == PITH_OK && ways && count) memcpy(ways, e->way, count);
    for (size_t i = 0; e->literals && i < count; i++) memory_free(e->literals[i]);
    memory_free(e->literals);
    memory_free(e->hash);
    memory_free(e->way);
    memory_free(e->single.data);
    memory_free(e->small.data);
    memory_free(e->floats.piece);
    memory_free(e);
    return s;
}

/* ---- decoding ---- */

typedef struct decoding {
    const tensor_item *item;
    size_t count;
    uint8_t *way;
    copy_parts *copy; /* of each TENSOR_COPY: script and literals wait for the pieces */
    pith_bytes single, small, floats;
    pieces piece;
    pith_error *err;
} decoding;

static bool take_payload(pith_bytes *in, pith_bytes *out) {
    uint64_t size;
    return bytes_take64(in, &size) && bytes_take(in, size, out);
}

static pith_status open_group(pith_bytes in, decoding *d) {
    for (size_t i = 0; i < d->count;) {
        pith_bytes way;
        uint64_t run;
        if (!bytes_take(&in, 1, &way) || !bytes_take_varint(&in, &run))
            return pith_fail(d->err, PITH_TRUNCATED, NULL, -1, "expected the ways of %zu tensors, found those of %zu",
                             d->count, i);
        if (*way.data >= TENSOR_WAYS || run < 1 || run > d->count - i) return wrong(d->err, "an unknown way");
        memset(d->way + i, *way.data, (size_t)run);
        i += (size_t)run;
    }
    if (!take_payload(&in, &d->single) || !take_payload(&in, &d->small) || !take_payload(&in, &d->floats))
        return pith_fail(d->err, PITH_TRUNCATED, NULL, -1, "expected three payloads, found the end");
    return in.size ? wrong(d->err, "bytes left over") : PITH_OK;
}

static pith_status decode_small(decoding *d) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < d->count; i++)
        if (d->way[i] == TENSOR_SMALL) {
            if (d->item[i].bytes.size > SMALL) return wrong(d->err, "a large tensor among the small");
            total += d->item[i].bytes.size;
        }
    if (!total) return d->small.size ? wrong(d->err, "bytes left over") : PITH_OK;
    pith_bytes plane = {memory_alloc(total), total};
    if (!plane.data) return no_memory(d->err);
    pith_status s = planes_decode(d->small, &plane, 1, d->err);
    for (size_t i = 0; i < d->count && s == PITH_OK; i++)
        if (d->way[i] == TENSOR_SMALL) {
            memcpy(d->item[i].bytes.data, plane.data + at, d->item[i].bytes.size);
            at += d->item[i].bytes.size;
        }
    memory_free(plane.data);
    return s;
}

static pith_status decode_planes(const tensor_item *t, pith_bytes in, pith_error *err) {
    int width = plane_count(t);
    pith_bytes planes[MOST_PLANES];
    uint8_t *other = memory_alloc(t->bytes.size);
    if (!other) return no_memory(err);
    lay_planes(t->bytes.size, width, other, planes);
    pith_status s = planes_decode(in, planes, (size_t)width, err);
    if (s == PITH_OK) planes_join(other, t->bytes.size / (size_t)width, width, t->bytes.data);
    memory_free(other);
    return s;
}

/* Script and signs at once; the literals' memory is filled with the other pieces. */
static pith_status open_copy(decoding *d, size_t i, pith_bytes in) {
    copy_parts *c = &d->copy[i];
    uint64_t script, signs, literals;
    size_t most = d->item[i].bytes.size, width = (size_t)word_bytes(d->item[i].type);
    if (!bytes_take_varint(&in, &script) || !bytes_take_varint(&in, &signs) || !bytes_take_varint(&in, &literals) ||
        script > 16 * (uint64_t)most + 64 || signs > most || literals > most || literals % width)
        return wrong(d->err, "impossible lengths of copies");
    c->script = (pith_bytes){memory_alloc((size_t)script), (size_t)script};
    c->signs = (pith_bytes){memory_alloc((size_t)signs), (size_t)signs};
    c->literals = (pith_bytes){memory_alloc((size_t)literals), (size_t)literals};
    if (!c->script.data || !c->signs.data || !c->literals.data) return no_memory(d->err);
    pith_bytes planes[2] = {c->script, c->signs};
    pith_status s = planes_decode(in, planes, 2, d->err);
    if (s == PITH_OK && !add_words(&d->piece, d->item[i].type, c->literals)) s = no_memory(d->err);
    return s;
}

static pith_status decode_coded(decoding *d, size_t i, pith_bytes in) {
    const tensor_item *t = &d->item[i];
    bool floats = float_type(t->type);
    switch (d->way[i]) {
    case TENSOR_ZSTD: return planes_unzstd(in, t->bytes, d->err);
    case TENSOR_PLANES: return decode_planes(t, in, d->err);
    case TENSOR_COPY: return floats ? open_copy(d, i, in) : wrong(d->err, "copies of words of another type");
    default:
        if (!floats || t->base.size != t->bytes.size)
            return pith_fail(d->err, PITH_MISMATCH, NULL, -1, "expected a base of %zu bytes, found %zu", t->bytes.size,
                             t->base.size);
        return delta_decode(in, t->base.data, word_bytes(t->type), mantissa_bits(t->type), t->bytes, d->err);
    }
}

/* Everything but SAME and what waits for pieces. */
static pith_status decode_single(decoding *d, size_t i) {
    const tensor_item *t = &d->item[i];
    pith_bytes payload;
    uint64_t number;
    switch (d->way[i]) {
    case TENSOR_SMALL: return PITH_OK;
    case TENSOR_FLOAT:
        if (!float_type(t->type)) return wrong(d->err, "floats in a tensor of another type");
        return add_pieces(&d->piece, t->type, t->rank, t->shape, t->bytes.data) ? PITH_OK : no_memory(d->err);
    case TENSOR_BASE:
        if (t->base.size != t->bytes.size)
            return pith_fail(d->err, PITH_MISMATCH, NULL, -1, "expected a base of %zu bytes, found %zu", t->bytes.size,
                             t->base.size);
        if (t->bytes.size) memcpy(t->bytes.data, t->base.data, t->bytes.size);
        return PITH_OK;
    case TENSOR_RAW:
        if (!bytes_take(&d->single, t->bytes.size, &payload)) break;
        if (payload.size) memcpy(t->bytes.data, payload.data, payload.size);
        return PITH_OK;
    case TENSOR_SAME:
        if (!bytes_take_varint(&d->single, &number)) break;
        if (number >= i || d->item[number].bytes.size != t->bytes.size)
            return wrong(d->err, "a tensor like none before it");
        return PITH_OK;
    default:
        if (!bytes_take_varint(&d->single, &number) || !bytes_take(&d->single, number, &payload)) break;
        return decode_coded(d, i, payload);
    }
    return pith_fail(d->err, PITH_TRUNCATED, NULL, -1, "expected tensor %zu of %zu, found the end", i, d->count);
}

/* The second pass over what referred to bytes that were not there yet. */
static pith_status decode_references(decoding *d, pith_bytes single) {
    for (size_t i = 0; i < d->count; i++) {
        const tensor_item *t = &d->item[i];
        uint64_t number;
        pith_bytes skipped;
        if (d->way[i] == TENSOR_RAW) bytes_take(&single, t->bytes.size, &skipped);
        else if (d->way[i] == TENSOR_SAME) {
            bytes_take_varint(&single, &number);
            if (t->bytes.size) memcpy(t->bytes.data, d->item[number].bytes.data, t->bytes.size);
        } else if (d->way[i] != TENSOR_SMALL && d->way[i] != TENSOR_FLOAT && d->way[i] != TENSOR_BASE) {
            bytes_take_varint(&single, &number);
            bytes_take(&single, number, &skipped);
        }
        if (d->way[i] != TENSOR_COPY) continue;
        pith_status s = copy_decode(&d->copy[i], word_bytes(t->type), t->bytes, d->err);
        if (s != PITH_OK) return s;
    }
    return PITH_OK;
}

static pith_status decode_all(const pith_context *c, decoding *d) {
    pith_bytes single = d->single;
    double total = 0, done = 0;
    for (size_t i = 0; i < d->count; i++) total += (double)d->item[i].bytes.size;
    pith_status s = decode_small(d);
    for (size_t i = 0; i < d->count && s == PITH_OK; i++) {
        s = decode_single(d, i);
        if (d->way[i] != TENSOR_FLOAT) done += (double)d->item[i].bytes.size;
        if (s == PITH_OK) s = pith_progress(c, done, total, "bytes", d->err);
    }
    if (s == PITH_OK && d->single.size) s = wrong(d->err, "bytes left over");
    if (s == PITH_OK && (d->piece.count || d->floats.size))
        s = d->piece.count ? float_decode(d->floats, d->piece.piece, d->piece.count, d->err)
                           : wrong(d->err, "bytes left over");
    if (s == PITH_OK) s = decode_references(d, single);
    return s == PITH_OK ? pith_progress(c, total, total, "bytes", d->err) : s;
}

pith_status tensor_ways_decode(const pith_context *c, pith_bytes in, const tensor_item *items, size_t count,
                               pith_error *err) {
    decoding d = {.item = items, .count = count, .err = err};
    d.way = memory_zero(count, 1);
    d.copy = memory_zero(count, sizeof *d.copy);
    pith_status s = d.way && d.copy ? open_group(in, &d) : no_memory(err);
    if (s == PITH_OK) s = decode_all(c, &d);
    for (size_t i = 0; d.copy && i < count; i++) {
        memory_free(d.copy[i].script.data);
        memory_free(d.copy[i].signs.data);
        memory_free(d.copy[i].literals.data);
    }
    memory_free(d.copy);
    memory_free(d.way);
    memory_free(d.piece.piece);
    return s;
}

pith_status tensor_ways_list(pith_bytes in, const tensor_item *items, size_t count, uint8_t *ways, uint64_t *sizes,
                             pith_error *err) {
    decoding d = {.item = items, .count = count, .way = ways, .err = err};
    pith_status s = open_group(in, &d);
    double small = 0, floats = 0;
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        small += ways[i] == TENSOR_SMALL ? (double)items[i].bytes.size : 0;
        floats += ways[i] == TENSOR_FLOAT ? (double)items[i].bytes.size : 0;
    }
    for (size_t i = 0; i < count && s == PITH_OK && sizes; i++) {
        double size = (double)items[i].bytes.size;
        uint64_t number = 0, before = d.single.size;
        pith_bytes skipped;
        bool ok = true;
        if (ways[i] == TENSOR_RAW) ok = bytes_take(&d.single, items[i].bytes.size, &skipped);
        else if (ways[i] == TENSOR_SAME) ok = bytes_take_varint(&d.single, &number);
        else if (ways[i] != TENSOR_SMALL && ways[i] != TENSOR_FLOAT && ways[i] != TENSOR_BASE)
            ok = bytes_take_varint(&d.single, &number) && bytes_take(&d.single, number, &skipped);
        if (!ok) s = pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected tensor %zu of %zu, found the end", i, count);
        sizes[i] = before - d.single.size;
        if (ways[i] == TENSOR_SMALL && small > 0) sizes[i] = (uint64_t)(size / small * (double)d.small.size + 0.5);
        if (ways[i] == TENSOR_FLOAT && floats > 0) sizes[i] = (uint64_t)(size / floats * (double)d.floats.size + 0.5);
    }
    return s;
}
