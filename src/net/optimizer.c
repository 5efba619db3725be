/* net/optimizer.c - one pass over flat arrays per step (Adam: Kingma and Ba, arXiv 1412.6980).
 *
 * Bound by memory: Adam reads and writes 28 bytes a parameter. Work is cut in fixed blocks, so that the norm is summed
 * in the same order for any number of threads. */
#include "net/optimizer.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1 << 16 };

int optimizer_moments(const optimizer *o) { return o->kind == OPTIMIZER_ADAM ? 2 : o->beta1 > 0 ? 1 : 0; }

pith_status optimizer_open(optimizer *o, const grad_params *p, pith_error *err) {
    o->averaged = NULL;
    if (o->average <= 0) return PITH_OK;
    o->averaged = memory_aligned(p->floats * sizeof(float));
    if (!o->averaged) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for averaged weights");
    memcpy(o->averaged, p->weights, p->floats * sizeof(float));
    return PITH_OK;
}

void optimizer_close(optimizer *o) {
    memory_free(o->averaged);
    o->averaged = NULL;
}

typedef struct pass {
    const optimizer *o;
    grad_params *p;
    const grad_param *param;
    float scale, rate, decay, correct1, correct2;
    double *partial;
} pass;

static void square_blocks(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *j = user;
    double sum = 0;
    for (int64_t i = begin; i < end; i++) sum += (double)j->p->grads[i] * j->p->grads[i];
    j->partial[begin / BLOCK] = sum;
}

static double gradient_norm(grad_params *p) {
    size_t blocks = (p->floats + BLOCK - 1) / BLOCK;
    double small[64], *partial = blocks <= 64 ? small : memory_zero(blocks, sizeof *partial), sum = 0;
    if (!partial) return NAN; /* the step is then skipped and the trainer reports it */
    parallel_for((int64_t)p->floats, BLOCK, square_blocks, &(pass){.p = p, .partial = partial});
    for (size_t i = 0; i < blocks; i++) sum += partial[i];
    if (partial != small) memory_free(partial);
    return sqrt(sum);
}

static void sgd_block(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *j = user;
    size_t at = j->param->offset;
    float *w = j->p->weights + at, *g = j->p->grads + at, *m = j->o->beta1 > 0 ? j->p->moment[0] + at : NULL;
    for (int64_t i = begin; i < end; i++) {
        float step = g[i] * j->scale;
        if (m) step = m[i] = j->o->beta1 * m[i] + step;
        w[i] -= j->rate * (step + j->decay * w[i]);
    }
}

static void adam_block(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *j = user;
    size_t at = j->param->offset;
    float *restrict w = j->p->weights + at, *restrict m = j->p->moment[0] + at, *restrict v = j->p->moment[1] + at;
    const float *restrict g = j->p->grads + at;
    float b1 = j->o->beta1, b2 = j->o->beta2, epsilon = j->o->epsilon, scale = j->scale, rate = j->rate,
          decay = j->decay;
    float c1 = j->correct1, c2 = j->correct2;
    for (int64_t i = begin; i < end; i++) {
        float x = g[i] * scale;
        m[i] = b1 * m[i] + (1 - b1) * x;
        v[i] = b2 * v[i] + (1 - b2) * x * x;
        w[i] -= rate * (m[i] * c1 / (sqrtf(v[i] * c2) + epsilon) + decay * w[i]);
    }
}

static void average_block(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pass *j = user;
    for (int64_t i = begin; i < end; i++)
        j->o->averaged[i] += (1 - j->o->average) * (j->p->weights[i] - j->o->averaged[i]);
}

double optimizer_step(optimizer *o, grad_params *p, double rate) {
    double share = o->accumulate > 1 ? 1.0 / (double)o->accumulate : 1, norm = gradient_norm(p) * share;
    if (!isfinite(norm)) return norm;
    o->step++;
    pass j = {.o = o, .p = p, .scale = (float)(o->clip > 0 && norm > o->clip ? share * o->clip / norm : share)};
    j.correct1 = (float)(1 / (1 - pow(o->beta1, (double)o->step)));
    j.correct2 = (float)(1 / (1 - pow(o->beta2, (double)o->step)));
    for (int i = 0; i < p->n; i++) {
        if (p->list[i].frozen) continue;
        j.param = &p->list[i];
        j.rate = (float)rate * o->group[j.param->group].rate;
        j.decay = o->group[j.param->group].decay;
        parallel_for((int64_t)j.param->count, BLOCK, o->kind == OPTIMIZER_ADAM ? adam_block : sgd_block, &j);
    }
    params_changed(p);
    if (o->averaged) parallel_for((int64_t)p->floats, BLOCK, average_block, &j);
    return norm;
}
