/* net/start.c - first weights. */
#include "net/start.h"

#include "base/hash.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

void start_fill(grad_params *p, int id, float value) {
    float *w = params_weight(p, id);
    for (size_t i = 0; i < p->list[id].count; i++) w[i] = value;
    params_changed(p);
}

void start_normal(grad_params *p, int id, float deviation, uint64_t seed) {
    float *w = params_weight(p, id);
    rng r = rng_new(seed, hash_bytes(p->list[id].name, strlen(p->list[id].name)));
    for (size_t i = 0; i < p->list[id].count; i++) w[i] = deviation * (float)rng_normal(&r);
    params_changed(p);
}

void start_scaled(grad_params *p, int id, float gain, uint64_t seed) {
    const grad_param *g = &p->list[id];
    double rows = g->value.rank ? (double)g->value.shape[0] : 1;
    start_normal(p, id, (float)sqrt(gain * rows / (double)g->count), seed);
}
