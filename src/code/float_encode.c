/* code/float_encode.c - groups of floating-point arrays to bytes: scales, contexts, tables, chunks; see docs/format.md.
 *
 * Cost: 4 to 6 ns an element either way, most of it outside the entropy coder. Modelling exponents by row and column
 * scale is this project's own; the split into planes is that of ZipNN (arXiv 2411.05239). On trained networks the
 * scales gain 0.05 to 0.15 bits an element, the neighbors in 3x3 kernels 0.04 (levels) and 0.03 to 0.17 (signs); in
 * matrices neighbors gain 0.003 and are not used. bench/float_contexts.c prints what each gains. */
#include "base/isa.h"
#include "base/parallel.h"
#include "code/float_group.h"
#include "code/rans.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

ISA_DECLARE(bulk_kernels, bulk_kernels);

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

/* Signs and levels of all elements, and how many mantissa bits are zero throughout. */
static void split(float_arrays *s, const float_piece *p) {
    float_layout f = float_layout_of(p->type);
    size_t plane = (size_t)p->rows * p->inner;
    uint32_t any = 0;
    for (uint32_t q = 0; q < p->kernel; q++)
        for (size_t i = 0; i < plane; i++) {
            uint32_t v = float_load(p->data + (i * p->kernel + q) * (size_t)f.bytes, f.bytes);
            s->level[q * plane + i] = (int16_t)(v >> (f.mantissa - 2) & ((4u << f.exponent) - 1));
            s->sign[q * plane + i] = (uint8_t)(v >> (f.exponent + f.mantissa));
            any |= v;
        }
    s->scales.shift = any ? __builtin_ctz(any) : f.mantissa;
    if (s->scales.shift > f.mantissa - 2) s->scales.shift = f.mantissa - 2;
}

/* Bits that writing the distances takes, and in *saved what they save of a spread of `variance`. */
static double fit_axis(float_arrays *s, const float_piece *p, int axis, double variance, double *saved, int32_t *sum,
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
static bool fit_scales(float_arrays *s, const float_piece *p, unsigned contexts) {
    size_t n = float_elements(p), longest = p->rows > p->inner ? p->rows : p->inner;
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
static bool take_apart(float_arrays *s, const float_piece *p, unsigned contexts) {
    const float_kernels *k = float_kernels_active();
    if (!float_arrays_new(s, p)) return false;
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
    float_arrays s;
    double bits = INFINITY;
    if (take_apart(&s, p, FLOAT_ALL_CONTEXTS)) {
        uint32_t counts[FLOAT_PHASES][256] = {{0}};
        size_t n = float_elements(p);
        for (size_t i = 0; i < n; i++) counts[s.table[i] & 3][s.symbol[i]]++;
        bits = (double)n * float_rest_bits(p, &s.scales, true);
        for (int i = 0; i < FLOAT_PHASES; i++) bits += table_cost(NULL, counts[i]) + 16.0 * counts[i][FLOAT_ESCAPE];
    }
    float_arrays_free(&s);
    return bits / 8;
}

/* ---- encoding ---- */

typedef struct statistics {
    uint32_t level[FLOAT_TABLES][256], sign[FLOAT_SIGNS][2];
} statistics;

static void gather(statistics *t, const float_arrays *s, const float_piece *p) {
    size_t n = float_elements(p);
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
static void choose_tables(float_shared *s, statistics *t, unsigned contexts) {
    uint32_t joint[FLOAT_PHASES][256] = {{0}};
    double one = 0, many = 0, plain = 0, modeled = 5 * FLOAT_SIGNS;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < FLOAT_TABLES; i++) {
        many += cost_with_table(t->level[i]);
        for (int v = 0; v < 256; v++) joint[i & 3][v] += t->level[i][v];
    }
    for (int i = 0; i < FLOAT_PHASES; i++) one += cost_with_table(joint[i]);
    s->classes = contexts & FLOAT_NEIGHBORS && many < one;
    for (int i = 0; i < float_table_count(s); i++) {
        const uint32_t *counts = s->classes ? t->level[i] : joint[i];
        for (int v = 0; v < 256; v++) s->present[i] |= counts[v] > 0;
        if (s->present[i]) table_fit(&s->level[i], counts, FLOAT_LEVEL_BITS);
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

static void put_rest(uint8_t *out, const float_piece *p, const float_arrays *s, bool sign) {
    float_layout f = float_layout_of(p->type);
    int bits = float_rest_bits(p, &s->scales, sign), fill = 0;
    int mantissa = f.mantissa - 2 - s->scales.shift;
    uint64_t word = 0;
    size_t n = float_elements(p);
    for (size_t i = 0; bits && i < n; i++) { /* in the order of memory */
        uint32_t v = float_load(p->data + i * (size_t)f.bytes, f.bytes);
        uint64_t rest = v >> s->scales.shift & ((1u << mantissa) - 1);
        if (sign) rest |= (uint64_t)(v >> (f.exponent + f.mantissa)) << mantissa;
        word |= rest << fill;
        for (fill += bits; fill >= 8; fill -= 8, word >>= 8) *out++ = (uint8_t)word;
    }
    if (fill) *out = (uint8_t)word;
}

/* Words of all planes of all pieces, last one first. */
static uint8_t *encode_words(const float_shared *s, const float_piece *p, float_arrays *part, size_t count,
                             uint32_t *state, uint8_t *end) {
    const bulk_kernels *k = ISA_SELECT(bulk_kernels);
    for (size_t i = count; i-- > 0;) {
        size_t plane = (size_t)p[i].rows * p[i].inner;
        for (uint32_t q = p[i].kernel; q-- > 0;) {
            size_t at = q * plane;
            if (float_signs_modeled(s, &p[i])) {
                for (size_t j = at; j < at + plane; j++) part[i].context[j] = s->sign_step[part[i].context[j]];
                end = k->encode(&s->sign_bank, part[i].context + at, state, FLOAT_LANES, end, part[i].sign + at, plane);
            }
            if (!s->classes)
                for (size_t j = at; j < at + plane; j++) part[i].table[j] &= 3;
            end = k->encode(&s->level_bank, part[i].table + at, state, FLOAT_LANES, end, part[i].symbol + at, plane);
        }
    }
    return end;
}

/* Head, scales, escapes, rests, states, words. */
static pith_status encode_chunk(const float_shared *s, const float_piece *p, float_arrays *part, size_t count,
                                pith_bytes *out, pith_error *err) {
    binary_encoder side;
    float_side adaptive;
    binary_encode_open(&side);
    float_side_start(&adaptive);
    size_t n = 0, escapes = 0, rest = 0;
    for (size_t i = 0; i < count; i++) {
        float_scales_write(&side, &adaptive, &part[i].scales);
        size_t m = float_elements(&p[i]);
        for (size_t j = 0; j < m; j++) escapes += part[i].symbol[j] == FLOAT_ESCAPE;
        n += m * (float_signs_modeled(s, &p[i]) ? 2 : 1);
        rest += float_rest_bytes(&p[i], &part[i].scales, !float_signs_modeled(s, &p[i]));
    }
    bool ok = binary_encode_close(&side);
    size_t head = FLOAT_CHUNK_HEAD + side.size + 2 * escapes + rest + 4 * FLOAT_LANES, room = head + 2 * n + 64;
    uint8_t *data = ok ? memory_alloc(room) : NULL;
    if (data) {
        uint32_t state[FLOAT_LANES];
        for (int l = 0; l < FLOAT_LANES; l++) state[l] = RANS32_LOW;
        uint8_t *front = encode_words(s, p, part, count, state, data + room), *at = data;
        put32(at, (uint32_t)side.size);
        put32(at + 4, (uint32_t)escapes);
        memcpy(at + FLOAT_CHUNK_HEAD, side.bytes, side.size);
        at += FLOAT_CHUNK_HEAD + side.size;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < float_elements(&p[i]); j++)
                if (part[i].symbol[j] == FLOAT_ESCAPE) {
                    put16(at, (uint16_t)part[i].level[j]);
                    at += 2;
                }
        for (size_t i = 0; i < count; i++) {
            bool sign = !float_signs_modeled(s, &p[i]);
            put_rest(at, &p[i], &part[i], sign);
            at += float_rest_bytes(&p[i], &part[i].scales, sign);
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
    float_arrays *part;
    size_t *first;         /* piece of each chunk; behind the last, the end */
    statistics *statistic; /* of each worker */
    const float_shared *shared;
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
    for (size_t i = 0; i < count; i = float_chunk_end(p, count, i)) first[n++] = i;
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
static pith_status encode_all(encode_job *j, float_shared *s, size_t count, size_t chunks, binary_encoder *head,
                              pith_error *err) {
    parallel_for((int64_t)count, 1, take_apart_range, j);
    if (atomic_load(&j->failed)) return no_memory(err);
    parallel_for((int64_t)count, 1, gather_range, j);
    add_statistics(j->statistic, (size_t)parallel_threads());
    choose_tables(s, j->statistic, j->contexts);
    float_shared_write(head, s);
    if (!binary_encode_close(head) || !float_shared_banks(s, false)) return no_memory(err);
    j->shared = s;
    find_chunks(j->piece, count, j->first);
    parallel_for((int64_t)chunks, 1, encode_range, j);
    return atomic_load(&j->failed) ? no_memory(err) : PITH_OK;
}

pith_status float_encode(const float_piece *pieces, size_t count, unsigned contexts, pith_bytes *out, pith_error *err) {
    *out = (pith_bytes){NULL, 0};
    size_t chunks = float_chunks(pieces, count);
    encode_job job = {.piece = pieces,
                      .contexts = contexts,
                      .part = memory_zero(count, sizeof(float_arrays)),
                      .first = memory_zero(chunks + 1, sizeof(size_t)),
                      .statistic = memory_zero((size_t)parallel_threads(), sizeof(statistics)),
                      .chunk = memory_zero(chunks, sizeof(pith_bytes))};
    float_shared *s = memory_zero(1, sizeof *s);
    binary_encoder head;
    binary_encode_open(&head);
    bool memory = job.part && job.first && job.statistic && job.chunk && s;
    pith_status status = memory ? encode_all(&job, s, count, chunks, &head, err) : no_memory(err);
    if (status == PITH_OK) status = join((pith_bytes){head.bytes, head.size}, job.chunk, chunks, out, err);
    for (size_t i = 0; job.chunk && i < chunks; i++) memory_free(job.chunk[i].data);
    for (size_t i = 0; job.part && i < count; i++) float_arrays_free(&job.part[i]);
    if (s) float_shared_free(s);
    memory_free(head.bytes);
    memory_free(s);
    memory_free(job.chunk);
    memory_free(job.statistic);
    memory_free(job.first);
    memory_free(job.part);
    return status;
}
