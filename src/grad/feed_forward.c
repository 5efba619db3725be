/* grad/feed_forward.c - y = GELU(x U^T + a) D^T + b, the two layers between which a transformer is widest.
 *
 * A stretch of rows goes through both products, and back through four, in slices of the hidden layer that stay in the
 * cache: only the hidden values before GELU are written out, for backward. Gradients of weights are summed by run of
 * rows, then over the runs, so any number of threads gives the same. For weights that L2 holds; larger ones, and
 * products in bf16, are done as the operations they are made of. Cost: 2 hidden (in + out) operations a row forward,
 * twice that backward. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"
#include "grad/tape_state.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

#include <math.h>

enum {
    MOST = 1 << 16,     /* weights of a layer */
    ROWS = 96,          /* of a stretch */
    SLICE = PANEL_ROWS, /* of the hidden layer */
    TILE = SLICE + 16,  /* row of a slice: not a power of two, or rows would push each other out of L1 */
    RUNS = 32,          /* at most, */
    SUMS = 1 << 21      /* with so many floats of sums */
};

typedef struct forward_attr {
    bool by_tanh;
} forward_attr;

enum { X, UP, UP_BIAS, DOWN, DOWN_BIAS };

typedef struct job {
    const grad_call *c;
    unary_kind kind;
    int64_t rows, in, hidden, out;
    float *values; /* hidden ones, before GELU */
    panels up, down;
    float *work; /* per worker, */
    int64_t work_floats;
    /* backward: */
    int64_t run, runs;
    float *up_sums, *up_bias_sums, *down_sums, *down_bias_sums; /* of each run; down's transposed */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *x = in[X], *up = in[UP], *down = in[DOWN];
    op_expect(x->rank >= 1 && up->rank == 2 && up->shape[1] == x->shape[x->rank - 1], "feed_forward",
              "x (..., in), up (hidden, in)", x, up);
    op_expect(down->rank == 2 && down->shape[1] == up->shape[0], "feed_forward", "up (hidden, in), down (out, hidden)",
              up, down);
    const pith_tensor *matrix[] = {up, down}, *bias[] = {in[UP_BIAS], in[DOWN_BIAS]};
    for (int i = 0; i < 2; i++)
        op_expect(!bias[i] || (bias[i]->rank == 1 && bias[i]->shape[0] == matrix[i]->shape[0]), "feed_forward",
                  "a matrix and its bias", matrix[i], bias[i]);
    int64_t s[PITH_MAX_RANK];
    memcpy(s, x->shape, sizeof s);
    s[x->rank - 1] = down->shape[0];
    *saved = (size_t)(pith_tensor_row_count(x) * up->shape[0]) * sizeof(float);
    op_output(out, x->type, x->rank, s);
}

static job job_of(const grad_call *c) {
    const forward_attr *a = c->attr;
    job j = {.c = c, .kind = a->by_tanh ? UNARY_GELU_TANH : UNARY_GELU, .values = c->saved};
    j.rows = pith_tensor_row_count(c->in[X]), j.in = c->in[UP]->shape[1];
    j.hidden = c->in[UP]->shape[0], j.out = c->in[DOWN]->shape[0];
    return j;
}

static float *floats(const grad_call *c, int64_t n) { return op_scratch(c, (size_t)n * sizeof(float)); }

static panels pack(const grad_call *c, int64_t k, int64_t n, int which, bool transposed) {
    panels p = panels_of(k, n, floats(c, panels_floats(k, n)));
    panels_pack(&p, 0, k, f32(c->in[which]), pith_tensor_cols(c->in[which]), transposed);
    return p;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static void forward_rows(const job *j, int64_t first, int64_t rows, float *tile) {
    const grad_call *c = j->c;
    const float *x = f32(c->in[X]) + first * j->in, *up_bias = f32(c->in[UP_BIAS]), *down_bias = f32(c->in[DOWN_BIAS]);
    float *y = f32(c->out[0]) + first * j->out;
    for (int64_t h = 0; h < j->hidden; h += SLICE) {
        int64_t n = least(SLICE, j->hidden - h);
        float *values = j->values + first * j->hidden + h;
        panels_multiply(&j->up, 0, j->in, h, h + n,
                        (panel_product){.m = rows,
                                        .a = x,
                                        .ars = j->in,
                                        .acs = 1,
                                        .from = up_bias ? up_bias + h : NULL,
                                        .c = values,
                                        .ldc = j->hidden});
        for (int64_t i = 0; i < rows; i++)
            unary_kernel()->forward(j->kind, 0, 0, n, values + i * j->hidden, tile + i * TILE);
        panels_multiply(&j->down, h, h + n, 0, j->out,
                        (panel_product){.m = rows,
                                        .a = tile,
                                        .ars = TILE,
                                        .acs = 1,
                                        .from = h ? y : down_bias,
                                        .ldf = h ? j->out : 0,
                                        .c = y,
                                        .ldc = j->out});
    }
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    forward_rows(j, begin, end - begin, j->work + worker * j->work_floats);
}

static void forward(const grad_call *c) {
    job j = job_of(c);
    j.up = pack(c, j.in, j.hidden, UP, true), j.down = pack(c, j.hidden, j.out, DOWN, true);
    j.work_floats = ROWS * TILE;
    j.work = floats(c, parallel_threads() * j.work_floats);
    parallel_for(j.rows, ROWS, forward_part, &j);
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

/* Sums (+)= A^T B of some rows. */
static void outer(int64_t rows, int64_t m, const float *a, int64_t lda, const panels *b, bool first, float *sums) {
    panels_multiply(
        b, 0, rows, 0, b->n,
        (panel_product){
            .m = m, .a = a, .ars = 1, .acs = lda, .from = first ? NULL : sums, .ldf = b->n, .c = sums, .ldc = b->n});
}

static void backward_rows(const job *j, int64_t run, int64_t first, int64_t rows, float *work) {
    const grad_call *c = j->c;
    const float *x = f32(c->in[X]) + first * j->in, *dy = f32(c->dout[0]) + first * j->out;
    float *dx = f32(c->din[X]), *gelu = work, *dgelu = gelu + ROWS * TILE, *dvalue = dgelu + ROWS * TILE;
    panels px = panels_of(rows, j->in, dvalue + ROWS * TILE);
    panels pdy = panels_of(rows, j->out, px.data + panels_floats(ROWS, j->in));
    bool begin = first == run * j->run;
    if (j->up_sums) panels_pack(&px, 0, rows, x, j->in, false);
    if (j->down_sums) panels_pack(&pdy, 0, rows, dy, j->out, false);
    if (j->down_bias_sums)
        binary_kernel()->sum_rows(rows, j->out, dy, j->out, j->down_bias_sums + run * j->out, !begin);
    for (int64_t h = 0; h < j->hidden; h += SLICE) {
        int64_t n = least(SLICE, j->hidden - h), at = run * j->hidden + h;
        const float *values = j->values + first * j->hidden + h;
        panels_multiply(&j->down, 0, j->out, h, h + n,
                        (panel_product){.m = rows, .a = dy, .ars = j->out, .acs = 1, .c = dgelu, .ldc = TILE});
        for (int64_t i = 0; i < rows; i++) {
            unary_kernel()->forward(j->kind, 0, 0, n, values + i * j->hidden, gelu + i * TILE);
            unary_kernel()->backward(j->kind, 0, 0, n, values + i * j->hidden, gelu + i * TILE, dgelu + i * TILE,
                                     dvalue + i * TILE, true);
        }
        if (j->down_sums) outer(rows, n, gelu, TILE, &pdy, begin, j->down_sums + at * j->out);
        if (j->up_sums) outer(rows, n, dvalue, TILE, &px, begin, j->up_sums + at * j->in);
        if (j->up_bias_sums) binary_kernel()->sum_rows(rows, n, dvalue, TILE, j->up_bias_sums + at, !begin);
        float *to = dx ? dx + first * j->in : NULL;
        if (dx)
            panels_multiply(&j->up, h, h + n, 0, j->in,
                            (panel_product){.m = rows,
                                            .a = dvalue,
                                            .ars = TILE,
                                            .acs = 1,
                                            .from = h || !c->fresh[X] ? to : NULL,
                                            .ldf = j->in,
                                            .c = to,
                                            .ldc = j->in});
    }
}

static void backward_runs(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    for (int64_t run = begin; run < end; run++) {
        int64_t last = least(j->rows, (run + 1) * j->run);
        for (int64_t i = run * j->run; i < last; i += ROWS)
            backward_rows(j, run, i, least(ROWS, last - i), j->work + worker * j->work_floats);
    }
}

/* The sums of `down` lie transposed. */
static void add_down(const job *j) {
    const grad_call *c = j->c;
    float *sum = floats(c, j->hidden * j->out), *straight = floats(c, j->hidden * j->out);
    add_parts(j->down_sums, j->runs, j->hidden * j->out, sum, false);
    gemm_tiles()->transpose(j->hidden, j->out, sum, j->out, straight, j->hidden);
    add_parts(straight, 1, j->hidden * j->out, f32(c->din[DOWN]), !c->fresh[DOWN]);
}

static void backward(const grad_call *c) {
    job j = job_of(c);
    int64_t weights = j.hidden * (j.in + j.out), runs = least(RUNS, SUMS / weights);
    j.run = (j.rows + runs - 1) / runs, j.run += j.run == 0, j.runs = (j.rows + j.run - 1) / j.run;
    j.up = pack(c, j.hidden, j.in, UP, false), j.down = pack(c, j.out, j.hidden, DOWN, false);
    j.work_floats = 3 * ROWS * TILE + panels_floats(ROWS, j.in) + panels_floats(ROWS, j.out);
    j.work = floats(c, parallel_threads() * j.work_floats);
    if (c->din[UP]) j.up_sums = floats(c, j.runs * j.hidden * j.in);
    if (c->din[UP_BIAS]) j.up_bias_sums = floats(c, j.runs * j.hidden);
    if (c->din[DOWN]) j.down_sums = floats(c, j.runs * j.hidden * j.out);
    if (c->din[DOWN_BIAS]) j.down_bias_sums = floats(c, j.runs * j.out);
    parallel_for(j.runs, 1, backward_runs, &j);
    if (j.up_sums) add_parts(j.up_sums, j.runs, j.hidden * j.in, f32(c->din[UP]), !c->fresh[UP]);
    if (j.up_bias_sums) add_parts(j.up_bias_sums, j.runs, j.hidden, f32(c->din[UP_BIAS]), !c->fresh[UP_BIAS]);
    if (j.down_sums) add_down(&j);
    if (j.down_bias_sums) add_parts(j.down_bias_sums, j.runs, j.out, f32(c->din[DOWN_BIAS]), !c->fresh[DOWN_BIAS]);
}

/* --- reference, cases --------------------------------------------------------------------------------------------- */

static double reference(const forward_attr *a, double x) {
    return a->by_tanh ? 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)))
                      : 0.5 * x * (1 + erf(x * sqrt(0.5)));
}

static void forward_f64(const grad_call *c) {
    int64_t in = c->in[UP]->shape[1], hidden = c->in[UP]->shape[0], out = c->in[DOWN]->shape[0];
    const double *up = f64(c->in[UP]), *a = f64(c->in[UP_BIAS]), *down = f64(c->in[DOWN]), *b = f64(c->in[DOWN_BIAS]);
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[X]); i++) {
        const double *x = f64(c->in[X]) + i * in;
        double *y = f64(c->out[0]) + i * out;
        for (int64_t o = 0; o < out; o++) y[o] = b ? b[o] : 0;
        for (int64_t h = 0; h < hidden; h++) {
            double sum = a ? a[h] : 0;
            for (int64_t p = 0; p < in; p++) sum += up[h * in + p] * x[p];
            for (int64_t o = 0; o < out; o++) y[o] += down[o * hidden + h] * reference(c->attr, sum);
        }
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t sizes[][4] = {{3, 5, 7, 2},   {1, 1, 1, 1},   {0, 3, 4, 2}, {203, 3, 35, 5},
                                       {2, 3, 300, 5}, {3300, 1, 2, 1}}; /* the last: runs of several stretches */
    const int64_t *s = sizes[k / 2];                                     /* rows, in, hidden, out */
    case_input(c, -1, 1, CASE_SHAPE(s[0], 1, s[1]));
    case_input(c, -1, 1, CASE_SHAPE(s[2], s[1]));
    if (k == 0) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(s[2]));
    case_input(c, -1, 1, CASE_SHAPE(s[3], s[2]));
    if (k == 1) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(s[3]));
    case_attr(c, &(forward_attr){k & 1}, sizeof(forward_attr));
}

const grad_op grad_op_feed_forward = {.name = "feed_forward",
                                      .keep_in = 1 << X | 1 << UP | 1 << DOWN,
                                      .deterministic = true,
                                      .fresh_ok = true,
                                      .cases = 12,
                                      .shape = shape,
                                      .forward = forward,
                                      .backward = backward,
                                      .forward_f64 = forward_f64,
                                      .sample = sample};

var grad_feed_forward(tape *t, var x, var up, var up_bias, var down, var down_bias, bool by_tanh) {
    if (t->bf16 || pith_tensor_elements(grad_value(t, up)) > MOST || pith_tensor_elements(grad_value(t, down)) > MOST) {
        var h = grad_linear(t, x, up, up_bias);
        return grad_linear(t, by_tanh ? grad_gelu_tanh(t, h) : grad_gelu(t, h), down, down_bias);
    }
    return grad_apply(t, &grad_op_feed_forward, &(forward_attr){by_tanh}, sizeof(forward_attr),
                      (var[]){x, up, up_bias, down, down_bias}, 5);
}
