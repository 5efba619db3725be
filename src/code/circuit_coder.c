/* code/circuit_coder.c - pictures to bytes and back with a hidden Chow-Liu tree, by two messages an edge.
 *
 * Nodes are coded in depth-first order. What is known so far makes a distribution over the state of the node at hand:
 * down(i) = (down(p) inside(p)) A_i, where inside(p)[k] is the probability of all that was coded below p given its
 * state k. The value's masses are down(i) B_i; then B_i[.][x_i] starts inside(i), and when the subtree is complete A_i
 * inside(i) goes into inside(p). That is 2 M^2 products an edge and picture, whatever the tree: less than the paper's
 * |p| log D (pith bench circuit counts both). A value is coded as a group of 16 and its place in the group, so that
 * 32 masses are made instead of 256.
 *
 * All segments of a chunk go through a node together (small dense products); each has its own range coder. */
#include "code/circuit.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "code/circuit_kernels.h"
#include "code/range.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

ISA_DECLARE(struct circuit_kernels, circuit_exact);

enum { GROUP = 16, MAX_ROWS = 96 };

typedef struct segment { /* one row of a chunk */
    range_encoder encoder;
    range_decoder decoder;
    uint8_t *bytes; /* encoding: grown; decoding: the segment's, borrowed */
    size_t size, capacity, next;
    uint8_t *pictures;
    float *bits;
} segment;

typedef struct coder_job {
    const circuit *c;
    const struct circuit_kernels *kernels;
    const pith_context *context;
    bool decode;
    int64_t count; /* pictures in all */
    int32_t levels;
    int32_t *level; /* of each node */
    segment *segment;
    atomic_int failed; /* a pith_status */
    atomic_llong done;
} coder_job;

typedef struct coder_batch { /* scratch of one chunk */
    float *down, *inside;    /* [level][row][stride] */
    float *weight, *up;      /* [row][stride] */
    float *likelihood;       /* [row][GROUP] */
    uint32_t *start;         /* [row][GROUP] */
    segment *row;
    int32_t rows;
} coder_batch;

static void feed(segment *s) {
    while (range_wants(&s->decoder)) {
        range_shift(&s->decoder, s->next < s->size ? s->bytes[s->next] : 0);
        s->next++;
    }
}

/* Codes one of 16 with the masses that begin at start; `symbol` only counts when encoding. */
static uint32_t code_symbol(segment *s, bool decode, const uint32_t *start, uint32_t symbol) {
    if (decode) {
        uint32_t point = range_point(&s->decoder, CIRCUIT_BITS);
        symbol = 0;
        for (int k = 1; k < GROUP; k++) symbol += start[k] <= point;
    }
    uint32_t end = symbol + 1 < GROUP ? start[symbol + 1] : 1u << CIRCUIT_BITS;
    pith_mass mass = {start[symbol], end - start[symbol]};
    if (s->bits) *s->bits += (float)CIRCUIT_BITS - log2f((float)mass.width);
    if (decode) {
        range_take(&s->decoder, mass, CIRCUIT_BITS);
        feed(s);
    } else {
        s->size = (size_t)(range_encode(&s->encoder, mass, CIRCUIT_BITS, s->bytes + s->size) - s->bytes);
    }
    return symbol;
}

/* Codes node i's value in all rows given their weights over states; its emissions go to out. */
static void code_values(const coder_job *j, coder_batch *b, int32_t i, const float *weight, float *out) {
    const circuit *c = j->c;
    const int32_t stride = c->stride, pixel = c->tree.pixel[i];
    const float *emit = c->emit + (size_t)i * CIRCUIT_VALUES * stride;
    j->kernels->product(b->likelihood, weight, c->group + (size_t)i * GROUP * stride, b->rows, stride, GROUP);
    j->kernels->starts(b->likelihood, b->start, b->rows);
    for (int32_t r = 0; r < b->rows; r++) {
        segment *s = &b->row[r];
        uint32_t *start = b->start + r * GROUP, x = j->decode ? 0 : s->pictures[pixel];
        uint32_t high = code_symbol(s, j->decode, start, x / GROUP);
        const float *values = emit + (size_t)high * GROUP * stride;
        j->kernels->product(b->likelihood, weight + (size_t)r * stride, values, 1, stride, GROUP);
        j->kernels->starts(b->likelihood, start, 1);
        uint32_t low = code_symbol(s, j->decode, start, x % GROUP);
        j->kernels->column(values, (int32_t)low, out + (size_t)r * stride, stride);
        if (j->decode) s->pictures[pixel] = (uint8_t)(high * GROUP + low);
    }
}

/* One picture of every row. */
static void code_pictures(const coder_job *j, coder_batch *b) {
    const circuit_tree *t = &j->c->tree;
    const struct circuit_kernels *kernels = j->kernels;
    const int32_t stride = j->c->stride, rows = b->rows;
    const size_t level_size = (size_t)MAX_ROWS * stride, matrix = (size_t)stride * stride;
    for (int32_t i = 0; i < t->nodes; i++) {
        int32_t level = j->level[i];
        float *down = b->down + level * level_size, *inside = b->inside + level * level_size;
        float *above = inside - level_size; /* of the parent */
        if (i == 0)
            for (int32_t r = 0; r < rows; r++)
                memcpy(down + (size_t)r * stride, j->c->move, (size_t)stride * sizeof *down);
        else kernels->times(b->weight, down - level_size, above, rows, stride);
        if (t->bare[i]) {
            code_values(j, b, i, b->weight, b->up);
            kernels->times(above, above, b->up, rows, stride);
        } else {
            if (i) kernels->product(down, b->weight, j->c->move + i * matrix, rows, stride, stride);
            code_values(j, b, i, down, inside);
        }
        /* subtrees that end here, the innermost first */
        for (int32_t k = i; k > 0 && k + t->size[k] == i + 1; k = t->parent[k]) {
            if (t->bare[k]) continue;
            float *own = b->inside + j->level[k] * level_size, *to = own - level_size;
            kernels->product(b->up, own, j->c->back + k * matrix, rows, stride, stride);
            kernels->times(to, to, b->up, rows, stride);
        }
    }
}

static bool new_batch(coder_batch *b, const coder_job *j) {
    size_t row = (size_t)j->c->stride * sizeof(float), rows = MAX_ROWS;
    b->down = memory_aligned((size_t)j->levels * rows * row);
    b->inside = memory_aligned((size_t)j->levels * rows * row);
    b->weight = memory_aligned(rows * row);
    b->up = memory_aligned(rows * row);
    b->likelihood = memory_aligned(rows * GROUP * sizeof *b->likelihood);
    b->start = memory_aligned(rows * GROUP * sizeof *b->start);
    return b->down && b->inside && b->weight && b->up && b->likelihood && b->start;
}

static void free_batch(coder_batch *b) {
    memory_free(b->down);
    memory_free(b->inside);
    memory_free(b->weight);
    memory_free(b->up);
    memory_free(b->likelihood);
    memory_free(b->start);
}

/* Room for one more picture: a symbol of 24 bits adds three bytes, and one may be pending. */
static bool reserve(segment *s, int32_t nodes) {
    size_t need = s->size + (size_t)nodes * 2 * 3 + 2 * RANGE_MAX_BYTES;
    return need <= s->capacity || memory_reserve((void **)&s->bytes, &s->capacity, need, 1) == 0;
}

static void begin_segment(segment *s, bool decode) {
    s->encoder = (range_encoder){0, RANGE_FULL};
    s->decoder = (range_decoder){.range = RANGE_FULL};
    for (s->next = 0; decode && s->next < 7; s->next++)
        s->decoder.ahead = s->decoder.ahead << 8 | (s->next < s->size ? s->bytes[s->next] : 0);
}

/* PITH_OK when the decoder stands exactly where an encoder would have ended the segment. */
static pith_status end_of(const segment *s) {
    uint64_t value, low = s->decoder.low & (RANGE_FULL - 1);
    size_t size = s->next - 7 + (size_t)range_last(low, s->decoder.range, &value);
    if (s->size < size) return PITH_TRUNCATED;
    return s->size == size && !s->decoder.wrong && low + s->decoder.ahead == value ? PITH_OK : PITH_CORRUPT;
}

static pith_status end_segment(segment *s, bool decode) {
    if (decode) return end_of(s);
    s->size = (size_t)(range_flush(&s->encoder, s->bytes + s->size) - s->bytes);
    return PITH_OK;
}

/* Codes a chunk of segments: their first pictures together, then their second ones ... */
static pith_status code_chunk(coder_job *j, int64_t first, int64_t end, int worker) {
    const int32_t nodes = j->c->tree.nodes;
    coder_batch b = {.row = j->segment + first};
    pith_status s = new_batch(&b, j) ? PITH_OK : PITH_NO_MEMORY;
    for (int64_t k = first; k < end; k++) begin_segment(&j->segment[k], j->decode);
    for (int64_t round = 0; round < CIRCUIT_SEGMENT && !s && !atomic_load(&j->failed); round++) {
        b.rows = 0; /* only the very last segment may be short */
        while (first + b.rows < end && (first + b.rows) * CIRCUIT_SEGMENT + round < j->count) b.rows++;
        for (int32_t r = 0; r < b.rows && !j->decode && !s; r++)
            if (!reserve(&b.row[r], nodes)) s = PITH_NO_MEMORY;
        if (s || b.rows == 0) break;
        code_pictures(j, &b);
        for (int32_t r = 0; r < b.rows; r++) {
            b.row[r].pictures += nodes;
            if (b.row[r].bits) b.row[r].bits++;
        }
        long long done = atomic_fetch_add(&j->done, b.rows) + b.rows;
        if (worker == 0) s = pith_progress(j->context, (double)done, (double)j->count, "pictures", NULL);
    }
    for (int64_t k = first; k < end && !s && !atomic_load(&j->failed); k++) s = end_segment(&j->segment[k], j->decode);
    free_batch(&b);
    return s;
}

static void code_chunks(void *user, int64_t begin, int64_t end, int worker) {
    coder_job *j = user;
    int none = PITH_OK;
    pith_status s = atomic_load(&j->failed) ? PITH_OK : code_chunk(j, begin, end, worker);
    if (s) atomic_compare_exchange_strong(&j->failed, &none, s);
}

static pith_status open_job(coder_job *j, const circuit *c, const pith_context *context, int64_t count,
                            pith_error *err) {
    int64_t segments = circuit_segments(count);
    *j = (coder_job){.c = c, .kernels = ISA_SELECT(circuit_exact), .context = context, .count = count};
    j->level = memory_alloc((size_t)c->tree.nodes * sizeof *j->level);
    j->segment = memory_zero((size_t)segments, sizeof *j->segment);
    if (!j->level || !j->segment)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld segments", (long long)segments);
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        j->level[i] = i ? j->level[c->tree.parent[i]] + 1 : 0;
        if (j->level[i] >= j->levels) j->levels = j->level[i] + 1;
    }
    return PITH_OK;
}

static pith_status run_job(coder_job *j, pith_error *err) {
    int64_t segments = circuit_segments(j->count), share = (segments + parallel_threads() - 1) / parallel_threads();
    parallel_for(segments, share > MAX_ROWS ? MAX_ROWS : share, code_chunks, j);
    pith_status s = (pith_status)atomic_load(&j->failed);
    if (s == PITH_NO_MEMORY) return pith_fail(err, s, NULL, -1, "no memory to code pictures");
    if (s == PITH_INTERRUPTED) return pith_fail(err, s, NULL, -1, "interrupted");
    if (s) return pith_fail(err, s, NULL, -1, "expected whole segments of pictures, found a damaged stream");
    return PITH_OK;
}

pith_status circuit_encode(const circuit *c, const pith_context *context, const uint8_t *pictures, int64_t count,
                           pith_bytes *out, uint32_t **sizes, pith_error *err) {
    coder_job j;
    *out = (pith_bytes){0};
    *sizes = NULL;
    int64_t segments = circuit_segments(count);
    pith_status s = open_job(&j, c, context, count, err);
    for (int64_t k = 0; k < segments && !s; k++) /* read only when encoding */
        j.segment[k].pictures = (uint8_t *)pictures + k * CIRCUIT_SEGMENT * c->tree.nodes;
    if (!s) s = run_job(&j, err);
    size_t total = 0;
    for (int64_t k = 0; k < segments && !s; k++) total += j.segment[k].size;
    if (!s) {
        out->data = memory_alloc(total);
        *sizes = memory_alloc((size_t)segments * sizeof **sizes);
        if (!out->data || !*sizes) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %zu bytes", total);
    }
    for (int64_t k = 0; k < segments && !s; k++) {
        memcpy(out->data + out->size, j.segment[k].bytes, j.segment[k].size);
        out->size += j.segment[k].size;
        (*sizes)[k] = (uint32_t)j.segment[k].size;
    }
    for (int64_t k = 0; k < segments && j.segment; k++) memory_free(j.segment[k].bytes);
    memory_free(j.segment);
    memory_free(j.level);
    if (s) {
        memory_free(out->data);
        memory_free(*sizes);
        *out = (pith_bytes){0};
        *sizes = NULL;
    }
    return s;
}

pith_status circuit_decode(const circuit *c, const pith_context *context, pith_bytes in, const uint32_t *sizes,
                           int64_t count, uint8_t *pictures, float *bits, pith_error *err) {
    coder_job j;
    int64_t segments = circuit_segments(count);
    pith_status s = open_job(&j, c, context, count, err);
    size_t at = 0;
    j.decode = true;
    for (int64_t k = 0; k < segments && !s; k++) {
        segment *e = &j.segment[k];
        if (sizes[k] > in.size - at)
            s = pith_fail(err, PITH_TRUNCATED, NULL, -1, "expected %u bytes of a segment, found %zu", sizes[k],
                          in.size - at);
        else *e = (segment){.bytes = in.data + at, .size = sizes[k]};
        e->pictures = pictures + k * CIRCUIT_SEGMENT * c->tree.nodes;
        e->bits = bits ? bits + k * CIRCUIT_SEGMENT : NULL;
        at += sizes[k];
    }
    if (!s && at != in.size)
        s = pith_fail(err, PITH_CORRUPT, NULL, -1, "expected %zu bytes of pictures, found %zu", at, in.size);
    for (int64_t k = 0; k < count && bits; k++) bits[k] = 0;
    if (!s) s = run_job(&j, err);
    memory_free(j.segment);
    memory_free(j.level);
    return s;
}
