/* code/mixing.h - adaptive binary contexts with mixing: the probability of a binary decision from many opinions.
 *
 * Opinions are logits, mixed with weights that are learned by descent on the code length (M. Mahoney, "Adaptive
 * weighing of context models for lossless data compression", 2005, and his lpaq). Two kinds come together: experts,
 * which the caller computes, e.g. from masses of a distribution; and slots, each of which remembers how the decision
 * went in a context. Mixers whose weights are chosen by contexts of their own are averaged, and curves correct what is
 * left. All of it is integer arithmetic, so a stream is the same on every machine.
 *
 * A symbol is a walk down a tree of decisions, whose nodes have memories of their own. Before each symbol the caller
 * sets `context`, `set` and `curve`, before each decision the experts' logits; mixing_decide then codes the
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

#if PITH_ISA_LEVEL >= 1
#include <immintrin.h>
#endif

#define MIXING_INLINE static inline __attribute__((always_inline))

enum {
    MIXING_LANES = 16,           /* of a vector of integers */
    MIXING_SLOTS = MIXING_LANES, /* at most, of each */
    MIXING_INPUTS = 32,
    MIXING_MIXERS = 2,
    MIXING_CURVES = 2,
    MIXING_CURVE_BITS = 8,
    MIXING_CURVE_STEP = 1 << MIXING_CURVE_BITS,               /* between the points of a curve, in logits */
    MIXING_POINTS = 2 * MIXING_LOGIT / MIXING_CURVE_STEP + 2, /* the last one is never more than read */
    MIXING_WEIGHT = 1 << 16,                                  /* a weight of one */
    MIXING_WEIGHT_MOST = 8 * MIXING_WEIGHT,
    MIXING_YOUNG = 256 /* decisions after which a set of weights learns slowly */
};

typedef struct mixing_shape {
    int nodes;                       /* kinds of decisions */
    int experts, slots;              /* opinions */
    int inputs;                      /* slots, experts, a constant, then at least one zero: a whole number of vectors */
    int mixers, sets;                /* at least one of each: weights of all nodes, in each mixer */
    int curves, curve_contexts;      /* none: 0, 0 */
    int32_t expert_weight;           /* to begin with, of MIXING_WEIGHT */
    int32_t slot_weight;             /* likewise */
    int32_t rarest;                  /* of 65536, at least 1: what either side of a decision has at least */
    uint16_t contexts[MIXING_SLOTS]; /* of each slot */
} mixing_shape;

typedef struct mixing {
    const mixing_tables *tables;
    int32_t *slots; /* [context][node] of one slot after the other: probability of 65536, then uses << 16, up to
                       MIXING_SEEN */
    int32_t first[MIXING_SLOTS]; /* of each slot's contexts in `slots` */
    int32_t
        *weights[MIXING_MIXERS]; /* [set][node][input], of MIXING_WEIGHT; the last one, of a zero, counts decisions */
    int16_t *curves[MIXING_CURVES]; /* [context][node][point]: what to add to a probability, by its logit */
    /* the caller's: of the symbol at hand */
    int32_t context[MIXING_SLOTS], set[MIXING_MIXERS], curve[MIXING_CURVES];
    /* of the decision at hand: logits within MIXING_LOGIT; those of the experts, from mixing_experts on, are the
     * caller's */
    _Alignas(64) int32_t in[MIXING_INPUTS];
} mixing;

static inline int32_t mixing_limit(int32_t v, int32_t low, int32_t high) {
    int32_t least = v > low ? v : low;
    return least < high ? least : high;
}

/* Where the caller puts its experts' logits. */
MIXING_INLINE int32_t *mixing_experts(mixing *m, const mixing_shape *s) { return m->in + s->slots; }

static inline void mixing_free(mixing *m) {
    memory_free(m->slots);
    for (int k = 0; k < MIXING_MIXERS; k++) memory_free(m->weights[k]);
    for (int k = 0; k < MIXING_CURVES; k++) memory_free(m->curves[k]);
    memset(m, 0, sizeof *m);
}

static inline bool mixing_allocate(mixing *m, const mixing_shape *s, size_t slots) {
    size_t nodes = (size_t)s->nodes, sets = (size_t)s->sets * nodes;
    bool ok = (m->slots = memory_alloc(slots * sizeof *m->slots)) != NULL;
    for (int k = 0; k < s->mixers; k++)
        ok &= (m->weights[k] = memory_alloc(sets * (size_t)s->inputs * sizeof(int32_t))) != NULL;
    for (int k = 0; k < s->curves; k++)
        ok &= (m->curves[k] = memory_zero((size_t)s->curve_contexts * nodes * MIXING_POINTS, sizeof(int16_t))) != NULL;
    return ok;
}

/* False: out of memory; mixing_free either way. */
static inline bool mixing_start(mixing *m, const mixing_shape *s) {
    memset(m, 0, sizeof *m);
    m->tables = mixing_tables_get();
    size_t contexts = 0, slots;
    for (int i = 0; i < s->slots; i++) m->first[i] = (int32_t)contexts, contexts += s->contexts[i];
    slots = contexts * (size_t)s->nodes + 1; /* lanes without a slot look at the first */
    if (!mixing_allocate(m, s, slots)) return false;
    for (size_t n = 0; n < slots; n++) m->slots[n] = 32768;
    size_t inputs = (size_t)s->inputs, own = (size_t)s->slots, opinions = own + (size_t)s->experts;
    for (int k = 0; k < s->mixers; k++)
        for (size_t n = 0; n < (size_t)s->sets * (size_t)s->nodes * inputs; n++)
            m->weights[k][n] = n % inputs < own ? s->slot_weight : n % inputs < opinions ? s->expert_weight : 0;
    m->in[opinions] = MIXING_NAT;
    return true;
}

/* out[i] = table[index[i]], for all lanes. */
MIXING_INLINE void mixing_look_up(const int32_t *table, const int32_t *restrict index, int32_t *restrict out) {
#if PITH_ISA_LEVEL >= 2
    _mm512_storeu_si512(out, _mm512_i32gather_epi32(_mm512_loadu_si512(index), table, 4));
#elif PITH_ISA_LEVEL == 1
    for (int i = 0; i < MIXING_LANES; i += 8) {
        __m256i at = _mm256_loadu_si256((const __m256i *)(index + i));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_i32gather_epi32(table, at, 4));
    }
#else
    for (int i = 0; i < MIXING_LANES; i++) out[i] = table[index[i]];
#endif
}

/* MIXING_NAT times the logarithms of masses below MIXING_FULL, of all lanes, from a float's exponent and the top of its
 * mantissa; tiny masses count as 64. */
MIXING_INLINE void mixing_logs(const mixing_tables *t, const int32_t *restrict mass, int32_t *restrict log) {
    int32_t at[MIXING_LANES], top[MIXING_LANES];
    for (int i = 0; i < MIXING_LANES; i++) {
        float f = (float)(mass[i] + 64);
        int32_t bits;
        memcpy(&bits, &f, 4);
        top[i] = ((bits >> 23) - 127) * 45426 >> 8; /* 45426 / 256 = MIXING_NAT ln 2 */
        at[i] = bits >> 13 & 1023;
    }
    mixing_look_up(t->log, at, log);
    for (int i = 0; i < MIXING_LANES; i++) log[i] += top[i];
}

typedef struct mixing_seen { /* the slots of a decision, a lane each */
    int32_t at[MIXING_LANES], value[MIXING_LANES], pace[MIXING_LANES];
} mixing_seen;

MIXING_INLINE void mixing_slots_read(mixing *m, const mixing_shape *s, int node, mixing_seen *restrict seen) {
    int32_t one[MIXING_LANES], uses[MIXING_LANES], logit[MIXING_LANES];
    for (int i = 0; i < MIXING_LANES; i++)
        seen->at[i] = i < s->slots ? (m->first[i] + m->context[i]) * s->nodes + node : 0;
    mixing_look_up(m->slots, seen->at, seen->value);
    for (int i = 0; i < MIXING_LANES; i++) one[i] = seen->value[i] >> 4 & 4095;
    for (int i = 0; i < MIXING_LANES; i++) uses[i] = seen->value[i] >> 16;
    mixing_look_up(m->tables->stretch, one, logit);
    mixing_look_up(m->tables->pace, uses, seen->pace);
    for (int i = 0; i < s->slots; i++) m->in[i] = (logit[i] * (seen->pace[i] & 65535)) >> 6;
}

MIXING_INLINE void mixing_slots_learn(mixing *m, const mixing_shape *s, mixing_seen *restrict seen, int32_t to) {
    for (int i = 0; i < MIXING_LANES; i++) {
        int32_t one = seen->value[i] & 65535, uses = seen->value[i] >> 16;
        one += (to - one) * (seen->pace[i] >> 16) >> 14;
        seen->value[i] = one | mixing_limit(uses + 1, 0, MIXING_SEEN) << 16;
    }
    for (int i = 0; i < s->slots; i++) m->slots[seen->at[i]] = seen->value[i];
}

MIXING_INLINE int32_t mixing_sum(const int32_t *restrict weights, const int32_t *restrict in, int count) {
    int32_t sum = 0;
    for (int i = 0; i < count; i++) sum += (weights[i] * in[i]) >> 6; /* |in| below 2^12: products are below 2^31 */
    return mixing_limit(sum >> 10, -MIXING_LOGIT, MIXING_LOGIT);
}

/* By how wrong the mixer was, of 65536, and up to five times that while its weights are young: within 2^19. */
MIXING_INLINE void mixing_weights_learn(int32_t *restrict weights, const int32_t *restrict in, int32_t wrong,
                                        int count) {
    int32_t used = mixing_limit(weights[count - 1] + 1, 0, MIXING_YOUNG);
    int32_t step = wrong * (16 + (MIXING_YOUNG - used) / 4) >> 4;
    for (int i = 0; i < count; i++)
        weights[i] =
            mixing_limit(weights[i] + ((in[i] * step + (1 << 14)) >> 15), -MIXING_WEIGHT_MOST, MIXING_WEIGHT_MOST);
    weights[count - 1] = used;
}

/* Codes a decision and learns from it. `bit` is looked at when encoding only; returns it in both directions. */
MIXING_INLINE int mixing_decide(mixing *m, const mixing_shape *s, binary_coder *c, int node, int bit) {
    const mixing_tables *t = m->tables;
    int32_t *weights[MIXING_MIXERS], logit[MIXING_MIXERS], mean = 0;
    int16_t *curve[MIXING_CURVES];
    mixing_seen seen;
    mixing_slots_read(m, s, node, &seen);
    for (int k = 0; k < s->mixers; k++) {
        weights[k] = m->weights[k] + (m->set[k] * s->nodes + node) * s->inputs;
        logit[k] = mixing_sum(weights[k], m->in, s->inputs) + MIXING_LOGIT;
        mean += logit[k];
    }
    mean /= s->mixers;
    int32_t mixed = t->squash[mean], rest = mean % MIXING_CURVE_STEP, one = mixed, more = 0;
    for (int k = 0; k < s->curves; k++) {
        curve[k] = m->curves[k] + (m->curve[k] * s->nodes + node) * MIXING_POINTS + mean / MIXING_CURVE_STEP;
        more += curve[k][0] * (MIXING_CURVE_STEP - rest) + curve[k][1] * rest;
    }
    if (s->curves) one += more >> (MIXING_CURVE_BITS + s->curves); /* half of what one or two say on average */
    bit = binary_code_at(c, (uint32_t)mixing_limit(one, s->rarest, 65536 - s->rarest), bit);
    int32_t to = bit ? 65535 : 0;
    for (int k = 0; k < s->curves; k++) {
        int16_t *nearest = curve[k] + (2 * rest > MIXING_CURVE_STEP);
        *nearest = (int16_t)mixing_limit(*nearest + ((to - mixed - *nearest) >> 6), -32767, 32767);
    }
    for (int k = 0; k < s->mixers; k++) mixing_weights_learn(weights[k], m->in, to - t->squash[logit[k]], s->inputs);
    mixing_slots_learn(m, s, &seen, to);
    return bit;
}

#endif
