/* grad/params.c - flat storage of parameters. */
#include "grad/params.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <assert.h>
#include <string.h>

enum { ALIGN_FLOATS = 16 };

void params_init(grad_params *p) {
    memset(p, 0, sizeof *p);
    p->version = 1;
}

void params_free(grad_params *p) {
    for (int i = 0; i < p->n; i++) memory_free(p->list[i].name);
    memory_free(p->list);
    memory_free(p->weights);
    memory_free(p->grads);
    for (int i = 0; i < GRAD_MOMENTS; i++) memory_free(p->moment[i]);
    memory_free(p->half);
    memset(p, 0, sizeof *p);
}

pith_status params_add(grad_params *p, const char *name, int rank, const int64_t *shape, int group, int *id,
                       pith_error *err) {
    assert(!p->weights && "params_add after params_commit");
    if (params_find(p, name) >= 0)
        return pith_fail(err, PITH_MISMATCH, name, -1, "expected a new name, found it in use");
    grad_param q = {.group = group, .offset = p->floats};
    uint64_t bytes;
    pith_status s = pith_tensor_layout(&q.value, PITH_F32, rank, shape, &bytes, err);
    if (s != PITH_OK) return s;
    if (bytes > (uint64_t)PTRDIFF_MAX / 4 || p->floats > (size_t)PTRDIFF_MAX / 8)
        return pith_fail(err, PITH_LIMIT, name, -1, "expected parameters that fit in memory, found %llu bytes",
                         (unsigned long long)bytes);
    q.count = (size_t)bytes / sizeof(float);
    if (memory_reserve((void **)&p->list, &p->capacity, (size_t)p->n + 1, sizeof *p->list) != 0 ||
        !(q.name = memory_text(name)))
        return pith_fail(err, PITH_NO_MEMORY, name, -1, "no memory for the list of parameters");
    p->list[p->n] = q;
    *id = p->n++;
    p->floats += (q.count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    return PITH_OK;
}

static float *zeroed(size_t floats) {
    float *f = memory_aligned(floats * sizeof(float));
    if (f) memset(f, 0, floats * sizeof(float));
    return f;
}

pith_status params_commit(grad_params *p, bool train, int moments, pith_error *err) {
    assert(!p->weights && moments >= 0 && moments <= GRAD_MOMENTS);
    p->weights = zeroed(p->floats);
    bool ok = p->weights != NULL;
    if (train) ok = ok && (p->grads = zeroed(p->floats));
    for (int i = 0; train && i < moments; i++) ok = ok && (p->moment[i] = zeroed(p->floats));
    if (!ok)
        return pith_fail(err, PITH_NO_MEMORY, "parameters", -1, "no memory for %zu floats, %d arrays", p->floats,
                         train ? 2 + moments : 1);
    for (int i = 0; i < p->n; i++) p->list[i].value.data = p->weights + p->list[i].offset;
    return PITH_OK;
}

int params_find(const grad_params *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->list[i].name, name) == 0) return i;
    return -1;
}

float *params_weight(grad_params *p, int id) {
    assert(id >= 0 && id < p->n);
    return p->weights + p->list[id].offset;
}

float *params_grad(grad_params *p, int id) {
    assert(id >= 0 && id < p->n && p->grads);
    return p->grads + p->list[id].offset;
}

size_t params_count(const grad_params *p) {
    size_t sum = 0;
    for (int i = 0; i < p->n; i++) sum += p->list[i].count;
    return sum;
}

void params_zero_grads(grad_params *p) {
    if (p->grads) memset(p->grads, 0, p->floats * sizeof(float));
}

void params_changed(grad_params *p) { p->version++; }

static void to_half(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    grad_params *p = user;
    pith_from_f32(PITH_BF16, p->weights + begin, end - begin, p->half + begin);
}

const uint16_t *params_half(grad_params *p) {
    if (!p->half && !(p->half = memory_aligned(p->floats * sizeof(uint16_t)))) return NULL;
    if (p->half_version != p->version) {
        parallel_for((int64_t)p->floats, 1 << 15, to_half, p);
        p->half_version = p->version;
    }
    return p->half;
}
