/* model/rope.c - rotary embedding (Su et al., arXiv 2104.09864) with linear, YaRN (arXiv 2309.00071) and llama-3
 * scaling.
 *
 * All scalings change only the speed of each pair (YaRN also the length of the vector), so they are folded into one
 * table when a model is opened. */
#include "model/rope.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* The pair index at which a wave makes `turns` turns within the original context. */
static double turning_pair(const decoder_config *c, double turns) {
    return (double)c->rope_dims * log((double)c->original_context / (turns * 6.283185307179586)) /
           (2 * log((double)c->rope_base));
}

static double yarn_speed(const decoder_config *c, int64_t i, double speed) {
    double low = floor(turning_pair(c, c->beta_fast)), high = ceil(turning_pair(c, c->beta_slow));
    if (low < 0) low = 0;
    if (high > (double)c->rope_dims - 1) high = (double)c->rope_dims - 1;
    if (high - low < 0.001) high = low + 0.001;
    double ramp = ((double)i - low) / (high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return speed / c->scaling_factor * ramp + speed * (1 - ramp);
}

static double llama3_speed(const decoder_config *c, double speed) {
    double wave = 6.283185307179586 / speed, low = c->original_context / c->low_frequency,
           high = c->original_context / c->high_frequency;
    if (wave < high) return speed;
    if (wave > low) return speed / c->scaling_factor;
    double smooth = (c->original_context / wave - c->low_frequency) / (c->high_frequency - c->low_frequency);
    return (1 - smooth) * speed / c->scaling_factor + smooth * speed;
}

pith_status rope_new(rope *r, const decoder_config *c, const float *factors, pith_error *err) {
    memset(r, 0, sizeof *r);
    r->pairs = c->rope_dims / 2;
    r->halves = c->rope_halves;
    r->magnitude = 1;
    r->speed = memory_zero((size_t)r->pairs, sizeof *r->speed);
    if (!r->speed) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (c->scaling == ROPE_YARN)
        r->magnitude = c->attention_factor > 0 ? c->attention_factor : 0.1f * logf(c->scaling_factor) + 1;
    for (int64_t i = 0; i < r->pairs; i++) {
        double speed = pow((double)c->rope_base, -2.0 * (double)i / (double)c->rope_dims);
        if (factors) speed /= factors[i];
        else if (c->scaling == ROPE_LINEAR) speed /= c->scaling_factor;
        else if (c->scaling == ROPE_YARN) speed = yarn_speed(c, i, speed);
        else if (c->scaling == ROPE_LLAMA3) speed = llama3_speed(c, speed);
        r->speed[i] = (float)speed;
    }
    return PITH_OK;
}

void rope_free(rope *r) {
    memory_free(r->speed);
    memset(r, 0, sizeof *r);
}

void rope_angles(const rope *r, int64_t position, float *cosine, float *sine) {
    for (int64_t i = 0; i < r->pairs; i++) {
        float angle = (float)position * r->speed[i];
        cosine[i] = cosf(angle) * r->magnitude;
        sine[i] = sinf(angle) * r->magnitude;
    }
}

/* One head: pair i is v[i * step] and v[i * step + second], both constants where it is called. */
static inline void turn(const float *cosine, const float *sine, float *v, int64_t pairs, int64_t second, int64_t step) {
    for (int64_t i = 0; i < pairs; i++) {
        float a = v[i * step], b = v[i * step + second];
        v[i * step] = a * cosine[i] - b * sine[i];
        v[i * step + second] = a * sine[i] + b * cosine[i];
    }
}

void rope_apply(const rope *r, const float *cosine, const float *sine, float *x, int64_t heads, int64_t head_dim) {
    for (int64_t h = 0; h < heads; h++, x += head_dim)
        if (r->halves) turn(cosine, sine, x, r->pairs, r->pairs, 1);
        else turn(cosine, sine, x, r->pairs, 1, 2);
}
