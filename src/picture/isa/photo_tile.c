/* picture/isa/photo_tile.c - the model of a photograph's samples, and the loop that codes a tile with it.
 *
 * Planes are coded one after another, so that all but the first see the planes before on all sides. A sample is
 * predicted by two least-squares fits (near and far), by the median of simple guesses, and by their blend; its value is
 * coded as a walk down a tree of binary decisions around the blend: is it that, above or below, how far by doubling
 * distances, then by halves. The same code encodes and decodes.
 *
 * Costs about 1 microsecond a sample on one core of a 2023 server. Unlike the usual design, whose contexts choose one
 * distribution, each decision mixes distributions around all predictions with what was seen in 13 contexts. */
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
    SLOTS = 13,
    NODES = 72,    /* of the tree of decisions */
    RAREST = 16,   /* of 65536: what a decision is thought to be at least; bounds how many samples a byte may hold */
    ENERGIES = 64, /* classes of a size */
    CROSSES = 16,  /* classes of what other planes, or gradients, say of the size */
    MEANS = ENERGIES * (CROSSES + 1),
    ENERGY = 24, /* classes of the blend's energy in contexts */
    SIGNS = 13,  /* classes of signed_class */
    TEXTURES = 64
};
_Static_assert(CROSSES <= ENERGY && ENERGY <= SIGNS * SIGNS, "contexts fit the tables of `opinions`");

typedef struct tap {
    int8_t x, y;
} tap;

/* Of the plane itself: what comes before in reading order, nearest first. */
static const tap own_taps[] = {{-1, 0}, {0, -1}, {-1, -1}, {1, -1},  {-2, 0}, {0, -2}, {1, -2},  {-1, -2}, {-2, -1},
                               {2, -1}, {-3, 0}, {0, -3},  {-2, -2}, {2, -2}, {3, -1}, {-3, -1}, {-1, -3}, {1, -3}};
/* Of a plane that is complete. */
static const tap other_taps[] = {{0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}, {-1, -1}, {1, -1}, {-1, 1}, {1, 1}};

/* How many of these a fit takes, by how many planes are complete (two at most are looked at). */
static const struct {
    uint8_t own[3], other;
    float down, left, side[FAR + 1];
} fits[FITS] = {{{18, 14, 10}, 9, 0.85f, 0.7f, {1, 0.6f, 0.3f}}, {{6, 6, 6}, 5, 0.96f, 0.95f, {1, 0.9f, 0.8f}}};

/* Contexts of each slot, as choose_contexts computes them. */
static const mixing_shape opinions = {
    .nodes = NODES,
    .experts = EXPERTS,
    .slots = SLOTS,
    .inputs = MIXING_INPUTS,
    .mixers = 2,
    .sets = ENERGY,
    .curves = 2,
    .curve_contexts = SIGNS * SIGNS,
    .expert_weight = MIXING_WEIGHT / EXPERTS,
    .slot_weight = MIXING_WEIGHT / 11,
    .rarest = RAREST,
    .contexts = {ENERGY, 4 * SIGNS *SIGNS, 4 * SIGNS *SIGNS, 4 * TEXTURES, 64 * 8, SIGNS * 12, CROSSES *ENERGY,
                 16 * ENERGY, SIGNS *ENERGY, SIGNS *ENERGY, 6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS, 6 * SIGNS *SIGNS}};

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
    linear *fit;        /* [FITS] */
    mixing *mixing;
    int32_t *errors[PREDICTIONS];  /* [this row, row above][column + PHOTO_EDGE]: size, with fraction */
    int32_t means[EXPERTS][MEANS]; /* of such sizes times 1024 / 1.386 (a logistic's mean size is 1.386 scales) */
    /* of the sample at hand */
    int32_t prediction[PREDICTIONS]; /* with fraction */
    int32_t *mean[EXPERTS], scale[EXPERTS], inverse[EXPERTS], center[EXPERTS];
    int32_t low[EXPERTS], high[EXPERTS]; /* mass below the interval that is left, and below its end */
} work;

/* ---- classes ---- */

static inline uint32_t size_class(uint32_t v) { /* two for each doubling */
    if (v < 2) return v;
    int top = 31 - __builtin_clz(v);
    return 2 * (uint32_t)top + ((v >> (top - 1)) & 1);
}

static inline uint32_t signed_class(const work *w, int32_t v) { /* SIGNS classes, the middle one for nothing */
    uint32_t size = (uint32_t)abs(v) >> w->coarse;
    uint32_t c = size < 3 ? size : size < 5 ? 3 : size < 9 ? 4 : size < 17 ? 5 : 6;
    return v < 0 ? 6 - c : 6 + c;
}

/* ---- decisions ---- */

/* Masses below `edge` (with fraction) by each expert. */
static inline void masses_below(const work *w, int32_t edge, int32_t *restrict mass) {
    const int32_t *restrict below = w->tables->below;
    for (int e = 0; e < EXPERTS; e++) {
        int32_t at = limit(edge - w->center[e], -MIXING_REACH * w->scale[e] + 1, MIXING_REACH * w->scale[e] - 1);
        int32_t z = (at * w->inverse[e]) >> 8; /* 1/4096 of a scale: the product is below 18 * 2^20 */
        int32_t i = limit((z >> 6) + MIXING_ENDS, 0, 2 * MIXING_ENDS), rest = z & 63;
        mass[e] = below[i] + (((below[i + 1] - below[i]) * rest) >> 6); /* steps are below 2^23 */
    }
}

/* Codes a decision of whose sides the experts think so. */
static bool decide(work *w, int node, const int32_t *yes, const int32_t *no, bool bit) {
    mixing_experts(w->tables, yes, no, w->mixing->in, EXPERTS);
    return mixing_decide(w->mixing, &opinions, &w->coder, node, bit);
}

static inline int32_t edge_at(const work *w, int32_t value) { return (value << w->fraction) - (1 << w->fraction >> 1); }

/* Is the value at least `edge`? The interval that is left becomes that side. */
static bool at_least(work *w, int node, int32_t edge, bool bit) {
    int32_t middle[EXPERTS], yes[EXPERTS], no[EXPERTS];
    masses_below(w, edge_at(w, edge), middle);
    for (int e = 0; e < EXPERTS; e++) yes[e] = w->high[e] - middle[e], no[e] = middle[e] - w->low[e];
    bit = decide(w, node, yes, no, bit);
    memcpy(bit ? w->low : w->high, middle, sizeof middle);
    return bit;
}

/* Is its distance from p, on the side `up`, more than `far`? */
static bool beyond(work *w, int node, int32_t p, bool up, int32_t far, int32_t distance) {
    return up ? at_least(w, node, p + far + 1, distance > far) : !at_least(w, node, p - far, distance <= far);
}

/* Is it p, below or above? -1, 0, 1; the interval that is left becomes that side. */
static int side_of(work *w, int32_t p, int32_t value) {
    int32_t above[EXPERTS], at[EXPERTS], off[EXPERTS];
    masses_below(w, edge_at(w, p), w->low);
    masses_below(w, edge_at(w, p + 1), w->high);
    for (int e = 0; e < EXPERTS; e++) {
        above[e] = MIXING_FULL - w->high[e];
        at[e] = w->high[e] - w->low[e], off[e] = w->low[e] + above[e];
    }
    if (decide(w, 0, at, off, value == p)) return 0;
    bool up = p == 0;
    if (p > 0 && p < w->t.largest) up = decide(w, 1, above, w->low, value > p);
    for (int e = 0; e < EXPERTS; e++) {
        int32_t below = w->low[e];
        w->low[e] = up ? w->high[e] : 0;
        w->high[e] = up ? MIXING_FULL : below;
    }
    return up ? 1 : -1;
}

/* Codes the value (known when encoding) around p. Nodes: 0 and 1 above; for each doubling of the distance one for
 * "more", one for its first halving, two for all
 * others by how the first went. */
static int32_t code_value(work *w, int32_t p, int32_t value) {
    int side = side_of(w, p, value), node = 2;
    bool up = side > 0;
    if (side == 0) return p;
    int32_t most = up ? w->t.largest - p : p, from = 1, to = 1, distance = abs(value - p);
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

static void predict(work *w, const uint16_t *at, int32_t x) {
    int blocks = (w->t.width + BLOCK - 1) / BLOCK;
    float unit = w->t.largest > 255 ? 1.0f / 257 : 1.0f, most = (float)w->t.largest;
    int32_t base[PHOTO_CHANNELS];
    for (int k = 0; k <= w->earlier; k++) {
        const uint16_t *o = at - (size_t)k * w->t.plane_size;
        base[k] = (o[-1] + o[-(ptrdiff_t)w->t.stride]) / 2;
    }
    for (int k = 0; k < FITS; k++) {
        linear *l = &w->fit[k];
        float *in = l->in[x % BLOCK];
        if (x % BLOCK == 0) linear_solve(l, x / BLOCK, blocks);
        for (int i = 0; i < l->taps; i++) in[i] = unit * (float)(at[l->offset[i]] - base[l->plane_of[i]]);
        in[INPUTS - 1] = 0;
        float guess = (float)base[0] + linear_predict(l, in) / unit;
        guess = !(guess > 0) ? 0 : guess > most ? most : guess; /* also where a sum overflowed */
        w->prediction[k] = (int32_t)(guess * (float)(1 << w->fraction) + 0.5f);
    }
    w->prediction[MEDIAN] = predict_median(w, at) << w->fraction;
    w->prediction[BLEND] = predict_blend(w, x + PHOTO_EDGE);
}

/* ---- contexts ---- */

/* What the other planes' residuals around, or else gradients, say of the size of the error to come. */
static uint32_t cross_class(const work *w, const uint16_t *at, const int16_t *e) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    const int16_t *o = e - w->t.plane_size;
    int32_t sum = w->plane ? 4 * abs(o[0]) + 2 * (abs(o[-1]) + abs(o[1]) + abs(o[-s]) + abs(o[s]))
                           : abs(at[-1] - at[-2]) + abs(at[-s] - at[-s - 1]) + abs(at[-s] - at[-s + 1]);
    return (uint32_t)min32((int32_t)size_class((uint32_t)sum >> w->coarse), CROSSES - 1);
}

/* Centers and scales of the experts; returns the class of the blend's energy. */
static uint32_t choose_experts(work *w, int32_t x, uint32_t cross) {
    size_t width = (size_t)w->t.width + 2 * PHOTO_EDGE;
    uint32_t energy = 0;
    for (int k = 0; k < PREDICTIONS; k++) {
        const int32_t *now = w->errors[k] + x, *up = now + width;
        energy = size_class((uint32_t)(2 * now[-1] + 2 * up[0] + up[-1] + up[1] + now[-2]));
        w->mean[2 * k] = &w->means[2 * k][energy];
        w->mean[2 * k + 1] = &w->means[2 * k + 1][energy * CROSSES + cross];
    }
    for (int i = 0; i < EXPERTS; i++) {
        w->scale[i] = max32(*w->mean[i] >> 9, 4);
        w->inverse[i] = (1 << 20) / w->scale[i];
        w->center[i] = w->prediction[i / 2];
    }
    return (uint32_t)limit((int32_t)energy - 4, 0, ENERGY - 1);
}

static uint32_t texture_of(const uint16_t *at, ptrdiff_t s, int32_t p) {
    return (uint32_t)((at[-1] > p) | (at[-s] > p) << 1 | (at[-s - 1] > p) << 2 | (at[-s + 1] > p) << 3 |
                      (at[-2] > p) << 4 | (at[-2 * s] > p) << 5);
}

#define SIGN(v) signed_class(w, v)
#define SIGN2(a, b) (SIGN(a) * SIGNS + SIGN(b))

static void choose_contexts(work *w, const uint16_t *at, const int16_t *e, int32_t x, int32_t p) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride, back = (ptrdiff_t)w->t.plane_size;
    const int32_t *g = w->prediction;
    uint32_t cross = cross_class(w, at, e), energy = choose_experts(w, x, cross), *c = w->mixing->context;
    uint32_t above = (uint32_t)(g[BLEND] + (1 << w->fraction >> 1)), near = SIGN2(e[-1], e[-s]);
    int32_t other = w->plane > 1 ? e[-2 * back] : -32768;
    uint32_t color = w->plane ? SIGN2(e[-back], other) : SIGN2(at[-s] - at[-s - 1], at[-1] - at[-s - 1]);
    c[0] = energy;
    c[1] = near + SIGNS * SIGNS * (energy / 6);
    c[2] = color + SIGNS * SIGNS * (energy / 6);
    c[3] = texture_of(at, s, p) * 4 + (above >> (w->fraction - 2) & 3);
    c[4] = (uint32_t)(p * 64 / (w->t.largest + 1)) * 8 + energy / 3;
    c[5] = SIGN((g[BLEND] - g[MEDIAN]) >> (w->fraction - 1)) * 12 + energy / 2;
    c[6] = cross * ENERGY + energy;
    c[7] = (above << 4 >> w->fraction & 15) * ENERGY + energy;
    c[8] = SIGN((2 * (e[-1] + e[-s]) + e[-s - 1] + e[-s + 1]) / 2) * ENERGY + energy;
    c[9] = SIGN((g[1] - g[0]) >> (w->fraction - 2)) * ENERGY + energy;
    c[10] = (w->plane ? SIGN2(e[-back], e[-back + 1] + e[-back + s]) : SIGN2(e[-s + 1], e[-s - 1])) * 6 + energy / 4;
    c[11] = SIGN2((at[-1] - p) / 2, (at[-s] - p) / 2) * 6 + energy / 4;
    c[12] = SIGN2((at[-s + 1] - p) / 2, (2 * at[-1] - at[-2] - p) / 2) * 6 + energy / 4;
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
static void learn_fits(work *w, const uint16_t *at, int32_t x) {
    float unit = w->t.largest > 255 ? 1.0f / 257 : 1.0f, scale = (float)w->scale[0] / (float)(1 << w->fraction);
    int32_t base = (at[-1] + at[-(ptrdiff_t)w->t.stride]) / 2;
    for (int k = 0; k < FITS; k++) {
        w->fit[k].in[x % BLOCK][INPUTS - 1] = unit * (float)(at[0] - base);
        w->fit[k].weight[x % BLOCK] = 1 / (scale * scale + 2);
        if (x % BLOCK == BLOCK - 1 || x == w->t.width - 1) linear_end_block(&w->fit[k], x / BLOCK, x % BLOCK + 1);
    }
}

static void code_row(work *w, int32_t y) {
    ptrdiff_t s = (ptrdiff_t)w->t.stride;
    size_t start = (size_t)w->plane * w->t.plane_size + (size_t)(y + PHOTO_EDGE) * w->t.stride + PHOTO_EDGE;
    size_t width = (size_t)w->t.width + 2 * PHOTO_EDGE;
    uint16_t *at = w->t.planes + start;
    int16_t *e = w->residuals + start;
    for (int k = 0; k < FITS; k++) linear_start_row(&w->fit[k]);
    for (int i = 1; i <= PHOTO_EDGE; i++) at[-i] = at[-s];
    for (int32_t x = 0; x < w->t.width; x++, at++, e++) {
        predict(w, at, x);
        int32_t p = limit((w->prediction[BLEND] + (1 << w->fraction >> 1)) >> w->fraction, 0, w->t.largest);
        choose_contexts(w, at, e, x + PHOTO_EDGE, p);
        int32_t value = code_value(w, p, *at);
        *at = (uint16_t)value;
        *e = (int16_t)limit(value - p, -32767, 32767);
        learn(w, x, value);
        learn_fits(w, at, x);
    }
    for (int i = 0; i < PHOTO_EDGE; i++) at[i] = at[-1];
    for (int k = 0; k < FITS; k++) linear_end_row(&w->fit[k], (w->t.width + BLOCK - 1) / BLOCK);
    for (int k = 0; k < PREDICTIONS; k++) memcpy(w->errors[k] + width, w->errors[k], width * sizeof(int32_t));
}

static void choose_taps(linear *l, const photo_tile *t, int earlier, int k) {
    ptrdiff_t s = (ptrdiff_t)t->stride;
    l->down = fits[k].down, l->left = fits[k].left;
    memcpy(l->side, fits[k].side, sizeof l->side);
    for (int i = 0; i < fits[k].own[earlier]; i++, l->taps++) l->offset[l->taps] = own_taps[i].y * s + own_taps[i].x;
    for (int b = 1; b <= earlier; b++)
        for (int i = 0; i < fits[k].other; i++, l->taps++) {
            l->offset[l->taps] = other_taps[i].y * s + other_taps[i].x - b * (ptrdiff_t)t->plane_size;
            l->plane_of[l->taps] = (uint8_t)b;
        }
    l->used = row_at(l->taps) + (l->taps < HALF ? 0 : HALF);
}

static void end_plane(work *w) {
    for (int k = 0; w->fit && k < FITS; k++) memory_free(w->fit[k].above), memory_free(w->fit[k].row);
    for (int k = 0; k < PREDICTIONS; k++) memory_free(w->errors[k]);
    if (w->mixing) mixing_free(w->mixing);
    memory_free(w->fit);
    memory_free(w->mixing);
}

/* False: out of memory; end_plane either way. */
static bool start_plane(work *w) {
    const photo_tile *t = &w->t;
    size_t blocks = (size_t)(t->width + BLOCK - 1) / BLOCK, width = (size_t)t->width + 2 * PHOTO_EDGE;
    bool ok = true;
    w->earlier = min32(w->plane, 2);
    w->fit = memory_zero(FITS, sizeof *w->fit);
    w->mixing = memory_zero(1, sizeof *w->mixing);
    for (int k = 0; k < PREDICTIONS; k++) ok &= (w->errors[k] = memory_zero(2 * width, sizeof(int32_t))) != NULL;
    for (int k = 0; w->fit && k < FITS; k++) {
        linear *l = &w->fit[k];
        ok &= (l->above = memory_zero(blocks, SUMS * sizeof(float))) != NULL;
        ok &= (l->row = memory_zero(blocks, SUMS * sizeof(float))) != NULL;
        choose_taps(l, t, w->earlier, k);
    }
    for (int e = 0; e < EXPERTS; e++)
        for (int i = 0; i < MEANS; i++) w->means[e][i] = (2 << w->fraction) << 9;
    return ok && w->fit && w->mixing && mixing_start(w->mixing, &opinions);
}

static bool code_planes(work *w) {
    const photo_tile *t = &w->t;
    w->residuals = memory_zero(t->plane_size * (size_t)t->channels, sizeof(int16_t));
    bool ok = w->residuals != NULL;
    for (w->plane = 0; ok && w->plane < t->channels; w->plane++) {
        uint16_t *plane = t->planes + (size_t)w->plane * t->plane_size;
        uint16_t *bottom = plane + ((size_t)t->rows + PHOTO_EDGE) * t->stride;
        for (size_t i = 0; i < PHOTO_EDGE * t->stride; i++) plane[i] = (uint16_t)((t->largest + 1) / 2);
        ok = start_plane(w);
        for (int32_t y = 0; ok && y < t->rows; y++) code_row(w, y);
        memcpy(bottom, bottom - t->stride, t->stride * sizeof *bottom);
        end_plane(w);
    }
    memory_free(w->residuals);
    return ok;
}

static work *new_work(const photo_tile *tile) {
    work *w = memory_zero(1, sizeof *w);
    if (!w) return NULL;
    w->tables = mixing_tables_get();
    w->t = *tile;
    w->fraction = tile->largest > 255 ? 2 : 6;
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
