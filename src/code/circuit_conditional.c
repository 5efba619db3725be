/* code/circuit_conditional.c - what the missing values of a picture may be, given the others: exact conditionals.
 *
 * A missing value's emission is 1 (it is summed over); one pass up and one down then give every state's posterior G,
 * and G B_i is the distribution of value i: 2 M^2 products an edge, and M a value for each missing pixel. */
#include "code/circuit.h"

#include "base/isa.h"
#include "base/memory.h"
#include "code/circuit_kernels.h"

#include <string.h>

ISA_DECLARE(struct circuit_kernels, circuit_exact);

typedef struct passes {
    const circuit *c;
    const struct circuit_kernels *kernels;
    const uint8_t *missing;
    float *inside, *up, *posterior; /* [node][stride] */
    float *flow;                    /* [stride] */
} passes;

static void emission(const passes *p, int32_t i, const uint8_t *picture, float *out) {
    const circuit_node *n = &p->c->node[i];
    const uint8_t value = picture[p->c->tree.pixel[i]];
    const float *emit = n->emit + (size_t)(value / CIRCUIT_LANES) * CIRCUIT_LANES * (size_t)n->width;
    if (p->missing[p->c->tree.pixel[i]])
        for (int32_t k = 0; k < n->width; k++) out[k] = 1;
    else if (value == n->common) memcpy(out, n->often, (size_t)n->width * sizeof *out);
    else p->kernels->column(emit, value % CIRCUIT_LANES, out, n->width);
}

static void go_up(const passes *p, const uint8_t *picture) {
    const circuit_tree *t = &p->c->tree;
    const size_t stride = (size_t)p->c->stride;
    for (int32_t i = t->nodes - 1; i >= 0; i--) {
        const circuit_node *n = &p->c->node[i];
        float *inside = p->inside + i * stride, *up = p->up + i * stride;
        emission(p, i, picture, inside);
        for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c])
            p->kernels->times(inside, inside, p->up + c * stride, 1, n->width);
        if (t->bare[i]) memcpy(up, inside, (size_t)n->width * sizeof *up);
        else p->kernels->product(up, inside, n->back, 1, n->width, n->above);
    }
}

static void go_down(const passes *p, int32_t i) {
    const circuit_tree *t = &p->c->tree;
    const circuit_node *n = &p->c->node[i];
    const size_t stride = (size_t)p->c->stride, at = i * stride;
    float *posterior = p->posterior + at;
    const float *above = i ? p->posterior + (size_t)t->parent[i] * stride : NULL;
    if (i == 0) {
        p->kernels->times(posterior, n->move, p->inside, 1, n->width);
    } else if (t->bare[i]) {
        memcpy(posterior, above, (size_t)n->width * sizeof *posterior);
    } else {
        for (int32_t k = 0; k < n->above; k++) p->flow[k] = p->up[at + k] > 0 ? above[k] / p->up[at + k] : 0;
        p->kernels->product(posterior, p->flow, n->move, 1, n->above, n->width);
        p->kernels->times(posterior, posterior, p->inside + at, 1, n->width);
    }
}

static void distribution(const passes *p, int32_t i, float *out) {
    const circuit_node *n = &p->c->node[i];
    const float *posterior = p->posterior + (size_t)i * (size_t)p->c->stride;
    float sums[2], sum = 0;
    for (int g = 0; g < CIRCUIT_VALUES / CIRCUIT_LANES; g++)
        p->kernels->product(out + g * CIRCUIT_LANES, posterior, n->emit + g * CIRCUIT_LANES * (size_t)n->width, 1,
                            n->width, CIRCUIT_LANES);
    p->kernels->sums(posterior, n->often, n->width, sums);
    out[n->common] = sums[1];
    for (int v = 0; v < CIRCUIT_VALUES; v++) sum += out[v];
    for (int v = 0; v < CIRCUIT_VALUES; v++) out[v] = sum > 0 ? out[v] / sum : 1.0f / CIRCUIT_VALUES;
}

pith_status circuit_conditionals(const circuit *c, const pith_context *context, const uint8_t *pictures, int64_t count,
                                 const uint8_t *missing, circuit_each *each, void *user, pith_error *err) {
    const int32_t nodes = c->tree.nodes;
    size_t size = (size_t)nodes * c->stride;
    float *space = memory_aligned((3 * size + (size_t)c->stride) * sizeof *space), out[CIRCUIT_VALUES];
    if (!space) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for the messages of %d nodes", nodes);
    passes p = {.c = c, .kernels = ISA_SELECT(circuit_exact), .missing = missing};
    p.inside = space, p.up = space + size, p.posterior = space + 2 * size, p.flow = space + 3 * size;
    pith_status s = PITH_OK;
    for (int64_t n = 0; n < count && !s; n++) {
        go_up(&p, pictures + n * nodes);
        for (int32_t i = 0; i < nodes; i++) {
            go_down(&p, i);
            if (!missing[c->tree.pixel[i]]) continue;
            distribution(&p, i, out);
            each(user, n, c->tree.pixel[i], out);
        }
        s = pith_progress(context, (double)(n + 1), (double)count, "pictures", err);
    }
    memory_free(space);
    return s;
}
