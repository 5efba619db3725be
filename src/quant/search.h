/* quant/search.h - the search for scales, minima and codes, over sixteen groups of weights at once.
 *
 * Groups lie side by side in sixteen lanes, element by element, so that every sum runs over the elements of one lane in
 * their order: the result does not depend on how wide the machine's vectors are, and no sum is across lanes. What is
 * minimized is the sum of w (x' - x)^2, with x' what a reader will compute from the stored fields.
 *
 * Weights are the importances of the columns where there are any (of types without minima times more for large x; see
 * block_pack.c), else 1. */
#ifndef QUANT_SEARCH_H
#define QUANT_SEARCH_H

#include <stdint.h>

enum { SEARCH_LANES = 16, SEARCH_GROUP = 256 };

typedef enum search_kind {
    SEARCH_SIGNED, /* x' = s * value(code): scale only */
    SEARCH_AFFINE, /* x' = s * code + m */
    SEARCH_POWER   /* x' = 2^e * value(code) */
} search_kind;

typedef struct search_plan {
    search_kind kind;
    uint16_t group;                /* weights that share a scale: 16, 32 or 256 */
    uint8_t groups;                /* groups of one block: 1, 8 or 16 */
    int16_t low, high;             /* codes as numbers; stored code = number - low */
    const int8_t *value;           /* 16 rising values to choose from instead of low..high, or NULL */
    const uint8_t *stored;         /* with value: the stored code of each */
    int16_t scale_low, scale_high; /* range of the groups' whole-number scales (and minima); 0 0: none */
    uint8_t scale_bias;            /* added to a scale when stored */
} search_plan;

typedef struct search_batch {
    float x[SEARCH_GROUP][SEARCH_LANES] __attribute__((aligned(64)));
    float w[SEARCH_GROUP][SEARCH_LANES] __attribute__((aligned(64)));
} search_batch;

typedef struct search_result {
    uint8_t code[SEARCH_GROUP][SEARCH_LANES] __attribute__((aligned(64)));
    uint8_t scale[SEARCH_LANES], min[SEARCH_LANES];
    uint16_t d[SEARCH_LANES], dmin[SEARCH_LANES]; /* half floats; the same in all groups of a block */
} search_result;

struct search_kernels {
    void (*run)(const search_plan *plan, const search_batch *in, search_result *out);
};
const struct search_kernels *search_active(void);

#endif
