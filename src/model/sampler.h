/* model/sampler.h - from logits to the next token: greedy, temperature, top-k, top-p, min-p, repetition penalty, seed.
 */
#ifndef MODEL_SAMPLER_H
#define MODEL_SAMPLER_H

#include "base/rng.h"
#include "pith/status.h"

typedef struct sampler_settings {
    float temperature;    /* 0: the likeliest token */
    int top_k;            /* keep the k likeliest; 0: all */
    float top_p;          /* keep the likeliest whose probabilities sum to this; 1: all */
    float min_p;          /* drop those below this share of the likeliest; 0: none */
    float repeat_penalty; /* divides positive logits of recent tokens, multiplies negative; 1: none */
    int repeat_last;      /* how many recent tokens are penalized */
    uint64_t seed;
} sampler_settings;

sampler_settings sampler_defaults(void); /* temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalty, 64 recent */

typedef struct sampler sampler;
pith_status sampler_new(sampler **s, const sampler_settings *settings, int64_t vocab, pith_error *err);
/* Draws a token from logits [vocab]; changes nothing in logits. Remembers the token for the penalty.
 * Same seed, same sequence of logits: same tokens. */
int32_t sampler_draw(sampler *s, const float *logits);
void sampler_accept(sampler *s, int32_t token); /* a token that was given, not drawn (the prompt) */
void sampler_free(sampler *s);

#endif
