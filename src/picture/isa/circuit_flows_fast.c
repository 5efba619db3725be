/* picture/isa/circuit_flows_fast.c - upward and downward pass of a block of pictures through a circuit.
 *
 * Upward: inside(i)[k] = B_i[k][x_i] prod_children up(c)[k]; up(i)[j] = sum_k A_i[j][k] inside(i)[k]. Downward: the
 * flow F(i)[j], how often the parent is in state j, gives R = F / up, counts of A_i[j][k] (R[j] inside[k], times A_i at
 * the end) and of B_i (G[k] = inside[k] sum_j R[j] A_i[j][k]), and G flows on to the children. Rows of states lie in
 * whole vectors, products are sums of rows of weights times one number each: nothing is ever added across a vector. */
#include "base/isa.h"
#include "picture/circuit_flows.h"

#include <string.h>

typedef float lane __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16, ROWS = 6 };

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions of this file only */

static inline lane load(const float *p) { return *(const lane *)p; }
static inline void store(float *p, lane v) { *(lane *)p = v; }

/* ROWS rows by two vectors of columns: 12 sums stay in registers. */
#define PRODUCT_TILE(rows, columns)                                                                                  \
    do {                                                                                                             \
        lane sum[rows][columns] = {0};                                                                               \
        for (int32_t k = 0; k < depth; k++)                                                                          \
            for (int r = 0; r < (rows); r++)                                                                         \
                for (int c = 0; c < (columns); c++)                                                                  \
                    sum[r][c] +=                                                                                     \
                        load(weights + (size_t)k * stride + column + LANES * c) * in[(size_t)(n0 + r) * stride + k]; \
        for (int r = 0; r < (rows); r++)                                                                             \
            for (int c = 0; c < (columns); c++)                                                                      \
                store(out + (size_t)(n0 + r) * stride + column + LANES * c, sum[r][c]);                              \
    } while (0)

/* out[n][columns] = in[n][depth] * weights[depth][columns], all with rows of `stride`; columns in whole vectors. */
static void product(float *out, const float *in, const float *weights, int32_t n, int32_t depth, int32_t columns,
                    int32_t stride) {
    for (int32_t column = 0; column < columns; column += 2 * LANES) {
        bool wide = column + LANES < columns;
        int32_t n0 = 0;
        for (; n0 + ROWS <= n; n0 += ROWS) {
            if (wide) PRODUCT_TILE(ROWS, 2);
            else PRODUCT_TILE(ROWS, 1);
        }
        for (; n0 < n; n0++) {
            if (wide) PRODUCT_TILE(1, 2);
            else PRODUCT_TILE(1, 1);
        }
    }
}

/* sum[j][k] += sum over rows of left[row][j] * right[row][k]. */
#define OUTER_TILE(columns)                                                                                        \
    do {                                                                                                           \
        lane acc[ROWS + 2][columns];                                                                               \
        for (int j = 0; j < ROWS + 2; j++)                                                                         \
            for (int c = 0; c < (columns); c++)                                                                    \
                acc[j][c] = load(sum + (size_t)(j0 + j) * stride + column + LANES * c);                            \
        for (int32_t r = 0; r < n; r++)                                                                            \
            for (int j = 0; j < ROWS + 2; j++)                                                                     \
                for (int c = 0; c < (columns); c++)                                                                \
                    acc[j][c] +=                                                                                   \
                        load(right + (size_t)r * stride + column + LANES * c) * left[(size_t)r * stride + j0 + j]; \
        for (int j = 0; j < ROWS + 2; j++)                                                                         \
            for (int c = 0; c < (columns); c++)                                                                    \
                store(sum + (size_t)(j0 + j) * stride + column + LANES * c, acc[j][c]);                            \
    } while (0)

static void outer(float *sum, const float *left, const float *right, int32_t n, int32_t rows, int32_t columns,
                  int32_t stride) {
    for (int32_t column = 0; column < columns; column += 2 * LANES)
        for (int32_t j0 = 0; j0 < rows; j0 += ROWS + 2) {
            if (column + LANES < columns) OUTER_TILE(2);
            else OUTER_TILE(1);
        }
}

/* Which pictures have a row of their own at each node: those that differ from the common value in its subtree. */
static void assign_rows(flow_block *b) {
    const circuit_tree *t = b->tree;
    for (int32_t i = t->nodes - 1; i >= 0; i--) {
        uint8_t *row = b->row + (size_t)i * FLOW_BLOCK, differs[FLOW_BLOCK];
        uint8_t *value = b->value + (size_t)i * (FLOW_BLOCK + 1), *member = b->member + (size_t)i * (FLOW_BLOCK + 1);
        for (int32_t n = 0; n < b->count; n++)
            differs[n] = b->pictures[(size_t)b->index[n] * t->nodes + i] != b->common[i];
        for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c])
            for (int32_t n = 0; n < b->count; n++) differs[n] |= b->row[(size_t)c * FLOW_BLOCK + n] != 0;
        int32_t rows = 1;
        value[0] = b->common[i];
        for (int32_t n = 0; n < b->count; n++) {
            row[n] = differs[n] ? (uint8_t)rows : 0;
            value[rows] = b->pictures[(size_t)b->index[n] * t->nodes + i];
            member[rows] = (uint8_t)n;
            rows += differs[n];
        }
        b->rows[i] = rows;
    }
}

/* Divides a row by a power of two near its maximum and returns the exponent. */
static inline float take_exponent(float *row, int32_t width) {
    float most[LANES] = {0}, largest = 0;
    for (int32_t k = 0; k < width; k += LANES)
        for (int c = 0; c < LANES; c++) most[c] = row[k + c] > most[c] ? row[k + c] : most[c];
    for (int k = 0; k < LANES; k++) largest = largest > most[k] ? largest : most[k];
    if (!(largest > 1e-37f)) { /* the model gives the picture no chance: any message will do */
        for (int32_t k = 0; k < width; k++) row[k] = 1;
        return -126;
    }
    union {
        float f;
        uint32_t u;
    } bits = {largest};
    int32_t exponent = (int32_t)(bits.u >> 23) - 127;
    bits.u = (uint32_t)(127 - exponent) << 23;
    for (int32_t k = 0; k < width; k += LANES) store(row + k, load(row + k) * bits.f);
    return (float)exponent;
}

/* States of node i, and of its parent, in whole vectors. */
static int32_t width_of(const flow_block *b, int32_t i) { return circuit_stride(b->p->own[i]); }
static int32_t width_above(const flow_block *b, int32_t i) { return i ? width_of(b, b->tree->parent[i]) : LANES; }

static void go_up(flow_block *b) {
    const circuit_tree *t = b->tree;
    const int32_t stride = b->p->stride;
    const size_t matrix = (size_t)stride * stride, rows_of_node = FLOW_BLOCK + 1;
    for (int32_t i = t->nodes - 1; i >= 0; i--) {
        float *inside = b->inside + i * rows_of_node * stride, *up = b->up + i * rows_of_node * stride;
        float *exponent = b->exponent + i * rows_of_node;
        const uint8_t *value = b->value + i * rows_of_node, *member = b->member + i * rows_of_node;
        const float *emit = b->p->emit + (size_t)i * CIRCUIT_VALUES * stride;
        const int32_t width = width_of(b, i);
        for (int32_t r = 0; r < b->rows[i]; r++) {
            memcpy(inside + (size_t)r * stride, emit + (size_t)value[r] * stride, (size_t)width * sizeof *inside);
            exponent[r] = 0;
        }
        for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c]) {
            const float *below = (t->bare[c] ? b->inside : b->up) + c * rows_of_node * stride;
            const uint8_t *row = b->row + (size_t)c * FLOW_BLOCK;
            for (int32_t r = 0; r < b->rows[i]; r++) {
                size_t from = r ? row[member[r]] : 0;
                for (int32_t k = 0; k < width; k += LANES)
                    store(inside + (size_t)r * stride + k,
                          load(inside + (size_t)r * stride + k) * load(below + from * stride + k));
                exponent[r] += b->exponent[c * rows_of_node + from];
            }
        }
        for (int32_t r = 0; r < b->rows[i]; r++) exponent[r] += take_exponent(inside + (size_t)r * stride, width);
        if (!t->bare[i]) product(up, inside, b->p->back + i * matrix, b->rows[i], width, width_above(b, i), stride);
    }
}

/* The expected emissions G of node i, and on to its children: their rows of their own take over their parent's flow,
 * all others add up in row 0. */
static void spread(flow_block *b, int32_t i, const float *expect) {
    const int32_t stride = b->p->stride, width = width_of(b, i);
    const uint8_t *value = b->value + (size_t)i * (FLOW_BLOCK + 1);
    float *emit = b->counts->emit + (size_t)i * CIRCUIT_VALUES * stride;
    for (int32_t r = 0; r < b->rows[i]; r++) {
        float *sum = emit + (size_t)value[r] * stride;
        for (int32_t k = 0; k < width; k += LANES)
            store(sum + k, load(sum + k) + load(expect + (size_t)r * stride + k));
        b->counts->touched[i][value[r] >> 6] |= (uint64_t)1 << (value[r] & 63);
    }
}

/* The flow into child c from its parent's expectations, which lie in the parent's `up`. */
static void gather(const flow_block *b, int32_t c, float *flow) {
    const circuit_tree *t = b->tree;
    const int32_t stride = b->p->stride, above = t->parent[c], width = width_of(b, above);
    const float *from = b->up + (size_t)above * (FLOW_BLOCK + 1) * stride;
    const uint8_t *row = b->row + (size_t)c * FLOW_BLOCK, *member = b->member + (size_t)above * (FLOW_BLOCK + 1);
    memcpy(flow, from, (size_t)width * sizeof *flow);
    for (int32_t r = 1; r < b->rows[above]; r++) {
        float *to = flow + (size_t)row[member[r]] * stride;
        const float *g = from + (size_t)r * stride;
        if (row[member[r]]) memcpy(to, g, (size_t)width * sizeof *flow);
        else
            for (int32_t k = 0; k < width; k += LANES) store(to + k, load(to + k) + load(g + k));
    }
}

static void go_down(flow_block *b) {
    const circuit_tree *t = b->tree;
    const int32_t stride = b->p->stride;
    const size_t matrix = (size_t)stride * stride, node_rows = (size_t)(FLOW_BLOCK + 1) * stride;
    for (int32_t i = 0; i < t->nodes; i++) {
        float *inside = b->inside + i * node_rows, *up = b->up + i * node_rows;
        const int32_t above = width_above(b, i), width = width_of(b, i), rows = b->rows[i];
        if (i) {
            gather(b, i, b->flow);
        } else {
            memset(b->flow, 0, (size_t)rows * stride * sizeof *b->flow);
            for (int32_t n = 0; n < b->count; n++) b->flow[(size_t)b->row[n] * stride]++;
        }
        if (t->bare[i]) {
            spread(b, i, b->flow);
            continue;
        }
        const float tiny = 1e-30f;
        for (int32_t r = 0; r < rows; r++)
            for (int32_t k = r * stride; k < r * stride + above; k += LANES) /* no flow where nothing comes up */
                store(b->flow + k, load(b->flow + k) / (load(up + k) + tiny));
        outer(b->counts->move + i * matrix, b->flow, inside, rows, above, width, stride);
        product(up, b->flow, b->p->move + i * matrix, rows, above, width, stride);
        for (int32_t r = 0; r < rows; r++)
            for (int32_t k = r * stride; k < r * stride + width; k += LANES)
                store(up + k, load(up + k) * load(inside + k));
        spread(b, i, up);
    }
}

static float natural_log(float x) { return __builtin_logf(x); }

static void pass(flow_block *b) {
    assign_rows(b);
    go_up(b);
    for (int32_t n = 0; n < b->count && b->log_likelihood; n++)
        b->log_likelihood[n] =
            natural_log(b->up[(size_t)b->row[n] * b->p->stride]) + 0.69314718f * b->exponent[b->row[n]];
    if (b->counts) {
        for (int32_t n = 0; n < b->count; n++)
            b->counts->log_likelihood +=
                natural_log(b->up[(size_t)b->row[n] * b->p->stride]) + 0.69314718f * b->exponent[b->row[n]];
        go_down(b);
    }
}

extern const struct circuit_flows_kernels ISA_TABLE(circuit_flows);
const struct circuit_flows_kernels ISA_TABLE(circuit_flows) = {pass};
