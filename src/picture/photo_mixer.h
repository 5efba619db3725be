/* picture/photo_mixer.h - the probability of a binary decision from many opinions, for the kernels under isa/.
 *
 * Opinions are logits, mixed with weights that are learned by descent on the code length (M. Mahoney, "Adaptive
 * weighing of context models for lossless data compression", 2005, and his lpaq). Two kinds come together: experts say
 * what a logistic distribution of their own center and scale gives the two sides of the decision; slots remember how
 * the decision at this node of the tree went in a context. Two mixers with weights by different contexts are averaged,
 * and curves correct what is left. All of it is integer arithmetic. */
#ifndef PICTURE_PHOTO_MIXER_H
#define PICTURE_PHOTO_MIXER_H

#include "base/memory.h"
#include "code/binary.h"
#include "picture/photo_tables.h"

#include <string.h>

#if PITH_ISA_LEVEL >= 1
#include <immintrin.h>
#endif

enum {
    EXPERTS = 8,
    SLOTS = 16,
    LANES = 16,
    MIXED = 2 * LANES, /* slots; experts, one constant, then zeros */
    USED = MIXED - 1,  /* where a set of weights counts decisions instead, up to YOUNG: that input is 0 */
    MIXERS = 2,
    SETS = 24, /* of weights in a mixer */
    CURVES = 2,
    CURVE_STEP = 256,                          /* between the points of a curve, in logits */
    POINTS = 2 * PHOTO_LOGIT / CURVE_STEP + 2, /* the last is never more than read */
    CURVE_CONTEXTS = 169,
    NODES = 72, /* of the tree of decisions */
    WEIGHT = 1 << 16,
    WEIGHT_MOST = 8 * WEIGHT,
    YOUNG = 256,  /* decisions after which a set of weights learns slowly */
    RAREST = 16,  /* of 65536: what a decision is thought to be at least; bounds how many samples a byte may hold */
    FRESH = 32768 /* a slot: probability of 65536 in the low half, uses, up to PHOTO_SEEN, in the high */
};

_Static_assert(SLOTS == LANES && EXPERTS + 2 < LANES, "USED is the place of a zero");

typedef struct mixer {
    const photo_tables *tables;
    int32_t *slots;           /* of all contexts, [NODES] each */
    int32_t *weights[MIXERS]; /* [set][NODES][MIXED], 1/WEIGHT */
    int16_t *curves[CURVES];  /* [context][NODES][POINTS]: what to add to a probability, by its logit */
    int32_t first[SLOTS];     /* of a slot's contexts in `slots`, in contexts */
    /* for the sample at hand */
    int32_t context[SLOTS], set[MIXERS], curve[CURVES];
    _Alignas(64) int32_t in[MIXED]; /* the second half is the caller's */
} mixer;

typedef struct coder { /* one loop serves both directions */
    bool decoding;
    binary_encoder out;
    binary_decoder in;
} coder;

static inline int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t max32(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t limit(int32_t v, int32_t low, int32_t high) { return min32(max32(v, low), high); }

static void mixer_free(mixer *m) {
    memory_free(m->slots);
    for (int k = 0; k < MIXERS; k++) memory_free(m->weights[k]);
    for (int k = 0; k < CURVES; k++) memory_free(m->curves[k]);
}

static bool mixer_allocate(mixer *m, size_t slots) {
    bool ok = (m->slots = memory_alloc(slots * sizeof *m->slots)) != NULL;
    for (int k = 0; k < MIXERS; k++)
        ok &= (m->weights[k] = memory_alloc((size_t)SETS * NODES * MIXED * sizeof(int32_t))) != NULL;
    for (int k = 0; k < CURVES; k++)
        ok &= (m->curves[k] = memory_zero((size_t)CURVE_CONTEXTS * NODES * POINTS, sizeof(int16_t))) != NULL;
    return ok;
}

/* contexts: of each slot. False: out of memory; mixer_free either way. */
static bool mixer_start(mixer *m, const photo_tables *tables, const uint16_t *contexts) {
    memset(m, 0, sizeof *m);
    m->tables = tables;
    size_t slots = 0;
    for (int i = 0; i < SLOTS; i++) m->first[i] = (int32_t)slots, slots += contexts[i];
    slots *= NODES;
    if (!mixer_allocate(m, slots)) return false;
    for (size_t n = 0; n < slots; n++) m->slots[n] = FRESH;
    for (int k = 0; k < MIXERS; k++)
        for (size_t n = 0; n < (size_t)SETS * NODES * MIXED; n++)
            m->weights[k][n] = n % MIXED < SLOTS ? WEIGHT / 14 : n % MIXED < SLOTS + EXPERTS ? WEIGHT / EXPERTS : 0;
    return true;
}

/* out[i] = table[index[i]], SLOTS times. */
static inline void look_up(const int32_t *table, const int32_t *restrict index, int32_t *restrict out) {
#if PITH_ISA_LEVEL >= 2
    _mm512_storeu_si512(out, _mm512_i32gather_epi32(_mm512_loadu_si512(index), table, 4));
#elif PITH_ISA_LEVEL == 1
    for (int i = 0; i < SLOTS; i += 8)
        _mm256_storeu_si256((__m256i *)(out + i),
                            _mm256_i32gather_epi32(table, _mm256_loadu_si256((const __m256i *)(index + i)), 4));
#else
    for (int i = 0; i < SLOTS; i++) out[i] = table[index[i]];
#endif
}

/* What all slots of a node say, into `in`; their places and values for slots_learn. */
static inline void slots_read(const mixer *m, int node, int32_t *restrict at, int32_t *restrict slot,
                              int32_t *restrict pace, int32_t *restrict in) {
    int32_t one[SLOTS], seen[SLOTS], logit[SLOTS];
    for (int i = 0; i < SLOTS; i++) at[i] = (m->first[i] + m->context[i]) * NODES + node;
    look_up(m->slots, at, slot);
    for (int i = 0; i < SLOTS; i++) one[i] = slot[i] >> 4 & 4095;
    for (int i = 0; i < SLOTS; i++) seen[i] = slot[i] >> 16;
    look_up(m->tables->stretch, one, logit);
    look_up(m->tables->pace, seen, pace);
    for (int i = 0; i < SLOTS; i++) in[i] = (logit[i] * (pace[i] & 65535)) >> 6;
}

static inline void slots_learn(mixer *m, const int32_t *restrict at, int32_t *restrict slot,
                               const int32_t *restrict pace, int32_t to) {
    for (int i = 0; i < SLOTS; i++) {
        int32_t one = slot[i] & 65535, seen = slot[i] >> 16;
        one += (to - one) * (pace[i] >> 16) >> 14;
        slot[i] = one | min32(seen + 1, PHOTO_SEEN) << 16;
    }
    for (int i = 0; i < SLOTS; i++) m->slots[at[i]] = slot[i];
}

static inline int32_t weighted(const int32_t *restrict weights, const int32_t *restrict in) {
    int32_t sum = 0;
    for (int i = 0; i < MIXED; i++) sum += (weights[i] * in[i]) >> 6; /* |in| below 2^12, so products are below 2^31 */
    return limit(sum >> 10, -PHOTO_LOGIT, PHOTO_LOGIT);
}

/* By how wrong the mixer was, of 65536, and up to five times that while its weights are young: within 2^19. */
static inline void weights_learn(int32_t *restrict weights, const int32_t *restrict in, int32_t wrong) {
    int32_t used = min32(weights[USED] + 1, YOUNG), step = wrong * (16 + (YOUNG - used) / 4) >> 4;
    for (int i = 0; i < MIXED; i++)
        weights[i] = limit(weights[i] + ((in[i] * step + (1 << 14)) >> 15), -WEIGHT_MOST, WEIGHT_MOST);
    weights[USED] = used;
}

/* Codes a decision; what experts say of it stands in m->in. */
static int mixer_decide(mixer *m, coder *c, int node, int bit) {
    const photo_tables *t = m->tables;
    int32_t *weights[MIXERS], logit[MIXERS], mean = 0;
    int32_t at[SLOTS], slot[SLOTS], pace[SLOTS];
    int16_t *curve[CURVES];
    slots_read(m, node, at, slot, pace, m->in);
    for (int k = 0; k < MIXERS; k++) {
        weights[k] = m->weights[k] + (m->set[k] * NODES + node) * MIXED;
        logit[k] = weighted(weights[k], m->in) + PHOTO_LOGIT;
        mean += logit[k];
    }
    mean /= MIXERS;
    int32_t mixed = t->squash[mean], rest = mean % CURVE_STEP, more = 0;
    for (int k = 0; k < CURVES; k++) {
        curve[k] = m->curves[k] + (m->curve[k] * NODES + node) * POINTS + mean / CURVE_STEP;
        more += curve[k][0] * (CURVE_STEP - rest) + curve[k][1] * rest;
    }
    int32_t one = limit(mixed + (more >> 10), RAREST, 65536 - RAREST), to;
    if (c->decoding) bit = binary_get_at(&c->in, (uint32_t)one);
    else binary_put_at(&c->out, (uint32_t)one, bit);
    to = bit ? 65535 : 0;
    for (int k = 0; k < CURVES; k++) {
        int16_t *nearest = curve[k] + (rest > CURVE_STEP / 2);
        *nearest = (int16_t)limit(*nearest + ((to - mixed - *nearest) >> 6), -32767, 32767);
    }
    for (int k = 0; k < MIXERS; k++) weights_learn(weights[k], m->in, to - t->squash[logit[k]]);
    slots_learn(m, at, slot, pace, to);
    return bit;
}

#endif
