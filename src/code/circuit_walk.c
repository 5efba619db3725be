/* code/circuit_walk.c - pictures through a hidden Chow-Liu tree, value by value, by two messages an edge.
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
 * next (`rest` in circuit_segment.h). Rates are the same with and without, but for rounding. A value is coded as common
 * or not, else as a group of 16 and its place in the group, so that 33 masses at most are made instead of 256.
 *
 * All rows go through a node together (small dense products); each has its own range coder. */
#include "code/circuit_walk.h"

#include "base/isa.h"
#include "base/memory.h"

#include <string.h>

ISA_DECLARE(struct circuit_kernels, circuit_exact);

typedef struct walk_level { /* the node at work at a depth of the tree: rows that are not all common below it */
    int32_t rows;
    int32_t row[CIRCUIT_ROWS];   /* of the chunk */
    int32_t above[CIRCUIT_ROWS]; /* of the level above */
    float *down, *inside;        /* [rows][width] */
} walk_level;

struct circuit_batch {
    walk_level *level;  /* 0: above the root, a single state */
    float *numbers;     /* what the levels point into */
    float *weight, *up; /* [row][stride] */
    float *likelihood;  /* [row][CIRCUIT_GROUP] */
    uint32_t *start;    /* [row][CIRCUIT_GROUP] */
    uint8_t *differs;   /* encoding: [row][node], some value of the subtree is not common */
    circuit_segment *row;
    int32_t rows;
};

/* Codes the value of node i, not the common one, in the rows of `of` that are listed; emissions go to out. */
static void code_others(const circuit_walk *w, circuit_batch *b, int32_t i, const walk_level *of, const int32_t *listed,
                        int32_t count, const float *weight, float *out) {
    const circuit_node *n = &w->c->node[i];
    const int32_t pixel = w->c->tree.pixel[i];
    const float *in[CIRCUIT_ROWS], *table[CIRCUIT_ROWS];
    uint32_t high[CIRCUIT_ROWS];
    for (int32_t k = 0; k < count; k++) in[k] = weight + (size_t)listed[k] * n->width, table[k] = n->group;
    w->kernels->each(b->likelihood, in, table, count, n->width);
    w->kernels->starts(b->likelihood, b->start, count);
    for (int32_t k = 0; k < count; k++) {
        circuit_segment *s = &b->row[of->row[listed[k]]];
        uint32_t x = w->decode ? 0 : s->pictures[pixel];
        high[k] = segment_symbol(s, w->decode, b->start + k * CIRCUIT_GROUP, x / CIRCUIT_GROUP);
        table[k] = n->emit + (size_t)high[k] * CIRCUIT_GROUP * n->width;
    }
    w->kernels->each(b->likelihood, in, table, count, n->width);
    w->kernels->starts(b->likelihood, b->start, count);
    for (int32_t k = 0; k < count; k++) {
        circuit_segment *s = &b->row[of->row[listed[k]]];
        uint32_t x = w->decode ? 0 : s->pictures[pixel];
        uint32_t low = segment_symbol(s, w->decode, b->start + k * CIRCUIT_GROUP, x % CIRCUIT_GROUP);
        w->kernels->column(table[k], (int32_t)low, out + (size_t)listed[k] * n->width, n->width);
        if (w->decode) s->pictures[pixel] = (uint8_t)(high[k] * CIRCUIT_GROUP + low);
    }
}

/* Which rows above have a subtree i that is not all common? They make its level, their weights lie first in b->weight;
 * in the others the subtree is done. */
static void enter(const circuit_walk *w, circuit_batch *b, int32_t i) {
    const circuit_tree *t = &w->c->tree;
    const circuit_node *n = &w->c->node[i];
    walk_level *own = &b->level[w->level[i]], *above = own - 1;
    own->rows = 0;
    for (int32_t r = 0; r < above->rows; r++) {
        circuit_segment *s = &b->row[above->row[r]];
        float *inside = above->inside + (size_t)r * n->above, *weight = b->weight + (size_t)own->rows * n->above;
        float sums[2];
        w->kernels->weigh(weight, above->down + (size_t)r * n->above, inside, n->all, n->above, sums);
        float chance = sums[0] > 0 ? sums[1] / sums[0] : 0.5f;
        bool common = !w->decode && !b->differs[(size_t)above->row[r] * t->nodes + i];
        if (segment_common(s, w->decode, chance, i + t->size[i], common)) {
            w->kernels->times(inside, inside, n->all, 1, n->above);
            for (int32_t k = i; k < i + t->size[i] && w->decode; k++) s->pictures[t->pixel[k]] = w->c->node[k].common;
        } else {
            if (t->size[i] > 1) s->until = i + t->size[i], s->rest = chance;
            own->row[own->rows] = above->row[r], own->above[own->rows++] = r;
        }
    }
}

/* Codes the value of node i in the rows of its level; a leaf that is not all common has another value. */
static void code_values(const circuit_walk *w, circuit_batch *b, int32_t i, const float *weight, float *out) {
    const circuit_node *n = &w->c->node[i];
    const walk_level *own = &b->level[w->level[i]];
    const int32_t pixel = w->c->tree.pixel[i], leaf = w->c->tree.size[i] == 1;
    int32_t others[CIRCUIT_ROWS], count = 0;
    for (int32_t r = 0; r < own->rows; r++) {
        circuit_segment *s = &b->row[own->row[r]];
        float sums[2];
        if (!leaf) w->kernels->sums(weight + (size_t)r * n->width, n->often, n->width, sums);
        if (leaf ||
            !segment_common(s, w->decode, sums[1] / sums[0], i + 1, !w->decode && s->pictures[pixel] == n->common)) {
            others[count++] = r;
        } else {
            memcpy(out + (size_t)r * n->width, n->often, (size_t)n->width * sizeof *out);
            if (w->decode) s->pictures[pixel] = n->common;
        }
    }
    if (count) code_others(w, b, i, own, others, count, weight, out);
}

/* Multiplies what is known about the states above the level of node i with `up`, row by row. */
static void rise(const circuit_walk *w, circuit_batch *b, int32_t i, const float *up) {
    const size_t width = (size_t)w->c->node[i].above;
    const walk_level *own = &b->level[w->level[i]], *above = own - 1;
    for (int32_t r = 0; r < own->rows; r++) {
        float *inside = above->inside + (size_t)own->above[r] * width;
        w->kernels->times(inside, inside, up + (size_t)r * width, 1, (int32_t)width);
    }
}

/* Codes node i; true: its children are next. */
static bool code_node(const circuit_walk *w, circuit_batch *b, int32_t i) {
    const circuit_node *n = &w->c->node[i];
    walk_level *own = &b->level[w->level[i]];
    enter(w, b, i);
    if (own->rows == 0) return false;
    if (!n->move) {
        code_values(w, b, i, b->weight, b->up);
        rise(w, b, i, b->up);
        return false;
    }
    w->kernels->product(own->down, b->weight, n->move, own->rows, n->above, n->width);
    code_values(w, b, i, own->down, own->inside);
    return true;
}

static void find_differing(const circuit_walk *w, circuit_batch *b) {
    const circuit_tree *t = &w->c->tree;
    for (int32_t r = 0; r < b->rows && !w->decode; r++) {
        uint8_t *differs = b->differs + (size_t)r * t->nodes;
        for (int32_t i = 0; i < t->nodes; i++) differs[i] = b->row[r].pictures[t->pixel[i]] != w->c->node[i].common;
        for (int32_t i = t->nodes - 1; i > 0; i--) differs[t->parent[i]] |= differs[i];
    }
}

void circuit_walk_pictures(const circuit_walk *w, circuit_batch *b, circuit_segment *row, int32_t rows) {
    const circuit_tree *t = &w->c->tree;
    walk_level *top = &b->level[0];
    b->row = row, b->rows = rows;
    find_differing(w, b);
    top->rows = rows;
    memset(top->down, 0, (size_t)b->rows * CIRCUIT_LANES * sizeof *top->down);
    for (int32_t r = 0; r < b->rows; r++) {
        b->row[r].until = 0;
        top->row[r] = r;
        top->down[r * CIRCUIT_LANES] = 1;
        for (int32_t k = 0; k < CIRCUIT_LANES; k++) top->inside[r * CIRCUIT_LANES + k] = 1;
    }
    for (int32_t i = 0; i < t->nodes;) {
        bool open = code_node(w, b, i);
        int32_t end = open ? i + 1 : i + t->size[i], k = open ? i : t->parent[i];
        for (; k > 0 && k + t->size[k] == end; k = t->parent[k]) { /* subtrees that end here, the innermost first */
            const circuit_node *n = &w->c->node[k];
            const walk_level *own = &b->level[w->level[k]];
            w->kernels->product(b->up, own->inside, n->back, own->rows, n->width, n->above);
            rise(w, b, k, b->up);
        }
        i = end;
    }
}

circuit_batch *circuit_batch_new(const circuit_walk *w) {
    const size_t rows = CIRCUIT_ROWS, size = rows * (size_t)w->c->stride;
    size_t all = 0;
    for (int32_t l = 0; l < w->levels; l++) all += 2 * rows * (size_t)w->width[l];
    circuit_batch *b = memory_zero(1, sizeof *b);
    if (!b) return NULL;
    b->level = memory_zero((size_t)w->levels, sizeof *b->level);
    b->numbers = memory_aligned(all * sizeof(float));
    b->weight = memory_aligned(size * sizeof(float));
    b->up = memory_aligned(size * sizeof(float));
    b->likelihood = memory_aligned(rows * CIRCUIT_GROUP * sizeof *b->likelihood);
    b->start = memory_aligned(rows * CIRCUIT_GROUP * sizeof *b->start);
    b->differs = memory_alloc(w->decode ? 0 : rows * (size_t)w->c->tree.nodes);
    if (!b->level || !b->numbers || !b->weight || !b->up || !b->likelihood || !b->start || !b->differs) {
        circuit_batch_free(b);
        return NULL;
    }
    float *p = b->numbers;
    for (int32_t l = 0; l < w->levels; l++) {
        b->level[l].down = p, p += rows * (size_t)w->width[l];
        b->level[l].inside = p, p += rows * (size_t)w->width[l];
    }
    return b;
}

void circuit_batch_free(circuit_batch *b) {
    if (!b) return;
    memory_free(b->level);
    memory_free(b->numbers);
    memory_free(b->weight);
    memory_free(b->up);
    memory_free(b->likelihood);
    memory_free(b->start);
    memory_free(b->differs);
    memory_free(b);
}

bool circuit_walk_open(circuit_walk *w, const circuit *c, bool decode) {
    *w = (circuit_walk){.c = c, .kernels = ISA_SELECT(circuit_exact), .decode = decode};
    w->level = memory_alloc((size_t)c->tree.nodes * sizeof *w->level);
    w->width = memory_zero((size_t)c->tree.nodes + 1, sizeof *w->width);
    if (!w->level || !w->width) return false;
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        w->level[i] = i ? w->level[c->tree.parent[i]] + 1 : 1;
        if (w->level[i] >= w->levels) w->levels = w->level[i] + 1;
        int32_t *width = &w->width[w->level[i]];
        if (c->node[i].width > *width) *width = c->node[i].width;
    }
    w->width[0] = CIRCUIT_LANES;
    return true;
}

void circuit_walk_close(circuit_walk *w) {
    memory_free(w->level);
    memory_free(w->width);
}
