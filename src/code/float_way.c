/* code/float_way.c - groups of floating-point arrays: tables, chunks and their streams; see docs/format.md.
 *
 * Cost: 4 to 6 ns an element either way, most of it outside the entropy coder. Modelling exponents by row and column
 * scale is this project's own; the split into planes is that of ZipNN (arXiv 2411.05239). On trained networks the
 * scales gain 0.05 to 0.15 bits an element, the neighbors in 3x3 kernels 0.04 (levels) and 0.03 to 0.17 (signs); in
 * matrices neighbors gain 0.003 and are not used. bench/float_contexts.c prints what each gains. */
#include "base/bytes.h"
#include "base/isa.h"
#include "base/parallel.h"
#include "code/bulk_kernels.h"
#include "code/float_parts.h"
#include "code/rans.h"
#include "code/table.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);

enum { LANES = 32, CHUNK = 1 << 17, LEVEL_BITS = 12, TABLES = FLOAT_CLASSES * FLOAT_PHASES };

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status wrong(pith_error *err, const char *what) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected coded floating-point data, found %s", what);
}

static size_t elements_of(const float_piece *p) { return (size_t)p->rows * p->inner * p->kernel; }

/* Pieces [first, next) make one chunk: as many as fill it. Both directions cut alike. */
static size_t chunk_end(const float_piece *p, size_t count, size_t first) {
    size_t n = 0, i = first;
    while (i < count && n < CHUNK) n += elements_of(&p[i++]);
    return i;
}

static size_t chunks_of(const float_piece *p, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i = chunk_end(p, count, i)) n++;
    return n;
}

/* ---- the shared tables ---- */

typedef struct shared {
    bool classes, signs; /* neighbors choose level tables; signs are modeled in kernels */
    bool present[TABLES];
    pith_table level[TABLES], sign[FLOAT_SIGN_STEPS];
    uint8_t sign_step[256]; /* of a sign context */
    bulk_bank level_bank, sign_bank;
} shared;

static int table_count_of(const shared *s) { return s->classes ? TABLES : FLOAT_PHASES; }

static bool signs_modeled(const shared *s, const float_piece *p) { return s->signs && p->kernel > 1; }

static bool shared_banks(shared *s, bool decoding) {
    for (int i = 0; i < table_count_of(s); i++) {
        if (s->present[i]) continue;
        memset(&s->level[i], 0, sizeof s->level[i]); /* never used in sound data, but must be a table */
        s->level[i].bits = LEVEL_BITS;
        s->level[i].width[FLOAT_CENTER] = 1 << LEVEL_BITS;
    }
    for (int i = 0; i < FLOAT_SIGN_STEPS; i++) {
        memset(&s->sign[i], 0, sizeof s->sign[i]);
        s->sign[i].bits = FLOAT_SIGN_BITS;
        s->sign[i].width[1] = (uint16_t)((2 * i + 1) << (FLOAT_SIGN_BITS - 6));
        s->sign[i].width[0] = (uint16_t)((1 << FLOAT_SIGN_BITS) - s->sign[i].width[1]);
    }
    return table_bank_new(&s->level_bank, s->level, (size_t)table_count_of(s), decoding) &&
           (!s->signs || table_bank_new(&s->sign_bank, s->sign, FLOAT_SIGN_STEPS, decoding));
}

static void shared_free(shared *s) {
    table_bank_free(&s->level_bank);
    table_bank_free(&s->sign_bank);
}

/* The nearest table before that is there: of the same class or the one below, scales a quarter octave apart. */
static const pith_table *hint_for(const shared *s, int i) {
    while (i-- > 0)
        if (s->present[i]) return &s->level[i];
    return NULL;
}

static void shared_write(binary_encoder *e, const shared *s) {
    binary_put_at(e, 32768, s->classes);
    binary_put_at(e, 32768, s->signs);
    for (int i = 0; i < table_count_of(s); i++) {
        binary_put_at(e, 32768, s->present[i]);
        if (s->present[i]) table_write(e, &s->level[i], hint_for(s, i));
    }
    for (int i = 0; s->signs && i < FLOAT_SIGNS; i++)
        for (int b = 4; b >= 0; b--) binary_put_at(e, 32768, s->sign_step[i] >> b & 1);
}

static bool shared_read(binary_decoder *d, shared *s) {
    memset(s, 0, sizeof *s);
    s->classes = binary_get_at(d, 32768);
    s->signs = binary_get_at(d, 32768);
    for (int i = 0; i < table_count_of(s); i++) {
        s->present[i] = binary_get_at(d, 32768);
        if (s->present[i] && !table_read(d, &s->level[i], LEVEL_BITS, hint_for(s, i))) return false;
    }
    for (int i = 0; s->signs && i < FLOAT_SIGNS; i++)
        for (int b = 4; b >= 0; b--) s->sign_step[i] = (uint8_t)(s->sign_step[i] | binary_get_at(d, 32768) << b);
    return true;
}

/* ---- one piece, taken apart (encoder) or being put together (decoder) ---- */

typedef struct parts { /* arrays of all elements, plane after plane */
    float_scales scales;
    int16_t *level, *scale, *value;
    int8_t *distance;
    uint8_t *symbol, *table, *sign, *context;
    int8_t *no_distance;
    int16_t *no_value;
    uint8_t *memory;
} parts;

static bool parts_new(parts *s, const float_piece *p) {
    size_t n = elements_of(p), plane = (size_t)p->rows * p->inner;
    memset(s, 0, sizeof *s);
    if (!float_scales_new(&s->scales, p)) return false;
    s->memory = memory_alloc(11 * n + 3 * plane);
    if (!s->memory) return false;
    s->level = (int16_t *)(void *)s->memory;
    s->scale = s->level + n;
    s->value = s->scale + n;
    s->no_value = s->value + n;
    s->distance = (int8_t *)(s->no_value + plane);
    s->no_distance = s->distance + n;
    s->symbol = (uint8_t *)s->no_distance + plane;
    s->table = s->symbol + n;
    s->sign = s->table + n;
    s->context = s->sign + n;
    memset(s->no_value, 0, plane * sizeof *s->no_value);
    memset(s->no_distance, 0, plane);
    return true;
}

static void parts_free(parts *s) {
    float_scales_free(&s->scales);
    memory_free(s->memory);
}

static uint32_t load(const uint8_t *p, int bytes) { return bytes == 4 ? get32(p) : get16(p); }

/* Signs and levels of all elements, and how many mantissa bits are zero throughout. */
static void split(parts *s, const float_piece *p) {
    float_layout f = float_layout_of(p->type);
    size_t plane = (size_t)p->rows * p->inner;
    uint32_t any = 0;
    for (uint32_t q = 0; q < p->kernel; q++)
        for (size_t i = 0; i < plane; i++) {
            uint32_t v = load(p->data + (i * p->kernel + q) * (size_t)f.bytes, f.bytes);
            s->level[q * plane + i] = (int16_t)(v >> (f.mantissa - 2) & ((4u << f.exponent) - 1));
            s->sign[q * plane + i] = (uint8_t)(v >> (f.exponent + f.mantissa));
            any |= v;
        }
    s->scales.shift = any ? __builtin_ctz(any) : f.mantissa;
    if (s->scales.shift > f.mantissa - 2) s->scales.shift = f.mantissa - 2;
}

/* Bits that writing the distances takes, and in *saved what they save of a spread of `variance`. */
static double fit_axis(parts *s, const float_piece *p, int axis, double variance, double *saved, int32_t *sum,
                       int32_t *count) {
    uint32_t n = s->scales.length[axis];
    memset(sum, 0, n * sizeof *sum);
    memset(count, 0, n * sizeof *count);
    memset(s->scales.axis[axis], 0, n);
    const float_kernels *f = float_kernels_active();
    const int16_t *level = s->level;
    for (uint32_t q = 0; q < p->kernel; q++)
        for (uint32_t r = 0; r < p->rows; r++, level += p->inner) {
            int base = s->scales.base + s->scales.axis[0][r] + s->scales.axis[2][q];
            uint32_t k = axis == 0 ? r : q;
            if (axis == 1) f->column_sums(level, s->scales.axis[1], base, sum, count, p->inner);
            else f->row_sum(level, s->scales.axis[1], base, &sum[k], &count[k], p->inner);
        }
    uint32_t kinds[256] = {0};
    double squares = 0;
    for (uint32_t k = 0; k < n; k++) {
        double mean = count[k] > 0 ? (double)sum[k] / (count[k] + 3) : 0, v = floor(mean + 0.5);
        v = v > 100 ? 100 : v < -100 ? -100 : v;
        s->scales.axis[axis][k] = (int8_t)v;
        kinds[128 + (int)v]++;
        squares += count[k] * (mean * mean - (v - mean) * (v - mean));
    }
    *saved = squares / (2 * variance * 0.6931);
    double cost = table_cost(NULL, kinds);
    for (int k = 0; k < 256; k++) cost += kinds[k] ? 3 : 0;
    return cost;
}

/* Base, then the scales of the axes by turns, each kept where it saves more than it costs. */
static bool fit_scales(parts *s, const float_piece *p, unsigned contexts) {
    size_t n = elements_of(p), longest = p->rows > p->inner ? p->rows : p->inner;
    double sum = 0, count = 0, variance = 1e-9;
    for (size_t i = 0; i < n; i++)
        if (s->level[i] >= 4) {
            sum += s->level[i];
            count++;
        }
    s->scales.base = count > 0 ? (int)(sum / count + 0.5) : 4;
    for (size_t i = 0; i < n && count > 0; i++)
        if (s->level[i] >= 4) {
            double d = s->level[i] - sum / count;
            variance += d * d / count;
        }
    longest = longest > p->kernel ? longest : p->kernel;
    int32_t *scratch = memory_alloc(2 * longest * sizeof *scratch);
    if (!scratch) return false;
    bool try[3];
    for (int a = 0; a < 3; a++) try[a] = contexts >> a & 1 && s->scales.length[a] > 1 && n / s->scales.length[a] >= 8;
    for (int turn = 0; turn < 3; turn++)
        for (int a = 2; a >= 0; a--) {
            if (!try[a]) continue;
            double saved, cost = fit_axis(s, p, a, variance, &saved, scratch, scratch + longest);
            s->scales.used[a] = cost < saved;
            if (!s->scales.used[a]) memset(s->scales.axis[a], 0, s->scales.length[a]);
        }
    memory_free(scratch);
    return true;
}

/* Everything the coder is to code, in the six-class contexts. */
static bool take_apart(parts *s, const float_piece *p, unsigned contexts) {
    const float_kernels *k = float_kernels_active();
    if (!parts_new(s, p)) return false;
    split(s, p);
    if (!fit_scales(s, p, contexts)) return false;
    for (uint32_t q = 0; q < p->kernel; q++) {
        float_plane f;
        float_plane_open(&f, p, q, s->distance, s->value, s->no_distance, s->no_value);
        size_t at = (size_t)q * f.plane;
        float_contexts(&f, &s->scales, FLOAT_CLASSES, s->scale + at, s->table + at);
        k->symbols(s->level + at, s->scale + at, s->symbol + at, f.plane);
        k->distances(s->level + at, s->scale + at, s->distance + at, f.plane);
        k->values(s->distance + at, s->sign + at, s->value + at, f.plane);
        k->sign_contexts(&f.near, s->distance + at, s->context + at, f.plane);
    }
    return true;
}

double float_guess(const float_piece *p) {
    parts s;
    double bits = INFINITY;
    if (take_apart(&s, p, FLOAT_ALL_CONTEXTS)) {
        uint32_t counts[FLOAT_PHASES][256] = {{0}};
        size_t n = elements_of(p);
        for (size_t i = 0; i < n; i++) counts[s.table[i] & 3][s.symbol[i]]++;
        bits = (double)n * float_rest_bits(p, &s.scales, true);
        for (int i = 0; i < FLOAT_PHASES; i++) bits += table_cost(NULL, counts[i]) + 16.0 * counts[i][FLOAT_ESCAPE];
    }
    parts_free(&s);
    return bits / 8;
}

/* ---- encoding ---- */

typedef struct statistics {
    uint32_t level[TABLES][256], sign[FLOAT_SIGNS][2];
} statistics;

static void gather(statistics *t, const parts *s, const float_piece *p) {
    size_t n = elements_of(p);
    for (size_t i = 0; i < n; i++) t->level[s->table[i]][s->symbol[i]]++;
    if (p->kernel > 1)
        for (size_t i = 0; i < n; i++) t->sign[s->context[i]][s->sign[i]]++;
}

static double cost_with_table(const uint32_t counts[256]) {
    double cost = table_cost(NULL, counts);
    for (int s = 0; s < 256; s++) cost += counts[s] ? 6 : 0;
    return cost;
}

/* Whether five classes of neighbors pay for their tables, whether signs are predictable, and the tables. */
static void choose_tables(shared *s, statistics *t, unsigned contexts) {
    uint32_t joint[FLOAT_PHASES][256] = {{0}};
    double one = 0, many = 0, plain = 0, modeled = 5 * FLOAT_SIGNS;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < TABLES; i++) {
        many += cost_with_table(t->level[i]);
        for (int v = 0; v < 256; v++) joint[i & 3][v] += t->level[i][v];
    }
    for (int i = 0; i < FLOAT_PHASES; i++) one += cost_with_table(joint[i]);
    s->classes = contexts & FLOAT_NEIGHBORS && many < one;
    for (int i = 0; i < table_count_of(s); i++) {
        const uint32_t *counts = s->classes ? t->level[i] : joint[i];
        for (int v = 0; v < 256; v++) s->present[i] |= counts[v] > 0;
        if (s->present[i]) table_fit(&s->level[i], counts, LEVEL_BITS);
    }
    for (int i = 0; i < FLOAT_SIGNS; i++) {
        double a = t->sign[i][0], b = t->sign[i][1], share = (b + 0.5) / (a + b + 1);
        int step = (int)(share * FLOAT_SIGN_STEPS);
        double p = (2 * step + 1) / (2.0 * FLOAT_SIGN_STEPS);
        s->sign_step[i] = (uint8_t)step;
        plain += a + b;
        modeled -= a * log2(1 - p) + b * log2(p);
    }
    s->signs = contexts & FLOAT_NEIGHBOR_SIGNS && modeled < 0.998 * plain;
}

static void put_rest(uint8_t *out, const float_piece *p, const parts *s, bool sign) {
    float_layout f = float_layout_of(p->type);
    int bits = float_rest_bits(p, &s->scales, sign), fill = 0;
    int mantissa = f.mantissa - 2 - s->scales.shift;
    uint64_t word = 0;
    size_t n = elements_of(p);
    for (size_t i = 0; bits && i < n; i++) { /* in the order of memory */
        uint32_t v = load(p->data + i * (size_t)f.bytes, f.bytes);
        uint64_t rest = v >> s->scales.shift & ((1u << mantissa) - 1);
        if (sign) rest |= (uint64_t)(v >> (f.exponent + f.mantissa)) << mantissa;
        word |= rest << fill;
        for (fill += bits; fill >= 8; fill -= 8, word >>= 8) *out++ = (uint8_t)word;
    }
    if (fill) *out = (uint8_t)word;
}

static size_t rest_bytes(const float_piece *p, const float_scales *s, bool sign) {
    return (elements_of(p) * (size_t)float_rest_bits(p, s, sign) + 7) / 8;
}

/* Words of all planes of all pieces, last one first. */
static uint8_t *encode_words(const shared *s, const float_piece *p, parts *part, size_t count, uint32_t *state,
                             uint8_t *end) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    for (size_t i = count; i-- > 0;) {
        size_t plane = (size_t)p[i].rows * p[i].inner;
        for (uint32_t q = p[i].kernel; q-- > 0;) {
            size_t at = q * plane;
            if (signs_modeled(s, &p[i])) {
                for (size_t j = at; j < at + plane; j++) part[i].context[j] = s->sign_step[part[i].context[j]];
                end = k->encode(&s->sign_bank, part[i].context + at, state, LANES, end, part[i].sign + at, plane);
            }
            if (!s->classes)
                for (size_t j = at; j < at + plane; j++) part[i].table[j] &= 3;
            end = k->encode(&s->level_bank, part[i].table + at, state, LANES, end, part[i].symbol + at, plane);
        }
    }
    return end;
}

enum { CHUNK_HEAD = 8 }; /* bytes of the scales' stream, number of escapes */

/* Head, scales, escapes, rests, states, words. */
static pith_status encode_chunk(const shared *s, const float_piece *p, parts *part, size_t count, pith_bytes *out,
                                pith_error *err) {
    binary_encoder side;
    float_side adaptive;
    binary_encode_open(&side);
    float_side_start(&adaptive);
    size_t n = 0, escapes = 0, rest = 0;
    for (size_t i = 0; i < count; i++) {
        float_scales_write(&side, &adaptive, &part[i].scales);
        size_t m = elements_of(&p[i]);
        for (size_t j = 0; j < m; j++) escapes += part[i].symbol[j] == FLOAT_ESCAPE;
        n += m * (signs_modeled(s, &p[i]) ? 2 : 1);
        rest += rest_bytes(&p[i], &part[i].scales, !signs_modeled(s, &p[i]));
    }
    bool ok = binary_encode_close(&side);
    size_t head = CHUNK_HEAD + side.size + 2 * escapes + rest + 4 * LANES, room = head + 2 * n + 64;
    uint8_t *data = ok ? memory_alloc(room) : NULL;
    if (data) {
        uint32_t state[LANES];
        for (int l = 0; l < LANES; l++) state[l] = RANS32_LOW;
        uint8_t *front = encode_words(s, p, part, count, state, data + room), *at = data;
        put32(at, (uint32_t)side.size);
        put32(at + 4, (uint32_t)escapes);
        memcpy(at + CHUNK_HEAD, side.bytes, side.size);
        at += CHUNK_HEAD + side.size;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < elements_of(&p[i]); j++)
                if (part[i].symbol[j] == FLOAT_ESCAPE) {
                    put16(at, (uint16_t)part[i].level[j]);
                    at += 2;
                }
        for (size_t i = 0; i < count; i++) {
            bool sign = !signs_modeled(s, &p[i]);
            put_rest(at, &p[i], &part[i], sign);
            at += rest_bytes(&p[i], &part[i].scales, sign);
        }
        memcpy(at, state, sizeof state);
        memmove(data + head, front, (size_t)(data + room - front));
        *out = (pith_bytes){data, head + (size_t)(data + room - front)};
    }
    memory_free(side.bytes);
    return data ? PITH_OK : no_memory(err);
}

typedef struct encode_job {
    const float_piece *piece;
    parts *part;
    size_t *first;         /* piece of each chunk; behind the last, the end */
    statistics *statistic; /* of each worker */
    const shared *shared;
    pith_bytes *chunk;
    unsigned contexts;
    atomic_int failed;
} encode_job;

static void take_apart_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    encode_job *j = user;
    for (int64_t i = begin; i < end; i++)
        if (!take_apart(&j->part[i], &j->piece[i], j->contexts)) atomic_store(&j->failed, 1);
}

static void gather_range(void *user, int64_t begin, int64_t end, int worker) {
    encode_job *j = user;
    for (int64_t i = begin; i < end; i++) gather(&j->statistic[worker], &j->part[i], &j->piece[i]);
}

static void encode_range(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    encode_job *j = user;
    for (int64_t i = begin; i < end; i++) {
        size_t first = j->first[i], count = j->first[i + 1] - first;
        if (encode_chunk(j->shared, j->piece + first, j->part + first, count, &j->chunk[i], NULL) != PITH_OK)
            atomic_store(&j->failed, 1);
    }
}

static void find_chunks(const float_piece *p, size_t count, size_t *first) {
    size_t n = 0;
    for (size_t i = 0; i < count; i = chunk_end(p, count, i)) first[n++] = i;
    first[n] = count;
}

/* The sum of what the workers saw. */
static void add_statistics(statistics *all, size_t workers) {
    enum { NUMBERS = sizeof(statistics) / sizeof(uint32_t) };
    for (size_t w = 1; w < workers; w++)
        for (size_t i = 0; i < NUMBERS; i++) ((uint32_t *)all)[i] += ((uint32_t *)&all[w])[i];
}

static pith_status join(pith_bytes head, pith_bytes *chunk, size_t chunks, pith_bytes *out, pith_error *err) {
    size_t total = 8 + head.size;
    for (size_t i = 0; i < chunks; i++) total += 4 + chunk[i].size;
    uint8_t *p = memory_alloc(total);
    if (!p) return no_memory(err);
    *out = (pith_bytes){p, total};
    put32(p, (uint32_t)head.size);
    put32(p + 4, (uint32_t)chunks);
    memcpy(p + 8, head.data, head.size);
    p += 8 + head.size;
    for (size_t i = 0; i < chunks; i++, p += 4) { put32(p, (uint32_t)chunk[i].size); }
    for (size_t i = 0; i < chunks; p += chunk[i].size, i++) memcpy(p, chunk[i].data, chunk[i].size);
    return PITH_OK;
}

/* Tables from all pieces, then all chunks. */
static pith_status encode_all(encode_job *j, shared *s, size_t count, size_t chunks, binary_encoder *head,
                              pith_error *err) {
    parallel_for((int64_t)count, 1, take_apart_range, j);
    if (atomic_load(&j->failed)) return no_memory(err);
    parallel_for((int64_t)count, 1, gather_range, j);
    add_statistics(j->statistic, (size_t)parallel_threads());
    choose_tables(s, j->statistic, j->contexts);
    shared_write(head, s);
    if (!binary_encode_close(head) || !shared_banks(s, false)) return no_memory(err);
    j->shared = s;
    find_chunks(j->piece, count, j->first);
    parallel_for((int64_t)chunks, 1, encode_range, j);
    return atomic_load(&j->failed) ? no_memory(err) : PITH_OK;
}

pith_status float_encode(const float_piece *pieces, size_t count, unsigned contexts, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    size_t chunks = chunks_of(pieces, count);
    encode_job job = {.piece = pieces,
                      .contexts = contexts,
                      .part = memory_zero(count, sizeof(parts)),
                      .first = memory_zero(chunks + 1, sizeof(size_t)),
                      .statistic = memory_zero((size_t)parallel_threads(), sizeof(statistics)),
                      .chunk = memory_zero(chunks, sizeof(pith_bytes))};
    shared *s = memory_zero(1, sizeof *s);
    binary_encoder head;
    binary_encode_open(&head);
    bool memory = job.part && job.first && job.statistic && job.chunk && s;
    pith_status status = memory ? encode_all(&job, s, count, chunks, &head, err) : no_memory(err);
    if (status == PITH_OK) status = join((pith_bytes){head.bytes, head.size}, job.chunk, chunks, out, err);
    for (size_t i = 0; job.chunk && i < chunks; i++) memory_free(job.chunk[i].data);
    for (size_t i = 0; job.part && i < count; i++) parts_free(&job.part[i]);
    if (s) shared_free(s);
    memory_free(head.bytes);
    memory_free(s);
    memory_free(job.chunk);
    memory_free(job.statistic);
    memory_free(job.first);
    memory_free(job.part);
    return status;
}

/* ---- decoding ---- */

typedef struct chunk_reader {
    const shared *s;
    pith_bytes in;
    const uint8_t *escape, *escape_end, *rest, *word;
    uint32_t state[LANES];
} chunk_reader;

/* Levels from symbols; false where the chunk has fewer escapes. */
static bool levels_of(chunk_reader *c, parts *s, size_t at, size_t n, int most) {
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
static void put_together(const chunk_reader *c, const parts *s, const float_piece *p, bool sign) {
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

static pith_status decode_piece(chunk_reader *c, parts *s, const float_piece *p, pith_error *err) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    const float_kernels *kernels = float_kernels_active();
    const uint8_t *end = c->in.data + c->in.size;
    bool signs = signs_modeled(c->s, p);
    int most = (4 << float_layout_of(p->type).exponent) - 1;
    for (uint32_t q = 0; q < p->kernel; q++) {
        float_plane f;
        float_plane_open(&f, p, q, s->distance, s->value, s->no_distance, s->no_value);
        size_t at = (size_t)q * f.plane;
        float_contexts(&f, &s->scales, c->s->classes ? FLOAT_CLASSES : 1, s->scale + at, s->table + at);
        c->word = k->decode(&c->s->level_bank, s->table + at, c->state, LANES, c->word, end, s->symbol + at, f.plane);
        if (!levels_of(c, s, at, f.plane, most)) return wrong(err, "fewer escapes than needed");
        if (!signs && (!c->s->classes || p->kernel == 1)) continue;
        kernels->distances(s->level + at, s->scale + at, s->distance + at, f.plane);
        if (!signs) continue;
        kernels->sign_contexts(&f.near, s->distance + at, s->context + at, f.plane);
        for (size_t i = at; i < at + f.plane; i++) s->context[i] = c->s->sign_step[s->context[i]];
        c->word = k->decode(&c->s->sign_bank, s->context + at, c->state, LANES, c->word, end, s->sign + at, f.plane);
        kernels->values(s->distance + at, s->sign + at, s->value + at, f.plane);
    }
    put_together(c, s, p, !signs);
    c->rest += rest_bytes(p, &s->scales, !signs);
    return PITH_OK;
}

/* Reads the scales of all pieces, by which the places of the other streams are known. */
static pith_status open_chunk(chunk_reader *c, parts *part, const float_piece *p, size_t count, pith_error *err) {
    uint32_t side, escapes;
    if (c->in.size < CHUNK_HEAD)
        return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a chunk's head, found its end");
    side = get32(c->in.data);
    escapes = get32(c->in.data + 4);
    size_t left = c->in.size - CHUNK_HEAD;
    if (left < side || (left - side) / 2 < escapes) return wrong(err, "a chunk shorter than its head says");
    binary_decoder d;
    float_side adaptive;
    float_side_start(&adaptive);
    binary_decode_open(&d, (pith_bytes){c->in.data + CHUNK_HEAD, side});
    size_t rest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!parts_new(&part[i], &p[i])) return no_memory(err);
        if (!float_scales_read(&d, &adaptive, &part[i].scales, &p[i])) return wrong(err, "impossible scales");
        rest += rest_bytes(&p[i], &part[i].scales, !signs_modeled(c->s, &p[i]));
    }
    if (binary_decode_close(&d) != side) return wrong(err, "scales of another length");
    left -= side + 2 * (size_t)escapes;
    if (left < rest || left - rest < sizeof c->state) return wrong(err, "a chunk shorter than its elements need");
    c->escape = c->in.data + CHUNK_HEAD + side;
    c->escape_end = c->rest = c->escape + 2 * (size_t)escapes;
    c->word = c->rest + rest + sizeof c->state;
    memcpy(c->state, c->rest + rest, sizeof c->state);
    return PITH_OK;
}

static pith_status decode_chunk(const shared *s, pith_bytes in, const float_piece *p, size_t count, pith_error *err) {
    chunk_reader c = {.s = s, .in = in};
    parts *part = memory_zero(count, sizeof *part);
    pith_status status = part ? open_chunk(&c, part, p, count, err) : no_memory(err);
    for (size_t i = 0; i < count && status == PITH_OK; i++) status = decode_piece(&c, &part[i], &p[i], err);
    if (status == PITH_OK) {
        bool ended = c.word == in.data + in.size && c.escape == c.escape_end;
        for (int l = 0; l < LANES; l++) ended = ended && c.state[l] == RANS32_LOW;
        if (!ended) status = wrong(err, "a chunk that does not end in its start state");
    }
    for (size_t i = 0; part && i < count; i++) parts_free(&part[i]);
    memory_free(part);
    return status;
}

typedef struct decode_job {
    const shared *s;
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
static pith_status open_group(pith_bytes in, shared *s, size_t chunks, pith_bytes *chunk, pith_error *err) {
    uint32_t head, number;
    if (in.size < 8) return pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected a group's head, found its end");
    head = get32(in.data);
    number = get32(in.data + 4);
    size_t left = in.size - 8;
    if (number != chunks || left < head || (left - head) / 4 < chunks) return wrong(err, "another number of chunks");
    binary_decoder d;
    binary_decode_open(&d, (pith_bytes){in.data + 8, head});
    if (!shared_read(&d, s) || binary_decode_close(&d) != head) return wrong(err, "damaged tables");
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
    return shared_banks(s, true) ? PITH_OK : no_memory(err);
}

pith_status float_decode(pith_bytes in, const float_piece *pieces, size_t count, pith_error *err) {
    size_t chunks = chunks_of(pieces, count);
    shared *s = memory_zero(1, sizeof *s);
    pith_bytes *chunk = memory_zero(chunks, sizeof *chunk);
    size_t *first = memory_zero(chunks + 1, sizeof *first);
    pith_error *error = memory_zero(chunks, sizeof *error);
    pith_status status = s && chunk && first && error ? open_group(in, s, chunks, chunk, err) : no_memory(err);
    if (status == PITH_OK) {
        for (size_t i = 0; i < chunks; i++) first[i + 1] = chunk_end(pieces, count, first[i]);
        decode_job job = {s, pieces, first, chunk, error};
        parallel_for((int64_t)chunks, 1, decode_range, &job);
        for (size_t i = 0; i < chunks && status == PITH_OK; i++)
            if (error[i].status != PITH_OK) status = pith_fail(err, error[i].status, NULL, -1, "%s", error[i].text);
    }
    if (s) shared_free(s);
    memory_free(s);
    memory_free(chunk);
    memory_free(first);
    memory_free(error);
    return status;
}
