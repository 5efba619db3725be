/* code/float_decode.c - groups of floating-point arrays from bytes, plane by plane: a plane's contexts come from the
 * levels and signs of those before it. See docs/format.md. */
#include "base/isa.h"
#include "base/parallel.h"
#include "code/float_group.h"
#include "code/rans.h"

#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status wrong(pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected coded floating-point data, found %s", what);
}

typedef struct chunk_reader {
    const float_shared *s;
    pith_bytes in;
    const uint8_t *escape, *escape_end, *rest, *word;
    uint32_t state[FLOAT_LANES];
} chunk_reader;

/* Levels from symbols; false where the chunk has fewer escapes. */
static bool levels_of(chunk_reader *c, float_arrays *s, size_t at, size_t n, int most) {
    size_t escapes = float_kernels_active()->levels(s->scale + at, s->symbol + at, most, s->level + at, n);
    for (size_t i = at; escapes && i < at + n; i++) {
        if (s->symbol[i] != FLOAT_ESCAPE) continue;
        if (c->escape_end - c->escape < 2) return false;
        uint16_t level = get16(c->escape);
        s->level[i] = (int16_t)(level > most ? most : level);
        c->escape += 2;
        escapes--;
    }
    return true;
}

static uint64_t bits_at(const uint8_t *p, const uint8_t *end, size_t bit) {
    uint64_t w = 0;
    const uint8_t *from = p + (bit >> 3);
    if (end - from >= 8) memcpy(&w, from, 8);
    else memcpy(&w, from, (size_t)(end - from));
    return w >> (bit & 7);
}

/* Elements from levels, signs and rests; the order of memory, as that of the rests. */
static void put_together(const chunk_reader *c, const float_arrays *s, const float_piece *p, bool sign) {
    float_layout f = float_layout_of(p->type);
    int bits = float_rest_bits(p, &s->scales, sign), mantissa = f.mantissa - 2 - s->scales.shift;
    uint32_t mask = (1u << mantissa) - 1;
    size_t plane = (size_t)p->rows * p->inner, bit = 0;
    const uint8_t *end = c->in.data + c->in.size;
    for (size_t i = 0; i < plane; i++)
        for (uint32_t q = 0; q < p->kernel; q++, bit += (size_t)bits) {
            size_t j = q * plane + i;
            uint32_t r = (uint32_t)bits_at(c->rest, end, bit);
            uint32_t top = sign ? r >> mantissa & 1 : s->sign[j];
            uint32_t v = top << (f.exponent + f.mantissa) | (uint32_t)s->level[j] << (f.mantissa - 2) |
                         (r & mask) << s->scales.shift;
            memcpy(p->data + (i * p->kernel + q) * (size_t)f.bytes, &v, f.bytes == 4 ? 4 : 2);
        }
}

static pith_status decode_piece(chunk_reader *c, float_arrays *s, const float_piece *p, pith_error *err) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    const float_kernels *kernels = float_kernels_active();
    const uint8_t *end = c->in.data + c->in.size;
    bool signs = float_signs_modeled(c->s, p);
    int most = (4 << float_layout_of(p->type).exponent) - 1;
    for (uint32_t q = 0; q < p->kernel; q++) {
        float_plane f;
        float_plane_open(&f, p, q, s->distance, s->value, s->no_distance, s->no_value);
        size_t at = (size_t)q * f.plane;
        float_contexts(&f, &s->scales, c->s->classes ? FLOAT_CLASSES : 1, s->scale + at, s->table + at);
        c->word =
            k->decode(&c->s->level_bank, s->table + at, c->state, FLOAT_LANES, c->word, end, s->symbol + at, f.plane);
        if (!levels_of(c, s, at, f.plane, most)) return wrong(err, "fewer escapes than needed");
        if (!signs && (!c->s->classes || p->kernel == 1)) continue;
        kernels->distances(s->level + at, s->scale + at, s->distance + at, f.plane);
        if (!signs) continue;
        kernels->sign_contexts(&f.near, s->distance + at, s->context + at, f.plane);
        for (size_t i = at; i < at + f.plane; i++) s->context[i] = c->s->sign_step[s->context[i]];
        c->word =
            k->decode(&c->s->sign_bank, s->context + at, c->state, FLOAT_LANES, c->word, end, s->sign + at, f.plane);
        kernels->values(s->distance + at, s->sign + at, s->value + at, f.plane);
    }
    put_together(c, s, p, !signs);
    c->rest += float_rest_bytes(p, &s->scales, !signs);
    return PITH_OK;
}

/* Reads the scales of all pieces, by which the places of the other streams are known. */
static pith_status open_chunk(chunk_reader *c, float_arrays *part, const float_piece *p, size_t count,
                              pith_error *err) {
    uint32_t side, escapes;
    if (c->in.size < FLOAT_CHUNK_HEAD)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a chunk's head, found its end");
    side = get32(c->in.data);
    escapes = get32(c->in.data + 4);
    size_t left = c->in.size - FLOAT_CHUNK_HEAD;
    if (left < side || (left - side) / 2 < escapes) return wrong(err, "a chunk shorter than its head says");
    binary_decoder d;
    float_side adaptive;
    float_side_start(&adaptive);
    binary_decode_open(&d, (pith_bytes){c->in.data + FLOAT_CHUNK_HEAD, side});
    size_t rest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!float_arrays_new(&part[i], &p[i])) return no_memory(err);
        if (!float_scales_read(&d, &adaptive, &part[i].scales, &p[i])) return wrong(err, "impossible scales");
        rest += float_rest_bytes(&p[i], &part[i].scales, !float_signs_modeled(c->s, &p[i]));
    }
    if (binary_decode_close(&d) != side) return wrong(err, "scales of another length");
    left -= side + 2 * (size_t)escapes;
    if (left < rest || left - rest < sizeof c->state) return wrong(err, "a chunk shorter than its elements need");
    c->escape = c->in.data + FLOAT_CHUNK_HEAD + side;
    c->escape_end = c->rest = c->escape + 2 * (size_t)escapes;
    c->word = c->rest + rest + sizeof c->state;
    memcpy(c->state, c->rest + rest, sizeof c->state);
    return PITH_OK;
}

static pith_status decode_chunk(const float_shared *s, pith_bytes in, const float_piece *p, size_t count,
                                pith_error *err) {
    chunk_reader c = {.s = s, .in = in};
    float_arrays *part = memory_zero(count, sizeof *part);
    pith_status status = part ? open_chunk(&c, part, p, count, err) : no_memory(err);
    for (size_t i = 0; i < count && status == PITH_OK; i++) status = decode_piece(&c, &part[i], &p[i], err);
    if (status == PITH_OK) {
        bool ended = c.word == in.data + in.size && c.escape == c.escape_end;
        for (int l = 0; l < FLOAT_LANES; l++) ended = ended && c.state[l] == RANS32_LOW;
        if (!ended) status = wrong(err, "a chunk that does not end in its start state");
    }
    for (size_t i = 0; part && i < count; i++) float_arrays_free(&part[i]);
    memory_free(part);
    return status;
}

typedef struct decode_job {
    const float_shared *s;
    const float_piece *piece;
    size_t *first; /* piece of each chunk, and the end */
    pith_bytes *chunk;
    pith_error *error;
} decode_job;

static void decode_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    decode_job *j = user;
    for (int64_t i = begin; i < end; i++)
        decode_chunk(j->s, j->chunk[i], j->piece + j->first[i], j->first[i + 1] - j->first[i], &j->error[i]);
}

/* The shared tables and where the chunks lie. */
static pith_status open_group(pith_bytes in, float_shared *s, size_t chunks, pith_bytes *chunk, pith_error *err) {
    uint32_t head, number;
    if (in.size < 8) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a group's head, found its end");
    head = get32(in.data);
    number = get32(in.data + 4);
    size_t left = in.size - 8;
    if (number != chunks || left < head || (left - head) / 4 < chunks) return wrong(err, "another number of chunks");
    binary_decoder d;
    binary_decode_open(&d, (pith_bytes){in.data + 8, head});
    if (!float_shared_read(&d, s) || binary_decode_close(&d) != head) return wrong(err, "damaged tables");
    const uint8_t *size = in.data + 8 + head;
    size_t at = 8 + head + 4 * chunks;
    for (size_t i = 0; i < chunks; i++) {
        uint32_t n = get32(size + 4 * i);
        if (in.size - at < n)
            return pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)at, "expected a chunk of %u bytes", n);
        chunk[i] = (pith_bytes){in.data + at, n};
        at += n;
    }
    if (at != in.size) return wrong(err, "bytes left over");
    return float_shared_banks(s, true) ? PITH_OK : no_memory(err);
}

pith_status float_decode(pith_bytes in, const float_piece *pieces, size_t count, pith_error *err) {
    size_t chunks = float_chunks(pieces, count);
    float_shared *s = memory_zero(1, sizeof *s);
    pith_bytes *chunk = memory_zero(chunks, sizeof *chunk);
    size_t *first = memory_zero(chunks + 1, sizeof *first);
    pith_error *error = memory_zero(chunks, sizeof *error);
    pith_status status = s && chunk && first && error ? open_group(in, s, chunks, chunk, err) : no_memory(err);
    if (status == PITH_OK) {
        for (size_t i = 0; i < chunks; i++) first[i + 1] = float_chunk_end(pieces, count, first[i]);
        decode_job job = {s, pieces, first, chunk, error};
        parallel_for((int64_t)chunks, 1, decode_range, &job);
        for (size_t i = 0; i < chunks && status == PITH_OK; i++)
            if (error[i].status != PITH_OK) status = pith_fail(err, error[i].status, NULL, -1, "%s", error[i].text);
    }
    if (s) float_shared_free(s);
    memory_free(s);
    memory_free(chunk);
    memory_free(first);
    memory_free(error);
    return status;
}
