/* picture/isa/circuit_step_fast.c - the maximization step of one node: counts of all lanes, added in order, become
 * distributions, which are mixed with the old ones. */
#include "base/isa.h"
#include "picture/circuit_flows.h"

#include <stddef.h>
#include <string.h>

enum { SPAN = 8 };

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
    const size_t stride = (size_t)p->stride, at = (size_t)node * stride * stride;
    const int32_t states = p->own[node];
    float *lanes[FLOW_LANES], keep = s->inertia, share = s->pseudocount / (float)states;
    if (s->tree->bare[node]) return;
    for (int l = 0; l < FLOW_LANES; l++) lanes[l] = s->counts[l].move;
    for (int32_t j = 0; j < (node ? p->own[s->tree->parent[node]] : 1); j++) {
        float *row = p->move + at + (size_t)j * stride, *count = lanes[0] + at + (size_t)j * stride, sum = 0;
        collect(count, lanes, at + (size_t)j * stride, circuit_stride(states));
        for (int32_t k = 0; k < states; k++) {
            count[k] *= row[k];
            sum += count[k];
        }
        float scale = (1 - keep) / (sum + s->pseudocount);
        for (int32_t k = 0; k < states; k++) {
            row[k] = keep * row[k] + scale * (count[k] + share);
            p->back[at + (size_t)k * stride + j] = row[k];
        }
        memset(count, 0, stride * sizeof *count);
    }
}

/* Sums the lanes' counts of emissions into lane 0, clears the others; touched: values that have any. */
static void collect_emissions(flow_step *s, int32_t node, uint64_t touched[4]) {
    const int32_t stride = s->p->stride;
    memset(touched, 0, 4 * sizeof *touched);
    for (int l = 0; l < FLOW_LANES; l++) {
        uint64_t *of_lane = s->counts[l].touched[node];
        for (int v = 0; v < CIRCUIT_VALUES && l > 0; v++) {
            if (!(of_lane[v >> 6] >> (v & 63) & 1)) continue;
            size_t at = ((size_t)node * CIRCUIT_VALUES + v) * stride;
            float *to = s->counts[0].emit + at, *from = s->counts[l].emit + at;
            for (int32_t k = 0; k < stride; k++) to[k] += from[k];
            memset(from, 0, (size_t)stride * sizeof *from);
        }
        for (int w = 0; w < 4; w++) touched[w] |= of_lane[w];
        memset(of_lane, 0, 4 * sizeof *of_lane);
    }
}

/* Adds to a state's counts of values other than the node's most frequent one, often a spike, a running mean of the same
 * counts over 2 SPAN + 1 values, `smoothing` in all. Their total is kept: what neighbors lend each other is how a value
 * looks once it is not the common one, never how often that is. */
static void smooth(const flow_step *s, int32_t node, const float *count, float *fresh, float *own, float *box) {
    const int32_t stride = s->p->stride, common = s->common[node];
    float *total = box + stride, *lend = total + stride;
    memset(own, 0, (size_t)stride * sizeof *own);
    memset(box, 0, 2 * (size_t)stride * sizeof *box);
    for (int v = 0; v < CIRCUIT_VALUES; v++)
        for (int32_t k = 0; k < stride && v != common; k++) own[k] += count[(size_t)v * stride + k];
    for (int32_t k = 0; k < stride; k++) lend[k] = s->smoothing / ((own[k] + 1e-6f) * (2 * SPAN + 1));
    for (int v = -SPAN; v < CIRCUIT_VALUES; v++) {
        const float *enter = count + (ptrdiff_t)(v + SPAN) * stride,
                    *leave = count + (ptrdiff_t)(v - SPAN - 1) * stride;
        float *to = fresh + (ptrdiff_t)v * stride;
        for (int32_t k = 0; k < stride && v + SPAN < CIRCUIT_VALUES && v + SPAN != common; k++) box[k] += enter[k];
        for (int32_t k = 0; k < stride && v - SPAN - 1 >= 0 && v - SPAN - 1 != common; k++) box[k] -= leave[k];
        for (int32_t k = 0; k < stride && v >= 0 && v != common; k++) {
            to[k] += lend[k] * (box[k] > 0 ? box[k] : 0);
            total[k] += to[k];
        }
    }
    for (int32_t k = 0; k < stride; k++) total[k] = own[k] / (total[k] + 1e-20f);
    for (int v = 0; v < CIRCUIT_VALUES; v++)
        for (int32_t k = 0; k < stride && v != common; k++) fresh[(size_t)v * stride + k] *= total[k];
}

static void emit(flow_step *s, int32_t node) {
    const circuit_parameters *p = s->p;
    const int32_t stride = p->stride, states = p->own[node];
    float *table = p->emit + (size_t)node * CIRCUIT_VALUES * stride, *fresh = s->sum;
    float *count = s->counts[0].emit + (size_t)node * CIRCUIT_VALUES * stride;
    float *sum = fresh + CIRCUIT_VALUES * stride, *box = sum + stride;
    const float keep = s->inertia, share = s->pseudocount / CIRCUIT_VALUES;
    uint64_t touched[4];
    collect_emissions(s, node, touched);
    memcpy(fresh, count, (size_t)CIRCUIT_VALUES * stride * sizeof *fresh);
    if (s->smoothing > 0) smooth(s, node, count, fresh, sum, box);
    for (int32_t c = 0; c < CIRCUIT_VALUES * stride; c++) fresh[c] += share;
    memset(sum, 0, (size_t)stride * sizeof *sum);
    for (int v = 0; v < CIRCUIT_VALUES; v++) {
        for (int32_t k = 0; k < stride; k++) sum[k] += fresh[(size_t)v * stride + k];
        if (touched[v >> 6] >> (v & 63) & 1) memset(count + (size_t)v * stride, 0, (size_t)stride * sizeof *count);
    }
    for (int32_t k = 0; k < stride; k++) sum[k] = k < states ? (1 - keep) / sum[k] : 0;
    for (int v = 0; v < CIRCUIT_VALUES; v++)
        for (int32_t k = 0; k < stride; k++)
            table[(size_t)v * stride + k] =
                keep * table[(size_t)v * stride + k] + sum[k] * fresh[(size_t)v * stride + k];
}

extern const struct circuit_step_kernels ISA_TABLE(circuit_step);
const struct circuit_step_kernels ISA_TABLE(circuit_step) = {move, emit};
