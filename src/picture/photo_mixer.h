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

enum {
    EXPERTS = 8,
    SLOTS = 13,
    MIXED = 32, /* experts, slots, one constant, then zeros */
    MIXERS = 2,
    SETS = 24, /* of weights in a mixer */
    CURVES = 2,
    POINTS = 34,                                 /* of a curve, CURVE_STEP apart */
    CURVE_STEP = 2 * PHOTO_LOGIT / (POINTS - 2), /* the last point is never more than read */
    CURVE_CONTEXTS = 169,
    NODES = 72, /* of the tree of decisions */
    WEIGHT = 1 << 16,
    WEIGHT_MOST = 8 * WEIGHT,
    YOUNG = 256, /* decisions after which a set of weights learns slowly */
    RAREST = 16, /* of 65536: what a decision is thought to be at least; bounds how many samples a byte may hold */
};

typedef struct slot {
    uint16_t one, seen; /* probability of 65536; uses, up to PHOTO_SEEN */
} slot;

typedef struct mixer {
    const photo_tables *tables;
    slot *slots[SLOTS];                  /* [context][NODES] */
    int32_t *weights[MIXERS];            /* [set][NODES][MIXED], 1/WEIGHT */
    uint16_t used[MIXERS][SETS * NODES]; /* decisions of a set, up to YOUNG */
    int16_t *curves[CURVES];             /* [context][NODES][POINTS]: what to add to a probability, by its logit */
    /* for the sample at hand */
    uint32_t context[SLOTS], set[MIXERS], curve[CURVES];
    int32_t in[MIXED]; /* the experts' logits are the caller's */
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
    for (int i = 0; i < SLOTS; i++) memory_free(m->slots[i]);
    for (int k = 0; k < MIXERS; k++) memory_free(m->weights[k]);
    for (int k = 0; k < CURVES; k++) memory_free(m->curves[k]);
}

static bool mixer_allocate(mixer *m, const uint16_t *contexts) {
    bool ok = true;
    for (int i = 0; i < SLOTS; i++)
        ok &= (m->slots[i] = memory_alloc((size_t)contexts[i] * NODES * sizeof(slot))) != NULL;
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
    if (!mixer_allocate(m, contexts)) return false;
    for (int i = 0; i < SLOTS; i++)
        for (size_t n = 0; n < (size_t)contexts[i] * NODES; n++) m->slots[i][n] = (slot){32768, 0};
    for (int k = 0; k < MIXERS; k++)
        for (size_t n = 0; n < (size_t)SETS * NODES * MIXED; n++)
            m->weights[k][n] = n % MIXED < EXPERTS ? WEIGHT / EXPERTS : n % MIXED < EXPERTS + SLOTS ? WEIGHT / 11 : 0;
    m->in[EXPERTS + SLOTS] = PHOTO_NAT;
    return true;
}

static inline void slot_learn(const photo_tables *t, slot *s, int bit) {
    int32_t to = bit ? 65535 : 0;
    s->one = (uint16_t)(s->one + ((to - s->one) * t->rate[s->seen] >> 14));
    if (s->seen < PHOTO_SEEN) s->seen++;
}

static inline int32_t weighted(const int32_t *restrict weights, const int32_t *restrict in) {
    int32_t sum = 0;
    for (int i = 0; i < MIXED; i++) sum += (weights[i] * in[i]) >> 6; /* |in| below 2^12, so products are below 2^31 */
    return limit(sum >> 10, -PHOTO_LOGIT, PHOTO_LOGIT);
}

static inline void weights_learn(int32_t *restrict weights, const int32_t *restrict in, int32_t wrong) {
    for (int i = 0; i < MIXED; i++)
        weights[i] = limit(weights[i] + ((in[i] * wrong + (1 << 14)) >> 15), -WEIGHT_MOST, WEIGHT_MOST);
}

/* How wrong a mixer was, of 65536, more while its weights are young: up to five times, within 2^19. */
static inline int32_t error_of(mixer *m, int k, int node, int32_t one, int bit) {
    uint16_t *used = &m->used[k][m->set[k] * NODES + (uint32_t)node];
    int32_t wrong = (bit ? 65535 : 0) - one;
    if (*used < YOUNG) ++*used;
    return wrong * (16 + (YOUNG - *used) / 4) / 16;
}

/* Codes a decision whose logits by experts stand in m->in. */
static int mixer_decide(mixer *m, coder *c, int node, int bit) {
    const photo_tables *t = m->tables;
    int32_t *weights[MIXERS], logit[MIXERS], mean = 0;
    slot *s[SLOTS];
    int16_t *curve[CURVES];
    for (int i = 0; i < SLOTS; i++) {
        s[i] = &m->slots[i][m->context[i] * NODES + (uint32_t)node];
        m->in[EXPERTS + i] = t->stretch[s[i]->one >> 4] * t->trust[s[i]->seen] / 64;
    }
    for (int k = 0; k < MIXERS; k++) {
        weights[k] = m->weights[k] + ((size_t)m->set[k] * NODES + (size_t)node) * MIXED;
        logit[k] = weighted(weights[k], m->in);
        mean += logit[k];
    }
    mean = mean / MIXERS + PHOTO_LOGIT;
    int32_t mixed = t->squash[mean], rest = mean % CURVE_STEP, more = 0;
    for (int k = 0; k < CURVES; k++) {
        curve[k] = m->curves[k] + ((size_t)m->curve[k] * NODES + (size_t)node) * POINTS + mean / CURVE_STEP;
        more += curve[k][0] * (CURVE_STEP - rest) + curve[k][1] * rest;
    }
    int32_t one = limit(mixed + more / (4 * CURVE_STEP), RAREST, 65536 - RAREST);
    if (c->decoding) bit = binary_get_at(&c->in, (uint32_t)one);
    else binary_put_at(&c->out, (uint32_t)one, bit);
    for (int k = 0; k < CURVES; k++) {
        int16_t *nearest = curve[k] + (2 * rest > CURVE_STEP);
        *nearest = (int16_t)limit(*nearest + ((bit ? 65535 : 0) - mixed - *nearest) / 64, -32767, 32767);
    }
    for (int k = 0; k < MIXERS; k++)
        weights_learn(weights[k], m->in, error_of(m, k, node, t->squash[logit[k] + PHOTO_LOGIT], bit));
    for (int i = 0; i < SLOTS; i++) slot_learn(t, s[i], bit);
    return bit;
}

#endif
