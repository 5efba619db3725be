/* code/circuit_expand.c - a circuit's numbers from their codes: sums and products of one order, the same everywhere. */
#include "code/circuit_expand.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "code/circuit_codes.h"
#include "code/circuit_kernels.h"

#include <string.h>

ISA_DECLARE(struct circuit_kernels, circuit_exact);

enum { GROUPS = CIRCUIT_VALUES / CIRCUIT_LANES, NODES_AT_ONCE = 8 };

typedef struct expansion {
    circuit *c;
    const struct circuit_kernels *kernels;
    const uint8_t *codes;
    bool floors; /* every row begins with that of its floor */
    float value[256];
    float *share; /* [node][stride]: probability of each state */
} expansion;

static size_t node_numbers(const circuit_tree *t, const circuit_node *n, int32_t i) {
    size_t width = (size_t)n->width, above = (size_t)n->above;
    return (t->bare[i] ? 0 : 2 * width * above) + width * (1 + CIRCUIT_VALUES + GROUPS) + above;
}

pith_status circuit_allocate(circuit *c, uint64_t limit, pith_error *err) {
    size_t total = 0; /* < 2^16 nodes of < 2^18 numbers */
    for (int32_t i = 0; i < c->tree.nodes; i++) total += node_numbers(&c->tree, &c->node[i], i);
    if (total * sizeof(float) > limit)
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected a model of at most %llu bytes of memory, found %llu",
                         (unsigned long long)limit, (unsigned long long)(total * sizeof(float)));
    pith_status s = pith_buffer_new_lasting(&c->numbers, total * sizeof(float), err);
    if (s) return s;
    float *p = pith_buffer_data(c->numbers);
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        circuit_node *n = &c->node[i];
        size_t width = (size_t)n->width, above = (size_t)n->above;
        if (!c->tree.bare[i]) {
            n->move = p, p += width * above;
            n->back = p, p += width * above;
        }
        n->often = p, p += width;
        n->emit = p, p += width * CIRCUIT_VALUES;
        n->group = p, p += width * GROUPS;
        n->all = p, p += above;
    }
    return PITH_OK;
}

/* A row of n numbers divided by their sum, added from left to right; moves on to the next row. */
static void expand_row(const expansion *e, const uint8_t **code, int32_t n, float *row) {
    float sum = 0, floor = e->floors ? code_floor(*(*code)++) : e->value[0];
    for (int32_t k = 0; k < n; k++) {
        row[k] = (*code)[k] ? e->value[(*code)[k]] : floor;
        sum += row[k];
    }
    float scale = 1 / sum;
    for (int32_t k = 0; k < n; k++) row[k] *= scale;
    *code += n;
}

static void expand_node(const expansion *e, int32_t i) {
    circuit *c = e->c;
    circuit_node *n = &c->node[i];
    const size_t width = (size_t)n->width, above = (size_t)n->above;
    const uint8_t *code = e->codes + n->codes;
    int32_t rows = c->tree.bare[i] ? 0 : i ? c->node[c->tree.parent[i]].states : 1;
    for (size_t j = 0; j < (size_t)rows; j++) {
        expand_row(e, &code, n->states, n->move + j * width);
        for (size_t k = 0; k < (size_t)n->states; k++) n->back[k * above + j] = n->move[j * width + k];
    }
    for (size_t k = 0; k < (size_t)n->states; k++) {
        float row[CIRCUIT_VALUES];
        expand_row(e, &code, CIRCUIT_VALUES, row);
        for (size_t g = 0; g < GROUPS; g++)
            memcpy(n->emit + (g * width + k) * CIRCUIT_LANES, row + g * CIRCUIT_LANES, CIRCUIT_LANES * sizeof *row);
    }
}

static void expand_nodes(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) expand_node(user, (int32_t)i);
}

/* Finds the common value of a node, takes it out of `emit`, sums groups of the others. */
static void part_node(const expansion *e, int32_t i) {
    circuit_node *n = &e->c->node[i];
    const size_t width = (size_t)n->width;
    float likelihood[CIRCUIT_VALUES];
    for (size_t g = 0; g < GROUPS; g++)
        e->kernels->product(likelihood + g * CIRCUIT_LANES, e->share + (size_t)i * (size_t)e->c->stride,
                            n->emit + g * width * CIRCUIT_LANES, 1, n->width, CIRCUIT_LANES);
    for (int v = 1; v < CIRCUIT_VALUES; v++)
        if (likelihood[v] > likelihood[n->common]) n->common = (uint8_t)v;
    float *of_common = n->emit + n->common / CIRCUIT_LANES * width * CIRCUIT_LANES + n->common % CIRCUIT_LANES;
    for (size_t k = 0; k < width; k++) {
        n->often[k] = of_common[k * CIRCUIT_LANES];
        of_common[k * CIRCUIT_LANES] = 0;
        for (size_t g = 0; g < GROUPS; g++) {
            const float *of = n->emit + (g * width + k) * CIRCUIT_LANES;
            float sum = 0;
            for (size_t v = 0; v < CIRCUIT_LANES; v++) sum += of[v];
            n->group[k * GROUPS + g] = sum;
        }
    }
}

static void part_nodes(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) part_node(user, (int32_t)i);
}

/* Probability of each state, nothing being known. */
static void find_shares(expansion *e) {
    const circuit *c = e->c;
    const float one[CIRCUIT_LANES] = {1};
    for (int32_t i = 0; i < c->tree.nodes; i++) {
        const circuit_node *n = &c->node[i];
        const float *from = i ? e->share + (size_t)c->tree.parent[i] * (size_t)c->stride : one;
        float *to = e->share + (size_t)i * (size_t)c->stride;
        if (c->tree.bare[i]) memcpy(to, from, (size_t)n->width * sizeof *to);
        else e->kernels->product(to, from, n->move, 1, n->above, n->width);
    }
}

/* What the common values of whole subtrees say about the state above them; `share` serves as scratch. */
static void find_all(expansion *e) {
    const circuit *c = e->c;
    const float least = 0x1p-100f;
    for (int32_t i = c->tree.nodes - 1; i >= 0; i--) {
        const circuit_node *n = &c->node[i];
        float *inside = e->share + (size_t)i * (size_t)c->stride;
        memcpy(inside, n->often, (size_t)n->width * sizeof *inside);
        for (int32_t child = i + 1; child < i + c->tree.size[i]; child += c->tree.size[child])
            for (int32_t k = 0; k < n->width; k++) {
                inside[k] *= c->node[child].all[k];
                if (inside[k] < least) inside[k] = k < n->states ? least : 0;
            }
        if (c->tree.bare[i]) memcpy(n->all, inside, (size_t)n->width * sizeof *inside);
        else e->kernels->product(n->all, inside, n->back, 1, n->width, n->above);
        int32_t rows = i ? c->node[c->tree.parent[i]].states : 1;
        for (int32_t j = 0; j < rows; j++)
            if (n->all[j] < least) n->all[j] = least;
    }
}

/* Code 0 of version 1 is 2^-26; code c has exponent (c - 1) >> precision, counted from 2^-24, below a leading one. */
static float old_value(uint32_t code, int precision) {
    if (code == 0) return 0x1p-26f;
    uint32_t steps = 1u << precision, mantissa = steps + ((code - 1) & (steps - 1));
    return ldexpf((float)mantissa, (int)((code - 1) >> precision) - 24 - precision);
}

pith_status circuit_expand(circuit *c, const uint8_t *codes, int precision, pith_error *err) {
    expansion e = {.c = c, .kernels = ISA_SELECT(circuit_exact), .codes = codes, .floors = precision == 0};
    e.share = memory_zero((size_t)c->tree.nodes * (size_t)c->stride, sizeof *e.share);
    if (!e.share) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a circuit");
    for (uint32_t code = 0; code < 256; code++)
        e.value[code] = precision ? old_value(code, precision) : (float)(code * code);
    parallel_for(c->tree.nodes, NODES_AT_ONCE, expand_nodes, &e);
    find_shares(&e);
    parallel_for(c->tree.nodes, NODES_AT_ONCE, part_nodes, &e);
    find_all(&e);
    memory_free(e.share);
    return PITH_OK;
}
