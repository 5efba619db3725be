/* model/attention.c - attention over the cache, tile by tile with a running maximum (Milakov and Gimelshein, arXiv
 * 1805.02867; Dao et al., arXiv 2205.14135): no score matrix longer than a tile is kept.
 *
 * The unit of work is one key-value head and a few query positions: the queries that share the head are multiplied with
 * each cached row while it is in registers. Reads every cached row once per unit; decoding is bound by that. */
#include "model/attention.h"

#include "base/isa.h"
#include "base/parallel.h"

#include <math.h>
#include <string.h>

enum { TILE = 128, QUERIES = 32, MAX_ROWS = 64 }; /* rows of a unit: query positions times heads that share */

ISA_DECLARE(struct attention_kernels, attention);

typedef struct job {
    const cache_block *cache;
    int64_t heads, position, n, window, group, queries;
    const float *q;
    float *out, *scratch;
} job;

static int64_t unit_queries(int64_t group) {
    int64_t by_rows = MAX_ROWS / group;
    return by_rows < 1 ? 1 : by_rows < QUERIES ? by_rows : QUERIES;
}

static int64_t scratch_of_one(const cache_block *c, int64_t heads) {
    int64_t rows = unit_queries(heads / c->kv_heads) * (heads / c->kv_heads);
    return rows * (TILE + 2 * c->head_dim + 16);
}

int64_t attention_scratch(const cache_block *c, int64_t heads) { return scratch_of_one(c, heads) * parallel_threads(); }

/* One tile of keys for all rows of a unit: scores, masked exponentials, weighted values. */
static void tile(const job *w, const struct attention_kernels *kernels, int64_t kv, int64_t first_query, int64_t rows,
                 int64_t start, int64_t count, const float *q, float *scores, float *high, float *sum, float *acc) {
    const cache_block *c = w->cache;
    int64_t dim = c->head_dim, at = (kv * c->capacity + start) * c->row_bytes;
    kernels->scores(c->type, q, dim, rows, c->keys + at, count, dim, 1.0f / sqrtf((float)dim), scores, TILE);
    for (int64_t r = 0; r < rows; r++) {
        float *s = scores + r * TILE;
        int64_t own = w->position + first_query + r / w->group; /* the query's position */
        int64_t low = w->window && own + 1 > w->window ? own + 1 - w->window : 0;
        int64_t begin = low > start ? low - start : 0, end = own + 1 < start + count ? own + 1 - start : count;
        if (begin >= end) {
            memset(s, 0, (size_t)count * sizeof *s);
            continue;
        }
        float m = kernels->largest(s + begin, end - begin, high[r]);
        if (m > high[r]) {
            float shrink = sum[r] == 0 ? 0 : expf(high[r] - m);
            sum[r] *= shrink;
            for (int64_t i = 0; i < dim; i++) acc[r * dim + i] *= shrink;
            high[r] = m;
        }
        for (int64_t j = 0; j < begin; j++) s[j] = 0;
        for (int64_t j = end; j < count; j++) s[j] = 0;
        sum[r] += kernels->exponentials(s + begin, end - begin, m);
    }
    kernels->mix(c->type, scores, TILE, rows, c->values + at, count, dim, acc, dim);
}

static void unit(void *user, int64_t begin, int64_t end, int worker) {
    const job *w = user;
    const struct attention_kernels *kernels = ISA_SELECT(attention);
    int64_t dim = w->cache->head_dim, width = w->heads * dim, blocks = (w->n + w->queries - 1) / w->queries;
    float *scores = w->scratch + worker * scratch_of_one(w->cache, w->heads);
    float *q = scores + w->queries * w->group * TILE, *acc = q + w->queries * w->group * dim;
    float *high = acc + w->queries * w->group * dim, *sum = high + w->queries * w->group;
    for (int64_t u = begin; u < end; u++) {
        int64_t kv = u / blocks, first = u % blocks * w->queries;
        int64_t count = w->n - first < w->queries ? w->n - first : w->queries, rows = count * w->group;
        for (int64_t i = 0; i < count; i++)
            memcpy(q + i * w->group * dim, w->q + (first + i) * width + kv * w->group * dim,
                   (size_t)(w->group * dim) * sizeof *q);
        memset(acc, 0, (size_t)(rows * dim) * sizeof *acc);
        for (int64_t r = 0; r < rows; r++) high[r] = -INFINITY, sum[r] = 0;
        int64_t oldest = w->position + first + 1 - w->window, last = w->position + first + count;
        for (int64_t start = w->window && oldest > 0 ? oldest / TILE * TILE : 0; start < last; start += TILE)
            tile(w, kernels, kv, first, rows, start, last - start < TILE ? last - start : TILE, q, scores, high, sum,
                 acc);
        for (int64_t r = 0; r < rows; r++) {
            float *out = w->out + (first + r / w->group) * width + (kv * w->group + r % w->group) * dim;
            for (int64_t i = 0; i < dim; i++) out[i] = acc[r * dim + i] / sum[r];
        }
    }
}

void attention_run(const cache_block *c, int64_t heads, int64_t position, int64_t n, int64_t window, const float *q,
                   float *out, float *scratch) {
    job w = {.cache = c,
             .heads = heads,
             .position = position,
             .n = n,
             .window = window,
             .group = heads / c->kv_heads,
             .q = q,
             .out = out,
             .scratch = scratch};
    w.queries = unit_queries(w.group);
    parallel_for(c->kv_heads * ((n + w.queries - 1) / w.queries), 1, unit, &w);
}

/* q8_0 blocks of 32: f16 scale, then codes. */
static void pack_q8(const float *x, int64_t dim, uint8_t *out) {
    for (int64_t b = 0; b < dim / 32; b++, x += 32, out += 34) {
        float high = 0;
        for (int i = 0; i < 32; i++) high = fabsf(x[i]) > high ? fabsf(x[i]) : high;
        float scale = high / 127, inverse = scale > 0 ? 1 / scale : 0;
        uint16_t half = pith_f32_to_f16(scale);
        memcpy(out, &half, 2);
        for (int i = 0; i < 32; i++) ((int8_t *)out)[2 + i] = (int8_t)rintf(x[i] * inverse);
    }
}

static void store_row(uint16_t type, const float *x, int64_t dim, uint8_t *out) {
    if (type == PITH_F16) ISA_SELECT(attention)->narrow(x, dim, (uint16_t *)(void *)out);
    else pack_q8(x, dim, out);
}

typedef struct storing {
    const cache_block *cache;
    int64_t position;
    const float *k, *v;
} storing;

static void store_positions(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const storing *w = user;
    const cache_block *c = w->cache;
    int64_t dim = c->head_dim;
    for (int64_t i = begin; i < end; i++)
        for (int64_t h = 0; h < c->kv_heads; h++) {
            int64_t at = (h * c->capacity + w->position + i) * c->row_bytes, from = (i * c->kv_heads + h) * dim;
            store_row(c->type, w->k + from, dim, c->keys + at);
            store_row(c->type, w->v + from, dim, c->values + at);
        }
}

void cache_expect(const cache_block *c, int64_t position) {
    enum { LINE = 64 };
    for (int64_t h = 0; h < c->kv_heads; h++)
        for (int64_t i = 0, at = (h * c->capacity + position) * c->row_bytes; i < c->row_bytes; i += LINE) {
            __builtin_prefetch(c->keys + at + i, 1);
            __builtin_prefetch(c->values + at + i, 1);
        }
}

void cache_store(const cache_block *c, int64_t position, int64_t n, const float *k, const float *v) {
    storing w = {.cache = c, .position = position, .k = k, .v = v};
    parallel_for(n, 16, store_positions, &w);
}
