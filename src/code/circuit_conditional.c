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
    const int32_t stride = p->c->stride, value = picture[p->c->tree.pixel[i]];
    const float *emit = p->c->emit + ((size_t)i * CIRCUIT_VALUES + (size_t)(value / 16 * 16)) * stride;
    if (p->missing[p->c->tree.pixel[i]])
        for (int32_t k = 0; k < stride; k++) out[k] = 1;
    else p->kernels->column(emit, value % 16, out, stride);
}

static void go_up(const passes *p, const uint8_t *picture) {
    const circuit_tree *t = &p->c->tree;
    const int32_t stride = p->c->stride;
    for (int32_t i = t->nodes - 1; i >= 0; i--) {
        float *inside = p->inside + (size_t)i * stride, *up = p->up + (size_t)i * stride;
        emission(p, i, picture, inside);
        for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c])
            p->kernels->times(inside, inside, p->up + (size_t)c * stride, 1, stride);
        if (t->bare[i]) memcpy(up, inside, (size_t)stride * sizeof *up);
        else p->kernels->product(up, inside, p->c->back + (size_t)i * stride * stride, 1, stride, stride);
    }
}

static void go_down(const passes *p, int32_t i) {
    const circuit_tree *t = &p->c->tree;
    const int32_t stride = p->c->stride;
    const size_t at = (size_t)i * stride;
    float *posterior = p->posterior + at;
    const float *above = i ? p->posterior + (size_t)t->parent[i] * stride : NULL;
    if (i == 0) {
        p->kernels->times(posterior, p->c->move, p->inside, 1, stride);
    } else if (t->bare[i]) {
        memcpy(posterior, above, (size_t)stride * sizeof *posterior);
    } else {
        for (int32_t k = 0; k < stride; k++) p->flow[k] = p->up[at + k] > 0 ? above[k] / p->up[at + k] : 0;
        p->kernels->product(posterior, p->flow, p->c->move + at * stride, 1, stride, stride);
        p->kernels->times(posterior, posterior, p->inside + at, 1, stride);
    }
}

static void distribution(const passes *p, int32_t i, float *out) {
    const int32_t stride = p->c->stride;
    float sum = 0;
    for (int g = 0; g < CIRCUIT_VALUES / CIRCUIT_LANES; g++)
        p->kernels->product(out + g * CIRCUIT_LANES, p->posterior + (size_t)i * stride,
                            p->c->emit + ((size_t)i * CIRCUIT_VALUES + (size_t)g * CIRCUIT_LANES) * stride, 1, stride,
                            CIRCUIT_LANES);
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
