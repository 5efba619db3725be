/* picture/isa/photo_tile.c - the model of a photograph's samples, and the loop that codes a tile with it. */
#include "picture/photo_tile.h"

#include "base/isa.h"
#include "base/memory.h"
#include "code/binary.h"

#include <stdlib.h>
#include <string.h>

enum {
    INPUTS = 32, /* of a linear prediction; the last is what it predicts */
    BLOCK = 8,   /* samples that share coefficients */
    SUMS = INPUTS * INPUTS,
    PREDICTIONS = 2,
    EXPERTS = 4,
    SLOTS = 8,
    MIXED = 16, /* experts, slots, one constant, zeros */
    NODES = 256,
    ENERGIES = 64,
    RAREST = 16, /* of 65536: what a decision is thought to be at least; bounds how many samples a byte may hold */
};

typedef struct tap { /* a neighbor: planes back in coding order, and where */
    int8_t plane, x, y;
} tap;

/* Of the plane itself; only what comes before in reading order. */
static const tap own_taps[] = {{0, -1, 0},  {0, 0, -1},  {0, -1, -1}, {0, 1, -1},  {0, -2, 0},  {0, 0, -2},
                               {0, 1, -2},  {0, -1, -2}, {0, -2, -1}, {0, 2, -1},  {0, -3, 0},  {0, 0, -3},
                               {0, -2, -2}, {0, 2, -2},  {0, 3, -1},  {0, -3, -1}, {0, -1, -3}, {0, 1, -3}};
/* Of a plane that is complete. */
static const tap other_taps[] = {{1, 0, 0},   {1, -1, 0}, {1, 1, 0},  {1, 0, -1}, {1, 0, 1},
                                 {1, -1, -1}, {1, 1, -1}, {1, -1, 1}, {1, 1, 1}};
enum { OWN = sizeof own_taps / sizeof *own_taps, OTHER = sizeof other_taps / sizeof *other_taps };

typedef struct slot {
    uint16_t one, seen;
} slot;

typedef struct distribution { /* of one expert */
    int32_t center, scale, inverse;
} distribution;

typedef struct plane_model {
    /* linear prediction */
    int32_t taps;
    ptrdiff_t offset[INPUTS];
    uint8_t plane_of[INPUTS];
    float *above, *row; /* [block][SUMS] */
    float *left;        /* [SUMS] */
    float *matrix;      /* [SUMS] */
    float coefficients[INPUTS];
    /* errors */
    int32_t *errors[PREDICTIONS]; /* [2 rows][width + edges], in 1/unit, of prediction k */
    int32_t mean[EXPERTS][ENERGIES * 32];
    /* decisions */
    slot *slots[SLOTS];
    int32_t *weights[2]; /* [set][MIXED] */
    slot *final;
} plane_model;

typedef struct work {
    const photo_tables *tables;
    photo_tile t;
    bool decoding, failed;
    binary_encoder out;
    binary_decoder in;
    int fraction;       /* bits of predictions below the point */
    int16_t *residuals; /* as t.planes */
    plane_model m;
    /* of the sample at hand */
    int plane;
    int32_t predictions[PREDICTIONS];
    distribution experts[EXPERTS];
    int32_t low[EXPERTS], high[EXPERTS];
    uint32_t context[SLOTS], sets[2];
    int32_t *mean_of[EXPERTS];
} work;

static inline int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t max32(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t limit(int32_t v, int32_t low, int32_t high) { return min32(max32(v, low), high); }

/* ---- linear prediction ---- */

static void gather(const work *w, const uint16_t *at, const int32_t *base, float unit, float *in) {
    const plane_model *m = &w->m;
    for (int i = 0; i < m->taps; i++) in[i] = unit * (float)((int32_t)at[m->offset[i]] - base[m->plane_of[i]]);
}

static void accumulate(float *sums, const float *in, float weight) {
    for (int i = 0; i < INPUTS; i++) {
        float f = weight * in[i];
        float *s = sums + i * INPUTS;
        for (int j = 0; j < INPUTS; j++) s[j] += f * in[j];
    }
}

static void solve(plane_model *m, int block, int blocks) {
    static const float side[] = {1, 0.6f, 0.3f};
    float *a = m->matrix;
    memcpy(a, m->left, SUMS * sizeof *a);
    for (int d = -2; d <= 2; d++) {
        if (block + d < 0 || block + d >= blocks) continue;
        const float *s = m->above + (size_t)(block + d) * SUMS, f = side[d < 0 ? -d : d];
        for (int i = 0; i < SUMS; i++) a[i] += f * s[i];
    }
    int n = m->taps;
    for (int i = 0; i < n; i++) a[i * INPUTS + i] += 4.0f;
    for (int k = 0; k < n; k++) {
        const float *r = a + k * INPUTS;
        float inverse = 1 / r[k];
        for (int i = k + 1; i < n; i++) {
            float f = r[i] * inverse;
            float *s = a + i * INPUTS;
            for (int j = i & ~7; j < INPUTS; j++) s[j] -= f * r[j];
        }
    }
    for (int k = n - 1; k >= 0; k--) {
        const float *r = a + k * INPUTS;
        float sum = r[INPUTS - 1];
        for (int j = k + 1; j < n; j++) sum -= r[j] * m->coefficients[j];
        m->coefficients[k] = sum / r[k];
    }
}

static float predicted(const float *c, const float *in) {
    float sum[16];
    for (int i = 0; i < 16; i++) sum[i] = c[i] * in[i] + c[i + 16] * in[i + 16];
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; i++) sum[i] += sum[i + n];
    return sum[0];
}

/* ---- decisions ---- */

static inline int32_t mass_below(const photo_tables *t, const distribution *d, int32_t edge) {
    int32_t at = limit(edge - d->center, -PHOTO_REACH * d->scale + 1, PHOTO_REACH * d->scale - 1);
    int32_t z = (int32_t)(((int64_t)at * d->inverse) >> 8); /* 1/4096 of a scale */
    int32_t i = (z >> 6) + PHOTO_ENDS, rest = z & 63;
    i = limit(i, 0, 2 * PHOTO_ENDS);
    return t->below[i] + (int32_t)(((int64_t)(t->below[i + 1] - t->below[i]) * rest) >> 6);
}

static inline int32_t log_mass(const photo_tables *t, int32_t mass) {
    uint32_t v = (uint32_t)max32(mass, 0) + 64;
    int top = 31 - __builtin_clz(v);
    uint32_t mantissa = top >= 10 ? v >> (top - 10) : v << (10 - top);
    return (top * 45426 >> 8) + t->log[mantissa & 1023]; /* 45426 / 256 = 256 ln 2 */
}

static inline void learn(slot *s, int bit, int slowest) {
    int32_t to = bit ? 65535 : 0;
    s->one = (uint16_t)(s->one + (to - s->one) * 2 / (2 * s->seen + 3));
    if (s->seen < slowest) s->seen++;
}

/* Codes one decision whose logit by expert e is in[e]. */
static int decide(work *w, int node, int32_t *in, int bit) {
    plane_model *m = &w->m;
    const photo_tables *t = w->tables;
    slot *s[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        s[i] = &m->slots[i][w->context[i] * NODES + (uint32_t)node];
        in[EXPERTS + i] = t->stretch[s[i]->one >> 4];
    }
    in[EXPERTS + SLOTS] = PHOTO_NAT;
    for (int i = EXPERTS + SLOTS + 1; i < MIXED; i++) in[i] = 0;
    int32_t *weights[2], logit[2], p[2];
    for (int k = 0; k < 2; k++) {
        weights[k] = m->weights[k] + ((size_t)w->sets[k] * NODES + (size_t)node) * MIXED;
        int32_t sum = 0;
        for (int i = 0; i < MIXED; i++) sum += (weights[k][i] * in[i]) >> 6;
        logit[k] = limit(sum >> 10, -PHOTO_LOGIT, PHOTO_LOGIT);
        p[k] = t->squash[logit[k] + PHOTO_LOGIT];
    }
    int32_t both = (logit[0] + logit[1]) / 2;
    uint32_t one = (uint32_t)limit(t->squash[both + PHOTO_LOGIT], RAREST, 65536 - RAREST);
    if (w->decoding) bit = binary_get_at(&w->in, one);
    else binary_put_at(&w->out, one, bit);
    for (int k = 0; k < 2; k++) {
        int32_t wrong = (bit ? 65535 : 0) - p[k];
        for (int i = 0; i < MIXED; i++)
            weights[k][i] = limit(weights[k][i] + ((in[i] * wrong + (1 << 13)) >> 14), -(1 << 19), 1 << 19);
    }
    for (int i = 0; i < SLOTS; i++) learn(s[i], bit, 250);
    return bit;
}

/* Is the value at least `edge`, being within the masses low to high? */
static int split(work *w, int node, int32_t edge, int bit) {
    int32_t in[MIXED], middle[EXPERTS];
    const photo_tables *t = w->tables;
    int32_t at = (edge << w->fraction) - (1 << w->fraction >> 1);
    for (int e = 0; e < EXPERTS; e++) {
        middle[e] = mass_below(t, &w->experts[e], at);
        in[e] =
            limit(log_mass(t, w->high[e] - middle[e]) - log_mass(t, middle[e] - w->low[e]), -PHOTO_LOGIT, PHOTO_LOGIT);
    }
    bit = decide(w, node, in, bit);
    for (int e = 0; e < EXPERTS; e++) *(bit ? &w->low[e] : &w->high[e]) = middle[e];
    return bit;
}

static void open_masses(work *w, int32_t from, int32_t to) { /* [from, to) */
    for (int e = 0; e < EXPERTS; e++) {
        int32_t half = 1 << w->fraction >> 1;
        w->low[e] = from <= 0 ? 0 : mass_below(w->tables, &w->experts[e], (from << w->fraction) - half);
        w->high[e] = to > w->t.largest ? PHOTO_FULL : mass_below(w->tables, &w->experts[e], (to << w->fraction) - half);
    }
}

/* Codes the sample (given when encoding) around the prediction p. */
static int32_t code_sample(work *w, int32_t p, int32_t value) {
    int32_t in[MIXED], largest = w->t.largest;
    const photo_tables *t = w->tables;
    open_masses(w, p, p + 1);
    int32_t below[EXPERTS], above[EXPERTS];
    for (int e = 0; e < EXPERTS; e++) {
        below[e] = w->low[e], above[e] = PHOTO_FULL - w->high[e];
        in[e] =
            limit(log_mass(t, w->high[e] - w->low[e]) - log_mass(t, below[e] + above[e]), -PHOTO_LOGIT, PHOTO_LOGIT);
    }
    if (decide(w, 0, in, value == p)) return p;
    int up = p == 0 ? 1 : p == largest ? 0 : -1;
    if (up < 0) {
        for (int e = 0; e < EXPERTS; e++)
            in[e] = limit(log_mass(t, above[e]) - log_mass(t, below[e]), -PHOTO_LOGIT, PHOTO_LOGIT);
        up = decide(w, 1, in, value > p);
    }
    for (int e = 0; e < EXPERTS; e++) {
        w->low[e] = up ? w->high[e] : 0;
        w->high[e] = up ? PHOTO_FULL : below[e];
    }
    /* buckets of magnitudes 1, 2, 3-4, 5-8 ... */
    int32_t most = up ? largest - p : p, from = 1, to = 1, node = 2;
    int32_t size = value > p ? value - p : p - value;
    int beyond = 1;
    for (; to < most; node++) {
        int32_t edge = up ? p + to + 1 : p - to; /* bit of split: the value is at least edge */
        beyond = split(w, node, edge, up ? size > to : !(size > to));
        if (!up) beyond = !beyond;
        if (!beyond) break;
        from = to + 1, to *= 2;
    }
    if (to > most) to = most;
    /* inside: halves */
    node = 32 + node * 8;
    for (int depth = 0; from < to; depth++) {
        int32_t middle = from + (to - from) / 2; /* from..middle, middle+1..to */
        int32_t edge = up ? p + middle + 1 : p - middle;
        int upper = split(w, node, edge, up ? size > middle : !(size > middle));
        if (!up) upper = !upper;
        if (upper) from = middle + 1;
        else to = middle;
        if (depth < 2) node = depth ? node + 2 + upper : node + 1 + upper;
    }
    return up ? p + from : p - from;
}

/* ---- a plane ---- */

static inline uint32_t size_class(uint32_t v) { /* two a doubling */
    if (v < 2) return v;
    int top = 31 - __builtin_clz(v);
    return 2 * (uint32_t)top + ((v >> (top - 1)) & 1);
}

static inline uint32_t signed_class(int32_t v) { /* 0 to 12, 6 for nothing */
    uint32_t a = (uint32_t)(v < 0 ? -v : v);
    uint32_t c = a < 3 ? a : a < 5 ? 3 : a < 9 ? 4 : a < 17 ? 5 : 6;
    return v < 0 ? 6 - c : 6 + c;
}

static inline int32_t median(int32_t a, int32_t b, int32_t c) { return max32(min32(a, b), min32(max32(a, b), c)); }

static int32_t smooth(const work *w, const uint16_t *at) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride, back = (ptrdiff_t)w->t.plane_size;
    int32_t west = at[-1], north = at[-s], corner = at[-s - 1], here = 0;
    if (w->plane == 0 || w->t.channels == 2) return median(west, north, west + north - corner);
    const uint16_t *o = at - back;
    here = o[0], west -= o[-1], north -= o[-s], corner -= o[-s - 1];
    return limit(here + median(west, north, west + north - corner), 0, w->t.largest);
}

static void set_contexts(work *w, const uint16_t *at, const int16_t *e, int32_t x, int32_t p) {
    plane_model *m = &w->m;
    ptrdiff_t s = (ptrdiff_t)w->t.stride, back = (ptrdiff_t)w->t.plane_size;
    int32_t width = w->t.width + 2 * PHOTO_EDGE;
    uint32_t energy[PREDICTIONS];
    for (int k = 0; k < PREDICTIONS; k++) {
        const int32_t *now = m->errors[k] + x, *up = now + width;
        energy[k] = size_class((uint32_t)(2 * now[-1] + 2 * up[0] + up[-1] + up[1] + now[-2]));
    }
    uint32_t other = 0;
    if (w->plane) {
        const int16_t *o = e - back;
        other = 4 * (uint32_t)abs(o[0]) + 2 * (uint32_t)(abs(o[-1]) + abs(o[1]) + abs(o[-s]) + abs(o[s]));
    } else {
        other = (uint32_t)(abs(at[-1] - at[-2]) + abs(at[-s] - at[-s - 1]) + abs(at[-s] - at[-s + 1]));
    }
    uint32_t cross = limit((int32_t)size_class(other), 0, 15);
    m->mean[0][0] = m->mean[0][0];
    w->mean_of[0] = &m->mean[0][energy[0]];
    w->mean_of[1] = &m->mean[1][energy[0] * 16 + cross];
    w->mean_of[2] = &m->mean[2][energy[1]];
    w->mean_of[3] = &m->mean[3][energy[1] / 2 * 32 + cross];
    static const uint8_t from[EXPERTS] = {0, 0, 1, 1};
    for (int i = 0; i < EXPERTS; i++) {
        int32_t scale = max32(*w->mean_of[i] >> 9, 4); /* mean |error| is 1.386 scales */
        w->experts[i] = (distribution){w->predictions[from[i]], scale, (1 << 20) / scale};
    }
    uint32_t en = (uint32_t)limit((int32_t)energy[0] - 4, 0, 23);
    int32_t rough = w->predictions[0] - w->predictions[1];
    w->context[0] = en;
    w->context[1] = signed_class(e[-1]) * 13 + signed_class(e[-s]) + 169 * (en / 6);
    w->context[2] = w->plane ? signed_class(e[-back]) * 13 + (w->plane > 1 ? signed_class(e[-2 * back]) : 0)
                             : signed_class(at[-s] - at[-s - 1]) * 13 + signed_class(at[-1] - at[-s - 1]);
    w->context[2] += 169 * (en / 6);
    w->context[3] = (uint32_t)((at[-1] > p) | (at[-s] > p) << 1 | (at[-s - 1] > p) << 2 | (at[-s + 1] > p) << 3 |
                               (at[-2] > p) << 4 | (at[-2 * s] > p) << 5) *
                        4 +
                    (uint32_t)((w->predictions[0] + (1 << w->fraction >> 1)) >> (w->fraction - 2) & 3);
    w->context[4] = (uint32_t)(p * 64 / (w->t.largest + 1)) * 8 + en / 3;
    w->context[5] = signed_class(rough >> (w->fraction - 1)) * 12 + en / 2;
    w->context[6] = cross * 24 + en;
    w->context[7] = (uint32_t)((w->predictions[0] + (1 << w->fraction >> 1)) >> (w->fraction - 4) & 15) * 24 + en;
    w->sets[0] = en / 2;
    w->sets[1] = cross;
}

static const uint32_t contexts[SLOTS] = {24, 169 * 4, 169 * 4, 256, 64 * 8, 13 * 12, 16 * 24, 16 * 24};

static void code_row(work *w, int32_t y) {
    plane_model *m = &w->m;
    photo_tile *t = &w->t;
    ptrdiff_t s = (ptrdiff_t)t->stride;
    size_t start = (size_t)w->plane * t->plane_size + (size_t)(y + PHOTO_EDGE) * t->stride + PHOTO_EDGE;
    uint16_t *at = t->planes + start;
    int16_t *e = w->residuals + start;
    int blocks = (t->width + BLOCK - 1) / BLOCK, width = t->width + 2 * PHOTO_EDGE;
    float unit = t->largest > 255 ? 1.0f / 257 : 1.0f, in[INPUTS] = {0};
    int32_t one = 1 << w->fraction;
    memset(m->left, 0, SUMS * sizeof(float));
    for (int i = 1; i <= PHOTO_EDGE; i++) at[-i] = at[-s];
    for (int32_t x = 0; x < t->width; x++, at++, e++) {
        int block = x / BLOCK;
        if (x % BLOCK == 0) {
            if (block) {
                const float *r = m->row + (size_t)(block - 1) * SUMS;
                for (int i = 0; i < SUMS; i++) m->left[i] = 0.7f * m->left[i] + r[i];
            }
            solve(m, block, blocks);
        }
        int32_t base[PHOTO_CHANNELS];
        for (int k = 0; k <= w->plane; k++) {
            const uint16_t *o = at - (size_t)k * t->plane_size;
            base[k] = (o[-1] + o[-s]) / 2;
        }
        gather(w, at, base, unit, in);
        in[INPUTS - 1] = 0;
        float guess = (float)base[0] + predicted(m->coefficients, in) / unit;
        float most = (float)t->largest;
        guess = !(guess > 0) ? 0 : guess > most ? most : guess;
        w->predictions[0] = (int32_t)(guess * (float)one + 0.5f);
        w->predictions[1] = smooth(w, at) << w->fraction;
        int32_t p = limit((w->predictions[0] + one / 2) >> w->fraction, 0, t->largest);
        set_contexts(w, at, e, x + PHOTO_EDGE, p);
        int32_t v = code_sample(w, p, *at);
        *at = (uint16_t)v;
        e[0] = (int16_t)limit(v - p, -32768, 32767);
        static const uint8_t from[EXPERTS] = {0, 0, 1, 1};
        for (int i = 0; i < EXPERTS; i++) {
            int32_t wrong = abs((v << w->fraction) - w->predictions[from[i]]);
            *w->mean_of[i] += (min32(wrong, 1 << 20) * 708 - *w->mean_of[i]) / 32; /* 708 = 1024 * 1/1.386 minus... */
        }
        for (int k = 0; k < PREDICTIONS; k++)
            m->errors[k][x + PHOTO_EDGE] = abs((v << w->fraction) - w->predictions[k]);
        in[INPUTS - 1] = unit * (float)(v - base[0]);
        accumulate(m->row + (size_t)block * SUMS, in, 1.0f);
    }
    for (int i = 0; i < PHOTO_EDGE; i++) at[i] = at[-1];
    for (size_t i = 0; i < (size_t)blocks * SUMS; i++) m->above[i] = 0.85f * m->above[i] + m->row[i];
    memset(m->row, 0, (size_t)blocks * SUMS * sizeof(float));
    for (int k = 0; k < PREDICTIONS; k++) memcpy(m->errors[k] + width, m->errors[k], (size_t)width * sizeof(int32_t));
}

static void release(work *w) {
    plane_model *m = &w->m;
    memory_free(m->above), memory_free(m->row), memory_free(m->left), memory_free(m->matrix);
    for (int k = 0; k < PREDICTIONS; k++) memory_free(m->errors[k]);
    for (int i = 0; i < SLOTS; i++) memory_free(m->slots[i]);
    for (int k = 0; k < 2; k++) memory_free(m->weights[k]);
    memset(m, 0, sizeof *m);
}

static bool start(work *w) {
    plane_model *m = &w->m;
    const photo_tile *t = &w->t;
    size_t blocks = (size_t)(t->width + BLOCK - 1) / BLOCK;
    bool ok = true;
    memset(m, 0, sizeof *m);
    ok &= (m->above = memory_zero(blocks, SUMS * sizeof(float))) != NULL;
    ok &= (m->row = memory_zero(blocks, SUMS * sizeof(float))) != NULL;
    ok &= (m->left = memory_zero(SUMS, sizeof(float))) != NULL;
    ok &= (m->matrix = memory_zero(SUMS, sizeof(float))) != NULL;
    for (int k = 0; k < PREDICTIONS; k++)
        ok &= (m->errors[k] = memory_zero(2 * ((size_t)t->width + 2 * PHOTO_EDGE), sizeof(int32_t))) != NULL;
    for (int i = 0; i < SLOTS; i++) {
        ok &= (m->slots[i] = memory_alloc((size_t)contexts[i] * NODES * sizeof(slot))) != NULL;
        if (m->slots[i])
            for (size_t k = 0; k < (size_t)contexts[i] * NODES; k++) m->slots[i][k] = (slot){32768, 0};
    }
    for (int k = 0; k < 2; k++) {
        ok &= (m->weights[k] = memory_alloc(16 * NODES * MIXED * sizeof(int32_t))) != NULL;
        for (size_t i = 0; m->weights[k] && i < (size_t)16 * NODES * MIXED; i++)
            m->weights[k][i] = i % MIXED < EXPERTS ? 65536 / EXPERTS : i % MIXED < EXPERTS + SLOTS ? 6000 : 0;
    }
    for (int e = 0; e < EXPERTS; e++)
        for (int i = 0; i < ENERGIES * 32; i++) m->mean[e][i] = (2 << w->fraction) << 9;
    int own = w->plane ? w->plane > 1 ? 10 : 14 : OWN;
    for (int i = 0; i < own; i++, m->taps++) m->offset[m->taps] = own_taps[i].y * (ptrdiff_t)t->stride + own_taps[i].x;
    for (int k = 1; k <= w->plane && k <= 2; k++)
        for (int i = 0; i < OTHER; i++, m->taps++) {
            m->offset[m->taps] =
                other_taps[i].y * (ptrdiff_t)t->stride + other_taps[i].x - k * (ptrdiff_t)t->plane_size;
            m->plane_of[m->taps] = (uint8_t)k;
        }
    return ok;
}

static bool code_planes(work *w) {
    photo_tile *t = &w->t;
    w->residuals = memory_zero(t->plane_size * (size_t)t->channels, sizeof(int16_t));
    bool ok = w->residuals != NULL;
    for (w->plane = 0; ok && w->plane < t->channels; w->plane++) {
        uint16_t *p = t->planes + (size_t)w->plane * t->plane_size;
        ok = start(w);
        for (size_t i = 0; i < PHOTO_EDGE * t->stride; i++) p[i] = (uint16_t)((t->largest + 1) / 2);
        for (int32_t y = 0; ok && y < t->rows; y++) code_row(w, y);
        memcpy(p + (size_t)(t->rows + PHOTO_EDGE) * t->stride, p + (size_t)(t->rows + PHOTO_EDGE - 1) * t->stride,
               t->stride * 2);
        release(w);
    }
    memory_free(w->residuals);
    return ok;
}

static bool encode(const photo_tables *tables, const photo_tile *tile, pith_bytes *out) {
    work *w = memory_zero(1, sizeof *w);
    if (!w) return false;
    w->tables = tables, w->t = *tile;
    w->fraction = tile->largest > 255 ? 2 : 6;
    binary_encode_open(&w->out);
    bool ok = code_planes(w) && binary_encode_close(&w->out);
    if (ok) *out = (pith_bytes){w->out.bytes, w->out.size};
    else memory_free(w->out.bytes);
    memory_free(w);
    return ok;
}

static pith_status decode(const photo_tables *tables, pith_bytes in, photo_tile *tile) {
    work *w = memory_zero(1, sizeof *w);
    if (!w) return PITH_NO_MEMORY;
    w->tables = tables, w->t = *tile, w->decoding = true;
    w->fraction = tile->largest > 255 ? 2 : 6;
    binary_decode_open(&w->in, in);
    pith_status s = code_planes(w) ? PITH_OK : PITH_NO_MEMORY;
    if (s == PITH_OK && binary_decode_close(&w->in) != in.size) s = PITH_CORRUPT;
    memory_free(w);
    return s;
}

const photo_kernels ISA_TABLE(photo_kernels) = {encode, decode};
