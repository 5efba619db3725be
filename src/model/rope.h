/* model/rope.h - rotary position embedding: angles per position with every scaling models use, and the rotation. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "net/decoder_config.h"
#include "pith/status.h"

typedef struct rope { /* rotation speed of each pair */
    int64_t pairs;
    bool halves;
    float magnitude; /* factor on the rotated vector (yarn), else 1 */
    float *speed;    /* [pairs] radians per position */
} rope;

/* factors: [rope_dims / 2] divisors of the speeds from the file (tensor rope_freqs.weight), or NULL. */
pith_status rope_new(rope *r, const decoder_config *c, const float *factors, pith_error *err);
void rope_free(rope *r);
/* Cosines and sines of one position, [pairs] each, magnitude included. */
void rope_angles(const rope *r, int64_t position, float *cosine, float *sine);
/* Rotates `heads` vectors of head_dim elements in place. */
void rope_apply(const rope *r, const float *cosine, const float *sine, float *x, int64_t heads, int64_t head_dim);

#endif
