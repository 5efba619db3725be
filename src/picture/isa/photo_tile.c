/* picture/isa/photo_tile.c - the model of a photograph's samples, and the loop that codes a tile with it.
 *
 * Planes are coded one after another, so that all but the first see the planes before on all sides. A sample is
 * predicted by two least-squares fits (near and far), by the median of simple guesses, and by their blend; its value is
 * coded as a walk down a tree of binary decisions around the blend: is it that, above or below, how far by doubling
 * distances, then by halves. The same code encodes and decodes.
 *
 * Costs about 0.8 microseconds a sample on one core of a 2023 server. Unlike the usual design, whose contexts choose
 * one distribution, each decision mixes distributions around all predictions with what was seen in 16 contexts. */
#include "picture/photo_tile.h"

#include "base/isa.h"
#include "code/mixing.h"
#include "picture/photo_linear.h"

#include <stdlib.h>

enum {
    FITS = 2,
    MEDIAN = FITS,
    BLEND,
    PREDICTIONS,
    EXPERTS = 2 * PREDICTIONS, /* two a prediction: one by its energy, one by that and the cross */
    SLOTS = 16,
    NODES = 72,    /* of the tree of decisions */
    RAREST = 16,   /* of 65536: what a decision is thought to be at least; bounds how many samples a byte may hold */
    ENERGIES = 64, /* classes of a size */
    CROSSES = 16,  /* classes of what other planes, or gradients, say of the size */
    MEANS = ENERGIES * (CROSSES + 1),
    ENERGY = 24, /* classes of the blend's energy in contexts */
    COARSE = 14, /* two of those more, and the walk begins with a longer distance */
    SIGNS = 13,  /* classes of signed_classes */
    TEXTURES = 64
};
_Static_assert(CROSSES <= ENERGY && ENERGY <= SIGNS * SIGNS, "contexts fit the tables of `opinions`");

typedef struct tap { /* where an input stands */
    int8_t x, y;
} tap;

/* Of the plane itself: what comes before in reading order, nearest first. */
static const tap own_taps[] = {{-1, 0}, {0, -1}, {-1, -1}, {1, -1},  {-2, 0}, {0, -2}, {1, -2},  {-1, -2}, {-2, -1},
                               {2, -1}, {-3, 0}, {0, -3},  {-2, -2}, {2, -2}, {3, -1}, {-3, -1}, {-1, -3}, {1, -3}};
/* Of a plane that is complete. */
static const tap other_taps[] = {{0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}, {-1, -1}, {1, -1}, {-1, 1}, {1, 1}};

/* How many of these the fits take, by how many planes are complete (two at most are looked at): both take the first of
 * each plane, the near fit some more of each. */
static const struct {
    uint8_t own, other, more_own, more_other;
} inputs[NEIGHBORS] = {{6, 0, 12, 0}, {6, 5, 8, 4}, {6, 5, 4, 4}};

/* What rows, blocks to the left and blocks in the row above still count. */
static const struct {
    float down, left, side[FAR + 1];
} fades[FITS] = {{0.85f, 0.7f, {1, 0.6f, 0.3f}}, {0.96f, 0.95f, {1, 0.9f, 0.8f}}};

/* Contexts of each slot, as choose_contexts computes them. */
static const mixing_shape opinions = {.nodes = NODES,
                                      .experts = EXPERTS,
                                      .slots = SLOTS,
                                      .inputs = MIXING_INPUTS,
                                      .mixers = 2,
                                      .sets = ENERGY,
                                      .curves = 2,
                                      .curve_contexts = SIGNS * SIGNS,
                                      .expert_weight = MIXING_WEIGHT / EXPERTS,
                                      .slot_weight = MIXING_WEIGHT / 14,
                                      .rarest = RAREST,
                                      .contexts = {ENERGY, 4 * SIGNS *SIGNS, 4 * SIGNS *SIGNS, 4 * TEXTURES, 64 * 8,
                                                   SIGNS * 12, CROSSES *ENERGY, 16 * ENERGY, SIGNS *ENERGY,
                                                   SIGNS *ENERGY, 6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS,
                                                   6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS}};

static inline int32_t min32(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t max32(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t limit(int32_t v, int32_t low, int32_t high) { return min32(max32(v, low), high); }

typedef struct work { /* a plane at a time */
    const mixing_tables *tables;
    photo_tile t;
    binary_coder coder;
    int fraction;       /* bits of predictions below the point */
    int coarse;         /* bits of a sample beyond 8, less what contexts gain by looking closer */
    int plane, earlier; /* planes that are complete, of which at most two are looked at */
    int16_t *residuals; /* of the blend, [plane][row][column] as t.planes */
    float *levels;      /* samples as fits see them, [plane][row][column] as t.planes */
    float unit;         /* of a level */
    linear *linear;
    linear_fit *fit; /* [FITS] */
    mixing *mixing;
    int32_t *errors[PREDICTIONS];  /* [this row, row above][column + PHOTO_EDGE]: size, with fraction */
    int32_t means[EXPERTS][MEANS]; /* of such sizes times 1024 / 1.386 (a logistic's mean size is 1.386 scales) */
    /* of the sample at hand */
    int32_t prediction[PREDICTIONS]; /* with fraction */
    int32_t *mean[EXPERTS];
    /* of the experts, twice */
    _Alignas(64) int32_t center[LANES], reach[LANES], inverse[LANES]; /* reach: of the table; inverse: 2^20 by scale */
    _Alignas(64) int32_t ends[LANES]; /* of the interval that is left: mass below its end, then below its start */
    int32_t scale;                    /* of the first expert */
} work;

static void *zero_lanes(size_t bytes) { /* memory for vectors */
    void *p = memory_aligned(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

/* ---- classes ---- */

static inline int32_t size_class(int32_t v) { /* two for each doubling */
    if (v < 2) return v;
    int top = 31 - __builtin_clz((uint32_t)v);
    return 2 * top + (v >> (top - 1) & 1);
}

/* What contexts look at the sign and size of. */
enum {
    ERROR_W,
    ERROR_N,
    COLOR,
    COLOR2,
    BLEND_MEDIAN,
    FAR_NEAR,
    ERRORS,
    COLOR3,
    COLOR4,
    W,
    N,
    NE,
    W2,
    ERROR_NE,
    ERROR_NW,
    ERROR_WW,
    ERROR_NN,
    STEP_N,
    STEP_W,
    SIGNED
};

/* SIGNS classes of each value, the middle one for nothing. */
static inline void signed_classes(const int32_t *restrict v, int coarse, int32_t *restrict classes) {
    for (int i = 0; i < SIGNED; i++) {
        int32_t size = abs(v[i]) >> coarse;
        int32_t c = (size > 0) + (size > 1) + (size > 2) + (size > 4) + (size > 8) + (size > 16);
        classes[i] = 6 + (v[i] < 0 ? -c : c);
    }
}

/* ---- decisions ---- */

/* Vectors of a decision have the experts in lanes e and EXPERTS + e: one half is of its set bit, one of the other. */

static inline void swap_halves(const int32_t *restrict v, int32_t *restrict swapped) {
    typedef int32_t ints __attribute__((vector_size(4 * LANES)));
    ints t;
    memcpy(&t, v, sizeof t);
    t = __builtin_shufflevector(t, t, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    memcpy(swapped, &t, sizeof t);
}
_Static_assert(2 * EXPERTS == LANES && LANES == 16, "swap_halves");
_Static_assert((int)LANES == (int)MIXING_LANES, "vectors of both");

/* Masses of each expert below one value in the first half, another in the second. */
static inline void masses_below(const work *w, int32_t first, int32_t second, int32_t *restrict mass) {
    int32_t z[LANES], at[LANES], low[LANES], high[LANES], half = 1 << w->fraction >> 1;
    first = (first << w->fraction) - half, second = (second << w->fraction) - half;
    for (int i = 0; i < LANES; i++) {
        int32_t to = limit((i < EXPERTS ? first : second) - w->center[i], 1 - w->reach[i], w->reach[i] - 1);
        z[i] = (to * w->inverse[i]) >> 8; /* 1/4096 of a scale: the product is below 18 * 2^20 */
        at[i] = limit((z[i] >> 6) + MIXING_ENDS, 0, 2 * MIXING_ENDS);
    }
    mixing_look_up(w->tables->below, at, low);
    mixing_look_up(w->tables->below + 1, at, high);
    for (int i = 0; i < LANES; i++)
        mass[i] = low[i] + (((high[i] - low[i]) * (z[i] & 63)) >> 6); /* steps are below 2^23 */
}

/* Decides by the masses of a set bit and the other. */
static inline bool decide(work *w, int node, const int32_t *restrict mass, bool bit) {
    int32_t log[LANES], other[LANES], *restrict in = mixing_experts(w->mixing, &opinions);
    mixing_logs(w->tables, mass, log);
    swap_halves(log, other);
    for (int e = 0; e < EXPERTS; e++) in[e] = limit(log[e] - other[e], -MIXING_LOGIT, MIXING_LOGIT);
    return mixing_decide(w->mixing, &opinions, &w->coder, node, bit);
}

/* Is the value at least `edge`? The interval that is left becomes that side. */
static bool at_least(work *w, int node, int32_t edge, bool bit) {
    int32_t middle[LANES], mass[LANES], *restrict ends = w->ends;
    masses_below(w, edge, edge, middle);
    for (int i = 0; i < LANES; i++) mass[i] = abs(ends[i] - middle[i]);
    bit = decide(w, node, mass, bit);
    for (int i = 0; i < LANES; i++) ends[i] = (i < EXPERTS) == bit ? ends[i] : middle[i];
    return bit;
}

/* Is its distance from p, on the side `up`, more than `far`? */
static bool beyond(work *w, int node, int32_t p, bool up, int32_t far, int32_t distance) {
    return up ? at_least(w, node, p + far + 1, distance > far) : !at_least(w, node, p - far, distance <= far);
}

/* On which side of p is it? The interval that is left becomes that side. A fine walk asks first whether it is p, and
 * then returns 0; to a coarse one p is above. */
static int side_of(work *w, bool coarse, int32_t p, int32_t value) {
    int32_t below[LANES], other[LANES], mass[LANES];
    masses_below(w, p, coarse ? p : p + 1, below);
    swap_halves(below, other);
    if (!coarse) {
        for (int i = 0; i < LANES; i++) mass[i] = other[i] - below[i] + (i < EXPERTS ? 0 : MIXING_FULL);
        if (decide(w, 0, mass, value == p)) return 0;
    }
    bool up = p == 0;
    if (p > 0 && (coarse || p < w->t.largest)) {
        for (int i = 0; i < LANES; i++) mass[i] = i < EXPERTS ? MIXING_FULL - other[i] : other[i];
        up = decide(w, 1, mass, coarse ? value >= p : value > p);
    }
    for (int i = 0; i < LANES; i++) w->ends[i] = (i < EXPERTS) != up ? below[i] : up ? MIXING_FULL : 0;
    return up ? 1 : -1;
}

/* Codes the value (known when encoding) around p. Nodes: 0 and 1 above; for each doubling of the distance one for
 * "more", one for its first halving, two for all others by how the first went. Where errors are large it is not asked
 * whether it is p, and the first distance is longer. */
static int32_t code_value(work *w, int32_t p, int32_t value) {
    int coarse = max32(w->mixing->set[0] - COARSE, 0) / 2, node = 2 + 4 * coarse;
    int side = side_of(w, coarse > 0, p, value);
    bool up = side > 0;
    if (side == 0) return p;
    if (coarse && up) p--;
    int32_t most = up ? w->t.largest - p : p, from = 1, to = 1 << coarse, distance = abs(value - p);
    for (; to < most && beyond(w, node, p, up, to, distance); node += 4) from = to + 1, to *= 2;
    to = min32(to, most);
    for (int path = 1; from < to;) {
        int32_t middle = from + (to - from) / 2;
        bool more = beyond(w, node + path, p, up, middle, distance);
        if (more) from = middle + 1;
        else to = middle;
        if (path == 1) path = 2 + more;
    }
    return p + side * from;
}

/* ---- predictions ---- */

static inline int32_t median(int32_t a, int32_t b, int32_t c) { return max32(min32(a, b), min32(max32(a, b), c)); }

/* Median of west, north, and the plane through them, of the difference to the plane before where that is a color. */
static int32_t predict_median(const work *w, const uint16_t *at) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    int32_t west = at[-1], north = at[-s], corner = at[-s - 1];
    if (w->plane == 0 || w->t.channels == 2) return median(west, north, west + north - corner);
    const uint16_t *o = at - w->t.plane_size;
    west -= o[-1], north -= o[-s], corner -= o[-s - 1];
    return limit(o[0] + median(west, north, west + north - corner), 0, w->t.largest);
}

/* Weighted by the inverse squares of the errors around. */
static int32_t predict_blend(const work *w, int32_t x) {
    size_t width = (size_t)w->t.width + 2 * PHOTO_EDGE;
    float sum = 0, weights = 0;
    for (int k = 0; k < BLEND; k++) {
        const int32_t *now = w->errors[k] + x, *up = now + width;
        float f = (float)(2 * now[-1] + now[-2] + 2 * up[0] + up[-1] + up[1] + up[2] + 8);
        f = 1 / (f * f);
        sum += f * (float)w->prediction[k], weights += f;
    }
    return limit((int32_t)(sum / weights + 0.5f), 0, w->t.largest << w->fraction);
}

/* The inputs of the fits: levels around, less the mean of those to the west and north in their plane. */
static inline float gather_inputs(const work *w, const float *restrict level, float *restrict in) {
    const linear *restrict l = w->linear;
    float base[NEIGHBORS];
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    for (int k = 0; k < NEIGHBORS; k++) {
        const float *o = level - (k <= w->earlier ? (size_t)k * w->t.plane_size : 0);
        base[k] = (o[-1] + o[-s]) * 0.5f;
    }
    for (int i = 0; i < INPUTS; i++)
        in[i] = level[l->offset[i]] -
                (base[0] * l->of_plane[0][i] + base[1] * l->of_plane[1][i] + base[2] * l->of_plane[2][i]);
    return base[0];
}

static void predict(work *w, const uint16_t *at, const float *level, int32_t x) {
    linear *l = w->linear;
    int blocks = (w->t.width + BLOCK - 1) / BLOCK;
    float most = (float)w->t.largest, base;
    lanes *in = l->in[x % BLOCK];
    l->base = base = gather_inputs(w, level, (float *)in);
    for (int k = 0; k < FITS; k++) {
        if (x % BLOCK == 0) linear_solve(l, &w->fit[k], x / BLOCK, blocks);
        float guess = (base + linear_predict(&w->fit[k], in)) / w->unit;
        guess = !(guess > 0) ? 0 : guess > most ? most : guess; /* also where a sum overflowed */
        w->prediction[k] = (int32_t)(guess * (float)(1 << w->fraction) + 0.5f);
    }
    w->prediction[MEDIAN] = predict_median(w, at) << w->fraction;
    w->prediction[BLEND] = predict_blend(w, x + PHOTO_EDGE);
}

/* ---- contexts ---- */

/* What the other planes' residuals around, or else gradients, say of the size of the error to come. */
static int32_t cross_class(const work *w, const uint16_t *at, const int16_t *e) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    const int16_t *o = e - w->t.plane_size;
    int32_t sum = w->plane ? 4 * abs(o[0]) + 2 * (abs(o[-1]) + abs(o[1]) + abs(o[-s]) + abs(o[s]))
                           : abs(at[-1] - at[-2]) + abs(at[-s] - at[-s - 1]) + abs(at[-s] - at[-s + 1]);
    return min32(size_class(sum >> w->coarse), CROSSES - 1);
}

/* Centers and scales of the experts; returns the class of the blend's energy. */
static int32_t choose_experts(work *w, int32_t x, int32_t cross) {
    size_t width = (size_t)w->t.width + 2 * PHOTO_EDGE;
    int32_t energy = 0;
    for (int k = 0; k < PREDICTIONS; k++) {
        const int32_t *now = w->errors[k] + x, *up = now + width;
        energy = size_class(2 * now[-1] + 2 * up[0] + up[-1] + up[1] + now[-2]);
        w->mean[2 * k] = &w->means[2 * k][energy];
        w->mean[2 * k + 1] = &w->means[2 * k + 1][energy * CROSSES + cross];
    }
    for (int i = 0; i < EXPERTS; i++) {
        int32_t scale = max32(*w->mean[i] >> 9, 4);
        if (i == 0) w->scale = scale;
        w->reach[i] = w->reach[EXPERTS + i] = MIXING_REACH * scale;
        w->inverse[i] = w->inverse[EXPERTS + i] = (1 << 20) / scale;
        w->center[i] = w->center[EXPERTS + i] = w->prediction[i / 2];
    }
    return limit(energy - 4, 0, ENERGY - 1);
}

static int32_t texture_of(const uint16_t *at, ptrdiff_t s, int32_t p) {
    return (at[-1] > p) | (at[-s] > p) << 1 | (at[-s - 1] > p) << 2 | (at[-s + 1] > p) << 3 | (at[-2] > p) << 4 |
           (at[-2 * s] > p) << 5;
}

static void signed_values(const work *w, const uint16_t *at, const int16_t *e, int32_t p, int32_t *v) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride, back = (ptrdiff_t)w->t.plane_size;
    const int32_t *g = w->prediction;
    v[ERROR_W] = e[-1], v[ERROR_N] = e[-s], v[ERROR_NE] = e[-s + 1], v[ERROR_NW] = e[-s - 1];
    v[ERROR_WW] = e[-2], v[ERROR_NN] = e[-2 * s];
    v[ERRORS] = (2 * (e[-1] + e[-s]) + e[-s - 1] + e[-s + 1]) / 2;
    v[BLEND_MEDIAN] = (g[BLEND] - g[MEDIAN]) >> (w->fraction - 1);
    v[FAR_NEAR] = (g[1] - g[0]) >> (w->fraction - 2);
    v[W] = (at[-1] - p) / 2, v[N] = (at[-s] - p) / 2, v[NE] = (at[-s + 1] - p) / 2;
    v[W2] = (2 * at[-1] - at[-2] - p) / 2;
    v[STEP_N] = (at[-s] - at[-2 * s]) / 2, v[STEP_W] = (at[-1] - at[-2]) / 2;
    if (w->plane) {
        v[COLOR] = e[-back], v[COLOR2] = w->plane > 1 ? e[-2 * back] : -32768;
        v[COLOR3] = e[-back], v[COLOR4] = e[-back + 1] + e[-back + s];
    } else {
        v[COLOR] = at[-s] - at[-s - 1], v[COLOR2] = at[-1] - at[-s - 1];
        v[COLOR3] = (at[-2] - p) / 2, v[COLOR4] = (at[-2 * s] - p) / 2;
    }
}

static void choose_contexts(work *w, const uint16_t *at, const int16_t *e, int32_t x, int32_t p) {
    int32_t v[SIGNED], sign[SIGNED], *c = w->mixing->context;
    int32_t cross = cross_class(w, at, e), energy = choose_experts(w, x, cross);
    int32_t above = w->prediction[BLEND] + (1 << w->fraction >> 1);
    signed_values(w, at, e, p, v);
    signed_classes(v, w->coarse, sign);
    int32_t near = sign[ERROR_W] * SIGNS + sign[ERROR_N];
    c[0] = energy;
    c[1] = near + SIGNS * SIGNS * (energy / 6);
    c[2] = sign[COLOR] * SIGNS + sign[COLOR2] + SIGNS * SIGNS * (energy / 6);
    c[3] = texture_of(at, (ptrdiff_t)w->t.stride, p) * 4 + (above >> (w->fraction - 2) & 3);
    c[4] = p * 64 / (w->t.largest + 1) * 8 + energy / 3;
    c[5] = sign[BLEND_MEDIAN] * 12 + energy / 2;
    c[6] = cross * ENERGY + energy;
    c[7] = (above << 4 >> w->fraction & 15) * ENERGY + energy;
    c[8] = sign[ERRORS] * ENERGY + energy;
    c[9] = sign[FAR_NEAR] * ENERGY + energy;
    c[10] = (sign[COLOR3] * SIGNS + sign[COLOR4]) * 6 + energy / 4;
    c[11] = (sign[W] * SIGNS + sign[N]) * 6 + energy / 4;
    c[12] = (sign[NE] * SIGNS + sign[W2]) * 6 + energy / 4;
    c[13] = (sign[ERROR_WW] * SIGNS + sign[ERROR_NN]) * 6 + energy / 4;
    c[14] = (sign[ERROR_NE] * SIGNS + sign[ERROR_NW]) * 6 + energy / 4;
    c[15] = (sign[STEP_N] * SIGNS + sign[STEP_W]) * 6 + energy / 4;
    w->mixing->set[0] = energy, w->mixing->set[1] = cross;
    w->mixing->curve[0] = energy, w->mixing->curve[1] = near;
}

/* ---- rows, planes, tiles ---- */

static void learn(work *w, int32_t x, int32_t value) {
    int32_t exact = value << w->fraction;
    for (int i = 0; i < EXPERTS; i++) {
        int32_t size = min32(abs(exact - w->prediction[i / 2]), 1 << 20);
        *w->mean[i] += (size * 708 - *w->mean[i]) / 32; /* 708 / 512 = 1.386 */
    }
    for (int k = 0; k < PREDICTIONS; k++) w->errors[k][x + PHOTO_EDGE] = abs(exact - w->prediction[k]);
}

/* The fits learn from a sample, less where errors are large anyway. */
static void learn_fits(work *w, float level, int32_t x) {
    linear *l = w->linear;
    float scale = (float)w->scale / (float)(1 << w->fraction);
    l->target[x % BLOCK] = level - l->base;
    l->weight[x % BLOCK] = 1 / (scale * scale + 2);
    if (x % BLOCK == BLOCK - 1 || x == w->t.width - 1) linear_end_block(l, w->fit, FITS, x / BLOCK, x % BLOCK + 1);
}

static void code_row(work *w, int32_t y) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    size_t start = (size_t)w->plane * w->t.plane_size + (size_t)(y + PHOTO_EDGE) * w->t.stride + PHOTO_EDGE;
    size_t width = (size_t)w->t.width + 2 * PHOTO_EDGE;
    uint16_t *at = w->t.planes + start;
    float *level = w->levels + start;
    int16_t *e = w->residuals + start;
    for (int k = 0; k < FITS; k++) linear_start_row(&w->fit[k]);
    for (int i = 1; i <= PHOTO_EDGE; i++) at[-i] = at[-s], level[-i] = level[-s];
    for (int32_t x = 0; x < w->t.width; x++, at++, level++, e++) {
        predict(w, at, level, x);
        int32_t p = limit((w->prediction[BLEND] + (1 << w->fraction >> 1)) >> w->fraction, 0, w->t.largest);
        choose_contexts(w, at, e, x + PHOTO_EDGE, p);
        int32_t value = code_value(w, p, *at);
        *at = (uint16_t)value;
        *level = w->unit * (float)value;
        *e = (int16_t)limit(value - p, -32767, 32767);
        learn(w, x, value);
        learn_fits(w, *level, x);
    }
    for (int i = 0; i < PHOTO_EDGE; i++) at[i] = at[-1], level[i] = level[-1];
    for (int k = 0; k < FITS; k++) linear_end_row(w->linear, &w->fit[k], (w->t.width + BLOCK - 1) / BLOCK);
    for (int k = 0; k < PREDICTIONS; k++) memcpy(w->errors[k] + width, w->errors[k], width * sizeof(int32_t));
}

/* `count` more inputs of the plane `back` planes before. */
static void add_inputs(linear *l, const photo_tile *t, const tap *taps, int count, int back) {
    for (int i = 0; i < count; i++, l->taps++) {
        l->offset[l->taps] = (int32_t)(taps[i].y * (ptrdiff_t)t->stride + taps[i].x - back * (ptrdiff_t)t->plane_size);
        l->of_plane[back][l->taps] = 1;
    }
}

static int panels(int taps) { return (taps + PANEL - 1) / PANEL * PANEL; }

static void choose_inputs(work *w) {
    linear *l = w->linear;
    int n = w->earlier, first;
    add_inputs(l, &w->t, own_taps, inputs[n].own, 0);
    for (int b = 1; b <= n; b++) add_inputs(l, &w->t, other_taps, inputs[n].other, b);
    first = panels(l->taps);
    add_inputs(l, &w->t, own_taps + inputs[n].own, inputs[n].more_own, 0);
    for (int b = 1; b <= n; b++) add_inputs(l, &w->t, other_taps + inputs[n].other, inputs[n].more_other, b);
    for (int k = 0; k < FITS; k++) {
        linear_fit *f = &w->fit[k];
        f->first = k ? first : LANES, f->others = k ? 0 : panels(l->taps - LANES);
        f->rows = f->others ? SUM_OTHER + f->others : SUM_CROSS;
        f->down = fades[k].down, f->left = fades[k].left;
        memcpy(f->side, fades[k].side, sizeof f->side);
    }
}

static void end_plane(work *w) {
    for (int k = 0; w->fit && k < FITS; k++) memory_free(w->fit[k].above);
    if (w->linear) memory_free(w->linear->row);
    for (int k = 0; k < PREDICTIONS; k++) memory_free(w->errors[k]);
    if (w->mixing) mixing_free(w->mixing);
    memory_free(w->fit);
    memory_free(w->linear);
    memory_free(w->mixing);
}

/* False: out of memory; end_plane either way. */
static bool start_plane(work *w) {
    const photo_tile *t = &w->t;
    size_t blocks = (size_t)(t->width + BLOCK - 1) / BLOCK, width = (size_t)t->width + 2 * PHOTO_EDGE;
    bool ok = true;
    w->earlier = min32(w->plane, 2);
    w->linear = zero_lanes(sizeof *w->linear);
    w->fit = zero_lanes(FITS * sizeof *w->fit);
    w->mixing = zero_lanes(sizeof *w->mixing);
    for (int k = 0; k < PREDICTIONS; k++) ok &= (w->errors[k] = memory_zero(2 * width, sizeof(int32_t))) != NULL;
    for (int k = 0; w->fit && k < FITS; k++)
        ok &= (w->fit[k].above = zero_lanes(blocks * SUM_ROWS * sizeof(lanes))) != NULL;
    if (w->linear) ok &= (w->linear->row = zero_lanes(blocks * SUM_ROWS * sizeof(lanes))) != NULL;
    for (int e = 0; e < EXPERTS; e++)
        for (int i = 0; i < MEANS; i++) w->means[e][i] = (2 << w->fraction) << 9;
    ok = ok && w->fit && w->linear && w->mixing;
    if (ok) choose_inputs(w);
    return ok && mixing_start(w->mixing, &opinions);
}

static bool code_planes(work *w) {
    const photo_tile *t = &w->t;
    w->residuals = memory_zero(t->plane_size * (size_t)t->channels, sizeof(int16_t));
    w->levels = memory_zero(t->plane_size * (size_t)t->channels, sizeof *w->levels);
    bool ok = w->residuals && w->levels;
    for (w->plane = 0; ok && w->plane < t->channels; w->plane++) {
        uint16_t *plane = t->planes + (size_t)w->plane * t->plane_size;
        uint16_t *bottom = plane + ((size_t)t->rows + PHOTO_EDGE) * t->stride;
        float *levels = w->levels + (plane - t->planes);
        for (size_t i = 0; i < PHOTO_EDGE * t->stride; i++)
            plane[i] = (uint16_t)((t->largest + 1) / 2), levels[i] = w->unit * (float)plane[i];
        ok = start_plane(w);
        for (int32_t y = 0; ok && y < t->rows; y++) code_row(w, y);
        memcpy(bottom, bottom - t->stride, t->stride * sizeof *bottom);
        levels += bottom - plane;
        memcpy(levels, levels - t->stride, t->stride * sizeof *levels);
        end_plane(w);
    }
    memory_free(w->residuals);
    memory_free(w->levels);
    return ok;
}

static work *new_work(const photo_tile *tile) {
    work *w = zero_lanes(sizeof *w);
    if (!w) return NULL;
    w->tables = mixing_tables_get();
    w->t = *tile;
    w->fraction = tile->largest > 255 ? 2 : 6;
    w->unit = tile->largest > 255 ? 1.0f / 257 : 1.0f;
    w->coarse = tile->largest > 255 ? 4 : 0;
    return w;
}

static bool encode(const photo_tile *tile, pith_bytes *out) {
    work *w = new_work(tile);
    if (!w) return false;
    binary_encoder *e = &w->coder.out;
    binary_encode_open(e);
    bool ok = code_planes(w) && binary_encode_close(e);
    if (ok) *out = (pith_bytes){e->bytes, e->size};
    else memory_free(e->bytes);
    memory_free(w);
    return ok;
}

static pith_status decode(pith_bytes in, photo_tile *tile) {
    work *w = new_work(tile);
    if (!w) return PITH_NO_MEMORY;
    w->coder.decoding = true;
    binary_decode_open(&w->coder.in, in);
    pith_status s = code_planes(w) ? PITH_OK : PITH_NO_MEMORY;
    if (s == PITH_OK && binary_decode_close(&w->coder.in) != in.size) s = PITH_CORRUPT;
    memory_free(w);
    return s;
}

const photo_kernels ISA_TABLE(photo_kernels) = {encode, decode};
