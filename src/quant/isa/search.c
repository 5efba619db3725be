/* quant/isa/search.c - scales, minima and codes of sixteen groups of weights at once; see quant/search.h.
 *
 * Three steps. (1) Each group for itself, in floats: many starting scales, each followed by least squares given the
 * codes and new codes given the scale, as in Lloyd's method. (2) Groups under a common half float: whole-number scales
 * (and minima) by trying neighbors with the error a reader would see, alternating with least squares for the common
 * scales. (3) Codes for the stored scales. About 60 to 110 passes over the weights; every accepted change lowers the
 * weighted squared error, so the result is never worse than its start (the usual min-max choice is among the starts).
 *
 * Compiled for each instruction set with vectors of its width; lanes never mix and the arithmetic is plain IEEE without
 * contraction, so all give the same bytes. */
#include "quant/search.h"

#include "base/isa.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#if PITH_ISA_LEVEL == 2
enum { WIDTH = 16 };
typedef float lanes __attribute__((vector_size(64), may_alias));
typedef int32_t ints __attribute__((vector_size(64), may_alias));
#elif PITH_ISA_LEVEL == 1
enum { WIDTH = 8 };
typedef float lanes __attribute__((vector_size(32), may_alias));
typedef int32_t ints __attribute__((vector_size(32), may_alias));
#else
enum { WIDTH = 4 };
typedef float lanes __attribute__((vector_size(16), may_alias));
typedef int32_t ints __attribute__((vector_size(16), may_alias));
#endif
#define INLINE static inline __attribute__((always_inline))

enum { LANES = SEARCH_LANES };
#define ROW float __attribute__((aligned(64)))

typedef struct task {
    const search_plan *plan;
    const search_batch *in;
    float middle[15], rise[15]; /* of plan->value: where the nearest value changes, and by how much */
    float low, high;
} task;

/* What the stored fields of each lane amount to: x' = step * number - offset. */
typedef struct choice {
    ROW step[LANES], offset[LANES];
} choice;

INLINE lanes load(const float *p, int lane) { return *(const lanes *)(p + lane); }
INLINE void store(float *p, int lane, lanes v) { *(lanes *)(p + lane) = v; }
INLINE lanes all(float v) { return v - (lanes){0}; }
INLINE lanes pick(ints where, lanes a, lanes b) { return (lanes)((where & (ints)a) | (~where & (ints)b)); }
INLINE lanes magnitude(lanes v) { return (lanes)((ints)v & 0x7fffffff); }
/* 0 where the inverse would be infinite. */
INLINE lanes inverse(lanes v) { return pick(magnitude(v) > 1e-38f, 1.0f / v, all(0)); }

/* The allowed number nearest to v. Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number. */
INLINE lanes nearest(const task *t, lanes v, int table) {
    if (table) {
        lanes number = all(t->low);
        for (int k = 0; k < 15; k++) number += pick(v > t->middle[k], all(t->rise[k]), all(0));
        return number;
    }
    v = pick(v > t->low, v, all(t->low)); /* NaN becomes low */
    v = pick(v < t->high, v, all(t->high));
    return (v + 12582912.0f) - 12582912.0f;
}

/* ---- passes over the elements of the groups ---- */

typedef struct sums {
    lanes q, qq, qx; /* of w q, w q q, w q x, where q are the codes and x the weights above `base` */
} sums;

INLINE sums sums_of(const task *t, int lane, lanes base, lanes inv, lanes start, int table) {
    sums s = {all(0), all(0), all(0)};
    for (int e = 0; e < t->plan->group; e++) {
        lanes x = load(t->in->x[e], lane) - base, w = load(t->in->w[e], lane);
        lanes q = nearest(t, (x - start) * inv, table), wq = w * q;
        s.q += wq;
        s.qq += wq * q;
        s.qx += wq * x;
    }
    return s;
}

INLINE void errors_as(const task *t, const choice *c, float *error, int table) {
    for (int lane = 0; lane < LANES; lane += WIDTH) {
        lanes step = load(c->step, lane), offset = load(c->offset, lane), inv = inverse(step), sum = all(0);
        for (int e = 0; e < t->plan->group; e++) {
            lanes x = load(t->in->x[e], lane);
            lanes d = nearest(t, (x + offset) * inv, table) * step - offset - x;
            sum += load(t->in->w[e], lane) * (d * d);
        }
        store(error, lane, sum);
    }
}

static void errors_of(const task *t, const choice *c, float *error) {
    if (t->plan->value) errors_as(t, c, error, 1);
    else errors_as(t, c, error, 0);
}

static void codes_of(const task *t, const choice *c, search_result *out) {
    for (int lane = 0; lane < LANES; lane++) {
        float step = c->step[lane], inv = fabsf(step) > 1e-38f ? 1.0f / step : 0, offset = c->offset[lane];
        for (int e = 0; e < t->plan->group; e++) {
            float v = (t->in->x[e][lane] + offset) * inv;
            if (t->plan->value) {
                int k = 0;
                while (k < 15 && v > t->middle[k]) k++;
                out->code[e][lane] = t->plan->stored ? t->plan->stored[k] : (uint8_t)k;
                continue;
            }
            v = v > t->low ? v : t->low;
            v = v < t->high ? v : t->high;
            out->code[e][lane] = (uint8_t)(int)((v + 12582912.0f) - 12582912.0f - t->low);
        }
    }
}

/* ---- step 1: a group for itself ---- */

typedef struct fit {
    lanes step, start, gain; /* x' = step * q + start (above base); gain: by how much the error is below that of 0 */
} fit;

INLINE void keep_better(fit *best, fit f) {
    ints better = f.gain > best->gain;
    best->step = pick(better, f.step, best->step);
    best->start = pick(better, f.start, best->start);
    best->gain = pick(better, f.gain, best->gain);
}

INLINE fit signed_fit(const task *t, int lane, lanes inv, int table) {
    sums s = sums_of(t, lane, all(0), inv, all(0), table);
    lanes step = s.qx * inverse(s.qq);
    return (fit){step, all(0), step * s.qx};
}

/* The number that the largest weight is mapped to: around each end of the range, further out to clip outliers. Ternary
 * groups of 256 want much smaller scales than their largest weight. */
static int signed_starts(const search_plan *plan, float start[48]) {
    int n = 0;
    if (plan->high - plan->low == 2) {
        for (float v = 1; v < 20 && n < 48; v *= 1.2f) start[n++] = v;
        return n;
    }
    float spread = plan->value ? 0.1f : 0.9f / (float)-plan->low;
    for (int k = -6; k <= 8; k++) {
        start[n++] = (float)plan->low * (1 + spread * (float)k / 6);
        start[n++] = (float)plan->high * (1 + spread * (float)k / 6);
    }
    for (int k = 1; k <= 3 && plan->low > -100; k++) {
        start[n++] = (float)plan->low * (1 + spread * 1.4f + 0.08f * (float)k);
        start[n++] = (float)plan->high * (1 + spread * 1.4f + 0.08f * (float)k);
    }
    return n;
}

INLINE void signed_groups_as(const task *t, choice *c, int table) {
    float start[48];
    int starts = signed_starts(t->plan, start);
    for (int lane = 0; lane < LANES; lane += WIDTH) {
        lanes largest = all(0);
        for (int e = 0; e < t->plan->group; e++) {
            lanes x = load(t->in->x[e], lane);
            largest = pick(magnitude(x) > magnitude(largest), x, largest);
        }
        lanes unit = inverse(largest);
        fit best = {all(0), all(0), all(0)};
        for (int k = 0; k < starts; k++) {
            fit f = signed_fit(t, lane, unit * start[k], table);
            keep_better(&best, f);
            keep_better(&best, signed_fit(t, lane, inverse(f.step), table));
        }
        for (int k = 0; k < 3; k++) keep_better(&best, signed_fit(t, lane, inverse(best.step), table));
        store(c->step, lane, best.step);
        store(c->offset, lane, all(0));
    }
}

static void signed_groups(const task *t, choice *c) {
    if (t->plan->value) signed_groups_as(t, c, 1);
    else signed_groups_as(t, c, 0);
}

typedef struct affine_group {
    lanes base, range, w, x; /* smallest weight and distance to the largest; sums of w and of w x above base */
    lanes limit;             /* start may not be above this */
} affine_group;

/* By how much x' = step * q + start lowers the error below that of x' = 0. */
INLINE lanes affine_gain(const affine_group *g, const sums *s, lanes step, lanes start) {
    lanes gain = start * (2 * g->x - start * g->w - 2 * step * s->q) + step * (2 * s->qx - step * s->qq);
    return pick(step > 0.0f, gain, all(0));
}

/* The best line through codes and weights; or, where the codes hardly differ or it would begin above the limit, the
 * best step from the start they were made with. */
INLINE fit affine_fit(const task *t, int lane, const affine_group *g, lanes inv, lanes start) {
    sums s = sums_of(t, lane, g->base, inv, start, 0);
    lanes det = inverse(g->w * s.qq - s.q * s.q);
    fit line = {.step = (g->w * s.qx - g->x * s.q) * det, .start = (s.qq * g->x - s.q * s.qx) * det};
    ints over = line.start > g->limit;
    line.start = pick(over, g->limit, line.start);
    line.step = pick(over, (s.qx - g->limit * s.q) * inverse(s.qq), line.step);
    line.gain = affine_gain(g, &s, line.step, line.start);
    fit fixed = {.step = (s.qx - start * s.q) * inverse(s.qq), .start = start};
    fixed.gain = affine_gain(g, &s, fixed.step, fixed.start);
    keep_better(&fixed, line);
    return fixed;
}

INLINE affine_group affine_group_of(const task *t, int lane) {
    int below_zero = t->plan->scale_high != 0; /* whole-number minima are subtracted: the offset is never above 0 */
    affine_group g = {.base = load(t->in->x[0], lane)};
    lanes top = g.base;
    for (int e = 1; e < t->plan->group; e++) {
        lanes x = load(t->in->x[e], lane);
        g.base = pick(x < g.base, x, g.base);
        top = pick(x > top, x, top);
    }
    if (below_zero) g.base = pick(g.base < 0.0f, g.base, all(0));
    g.range = top - g.base;
    g.limit = below_zero ? -g.base : all(INFINITY);
    g.w = g.x = all(0);
    for (int e = 0; e < t->plan->group; e++) {
        lanes w = load(t->in->w[e], lane);
        g.w += w;
        g.x += w * (load(t->in->x[e], lane) - g.base);
    }
    return g;
}

static void affine_groups(const task *t, choice *c) {
    for (int lane = 0; lane < LANES; lane += WIDTH) {
        affine_group g = affine_group_of(t, lane);
        lanes unit = inverse(g.range);
        lanes flat = g.x * inverse(g.w);
        flat = pick(flat < g.limit, flat, g.limit);
        fit best = {all(0), flat, flat * (2 * g.x - flat * g.w)};
        for (int k = 0; k < 28; k++) { /* 20 stretch the range at its top, 8 shrink it at both ends */
            float cut = k < 20 ? 0 : 0.025f * (float)(k - 19);
            float inv = k < 20 ? t->high - 0.9f + 0.1f * (float)k : t->high / (1 - 2 * cut);
            fit f = affine_fit(t, lane, &g, unit * inv, g.range * cut);
            keep_better(&best, f);
            keep_better(&best, affine_fit(t, lane, &g, inverse(f.step), f.start));
        }
        for (int k = 0; k < 4; k++) keep_better(&best, affine_fit(t, lane, &g, inverse(best.step), best.start));
        store(c->step, lane, best.step);
        store(c->offset, lane, -(best.start + g.base));
    }
}

/* ---- step 2: what can be stored ---- */

static uint16_t half(float v) {
    v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
    return pith_f32_to_f16(v == v ? v : 0);
}

static float rounded(float v) { return pith_f16_to_f32(half(v)); }

/* A half float and its two neighbors. */
static float half_near(float v, int k) {
    uint16_t h = half(v);
    if (k < 0 && (h & 0x7fff) == 0) return 0;
    if (k > 0 && (h & 0x7fff) >= 0x7bff) return pith_f16_to_f32(h);
    return pith_f16_to_f32((uint16_t)(h + k));
}

/* Groups of their own: the half floats around the wanted ones. */
static void store_single(const task *t, choice *c, search_result *out) {
    bool affine = t->plan->kind == SEARCH_AFFINE;
    choice best = *c;
    ROW least[LANES] = {0}, error[LANES];
    for (int i = 0; i < (affine ? 9 : 3); i++) {
        choice now;
        for (int lane = 0; lane < LANES; lane++) {
            now.step[lane] = half_near(c->step[lane], i % 3 - 1);
            now.offset[lane] = affine ? -half_near(-c->offset[lane], i / 3 - 1) : 0;
        }
        errors_of(t, &now, error);
        for (int lane = 0; lane < LANES; lane++)
            if (i == 0 || error[lane] < least[lane]) {
                least[lane] = error[lane];
                best.step[lane] = now.step[lane], best.offset[lane] = now.offset[lane];
            }
    }
    *c = best;
    for (int lane = 0; lane < LANES; lane++) {
        out->d[lane] = half(c->step[lane]);
        out->dmin[lane] = affine ? half(-c->offset[lane]) : 0;
    }
}

/* Whole-number scales and minima of the lanes under common half floats. */
typedef struct shared {
    ROW d[LANES], dmin[LANES];
    int16_t scale[LANES], min[LANES];
    ROW error[LANES];
} shared;

static int16_t whole(float v, int low, int high) {
    v = v > (float)low ? v : (float)low;
    v = v < (float)high ? v : (float)high;
    return (int16_t)((v + 12582912.0f) - 12582912.0f);
}

static void measure(const task *t, shared *s) {
    choice c;
    for (int lane = 0; lane < LANES; lane++) {
        c.step[lane] = s->d[lane] * (float)s->scale[lane];
        c.offset[lane] = s->dmin[lane] * (float)s->min[lane];
    }
    errors_of(t, &c, s->error);
}

static void copy_lane(shared *to, const shared *from, int lane) {
    to->d[lane] = from->d[lane], to->dmin[lane] = from->dmin[lane];
    to->scale[lane] = from->scale[lane], to->min[lane] = from->min[lane];
    to->error[lane] = from->error[lane];
}

/* Takes over the blocks in which `now` has the lower error. */
static void keep_better_blocks(const task *t, shared *best, const shared *now) {
    int groups = t->plan->groups;
    for (int first = 0; first < LANES; first += groups) {
        float old = 0, new = 0;
        for (int lane = first; lane < first + groups; lane++) old += best->error[lane], new += now->error[lane];
        if (!(new < old)) continue;
        for (int lane = first; lane < first + groups; lane++) copy_lane(best, now, lane);
    }
}

/* The value of largest magnitude among the lanes of each block, in all its lanes. */
static void block_peak(const task *t, const float *v, float *peak) {
    int groups = t->plan->groups;
    for (int first = 0; first < LANES; first += groups) {
        float most = 0;
        for (int lane = first; lane < first + groups; lane++)
            if (fabsf(v[lane]) > fabsf(most)) most = v[lane];
        for (int lane = first; lane < first + groups; lane++) peak[lane] = most;
    }
}

/* Common scales that map the largest group scale to somewhat above and at the end of the range. */
static void first_scales(const task *t, const choice *c, shared *best) {
    static const float fill[8] = {1, 0.985f, 0.97f, 0.95f, 0.92f, 0.88f, 0.84f, 0.78f};
    const search_plan *plan = t->plan;
    ROW peak[LANES], offset_peak[LANES];
    block_peak(t, c->step, peak);
    block_peak(t, c->offset, offset_peak);
    int ends = plan->scale_low < 0 ? 2 : 1;
    for (int i = 0; i < 8 * ends; i++) {
        float end = (float)(i < 8 ? plan->scale_high : plan->scale_low) * fill[i % 8];
        shared now;
        for (int lane = 0; lane < LANES; lane++) {
            now.d[lane] = rounded(peak[lane] / end);
            now.dmin[lane] = rounded(offset_peak[lane] / (float)plan->scale_high);
            float by = now.d[lane] != 0 ? 1 / now.d[lane] : 0, min_by = now.dmin[lane] != 0 ? 1 / now.dmin[lane] : 0;
            now.scale[lane] = whole(c->step[lane] * by, plan->scale_low, plan->scale_high);
            now.min[lane] = whole(c->offset[lane] * min_by, 0, plan->scale_high);
        }
        measure(t, &now);
        if (i == 0) *best = now;
        else keep_better_blocks(t, best, &now);
    }
    for (int i = 1; i < 8 && plan->kind == SEARCH_AFFINE; i++) {
        shared now = *best;
        for (int lane = 0; lane < LANES; lane++) {
            now.dmin[lane] = rounded(offset_peak[lane] / ((float)plan->scale_high * fill[i]));
            float by = now.dmin[lane] != 0 ? 1 / now.dmin[lane] : 0;
            now.min[lane] = whole(c->offset[lane] * by, 0, plan->scale_high);
        }
        measure(t, &now);
        keep_better_blocks(t, best, &now);
    }
}

static void try_neighbors(const task *t, shared *best) {
    const search_plan *plan = t->plan;
    shared start = *best;
    int mins = plan->kind == SEARCH_AFFINE ? 3 : 1;
    for (int i = 0; i < 3 * mins; i++) {
        int up = i % 3 - 1, min_up = mins == 1 ? 0 : i / 3 - 1;
        if (!up && !min_up) continue;
        shared now = start;
        for (int lane = 0; lane < LANES; lane++) {
            int scale = start.scale[lane] + up, min = start.min[lane] + min_up;
            if (scale >= plan->scale_low && scale <= plan->scale_high) now.scale[lane] = (int16_t)scale;
            if (min >= 0 && min <= plan->scale_high) now.min[lane] = (int16_t)min;
        }
        measure(t, &now);
        for (int lane = 0; lane < LANES; lane++)
            if (now.error[lane] < best->error[lane]) copy_lane(best, &now, lane);
    }
}

typedef struct lane_sums {
    ROW q[LANES], qq[LANES], qx[LANES], w[LANES], x[LANES];
} lane_sums;

INLINE void lane_sums_as(const task *t, const shared *s, lane_sums *out, int table) {
    ROW step[LANES], offset[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        step[lane] = s->d[lane] * (float)s->scale[lane];
        offset[lane] = s->dmin[lane] * (float)s->min[lane];
    }
    for (int lane = 0; lane < LANES; lane += WIDTH) {
        sums v = sums_of(t, lane, all(0), inverse(load(step, lane)), -load(offset, lane), table);
        lanes w = all(0), x = all(0);
        for (int e = 0; e < t->plan->group; e++) {
            lanes we = load(t->in->w[e], lane);
            w += we;
            x += we * load(t->in->x[e], lane);
        }
        store(out->q, lane, v.q), store(out->qq, lane, v.qq), store(out->qx, lane, v.qx);
        store(out->w, lane, w), store(out->x, lane, x);
    }
}

/* Least squares for d and dmin of a block, its codes, scales and minima being given. */
static void refit_block(const lane_sums *v, int first, int groups, shared *now) {
    float a = 0, b = 0, c = 0, d = 0, e = 0;
    for (int lane = first; lane < first + groups; lane++) {
        float scale = now->scale[lane], min = now->min[lane];
        a += v->qq[lane] * scale * scale;
        b += v->q[lane] * scale * min;
        c += v->w[lane] * min * min;
        d += v->qx[lane] * scale;
        e += v->x[lane] * min;
    }
    float det = a * c - b * b;
    float step = c > 0 ? (d * c - b * e) / det : d / a, offset = c > 0 ? (b * d - a * e) / det : 0;
    if (!isfinite(step) || !isfinite(offset) || offset < 0) return;
    for (int lane = first; lane < first + groups; lane++) {
        now->d[lane] = rounded(step);
        now->dmin[lane] = rounded(offset);
    }
}

static void refit(const task *t, shared *best) {
    lane_sums v;
    if (t->plan->value) lane_sums_as(t, best, &v, 1);
    else lane_sums_as(t, best, &v, 0);
    shared now = *best;
    for (int first = 0; first < LANES; first += t->plan->groups) refit_block(&v, first, t->plan->groups, &now);
    measure(t, &now);
    keep_better_blocks(t, best, &now);
}

static void store_shared(const task *t, choice *c, search_result *out) {
    shared best;
    first_scales(t, c, &best);
    for (int round = 0; round < 3; round++) {
        try_neighbors(t, &best);
        refit(t, &best);
    }
    for (int lane = 0; lane < LANES; lane++) {
        out->d[lane] = half(best.d[lane]), out->dmin[lane] = half(best.dmin[lane]);
        out->scale[lane] = (uint8_t)(best.scale[lane] + t->plan->scale_bias);
        out->min[lane] = (uint8_t)best.min[lane];
        c->step[lane] = best.d[lane] * (float)best.scale[lane];
        c->offset[lane] = best.dmin[lane] * (float)best.min[lane];
    }
}

/* Powers of two: from two below the one that reaches the largest weight to one above. */
static void store_power(const task *t, choice *c, search_result *out) {
    ROW least[LANES] = {0}, error[LANES];
    choice now = {.step = {0}};
    memset(c, 0, sizeof *c);
    for (int k = -2; k <= 1; k++) {
        int exponent[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            float most = 0;
            for (int e = 0; e < t->plan->group; e++) most = fmaxf(most, fabsf(t->in->x[e][lane]));
            int wanted = (most > 0 ? ilogbf(most) - 2 + 127 : 0) + k;
            exponent[lane] = wanted < 0 ? 0 : wanted > 254 ? 254 : wanted;
            now.step[lane] = ldexpf(1, exponent[lane] - 128);
        }
        errors_of(t, &now, error);
        for (int lane = 0; lane < LANES; lane++)
            if (k == -2 || error[lane] < least[lane]) {
                least[lane] = error[lane];
                c->step[lane] = now.step[lane];
                out->scale[lane] = (uint8_t)exponent[lane];
            }
    }
}

static void run(const search_plan *plan, const search_batch *in, search_result *out) {
    task t = {.plan = plan, .in = in, .low = plan->low, .high = plan->high};
    for (int k = 0; k < 15 && plan->value; k++) {
        t.middle[k] = 0.5f * (float)(plan->value[k] + plan->value[k + 1]);
        t.rise[k] = (float)(plan->value[k + 1] - plan->value[k]);
    }
    choice c;
    if (plan->kind == SEARCH_SIGNED) signed_groups(&t, &c);
    if (plan->kind == SEARCH_AFFINE) affine_groups(&t, &c);
    if (plan->kind == SEARCH_POWER) store_power(&t, &c, out);
    else if (plan->scale_high) store_shared(&t, &c, out);
    else store_single(&t, &c, out);
    codes_of(&t, &c, out);
}

extern const struct search_kernels ISA_TABLE(search);
const struct search_kernels ISA_TABLE(search) = {run};
