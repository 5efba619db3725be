/* code/mixing.h - adaptive binary contexts with mixing: the probability of a binary decision from many opinions.
 *
 * Opinions are logits, mixed with weights that are learned by descent on the code length (M. Mahoney, "Adaptive
 * weighing of context models for lossless data compression", 2005, and his lpaq). Two kinds come together: experts,
 * which the caller computes, e.g. from masses of a distribution; and slots, each of which remembers how the decision
 * went in a context. Mixers whose weights are chosen by contexts of their own are averaged, and curves correct what is
 * left. All of it is integer arithmetic, so a stream is the same on every machine.
 *
 * A symbol is a walk down a tree of decisions, whose nodes have memories of their own. Before each symbol the caller
 * sets `context`, `set` and `curve`, before each decision the experts' logits in `in`; mixing_decide then codes the
 * decision and learns from it, the same in both directions.
 *
 * Sizes are a `static const` of the caller's, and everything is inlined into its file, so that the compiler knows them:
 * it unrolls the loops, and a file under isa/ gets kernels of its own. Costs about 10 ns a decision of 22 inputs with
 * AVX-512 (picture/isa/photo_tile.c). */
#ifndef CODE_MIXING_H
#define CODE_MIXING_H

#include "base/memory.h"
#include "code/binary.h"
#include "code/mixing_tables.h"

#include <string.h>

#define MIXING_INLINE static inline __attribute__((always_inline))

enum {
    MIXING_SLOTS = 16, /* at most, of each */
    MIXING_INPUTS = 32,
    MIXING_MIXERS = 2,
    MIXING_CURVES = 2,
    MIXING_POINTS = 34, /* of a curve, MIXING_CURVE_STEP apart; the last one is never more than read */
    MIXING_CURVE_STEP = 2 * MIXING_LOGIT / (MIXING_POINTS - 2),
    MIXING_WEIGHT = 1 << 16, /* a weight of one */
    MIXING_WEIGHT_MOST = 8 * MIXING_WEIGHT,
    MIXING_YOUNG = 256 /* decisions after which a set of weights learns slowly */
};

typedef struct mixing_shape {
    int nodes;                       /* kinds of decisions */
    int experts, slots;              /* opinions */
    int inputs;                      /* experts, slots, one constant, then zeros: a whole number of vectors */
    int mixers, sets;                /* at least one of each: weights of all nodes, in each mixer */
    int curves, curve_contexts;      /* none: 0, 0 */
    int32_t expert_weight;           /* to begin with, of MIXING_WEIGHT */
    int32_t slot_weight;             /* likewise */
    int32_t rarest;                  /* of 65536, at least 1: what either side of a decision has at least */
    uint16_t contexts[MIXING_SLOTS]; /* of each slot */
} mixing_shape;

typedef struct mixing_slot {
    uint16_t one, seen; /* probability of 65536; uses, up to MIXING_SEEN */
} mixing_slot;

typedef struct mixing {
    const mixing_tables *tables;
    mixing_slot *slots[MIXING_SLOTS]; /* [context][node] */
    int32_t *weights[MIXING_MIXERS];  /* [set][node][input], of MIXING_WEIGHT */
    uint16_t *used[MIXING_MIXERS];    /* [set][node]: decisions, up to MIXING_YOUNG */
    int16_t *curves[MIXING_CURVES];   /* [context][node][point]: what to add to a probability, by its logit */
    /* the caller's: of the symbol at hand */
    uint32_t context[MIXING_SLOTS], set[MIXING_MIXERS], curve[MIXING_CURVES];
    /* of the decision at hand: logits within MIXING_LOGIT, the first `experts` of them the caller's */
    int32_t in[MIXING_INPUTS];
} mixing;

static inline int32_t mixing_limit(int32_t v, int32_t low, int32_t high) {
    int32_t least = v > low ? v : low;
    return least < high ? least : high;
}

static inline void mixing_free(mixing *m) {
    for (int i = 0; i < MIXING_SLOTS; i++) memory_free(m->slots[i]);
    for (int k = 0; k < MIXING_MIXERS; k++) memory_free(m->weights[k]), memory_free(m->used[k]);
    for (int k = 0; k < MIXING_CURVES; k++) memory_free(m->curves[k]);
    memset(m, 0, sizeof *m);
}

static inline bool mixing_allocate(mixing *m, const mixing_shape *s) {
    size_t nodes = (size_t)s->nodes, sets = (size_t)s->sets * nodes;
    bool ok = true;
    for (int i = 0; i < s->slots; i++)
        ok &= (m->slots[i] = memory_alloc(s->contexts[i] * nodes * sizeof(mixing_slot))) != NULL;
    for (int k = 0; k < s->mixers; k++) {
        ok &= (m->weights[k] = memory_alloc(sets * (size_t)s->inputs * sizeof(int32_t))) != NULL;
        ok &= (m->used[k] = memory_zero(sets, sizeof(uint16_t))) != NULL;
    }
    for (int k = 0; k < s->curves; k++)
        ok &= (m->curves[k] = memory_zero((size_t)s->curve_contexts * nodes * MIXING_POINTS, sizeof(int16_t))) != NULL;
    return ok;
}

/* False: out of memory; mixing_free either way. */
static inline bool mixing_start(mixing *m, const mixing_shape *s) {
    memset(m, 0, sizeof *m);
    m->tables = mixing_tables_get();
    if (!mixing_allocate(m, s)) return false;
    for (int i = 0; i < s->slots; i++)
        for (size_t n = 0; n < (size_t)s->contexts[i] * (size_t)s->nodes; n++) m->slots[i][n] = (mixing_slot){32768, 0};
    size_t inputs = (size_t)s->inputs, experts = (size_t)s->experts, opinions = experts + (size_t)s->slots;
    for (int k = 0; k < s->mixers; k++)
        for (size_t n = 0; n < (size_t)s->sets * (size_t)s->nodes * inputs; n++)
            m->weights[k][n] = n % inputs < experts ? s->expert_weight : n % inputs < opinions ? s->slot_weight : 0;
    m->in[opinions] = MIXING_NAT;
    return true;
}

/* MIXING_NAT times the logarithm, from a float's exponent and the top of its mantissa; tiny masses count as 64. */
static inline int32_t mixing_log(const int32_t *restrict table, int32_t mass) {
    float f = (float)((mass > 0 ? mass : 0) + 64);
    int32_t bits;
    memcpy(&bits, &f, 4);
    return (((bits >> 23) - 127) * 45426 >> 8) + table[bits >> 13 & 1023]; /* 45426 / 256 = MIXING_NAT ln 2 */
}

/* The opinions of `count` experts who give the two sides these masses, each at most MIXING_FULL. */
MIXING_INLINE void mixing_experts(const mixing_tables *t, const int32_t *restrict yes, const int32_t *restrict no,
                                  int32_t *restrict in, int count) {
    const int32_t *restrict table = t->log;
    for (int e = 0; e < count; e++)
        in[e] = mixing_limit(mixing_log(table, yes[e]) - mixing_log(table, no[e]), -MIXING_LOGIT, MIXING_LOGIT);
}

static inline void mixing_slot_learn(const mixing_tables *t, mixing_slot *s, int bit) {
    int32_t to = bit ? 65535 : 0;
    s->one = (uint16_t)(s->one + ((to - s->one) * t->rate[s->seen] >> 14));
    if (s->seen < MIXING_SEEN) s->seen++;
}

MIXING_INLINE int32_t mixing_sum(const int32_t *restrict weights, const int32_t *restrict in, int count) {
    int32_t sum = 0;
    for (int i = 0; i < count; i++) sum += (weights[i] * in[i]) >> 6; /* |in| below 2^12: products are below 2^31 */
    return mixing_limit(sum >> 10, -MIXING_LOGIT, MIXING_LOGIT);
}

MIXING_INLINE void mixing_weights_learn(int32_t *restrict weights, const int32_t *restrict in, int32_t wrong,
                                        int count) {
    for (int i = 0; i < count; i++)
        weights[i] =
            mixing_limit(weights[i] + ((in[i] * wrong + (1 << 14)) >> 15), -MIXING_WEIGHT_MOST, MIXING_WEIGHT_MOST);
}

/* How wrong a mixer was, of 65536, more while its weights are young: up to five times, within 2^19. */
static inline int32_t mixing_error(uint16_t *used, int32_t one, int bit) {
    int32_t wrong = (bit ? 65535 : 0) - one;
    if (*used < MIXING_YOUNG) ++*used;
    return wrong * (16 + (MIXING_YOUNG - *used) / 4) / 16;
}

/* Codes a decision and learns from it. `bit` is looked at when encoding only; returns it in both directions. */
MIXING_INLINE int mixing_decide(mixing *m, const mixing_shape *s, binary_coder *c, int node, int bit) {
    const mixing_tables *t = m->tables;
    size_t at[MIXING_MIXERS], nodes = (size_t)s->nodes, n = (size_t)node;
    int32_t logit[MIXING_MIXERS], mean = 0;
    mixing_slot *slot[MIXING_SLOTS];
    int16_t *curve[MIXING_CURVES];
    for (int i = 0; i < s->slots; i++) {
        slot[i] = &m->slots[i][m->context[i] * nodes + n];
        m->in[s->experts + i] = t->stretch[slot[i]->one >> 4] * t->trust[slot[i]->seen] / 64;
    }
    for (int k = 0; k < s->mixers; k++) {
        at[k] = m->set[k] * nodes + n;
        logit[k] = mixing_sum(m->weights[k] + at[k] * (size_t)s->inputs, m->in, s->inputs);
        mean += logit[k];
    }
    mean = mean / s->mixers + MIXING_LOGIT;
    int32_t mixed = t->squash[mean], rest = mean % MIXING_CURVE_STEP, one = mixed, more = 0;
    for (int k = 0; k < s->curves; k++) {
        curve[k] = m->curves[k] + (m->curve[k] * nodes + n) * MIXING_POINTS + mean / MIXING_CURVE_STEP;
        more += curve[k][0] * (MIXING_CURVE_STEP - rest) + curve[k][1] * rest;
    }
    if (s->curves) one += more / (2 * s->curves * MIXING_CURVE_STEP); /* half of what they say on average */
    bit = binary_code_at(c, (uint32_t)mixing_limit(one, s->rarest, 65536 - s->rarest), bit);
    for (int k = 0; k < s->curves; k++) {
        int16_t *nearest = curve[k] + (2 * rest > MIXING_CURVE_STEP);
        *nearest = (int16_t)mixing_limit(*nearest + ((bit ? 65535 : 0) - mixed - *nearest) / 64, -32767, 32767);
    }
    for (int k = 0; k < s->mixers; k++) {
        int32_t wrong = mixing_error(&m->used[k][at[k]], t->squash[logit[k] + MIXING_LOGIT], bit);
        mixing_weights_learn(m->weights[k] + at[k] * (size_t)s->inputs, m->in, wrong, s->inputs);
    }
    for (int i = 0; i < s->slots; i++) mixing_slot_learn(t, slot[i], bit);
    return bit;
}

#endif
