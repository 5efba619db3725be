/* grad/check.c - an operation on trial.
 *
 * Values are rounded to f32 first, so that both precisions start from the same numbers. Finite differences are central,
 * of fourth order, of the double reference, for every element of every input (a random hundred of large ones, and one
 * random direction through all). Gradients are asked for twice: into memory full of NaN where the operation assigns,
 * and on top of known values where it adds; tensors the operation says it does not keep are NaN by then. */
#include "grad/check.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"

#include <assert.h>
#include <math.h>
#include <string.h>

grad_case_input *case_input(grad_case *c, double low, double high, int rank, const int64_t *shape) {
    assert(c->n < GRAD_IN);
    grad_case_input *in = &c->in[c->n++];
    *in = (grad_case_input){.present = true, .type = PITH_F32, .rank = rank, .low = low, .high = high};
    for (int i = 0; i < rank; i++) in->shape[i] = shape[i];
    return in;
}

grad_case_input *case_index(grad_case *c, int low, int high, int rank, const int64_t *shape) {
    grad_case_input *in = case_input(c, low, high, rank, shape);
    in->type = PITH_I32;
    in->fixed = true;
    return in;
}

void case_absent(grad_case *c) { c->n++; }

void *case_attr(grad_case *c, const void *attr, size_t bytes) {
    assert(bytes <= sizeof c->attr);
    return memcpy(c->attr, attr, bytes);
}

typedef struct trial {
    const grad_op *op;
    grad_case c;
    arena memory;
    uint64_t seed;
    grad_call single, wide; /* f32 and f64 */
    pith_tensor in32[GRAD_IN], in64[GRAD_IN], out32[GRAD_OUT], out64[GRAD_OUT], dout[GRAD_OUT], din[GRAD_IN];
    double *truth[GRAD_IN]; /* finite differences */
    int outs;
} trial;

static void *take(trial *t, size_t bytes) {
    void *p = arena_zero(&t->memory, bytes ? bytes : 1);
    assert(p);
    return p;
}

static void make_tensor(trial *t, pith_tensor *x, int type, int rank, const int64_t *shape) {
    uint64_t bytes;
    pith_status s = pith_tensor_layout(x, (uint16_t)type, rank, shape, &bytes, NULL);
    assert(s == PITH_OK);
    (void)s;
    x->data = take(t, bytes);
}

static double draw(rng *r, const grad_case_input *in, int64_t i, const uint32_t *order) {
    if (in->spacing > 0) return ((double)order[i] + 0.2 * rng_double(r)) * in->spacing;
    for (;;) {
        double v = in->low + (in->high - in->low) * rng_double(r);
        if (fabs(v - in->kink) >= in->distance) return v;
    }
}

static void make_input(trial *t, rng *r, int i) {
    const grad_case_input *in = &t->c.in[i];
    make_tensor(t, &t->in32[i], in->type, in->rank, in->shape);
    make_tensor(t, &t->in64[i], in->type == PITH_F32 ? PITH_F64 : in->type, in->rank, in->shape);
    int64_t n = pith_tensor_elements(&t->in32[i]);
    uint32_t *order = take(t, (size_t)n * sizeof *order);
    for (int64_t k = 0; k < n; k++) order[k] = (uint32_t)k;
    rng_shuffle(r, order, (uint32_t)n);
    for (int64_t k = 0; k < n; k++)
        if (in->type == PITH_F32) {
            float v = (float)draw(r, in, k, order);
            ((float *)t->in32[i].data)[k] = v, ((double *)t->in64[i].data)[k] = (double)v;
        } else {
            int32_t v = (int32_t)in->low + (int32_t)rng_below(r, (uint32_t)(in->high - in->low) + 1);
            ((int32_t *)t->in32[i].data)[k] = ((int32_t *)t->in64[i].data)[k] = v;
        }
    t->single.in[i] = &t->in32[i], t->wide.in[i] = &t->in64[i];
}

static void make_outputs(trial *t, rng *r) {
    size_t saved32 = 0, saved64 = 0;
    t->op->shape(t->single.in, t->c.attr, t->out32, &saved32);
    t->op->shape(t->wide.in, t->c.attr, t->out64, &saved64);
    t->single.saved = take(t, saved32), t->wide.saved = take(t, 2 * saved64);
    for (int i = 0; i < GRAD_OUT && (i == 0 || t->out32[i].row_bytes || t->out32[i].rank); i++, t->outs++) {
        t->out32[i].data = take(t, pith_tensor_bytes(&t->out32[i]));
        t->out64[i].data = take(t, pith_tensor_bytes(&t->out64[i]));
        t->single.out[i] = &t->out32[i], t->wide.out[i] = &t->out64[i];
        if (t->out32[i].type != PITH_F32) continue;
        t->dout[i] = t->out32[i];
        t->dout[i].data = take(t, pith_tensor_bytes(&t->dout[i]));
        for (int64_t k = 0; k < pith_tensor_elements(&t->dout[i]); k++)
            ((float *)t->dout[i].data)[k] = (float)rng_normal(r);
        t->single.dout[i] = &t->dout[i];
    }
}

static void run(trial *t, grad_call *c, void (*f)(const grad_call *)) {
    rng random = rng_new(t->seed, 77);
    c->random = &random;
    c->attr = t->c.attr;
    c->training = true;
    c->scratch = &t->memory;
    size_t mark = arena_mark(&t->memory);
    f(c);
    arena_release(&t->memory, mark);
}

/* Sum of outputs times their gradients: the number whose derivatives are asked for. */
static double weighed(trial *t) {
    run(t, &t->wide, t->op->forward_f64);
    double sum = 0;
    for (int i = 0; i < t->outs; i++)
        for (int64_t k = 0; t->single.dout[i] && k < pith_tensor_elements(&t->dout[i]); k++)
            sum += ((double *)t->out64[i].data)[k] * (double)((float *)t->dout[i].data)[k];
    return sum;
}

static double slope_at(trial *t, double *x, double h) {
    double start = *x, f[4];
    for (int i = 0; i < 4; i++) {
        *x = start + h * (i < 2 ? i - 2 : i - 1);
        f[i] = weighed(t);
    }
    *x = start;
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

/* Along the random direction v (n values) through input i. */
static double slope_along(trial *t, int i, const double *v, double h) {
    int64_t n = pith_tensor_elements(&t->in64[i]);
    double *x = t->in64[i].data, f[4];
    for (int s = 0; s < 4; s++) {
        double step = h * (s < 2 ? s - 2 : s - 1);
        for (int64_t k = 0; k < n; k++) x[k] = (double)((float *)t->in32[i].data)[k] + step * v[k];
        f[s] = weighed(t);
    }
    for (int64_t k = 0; k < n; k++) x[k] = (double)((float *)t->in32[i].data)[k];
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

enum { ALL_BELOW = 160, SOME = 100 };

static void note(check_result *r, double *worst, double error, const char *what, double limit) {
    if (!(error <= *worst)) *worst = error; /* a NaN counts */
    if (!(error <= limit) && !r->what) r->what = what;
}

#define GRADIENT(i) "gradient of input " #i
static const char *const gradient_names[GRAD_IN] = {
    GRADIENT(0), GRADIENT(1), GRADIENT(2),  GRADIENT(3),  GRADIENT(4),  GRADIENT(5),  GRADIENT(6),  GRADIENT(7),
    GRADIENT(8), GRADIENT(9), GRADIENT(10), GRADIENT(11), GRADIENT(12), GRADIENT(13), GRADIENT(14), GRADIENT(15)};
static const char *const output_names[GRAD_OUT] = {"output 0", "output 1", "output 2"};

/* Compares the gradient of input i (found on top of `before`) with finite differences. */
static void compare(trial *t, int i, double before, check_result *r) {
    int64_t n = pith_tensor_elements(&t->in32[i]), step = n <= ALL_BELOW ? 1 : n / SOME;
    if (n == 0) return;
    const float *d = t->din[i].data;
    double norm = 0, worst = 0, along = 0, length = 0;
    for (int64_t k = 0; k < n; k++) norm += ((double)d[k] - before) * ((double)d[k] - before);
    for (int64_t k = 0; k < n; k += step) worst = fmax(worst, fabs((double)d[k] - before - t->truth[i][k]));
    for (int64_t k = 0; k < n; k++)
        if (isnan(d[k])) worst = NAN;
    norm = sqrt(norm);
    /* rounding of what was there before is no fault of the operation */
    double scale = norm + fabs(before) * sqrt((double)n) + 1e-30;
    note(r, &r->backward, worst / scale, gradient_names[i], 1e-5);
    for (int64_t k = 0; k < n; k++) {
        double v = t->truth[i][n + k];
        along += ((double)d[k] - before) * v, length += v * v;
    }
    note(r, &r->backward, fabs(along - t->truth[i][2 * n]) / (scale * (sqrt(length) + 1e-30)), gradient_names[i], 1e-5);
}

/* truth[i]: n slopes (every step-th), a direction of n, the slope along it. */
static void differences(trial *t, rng *r, int i) {
    int64_t n = pith_tensor_elements(&t->in32[i]), step = n <= ALL_BELOW ? 1 : n / SOME;
    double h = t->c.step > 0 ? t->c.step : 1e-3, *v;
    t->truth[i] = take(t, (size_t)(2 * n + 1) * sizeof(double));
    for (int64_t k = 0; k < n; k += step) t->truth[i][k] = slope_at(t, (double *)t->in64[i].data + k, h);
    v = t->truth[i] + n;
    for (int64_t k = 0; k < n; k++) v[k] = rng_below(r, 2) ? 1 : -1;
    t->truth[i][2 * n] = slope_along(t, i, v, h);
}

static void fill(pith_tensor *x, float v) {
    for (int64_t k = 0; x->type == PITH_F32 && k < pith_tensor_elements(x); k++) ((float *)x->data)[k] = v;
}

static void ask_gradients(trial *t, bool fresh, check_result *r) {
    float before = fresh ? (t->op->fresh_ok ? NAN : 0) : 0.5f;
    for (int i = 0; i < t->c.n; i++) {
        if (!t->c.in[i].present || t->c.in[i].fixed) continue;
        fill(&t->din[i], before);
        t->single.din[i] = &t->din[i];
        t->single.fresh[i] = fresh && t->op->fresh_ok;
    }
    run(t, &t->single, t->op->backward);
    for (int i = 0; i < t->c.n; i++)
        if (t->single.din[i]) compare(t, i, fresh ? 0 : 0.5, r);
}

static void compare_outputs(trial *t, check_result *r) {
    for (int i = 0; i < t->outs; i++) {
        double error = 0, norm = 0;
        if (t->out32[i].type != PITH_F32) continue;
        for (int64_t k = 0; k < pith_tensor_elements(&t->out32[i]); k++) {
            double truth = ((double *)t->out64[i].data)[k], e = (double)((float *)t->out32[i].data)[k] - truth;
            error += e * e, norm += truth * truth;
        }
        note(r, &r->forward, sqrt(error) / (sqrt(norm) + 1e-30), output_names[i], 1e-5);
    }
}

/* All that is the same for every instruction set: finite differences, then the reference's outputs. */
static void prepare(trial *t, int k) {
    rng random = rng_new(t->seed, (uint64_t)k);
    t->op->sample(&random, k, &t->c);
    for (int i = 0; i < t->c.n; i++)
        if (t->c.in[i].present) make_input(t, &random, i);
    make_outputs(t, &random);
    for (int i = 0; i < t->c.n && !t->op->straight_through; i++) {
        if (!t->c.in[i].present || t->c.in[i].fixed) continue;
        t->din[i] = t->in32[i];
        t->din[i].data = take(t, pith_tensor_bytes(&t->din[i]));
        differences(t, &random, i);
    }
    run(t, &t->wide, t->op->forward_f64);
}

static void try_kernels(trial *t, check_result *r) {
    for (int i = 0; i < t->c.n; i++) /* whole again after the last round */
        for (int64_t n = 0; t->c.in[i].present && t->in32[i].type == PITH_F32 && n < pith_tensor_elements(&t->in32[i]);
             n++)
            ((float *)t->in32[i].data)[n] = (float)((double *)t->in64[i].data)[n];
    run(t, &t->single, t->op->forward);
    compare_outputs(t, r);
    if (t->op->straight_through) return;
    for (int i = 0; i < t->c.n; i++)
        if (t->c.in[i].present && !(t->op->keep_in >> i & 1)) fill(&t->in32[i], NAN);
    for (int i = 0; i < t->outs; i++)
        if (!(t->op->keep_out >> i & 1)) fill(&t->out32[i], NAN);
    ask_gradients(t, true, r);
    ask_gradients(t, false, r);
}

check_result grad_check(const grad_op *op, int k, uint64_t seed) {
    check_result r = {0};
    trial *t = memory_zero(1, sizeof *t);
    if (!t || arena_open(&t->memory, (size_t)1 << 32) != 0) {
        memory_free(t);
        return (check_result){.what = "no memory"};
    }
    t->op = op, t->seed = seed;
    prepare(t, k);
    isa_level before = isa_active();
    int threads = parallel_threads();
    for (int level = ISA_SCALAR; level <= (int)isa_detected() && !r.what; level++)
        for (int n = 1; n <= 2 && !r.what; n++) {
            isa_force((isa_level)level);
            parallel_set_threads(n);
            try_kernels(t, &r);
            r.level = isa_name((isa_level)level), r.threads = n;
        }
    isa_force(before);
    parallel_set_threads(threads);
    arena_close(&t->memory);
    memory_free(t);
    return r;
}
