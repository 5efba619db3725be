/* code/circuit_orders.c - the paper's coding order and what it is measured against; see circuit_orders.h.
 *
 * Liu, Mandt, Van den Broeck (ICLR 2022), section 3: values are visited depth first, the larger child of a product
 * first; a node's own value, being one, comes after its children. While the first child of every ancestor is at work
 * nothing outside is known, so the probability of all values so far is a fixed linear function of that child's states:
 * the top-down probabilities. Otherwise the path from the value up to its anchor, the topmost node where it is not in
 * the first child, must be evaluated again. */
#include "code/circuit_orders.h"

#include "base/isa.h"
#include "base/memory.h"
#include "code/circuit_kernels.h"

#include <math.h>
#include <string.h>

ISA_DECLARE(struct circuit_kernels, circuit_exact);

typedef struct orders {
    const circuit *c;
    const struct circuit_kernels *kernels;
    const uint8_t *picture;
    uint8_t *known;              /* per node */
    float *inside, *up, *down;   /* [node][stride] */
    double *inside_log, *up_log; /* logarithm of what was divided out of the two */
    float *row;                  /* [stride] */
    int64_t transitions;
} orders;

/* out *= factor, scaled; returns the logarithm of the scale taken out. */
static double multiply(const orders *o, float *out, const float *factor, int32_t width) {
    float before = 0, after = 0;
    for (int32_t k = 0; k < width; k++) before = fmaxf(before, out[k] * factor[k]);
    o->kernels->times(out, out, factor, 1, width);
    for (int32_t k = 0; k < width; k++) after = fmaxf(after, out[k]);
    return log((double)before) - log((double)after);
}

static void emission(const orders *o, int32_t i, float *out) {
    const circuit_node *n = &o->c->node[i];
    const uint8_t value = o->picture[o->c->tree.pixel[i]];
    const float *emit = n->emit + (size_t)(value / CIRCUIT_LANES) * CIRCUIT_LANES * (size_t)n->width;
    if (!o->known[i])
        for (int32_t k = 0; k < n->width; k++) out[k] = 1;
    else if (value == n->common) memcpy(out, n->often, (size_t)n->width * sizeof *out);
    else o->kernels->column(emit, value % CIRCUIT_LANES, out, n->width);
}

/* inside of node i from its emission and its children's up. */
static void gather(orders *o, int32_t i) {
    const circuit_tree *t = &o->c->tree;
    const size_t stride = (size_t)o->c->stride;
    emission(o, i, o->inside + i * stride);
    o->inside_log[i] = 0;
    for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c])
        o->inside_log[i] += multiply(o, o->inside + i * stride, o->up + c * stride, o->c->node[i].width) + o->up_log[c];
}

static void rise(orders *o, int32_t i) {
    const circuit_node *n = &o->c->node[i];
    const size_t at = (size_t)i * (size_t)o->c->stride;
    if (n->move) o->kernels->product(o->up + at, o->inside + at, n->back, 1, n->width, n->above);
    else memcpy(o->up + at, o->inside + at, (size_t)n->width * sizeof *o->up);
    o->transitions += n->move != NULL;
    o->up_log[i] = o->inside_log[i];
}

/* ln of the probability of all known values, all of them below node i. */
static double log_known(const orders *o, int32_t i) {
    const size_t at = (size_t)i * (size_t)o->c->stride;
    double sum = 0;
    for (int32_t k = 0; k < o->c->node[i].width; k++) sum += (double)o->down[at + k] * (double)o->inside[at + k];
    return log(sum) + o->inside_log[i];
}

static void run_naive(orders *o, double *conditional) {
    double before = 0;
    for (int32_t i = 0; i < o->c->tree.nodes; i++) {
        o->known[i] = 1;
        for (int32_t k = o->c->tree.nodes - 1; k >= 0; k--) {
            gather(o, k);
            if (k) rise(o, k);
        }
        double now = log_known(o, 0);
        conditional[i] = now - before;
        before = now;
    }
}

/* Codes node i's subtree, whose path to `anchor` must be evaluated for each of its values. */
static double run_larger(orders *o, int32_t i, int32_t anchor, double before, double *conditional) {
    const circuit_tree *t = &o->c->tree;
    for (int32_t c = i + 1; c < i + t->size[i]; c += t->size[c]) /* first child: anchored in itself while i is */
        before = run_larger(o, c, anchor != i ? anchor : c == i + 1 && !t->bare[c] ? c : i, before, conditional);
    o->known[i] = 1;
    gather(o, i);
    int32_t k = i;
    for (; k != anchor; k = t->parent[k]) {
        rise(o, k);
        gather(o, t->parent[k]);
    }
    double now = log_known(o, anchor);
    conditional[i] = now - before;
    if (i == anchor && i) rise(o, i);
    return now;
}

static void run_messages(orders *o, double *conditional) {
    const circuit_tree *t = &o->c->tree;
    const size_t stride = (size_t)o->c->stride;
    for (int32_t i = 0; i < t->nodes; i++) {
        const circuit_node *n = &o->c->node[i];
        const float *weight = o->down + i * stride;
        if (i) {
            size_t above = (size_t)t->parent[i] * stride;
            o->kernels->times(o->row, o->down + above, o->inside + above, 1, n->above);
            if (n->move) o->kernels->product(o->down + i * stride, o->row, n->move, 1, n->above, n->width);
            else weight = o->row;
            o->transitions += n->move != NULL;
        }
        double all = 0, value = 0;
        o->known[i] = 1;
        emission(o, i, o->inside + i * stride);
        for (int32_t k = 0; k < n->width; k++) {
            all += (double)weight[k];
            value += (double)weight[k] * (double)o->inside[i * stride + k];
        }
        conditional[i] = log(value / all);
        for (int32_t k = i; k > 0 && k + t->size[k] == i + 1; k = t->parent[k]) {
            rise(o, k);
            multiply(o, o->inside + (size_t)t->parent[k] * stride, o->up + k * stride, o->c->node[k].above);
        }
    }
}

/* Marginal distribution of each node's state, nothing being known. Computed once for a model, so not counted. */
static void top_down(orders *o) {
    const size_t stride = (size_t)o->c->stride;
    memcpy(o->down, o->c->node[0].move, (size_t)o->c->node[0].width * sizeof *o->down);
    for (int32_t i = 1; i < o->c->tree.nodes; i++) {
        float *from = o->down + (size_t)o->c->tree.parent[i] * stride, *to = o->down + i * stride;
        const circuit_node *n = &o->c->node[i];
        if (n->move) o->kernels->product(to, from, n->move, 1, n->above, n->width);
        else memcpy(to, from, (size_t)n->width * sizeof *to);
    }
}

pith_status circuit_order_run(const circuit *c, circuit_order order, const uint8_t *picture, double *conditional,
                              int64_t *transitions, pith_error *err) {
    size_t nodes = (size_t)c->tree.nodes, size = nodes * (size_t)c->stride;
    orders o = {.c = c, .kernels = ISA_SELECT(circuit_exact), .picture = picture};
    float *space = memory_aligned((3 * size + (size_t)c->stride) * sizeof *space);
    o.known = memory_zero(nodes, 1);
    o.inside_log = memory_zero(2 * nodes, sizeof *o.inside_log);
    pith_status s = PITH_OK;
    if (!space || !o.known || !o.inside_log) {
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for the messages of %zu nodes", nodes);
    } else {
        o.inside = space, o.up = space + size, o.down = space + 2 * size, o.row = space + 3 * size;
        o.up_log = o.inside_log + nodes;
        for (size_t k = 0; k < size; k++) o.inside[k] = o.up[k] = 1;
        top_down(&o);
        if (order == CIRCUIT_NAIVE) run_naive(&o, conditional);
        else if (order == CIRCUIT_LARGER) run_larger(&o, 0, 0, 0, conditional);
        else run_messages(&o, conditional);
        *transitions = o.transitions;
    }
    memory_free(space);
    memory_free(o.known);
    memory_free(o.inside_log);
    return s;
}
