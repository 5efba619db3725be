/* code/circuit_coder.c - pictures to bytes and back with a hidden Chow-Liu tree, by two messages an edge.
 *
 * Nodes are coded in depth-first order. What is known so far makes a distribution over the state of the node at hand:
 * down(i) = (down(p) inside(p)) A_i, where inside(p)[k] is the probability of all that was coded below p given its
 * state k. The value's masses are down(i) B_i; then B_i[.][x_i] starts inside(i), and when the subtree is complete A_i
 * inside(i) goes into inside(p). That is 2 M^2 products an edge and picture, whatever the tree: less than the paper's
 * |p| log D (pith bench circuit counts both).
 *
 * Most subtrees of most pictures hold nothing but background. So a bit comes first: are all values of the subtree the
 * common ones of their nodes? Its probability is one product of M, the model holding what such a subtree says about
 * the state above. Where they are, nothing else is coded and no edge walked; where they are not, the rest is coded
 * given that: while all values so far are common, the probability that the others are too is taken out of what comes
 * next (`rest` below). Rates are the same with and without, but for rounding. A value is coded as common or not, else
 * as a group of 16 and its place in the group, so that 33 masses at most are made instead of 256.
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
    int32_t
        until;  /* some value before this node is not common, though none was so far; 0: nothing of that kind known */
    float rest; /* probability that the values up to there are common, were that not known */
} segment;

typedef struct coder_job {
    const circuit *c;
    const struct circuit_kernels *kernels;
    const pith_context *context;
    bool decode;
    int64_t count; /* pictures in all */
    int32_t levels;
    int32_t *level; /* of each node, the root's being 1 */
    int32_t *width; /* of each level: its widest node's */
    segment *segment;
    atomic_int failed; /* a pith_status */
    atomic_llong done;
} coder_job;

typedef struct coder_level { /* the node at work at a depth of the tree: rows that are not all common below it */
    int32_t rows;
    int32_t row[MAX_ROWS];   /* of the chunk */
    int32_t above[MAX_ROWS]; /* of the level above */
    float *down, *inside;    /* [rows][width] */
} coder_level;

typedef struct coder_batch { /* scratch of one chunk */
    coder_level *level;      /* 0: above the root, a single state */
    float *numbers;          /* what the levels point into */
    float *weight, *up;      /* [row][stride] */
    float *likelihood;       /* [row][GROUP] */
    uint32_t *start;         /* [row][GROUP] */
    uint8_t *differs;        /* encoding: [row][node], some value of the subtree is not common */
    segment *row;
    int32_t rows;
} coder_batch;

static void feed(segment *s) {
    while (range_wants(&s->decoder)) {
        range_shift(&s->decoder, s->next < s->size ? s->bytes[s->next] : 0);
        s->next++;
    }
}

static void code_mass(segment *s, bool decode, pith_mass mass) {
    if (s->bits) *s->bits += (float)CIRCUIT_BITS - log2f((float)mass.width);
    if (decode) {
        range_take(&s->decoder, mass, CIRCUIT_BITS);
        feed(s);
    } else {
        s->size = (size_t)(range_encode(&s->encoder, mass, CIRCUIT_BITS, s->bytes + s->size) - s->bytes);
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
    code_mass(s, decode, (pith_mass){start[symbol], end - start[symbol]});
    return symbol;
}

/* Codes whether all values up to node `end` are common, which has the probability `chance` but for what is known of the
 * rest; `common` only counts when encoding. */
static bool code_common(segment *s, bool decode, float chance, int32_t end, bool common) {
    const uint32_t one = 1u << CIRCUIT_BITS;
    if (s->until == end) { /* then they cannot be */
        s->until = 0;
        return false;
    }
    float no = 1 - chance, yes = s->until ? chance - s->rest : chance;
    if (!(yes > 0)) yes = 0;
    if (!(no > 0)) no = 0;
    float share = yes + no > 0x1p-20f ? yes / (yes + no) : 0.5f;
    uint32_t width = (uint32_t)(share * (float)one);
    width = width < 1 ? 1 : width > one - 1 ? one - 1 : width;
    if (decode) common = range_point(&s->decoder, CIRCUIT_BITS) < width;
    code_mass(s, decode, common ? (pith_mass){0, width} : (pith_mass){width, one - width});
    if (!common) s->until = 0;
    else if (s->until) s->rest = s->rest < chance ? s->rest / chance : 1;
    return common;
}

/* Codes the value of node i, not the common one, in the rows of `of` that are listed; emissions go to out. */
static void code_others(const coder_job *j, coder_batch *b, int32_t i, const coder_level *of, const int32_t *listed,
                        int32_t count, const float *weight, float *out) {
    const circuit_node *n = &j->c->node[i];
    const int32_t pixel = j->c->tree.pixel[i];
    const float *in[MAX_ROWS], *table[MAX_ROWS];
    uint32_t high[MAX_ROWS];
    for (int32_t k = 0; k < count; k++) in[k] = weight + (size_t)listed[k] * n->width, table[k] = n->group;
    j->kernels->each(b->likelihood, in, table, count, n->width);
    j->kernels->starts(b->likelihood, b->start, count);
    for (int32_t k = 0; k < count; k++) {
        segment *s = &b->row[of->row[listed[k]]];
        uint32_t x = j->decode ? 0 : s->pictures[pixel];
        high[k] = code_symbol(s, j->decode, b->start + k * GROUP, x / GROUP);
        table[k] = n->emit + (size_t)high[k] * GROUP * n->width;
    }
    j->kernels->each(b->likelihood, in, table, count, n->width);
    j->kernels->starts(b->likelihood, b->start, count);
    for (int32_t k = 0; k < count; k++) {
        segment *s = &b->row[of->row[listed[k]]];
        uint32_t x = j->decode ? 0 : s->pictures[pixel];
        uint32_t low = code_symbol(s, j->decode, b->start + k * GROUP, x % GROUP);
        j->kernels->column(table[k], (int32_t)low, out + (size_t)listed[k] * n->width, n->width);
        if (j->decode) s->pictures[pixel] = (uint8_t)(high[k] * GROUP + low);
    }
}

/* Which rows above have a subtree i that is not all common? They make its level, their weights lie first in b->weight;
 * in the others the subtree is done. */
static void enter(const coder_job *j, coder_batch *b, int32_t i) {
    const circuit_tree *t = &j->c->tree;
    const circuit_node *n = &j->c->node[i];
    coder_level *own = &b->level[j->level[i]], *above = own - 1;
    own->rows = 0;
    for (int32_t r = 0; r < above->rows; r++) {
        segment *s = &b->row[above->row[r]];
        float *inside = above->inside + (size_t)r * n->above, *weight = b->weight + (size_t)own->rows * n->above;
        float sums[2];
        j->kernels->weigh(weight, above->down + (size_t)r * n->above, inside, n->all, n->above, sums);
        float chance = sums[0] > 0 ? sums[1] / sums[0] : 0.5f;
        bool common = !j->decode && !b->differs[(size_t)above->row[r] * t->nodes + i];
        if (code_common(s, j->decode, chance, i + t->size[i], common)) {
            j->kernels->times(inside, inside, n->all, 1, n->above);
            for (int32_t k = i; k < i + t->size[i] && j->decode; k++) s->pictures[t->pixel[k]] = j->c->node[k].common;
        } else {
            if (t->size[i] > 1) s->until = i + t->size[i], s->rest = chance;
            own->row[own->rows] = above->row[r], own->above[own->rows++] = r;
        }
    }
}

/* Codes the value of node i in the rows of its level; a leaf that is not all common has another value. */
static void code_values(const coder_job *j, coder_batch *b, int32_t i, const float *weight, float *out) {
    const circuit_node *n = &j->c->node[i];
    const coder_level *own = &b->level[j->level[i]];
    const int32_t pixel = j->c->tree.pixel[i], leaf = j->c->tree.size[i] == 1;
    int32_t others[MAX_ROWS], count = 0;
    for (int32_t r = 0; r < own->rows; r++) {
        segment *s = &b->row[own->row[r]];
        float sums[2];
        if (!leaf) j->kernels->sums(weight + (size_t)r * n->width, n->often, n->width, sums);
        if (leaf ||
            !code_common(s, j->decode, sums[1] / sums[0], i + 1, !j->decode && s->pictures[pixel] == n->common)) {
            others[count++] = r;
        } else {
            memcpy(out + (size_t)r * n->width, n->often, (size_t)n->width * sizeof *out);
            if (j->decode) s->pictures[pixel] = n->common;
        }
    }
    if (count) code_others(j, b, i, own, others, count, weight, out);
}

/* Multiplies what is known about the states above the level of node i with `up`, row by row. */
static void rise(const coder_job *j, coder_batch *b, int32_t i, const float *up) {
    const size_t width = (size_t)j->c->node[i].above;
    const coder_level *own = &b->level[j->level[i]], *above = own - 1;
    for (int32_t r = 0; r < own->rows; r++) {
        float *inside = above->inside + (size_t)own->above[r] * width;
        j->kernels->times(inside, inside, up + (size_t)r * width, 1, (int32_t)width);
    }
}

/* Codes node i; true: its children are next. */
static bool code_node(const coder_job *j, coder_batch *b, int32_t i) {
    const circuit_node *n = &j->c->node[i];
    coder_level *own = &b->level[j->level[i]];
    enter(j, b, i);
    if (own->rows == 0) return false;
    if (!n->move) {
        code_values(j, b, i, b->weight, b->up);
        rise(j, b, i, b->up);
        return false;
    }
    j->kernels->product(own->down, b->weight, n->move, own->rows, n->above, n->width);
    code_values(j, b, i, own->down, own->inside);
    return true;
}

static void find_differing(const coder_job *j, coder_batch *b) {
    const circuit_tree *t = &j->c->tree;
    for (int32_t r = 0; r < b->rows && !j->decode; r++) {
        uint8_t *differs = b->differs + (size_t)r * t->nodes;
        for (int32_t i = 0; i < t->nodes; i++) differs[i] = b->row[r].pictures[t->pixel[i]] != j->c->node[i].common;
        for (int32_t i = t->nodes - 1; i > 0; i--) differs[t->parent[i]] |= differs[i];
    }
}

/* One picture of every row. */
static void code_pictures(const coder_job *j, coder_batch *b) {
    const circuit_tree *t = &j->c->tree;
    coder_level *top = &b->level[0];
    find_differing(j, b);
    top->rows = b->rows;
    memset(top->down, 0, (size_t)b->rows * CIRCUIT_LANES * sizeof *top->down);
    for (int32_t r = 0; r < b->rows; r++) {
        b->row[r].until = 0;
        top->row[r] = r;
        top->down[r * CIRCUIT_LANES] = 1;
        for (int32_t k = 0; k < CIRCUIT_LANES; k++) top->inside[r * CIRCUIT_LANES + k] = 1;
    }
    for (int32_t i = 0; i < t->nodes;) {
        bool open = code_node(j, b, i);
        int32_t end = open ? i + 1 : i + t->size[i], k = open ? i : t->parent[i];
        for (; k > 0 && k + t->size[k] == end; k = t->parent[k]) { /* subtrees that end here, the innermost first */
            const circuit_node *n = &j->c->node[k];
            const coder_level *own = &b->level[j->level[k]];
            j->kernels->product(b->up, own->inside, n->back, own->rows, n->width, n->above);
            rise(j, b, k, b->up);
        }
        i = end;
    }
}

static bool new_batch(coder_batch *b, const coder_job *j) {
    const size_t rows = MAX_ROWS, size = rows * (size_t)j->c->stride;
    size_t all = 0;
    for (int32_t l = 0; l < j->levels; l++) all += 2 * rows * (size_t)j->width[l];
    b->level = memory_zero((size_t)j->levels, sizeof *b->level);
    b->numbers = memory_aligned(all * sizeof(float));
    b->weight = memory_aligned(size * sizeof(float));
    b->up = memory_aligned(size * sizeof(float));
    b->likelihood = memory_aligned(rows * GROUP * sizeof *b->likelihood);
    b->start = memory_aligned(rows * GROUP * sizeof *b->start);
    b->differs = j->decode ? NULL : memory_alloc(rows * (size_t)j->c->tree.nodes);
    if (!b->level || !b->numbers || !b->weight || !b->up || !b->likelihood || !b->start || (!j->decode && !b->differs))
        return false;
    float *p = b->numbers;
    for (int32_t l = 0; l < j->levels; l++) {
        b->level[l].down = p, p += rows * (size_t)j->width[l];
        b->level[l].inside = p, p += rows * (size_t)j->width[l];
    }
    return true;
}

static void free_batch(coder_batch *b) {
    memory_free(b->level);
    memory_free(b->numbers);
    memory_free(b->weight);
    memory_free(b->up);
    memory_free(b->likelihood);
    memory_free(b->start);
    memory_free(b->differs);
}

/* Room for one more picture: a symbol of 24 bits adds three bytes, four of them code a value, and one may be pending.
 */
static bool reserve(segment *s, int32_t nodes) {
    size_t need = s->size + (size_t)nodes * 4 * 3 + 2 * RANGE_MAX_BYTES;
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
    j->width = memory_zero((size_t)c->tree.nodes + 1, sizeof *j->width);
    j->segment = memory_zero((size_t)segments, sizeof *j->segment);
    if (!j->level || !j->width || !j->segment)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %lld segments", (long long)segments);
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        j->level[i] = i ? j->level[c->tree.parent[i]] + 1 : 1;
        if (j->level[i] >= j->levels) j->levels = j->level[i] + 1;
        int32_t *width = &j->width[j->level[i]];
        if (c->node[i].width > *width) *width = c->node[i].width;
    }
    j->width[0] = CIRCUIT_LANES;
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
    memory_free(j.width);
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
    memory_free(j.width);
    return s;
}
