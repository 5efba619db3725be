/* picture/circuit_em.c - expectation-maximization by flows (Liu, Mandt, Van den Broeck, ICLR 2022, section 3).
 *
 * A batch is dealt to FLOW_LANES lanes in blocks of pictures, each lane with counts of its own, and the lanes are added
 * in order: the result does not depend on the number of threads. */
#include "picture/circuit_em.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "picture/circuit_flows.h"

#include <string.h>

ISA_DECLARE(struct circuit_flows_kernels, circuit_flows);
ISA_DECLARE(struct circuit_step_kernels, circuit_step);

enum { STEP_NODES = 16 }; /* nodes that take a step together */

struct circuit_em {
    const circuit_tree *tree;
    circuit_parameters *p;
    const struct circuit_flows_kernels *flows;
    const struct circuit_step_kernels *step;
    flow_counts lane[FLOW_LANES];
    int workers;
    flow_block *block; /* per worker */
    float **sum;       /* per worker: scratch of a step */
    /* what a parallel loop works on */
    flow_step update;
    const uint8_t *pictures, *common;
    const uint32_t *index;
    int64_t count;
    double *likelihood; /* per lane */
};

pith_status circuit_parameters_new(circuit_parameters *p, int32_t nodes, int32_t states, pith_error *err) {
    int32_t stride = circuit_stride(states);
    *p = (circuit_parameters){.nodes = nodes, .states = states, .stride = stride};
    size_t rows = (size_t)nodes * stride, state = sizeof(float);
    p->own = memory_alloc((size_t)nodes * sizeof *p->own);
    p->move = memory_zero(rows, stride * state);
    p->back = memory_zero(rows, stride * state);
    p->emit = memory_zero(rows, CIRCUIT_VALUES * state);
    for (int32_t i = 0; i < nodes && p->own; i++) p->own[i] = states;
    if (p->own && p->move && p->back && p->emit) return PITH_OK;
    circuit_parameters_free(p);
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %d nodes of %d states", nodes, states);
}

void circuit_parameters_free(circuit_parameters *p) {
    memory_free(p->own);
    memory_free(p->move);
    memory_free(p->back);
    memory_free(p->emit);
    *p = (circuit_parameters){0};
}

static void free_block(flow_block *b) {
    memory_free(b->value);
    memory_free(b->row);
    memory_free(b->member);
    memory_free(b->rows);
    memory_free(b->inside);
    memory_free(b->up);
    memory_free(b->exponent);
    memory_free(b->flow);
    memory_free(b->log_likelihood);
}

static bool new_block(flow_block *b, const circuit_em *em) {
    size_t nodes = (size_t)em->tree->nodes, rows = FLOW_BLOCK + 1, row = (size_t)em->p->stride * sizeof(float);
    *b = (flow_block){.tree = em->tree, .p = em->p};
    b->value = memory_alloc(nodes * rows);
    b->row = memory_alloc(nodes * FLOW_BLOCK);
    b->member = memory_alloc(nodes * rows);
    b->rows = memory_alloc(nodes * sizeof *b->rows);
    b->inside = memory_aligned(nodes * rows * row);
    b->up = memory_aligned(nodes * rows * row);
    b->exponent = memory_alloc(nodes * rows * sizeof *b->exponent);
    b->flow = memory_aligned(rows * row);
    b->log_likelihood = memory_alloc(rows * sizeof *b->log_likelihood);
    return b->value && b->row && b->member && b->rows && b->inside && b->up && b->exponent && b->flow &&
           b->log_likelihood;
}

static bool new_counts(flow_counts *c, const circuit_parameters *p) {
    size_t rows = (size_t)p->nodes * p->stride;
    c->move = memory_zero(rows, (size_t)p->stride * sizeof *c->move);
    c->emit = memory_zero(rows, CIRCUIT_VALUES * sizeof *c->emit);
    c->touched = memory_zero((size_t)p->nodes, sizeof *c->touched);
    return c->move && c->emit && c->touched;
}

pith_status circuit_em_new(circuit_em **out, const circuit_tree *tree, circuit_parameters *p, pith_error *err) {
    circuit_em *em = memory_zero(1, sizeof *em);
    bool ok = em != NULL;
    if (ok) {
        em->tree = tree, em->p = p;
        em->flows = ISA_SELECT(circuit_flows), em->step = ISA_SELECT(circuit_step);
        em->workers = parallel_threads();
        em->block = memory_zero((size_t)em->workers, sizeof *em->block);
        em->sum = memory_zero((size_t)em->workers, sizeof *em->sum);
        em->likelihood = memory_zero(FLOW_LANES, sizeof *em->likelihood);
        ok = em->block && em->sum && em->likelihood;
    }
    for (int i = 0; ok && i < em->workers; i++) {
        em->sum[i] = memory_alloc((size_t)p->stride * (CIRCUIT_VALUES + 4) * sizeof **em->sum);
        ok = em->sum[i] && new_block(&em->block[i], em);
    }
    for (int l = 0; ok && l < FLOW_LANES; l++) ok = new_counts(&em->lane[l], p);
    *out = em;
    if (ok) return PITH_OK;
    circuit_em_free(em);
    *out = NULL;
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory to train a circuit of %d states", p->states);
}

void circuit_em_free(circuit_em *em) {
    if (!em) return;
    for (int i = 0; i < em->workers && em->block && em->sum; i++) {
        free_block(&em->block[i]);
        memory_free(em->sum[i]);
    }
    for (int l = 0; l < FLOW_LANES; l++) {
        memory_free(em->lane[l].move);
        memory_free(em->lane[l].emit);
        memory_free(em->lane[l].touched);
    }
    memory_free(em->block);
    memory_free(em->sum);
    memory_free(em->likelihood);
    memory_free(em);
}

static void count_lanes(void *user, int64_t begin, int64_t end, int worker) {
    circuit_em *em = user;
    flow_block *b = &em->block[worker];
    b->pictures = em->pictures, b->common = em->common;
    for (int64_t l = begin; l < end; l++)
        for (int64_t at = l * FLOW_BLOCK; at < em->count; at += FLOW_LANES * FLOW_BLOCK) {
            b->index = em->index + at;
            b->count = (int32_t)(em->count - at < FLOW_BLOCK ? em->count - at : FLOW_BLOCK);
            b->counts = &em->lane[l];
            em->flows->pass(b);
        }
}

void circuit_em_count(circuit_em *em, const uint8_t *pictures, const uint8_t *common, const uint32_t *index,
                      int64_t count) {
    em->pictures = pictures, em->common = common, em->index = index, em->count = count;
    parallel_for(FLOW_LANES, 1, count_lanes, em);
}

static void step_nodes(void *user, int64_t begin, int64_t end, int worker) {
    circuit_em *em = user;
    flow_step s = em->update;
    s.sum = em->sum[worker];
    for (int64_t i = begin; i < end; i++) {
        em->step->move(&s, (int32_t)i);
        em->step->emit(&s, (int32_t)i);
    }
}

void circuit_em_step(circuit_em *em, double inertia, const circuit_prior *prior) {
    em->update = (flow_step){.p = em->p,
                             .tree = em->tree,
                             .counts = em->lane,
                             .inertia = (float)inertia,
                             .pseudocount = (float)prior->pseudocount,
                             .smoothing = (float)prior->smoothing,
                             .common = em->common};
    parallel_for(em->tree->nodes, STEP_NODES, step_nodes, em);
    for (int l = 0; l < FLOW_LANES; l++) em->lane[l].log_likelihood = 0;
}

double circuit_em_likelihood_counted(const circuit_em *em) {
    double sum = 0;
    for (int l = 0; l < FLOW_LANES; l++) sum += em->lane[l].log_likelihood;
    return sum;
}

static void sum_lanes(void *user, int64_t begin, int64_t end, int worker) {
    circuit_em *em = user;
    flow_block *b = &em->block[worker];
    uint32_t index[FLOW_BLOCK];
    b->pictures = em->pictures, b->common = em->common, b->index = index, b->counts = NULL;
    for (int64_t l = begin; l < end; l++) {
        em->likelihood[l] = 0;
        for (int64_t at = l * FLOW_BLOCK; at < em->count; at += FLOW_LANES * FLOW_BLOCK) {
            b->count = (int32_t)(em->count - at < FLOW_BLOCK ? em->count - at : FLOW_BLOCK);
            for (int32_t n = 0; n < b->count; n++) index[n] = (uint32_t)(at + n);
            em->flows->pass(b);
            for (int32_t n = 0; n < b->count; n++) em->likelihood[l] += (double)b->log_likelihood[n];
        }
    }
}

double circuit_em_likelihood(circuit_em *em, const uint8_t *pictures, const uint8_t *common, int64_t count) {
    em->pictures = pictures, em->common = common, em->count = count;
    parallel_for(FLOW_LANES, 1, sum_lanes, em);
    double sum = 0;
    for (int l = 0; l < FLOW_LANES; l++) sum += em->likelihood[l];
    return sum;
}

static void random_distribution(float *v, int32_t n, size_t step, rng *r) {
    float sum = 0;
    for (int32_t k = 0; k < n; k++) {
        v[k * step] = 0.6f + 0.8f * rng_float(r);
        sum += v[k * step];
    }
    for (int32_t k = 0; k < n; k++) v[k * step] /= sum;
}

void circuit_parameters_turn(circuit_parameters *p) {
    size_t stride = (size_t)p->stride;
    for (size_t i = 0; i < (size_t)p->nodes; i++)
        for (size_t j = 0; j < stride; j++)
            for (size_t k = 0; k < stride; k++)
                p->back[(i * stride + k) * stride + j] = p->move[(i * stride + j) * stride + k];
}

void circuit_parameters_start(circuit_parameters *p, uint64_t seed) {
    size_t stride = (size_t)p->stride;
    for (int32_t i = 0; i < p->nodes; i++) {
        rng r = rng_new(seed, (uint64_t)i);
        float *move = p->move + i * stride * stride;
        for (int32_t j = 0; j < (i ? p->states : 1); j++) random_distribution(move + j * stride, p->states, 1, &r);
        for (int32_t k = 0; k < p->states; k++)
            random_distribution(p->emit + i * stride * CIRCUIT_VALUES + k, CIRCUIT_VALUES, stride, &r);
    }
    circuit_parameters_turn(p);
}
