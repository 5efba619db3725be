/* grad/params.h - the parameters of a model: weights, gradients and moments, each one flat aligned array.
 *
 * Clipping, Adam, averaging over machines and checkpoints are then one loop over one array. Parameters are added first,
 * then committed, which allocates; a parameter is known by its number. Every one starts on a 64-byte boundary; the gaps
 * hold zeros in every array, so whole-array loops need not know of them. */
#ifndef GRAD_PARAMS_H
#define GRAD_PARAMS_H

#include "tensor/tensor.h"

enum { GRAD_MOMENTS = 2 };

typedef struct grad_param {
    char *name;
    pith_tensor value; /* f32, a view into weights after commit (owner NULL) */
    size_t offset;     /* floats from the start of each flat array */
    size_t count;      /* elements */
    int group;         /* the caller's: which rate and decay apply */
    bool frozen;       /* no gradient is computed for it */
} grad_param;

typedef struct grad_params {
    grad_param *list;
    int n;
    size_t capacity;
    size_t floats; /* length of each flat array, gaps included; a multiple of 16 */
    float *weights, *grads, *moment[GRAD_MOMENTS];
    uint64_t version; /* counts changes of weights: copies in other types or layouts are kept by it */
    uint16_t *half;   /* weights as bf16, made on demand */
    uint64_t half_version;
} grad_params;

void params_init(grad_params *p);
void params_free(grad_params *p); /* safe on zeroed */

/* Adds a parameter (name copied, must be new) and stores its number in *id. Only before params_commit.
 * PITH_MISMATCH for a name in use, PITH_LIMIT, PITH_NO_MEMORY. */
pith_status params_add(grad_params *p, const char *name, int rank, const int64_t *shape, int group, int *id,
                       pith_error *err);
/* Allocates the flat arrays, zeroed: weights always, grads and `moments` (0 to 2) moments when `train`. */
pith_status params_commit(grad_params *p, bool train, int moments, pith_error *err);

int params_find(const grad_params *p, const char *name); /* number, -1 if there is none */
float *params_weight(grad_params *p, int id);
float *params_grad(grad_params *p, int id);
size_t params_count(const grad_params *p); /* elements without gaps */
void params_zero_grads(grad_params *p);
void params_changed(grad_params *p); /* call after writing weights */
/* All weights as bf16, current; NULL without memory. Stays valid until params_changed. */
const uint16_t *params_half(grad_params *p);

#endif
