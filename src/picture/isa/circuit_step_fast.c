/* picture/isa/circuit_step_fast.c - the maximization step of one node: counts of all lanes, added in order, become
 * distributions, which are mixed with the old ones. */
#include "base/isa.h"
#include "picture/circuit_flows.h"

#include <string.h>

/* Adds the lanes' counts of one row into lane 0 and clears the others. */
static void collect(float *first, float *const *others, size_t offset, int32_t n) {
    for (int l = 1; l < FLOW_LANES; l++) {
        float *from = others[l] + offset;
        for (int32_t k = 0; k < n; k++) first[k] += from[k];
        memset(from, 0, (size_t)n * sizeof *from);
    }
}

static void move(flow_step *s, int32_t node) {
    const circuit_parameters *p = s->p;
    const int32_t stride = p->stride, states = p->states;
    const size_t at = (size_t)node * stride * stride;
    float *lanes[FLOW_LANES], keep = s->inertia, share = s->pseudocount / (float)states;
    if (s->tree->bare[node]) return;
    for (int l = 0; l < FLOW_LANES; l++) lanes[l] = s->counts[l].move;
    for (int32_t j = 0; j < (node ? states : 1); j++) {
        float *row = p->move + at + (size_t)j * stride, *count = lanes[0] + at + (size_t)j * stride, sum = 0;
        collect(count, lanes, at + (size_t)j * stride, stride);
        for (int32_t k = 0; k < states; k++) {
            count[k] *= row[k];
            sum += count[k];
        }
        float scale = (1 - keep) / (sum + s->pseudocount);
        for (int32_t k = 0; k < states; k++) {
            row[k] = keep * row[k] + scale * (count[k] + share);
            p->back[at + (size_t)k * stride + j] = row[k];
        }
        memset(count, 0, (size_t)stride * sizeof *count);
    }
}

static void emit(flow_step *s, int32_t node) {
    const circuit_parameters *p = s->p;
    const int32_t stride = p->stride, states = p->states;
    const size_t at = (size_t)node * CIRCUIT_VALUES * stride;
    float *sum = s->sum, keep = s->inertia, share = s->pseudocount / CIRCUIT_VALUES;
    for (int32_t k = 0; k < stride; k++) sum[k] = s->pseudocount;
    uint64_t touched[4] = {0};
    for (int l = 0; l < FLOW_LANES; l++)
        for (int w = 0; w < 4; w++) touched[w] |= s->counts[l].touched[node][w];
    for (int v = 0; v < CIRCUIT_VALUES; v++) {
        if (!(touched[v >> 6] >> (v & 63) & 1)) continue;
        float *count = s->counts[0].emit + at + (size_t)v * stride;
        for (int l = 1; l < FLOW_LANES; l++) {
            if (!(s->counts[l].touched[node][v >> 6] >> (v & 63) & 1)) continue;
            float *from = s->counts[l].emit + at + (size_t)v * stride;
            for (int32_t k = 0; k < stride; k++) count[k] += from[k];
            memset(from, 0, (size_t)stride * sizeof *from);
        }
        for (int32_t k = 0; k < stride; k++) sum[k] += count[k];
    }
    for (int32_t k = 0; k < stride; k++) sum[k] = k < states ? (1 - keep) / sum[k] : 0;
    for (int v = 0; v < CIRCUIT_VALUES; v++) {
        float *row = p->emit + at + (size_t)v * stride;
        if (touched[v >> 6] >> (v & 63) & 1) {
            float *count = s->counts[0].emit + at + (size_t)v * stride;
            for (int32_t k = 0; k < stride; k++) row[k] = keep * row[k] + sum[k] * (count[k] + share);
            memset(count, 0, (size_t)stride * sizeof *count);
        } else {
            for (int32_t k = 0; k < stride; k++) row[k] = keep * row[k] + sum[k] * share;
        }
    }
    for (int l = 0; l < FLOW_LANES; l++) memset(s->counts[l].touched[node], 0, sizeof s->counts[l].touched[node]);
}

extern const struct circuit_step_kernels ISA_TABLE(circuit_step);
const struct circuit_step_kernels ISA_TABLE(circuit_step) = {move, emit};
