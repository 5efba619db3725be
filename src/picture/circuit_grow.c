/* picture/circuit_grow.c - a circuit of more states from one of few: rare states are pruned, the others split.
 *
 * After M. Dang, A. Liu, G. Van den Broeck, "Sparse probabilistic circuits via pruning and growing" (NeurIPS 2022,
 * arXiv 2211.12551), who prune edges of little flow and copy every node. Here whole states go, which keeps the matrices
 * dense, and how many copies a state gets follows how often it is used, so that nodes have as many states as they
 * can tell apart. */
#include "picture/circuit_em.h"

#include "base/memory.h"
#include "base/rng.h"

#include <math.h>

typedef struct splitting { /* of one node's states */
    int32_t count;         /* new states */
    int32_t *from;         /* which old state each was */
    int32_t *copies;       /* of each old state */
} splitting;

/* Probability of each node's states: [node][stride], of bare nodes their parents'. */
static void marginals(const circuit_parameters *p, const circuit_tree *tree, double *out) {
    const size_t stride = (size_t)p->stride;
    for (int32_t i = 0; i < p->nodes; i++) {
        double *to = out + i * stride;
        const double *from = i ? out + (size_t)tree->parent[i] * stride : NULL;
        for (size_t k = 0; k < stride; k++) to[k] = i ? 0 : (double)p->move[k];
        if (tree->bare[i])
            for (size_t k = 0; k < stride; k++) to[k] = from[k];
        for (size_t j = 0; j < stride && i && !tree->bare[i]; j++)
            for (size_t k = 0; k < stride; k++) to[k] += from[j] * (double)p->move[(i * stride + j) * stride + k];
    }
}

/* Gives one copy after the other to the state whose copies stand for most. */
static void choose(const circuit_growth *g, const double *share, int32_t states, splitting *s) {
    int32_t best = 0;
    for (int32_t k = 0; k < states; k++) {
        s->copies[k] = share[k] >= g->least;
        if (share[k] > share[best]) best = k;
    }
    s->copies[best] = 1;
    s->count = 0;
    for (int32_t k = 0; k < states; k++) s->count += s->copies[k];
    for (; s->count < g->states; s->count++) {
        double most = 0;
        for (int32_t k = 0; k < states; k++) {
            double each = s->copies[k] ? sqrt(share[k]) / s->copies[k] : 0;
            if (share[k] < (s->copies[k] + 1) * g->least || each <= most) continue;
            most = each, best = k;
        }
        if (most == 0) break;
        s->copies[best]++;
    }
    for (int32_t k = 0, n = 0; k < states; k++)
        for (int32_t c = 0; c < s->copies[k]; c++) s->from[n++] = k;
}

/* Copies states of a distribution, shared out evenly among a state's copies and a little at random, and normalizes. */
static void split_move(const float *from, const splitting *s, float noise, rng *r, float *to) {
    float sum = 0;
    for (int32_t k = 0; k < s->count; k++) {
        to[k] = from[s->from[k]] / (float)s->copies[s->from[k]] * (1 + noise * (2 * rng_float(r) - 1));
        sum += to[k];
    }
    for (int32_t k = 0; k < s->count; k++) to[k] /= sum + 1e-30f;
}

static void split_node(const circuit_parameters *p, int32_t i, const splitting *above, const splitting *own,
                       const circuit_growth *g, bool bare, circuit_parameters *out) {
    const size_t old = (size_t)p->stride, new = (size_t)out->stride;
    rng r = rng_new(g->seed, (uint64_t)i);
    out->own[i] = own->count;
    for (int32_t j = 0; j < (bare ? 0 : above ? above->count : 1); j++)
        split_move(p->move + (i * old + (size_t)(above ? above->from[j] : 0)) * old, own, g->noise, &r,
                   out->move + (i * new + (size_t)j) * new);
    for (size_t v = 0; v < CIRCUIT_VALUES; v++)
        for (int32_t k = 0; k < own->count; k++)
            out->emit[(i * CIRCUIT_VALUES + v) * new + (size_t)k] =
                p->emit[(i * CIRCUIT_VALUES + v) * old + (size_t)own->from[k]];
}

pith_status circuit_parameters_grow(const circuit_parameters *p, const circuit_tree *tree, const circuit_growth *g,
                                    circuit_parameters *out, pith_error *err) {
    const size_t nodes = (size_t)p->nodes;
    pith_status status = circuit_parameters_new(out, p->nodes, g->states, err);
    if (status) return status;
    double *share = memory_zero(nodes * (size_t)p->stride, sizeof *share);
    splitting *all = memory_zero(nodes, sizeof *all);
    int32_t *numbers = memory_zero(nodes, (size_t)(g->states + p->stride) * sizeof *numbers);
    if (share && all && numbers) {
        marginals(p, tree, share);
        for (size_t i = 0; i < nodes; i++) {
            all[i].from = numbers + i * (size_t)(g->states + p->stride);
            all[i].copies = all[i].from + g->states;
            if (tree->bare[i]) all[i] = all[tree->parent[i]];
            else choose(g, share + i * (size_t)p->stride, p->own[i], &all[i]);
            split_node(p, (int32_t)i, i ? &all[tree->parent[i]] : NULL, &all[i], g, tree->bare[i], out);
        }
        circuit_parameters_turn(out);
    } else {
        status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory to grow a circuit to %d states", g->states);
        circuit_parameters_free(out);
    }
    memory_free(share);
    memory_free(all);
    memory_free(numbers);
    return status;
}
