/* picture/photo_linear.h - least squares over a sample's neighborhood, for the kernels under isa/.
 *
 * X. Wu, K. U. Barthel, W. Zhang, "Piecewise 2D autoregression for predictive image coding" (ICIP 1998) and its many
 * successors solve for coefficients that would have predicted the samples around best. Here BLOCK samples of a row
 * share coefficients; products of inputs are summed per block and fade with the distance in rows and blocks, so that a
 * solution costs INPUTS^3 / 6 multiplications and its sums a few passes over a matrix. Two fits share the products: the
 * near one takes all inputs and forgets fast, the far one takes the first LANES at most and forgets slowly.
 *
 * Decoders repeat these sums: every operation is a single-precision sum, product or quotient in an order that no
 * instruction set changes (each lane of a vector is an element of a matrix). */
#ifndef PICTURE_PHOTO_LINEAR_H
#define PICTURE_PHOTO_LINEAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LANES = 16,         /* of a vector */
    INPUTS = 2 * LANES, /* neighbors at most */
    BLOCK = 8,
    PANEL = 4,    /* rows that are eliminated at a time */
    FAR = 2,      /* blocks to either side in the row above that count */
    NEIGHBORS = 3 /* planes that inputs come from: the one at hand, two before it */
};

#if PITH_ISA_LEVEL >= 2
enum { PART = LANES };
#elif PITH_ISA_LEVEL == 1
enum { PART = LANES / 2 };
#else
enum { PART = LANES / 4 };
#endif
typedef float part __attribute__((vector_size(4 * PART), may_alias));
typedef struct lanes { /* in registers of the instruction set; also as LANES floats */
    part of[LANES / PART];
} lanes;

static inline const float *floats(const lanes *l) { return (const float *)l->of; }

/* Sums of products, as rows of LANES: of the first inputs with each other and with what is to be predicted (all that
 * the far fit looks at), of the first with the others, of the others with what is to be predicted and each other. */
enum {
    SUM_FIRST = 0,
    SUM_FIRST_TARGET = LANES,
    SUM_CROSS,
    SUM_OTHER_TARGET = SUM_CROSS + LANES,
    SUM_OTHER,
    SUM_ROWS = SUM_OTHER + LANES
};

typedef struct linear_fit {
    int first, others;               /* inputs in both halves, rounded up to PANEL; with others, first is LANES */
    int rows;                        /* of sums that these need */
    float down, left, side[FAR + 1]; /* what a row, a block to the left, blocks in the row above still count */
    lanes *above;                    /* [block][SUM_ROWS]: rows above, faded */
    lanes before[SUM_ROWS];          /* blocks to the left in this row, faded */
    lanes coefficients[2];           /* 0 where the fit has no input */
} linear_fit;

typedef struct linear {
    int taps;                           /* inputs */
    int32_t offset[INPUTS];             /* of each, in samples; from `taps` on the sample at hand, still 0 */
    float of_plane[NEIGHBORS][INPUTS];  /* 1 where the input comes from that plane, else 0 */
    float base;                         /* what all inputs of the plane at hand were lowered by */
    lanes *row;                         /* [block][SUM_ROWS]: this row */
    lanes in[BLOCK][2];                 /* samples of the block at hand: what they are predicted from, */
    float target[BLOCK], weight[BLOCK]; /* what they are, how much they count */
    lanes matrix[SUM_ROWS];
    lanes unit[INPUTS][2], lower[INPUTS][2]; /* the eliminated matrix, its diagonal being 1; below the transposed's */
} linear;

/* Sums never fade to subnormal numbers, which take a hundred times as long. */
static const float never_zero = 1e-12f;

static void fade_and_add(lanes *restrict to, float f, const lanes *restrict more, int rows) {
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < LANES / PART; p++) to[i].of[p] = f * to[i].of[p] + more[i].of[p] + never_zero;
}

/* ---- sums ---- */

/* Sums of weight * factors[n][i] * in[n][half] for all i; factors are apart by `step` floats. */
static inline void add_products(lanes *restrict sums, const linear *restrict l, const float *restrict factors, int step,
                                int rows, int half, int count) {
    for (int i = 0; i < rows; i++) {
        lanes sum = {{{0}}};
        for (int n = 0; n < count; n++)
            for (int p = 0; p < LANES / PART; p++)
                sum.of[p] += l->weight[n] * factors[n * step + i] * l->in[n][half].of[p];
        sums[i] = sum;
    }
}

/* The first `count` samples of the block become sums of their own. */
static void linear_end_block(linear *l, linear_fit *fits, int fit_count, int block, int count) {
    lanes *sums = l->row + (size_t)block * SUM_ROWS;
    const float *first = floats(l->in[0]), *others = first + LANES;
    add_products(sums + SUM_FIRST, l, first, INPUTS, LANES, 0, count);
    add_products(sums + SUM_FIRST_TARGET, l, l->target, 1, 1, 0, count);
    add_products(sums + SUM_CROSS, l, first, INPUTS, LANES, 1, count);
    add_products(sums + SUM_OTHER_TARGET, l, l->target, 1, 1, 1, count);
    add_products(sums + SUM_OTHER, l, others, INPUTS, l->taps - LANES, 1, count);
    for (int k = 0; k < fit_count; k++) fade_and_add(fits[k].before, fits[k].left, sums, fits[k].rows);
}

static void linear_start_row(linear_fit *fit) { memset(fit->before, 0, sizeof fit->before); }

static void linear_end_row(const linear *l, linear_fit *fit, int blocks) {
    for (size_t b = 0; b < (size_t)blocks; b++)
        fade_and_add(fit->above + b * SUM_ROWS, fit->down, l->row + b * SUM_ROWS, fit->rows);
}

/* ---- solution ---- */

/* All that is known around the block, into l->matrix. */
static void gather_sums(linear *restrict l, const linear_fit *restrict fit, int block, int blocks) {
    static const lanes none[SUM_ROWS];
    const lanes *near[2 * FAR + 1];
    const float *side = fit->side;
    for (int d = -FAR; d <= FAR; d++)
        near[d + FAR] = block + d < 0 || block + d >= blocks ? none : fit->above + (size_t)(block + d) * SUM_ROWS;
    for (int i = 0; i < fit->rows; i++)
        for (int p = 0; p < LANES / PART; p++)
            l->matrix[i].of[p] = fit->before[i].of[p] + side[2] * near[0][i].of[p] + side[1] * near[1][i].of[p] +
                                 side[0] * near[2][i].of[p] + side[1] * near[3][i].of[p] + side[2] * near[4][i].of[p];
}
_Static_assert(FAR == 2, "gather_sums");

static inline void multiply(lanes *to, float f, const lanes *row) {
    for (int p = 0; p < LANES / PART; p++) to->of[p] = f * row->of[p];
}

static inline void take(lanes *from, float f, const lanes *row) {
    for (int p = 0; p < LANES / PART; p++) from->of[p] -= f * row->of[p];
}

/* Pivots k to k + PANEL of `square`, whose rows go on in `right` (NULL: they do not), are eliminated from each other
 * and from the targets; what the targets had of them remains in `solution`, the rows divided by pivots in `unit`. */
static inline void eliminate_panel(lanes *square, lanes *right, lanes *target, lanes *right_target, lanes (*unit)[2],
                                   float *solution, int k) {
    for (int q = k; q < k + PANEL; q++) {
        const float *u = floats(unit[q]);
        float inverse = 1 / floats(&square[q])[q], y = floats(target)[q];
        solution[q] = inverse * y;
        multiply(&unit[q][0], inverse, &square[q]);
        take(target, y, &unit[q][0]);
        for (int r = q + 1; r < k + PANEL; r++) take(&square[r], u[r], &square[q]);
        if (!right) continue;
        multiply(&unit[q][1], inverse, &right[q]);
        take(right_target, y, &unit[q][1]);
        for (int r = q + 1; r < k + PANEL; r++) take(&right[r], u[r], &right[q]);
    }
}

/* Rows [begin, end) without what they have of a panel's pivots: multiples unit[q][i] of row q of the panel, the rows of
 * `unit` being INPUTS apart. */
static inline void take_panel(lanes *restrict rows, const lanes *restrict panel, const float *restrict unit, int begin,
                              int end) {
    for (int i = begin; i < end; i++)
        for (int p = 0; p < LANES / PART; p++)
            rows[i].of[p] = rows[i].of[p] - unit[i] * panel[0].of[p] - unit[INPUTS + i] * panel[1].of[p] -
                            unit[2 * INPUTS + i] * panel[2].of[p] - unit[3 * INPUTS + i] * panel[3].of[p];
}
_Static_assert(PANEL == 4, "take_panel");

/* Elimination without choice of pivots; `solution` becomes what back substitution starts from. */
static void eliminate(linear *l, const linear_fit *fit, float *solution) {
    lanes *a = l->matrix, *cross = fit->others ? a + SUM_CROSS : NULL, *other = a + SUM_OTHER;
    lanes *target = a + SUM_FIRST_TARGET, *other_target = a + SUM_OTHER_TARGET;
    /* rather small coefficients than arbitrary ones */
    for (int i = 0; i < fit->first; i++) ((float *)(a + i))[i] += 1.0f;
    for (int i = 0; i < fit->others; i++) ((float *)(other + i))[i] += 1.0f;
    for (int k = 0; k < fit->first; k += PANEL) {
        const float *unit = floats(l->unit[k]);
        eliminate_panel(a, cross, target, other_target, l->unit, solution, k);
        take_panel(a, a + k, unit, k + PANEL, fit->first);
        if (!cross) continue;
        take_panel(cross, cross + k, unit, k + PANEL, fit->first);
        take_panel(other, cross + k, unit + LANES, 0, fit->others);
    }
    for (int k = 0; k < fit->others; k += PANEL) {
        eliminate_panel(other, NULL, other_target, NULL, l->unit + LANES, solution + LANES, k);
        take_panel(other, other + k, floats(l->unit[LANES + k]), k + PANEL, fit->others);
    }
}

/* Back substitution: what each coefficient, from the last on, leaves to those before it. */
static void substitute(linear *l, const linear_fit *fit, lanes x[2]) {
    float(*lower)[INPUTS] = (float(*)[INPUTS])l->lower;
    int inputs = fit->others ? LANES + fit->others : fit->first;
    for (int k = 0; k < fit->first; k++)
        for (int i = k + 1; i < inputs; i++) lower[i][k] = floats(l->unit[k])[i];
    for (int k = LANES; k < inputs; k++)
        for (int i = k + 1; i < inputs; i++) lower[i][k] = floats(l->unit[k])[i - LANES];
    for (int k = inputs - 1; k > 0; k--) {
        float f = floats(x)[k];
        take(&x[0], f, &l->lower[k][0]);
        if (k > LANES) take(&x[1], f, &l->lower[k][1]);
    }
}

/* Coefficients for the block from all that is known around it. */
static void linear_solve(linear *l, linear_fit *fit, int block, int blocks) {
    gather_sums(l, fit, block, blocks);
    eliminate(l, fit, (float *)fit->coefficients);
    substitute(l, fit, fit->coefficients);
}

/* The sum of the inputs' parts, by halves. */
static inline float linear_predict(const linear_fit *fit, const lanes *in) {
    lanes sum;
    float *s = (float *)sum.of;
    for (int p = 0; p < LANES / PART; p++)
        sum.of[p] = fit->coefficients[0].of[p] * in[0].of[p] + fit->coefficients[1].of[p] * in[1].of[p];
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

#endif
