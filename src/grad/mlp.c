/* grad/mlp.c - linear layers with a function between: y = W_n f(... f(W_1 x + b_1) ...) + b_n.
 *
 * A stretch of rows goes through all layers, and back, while it is in the cache: only what enters the functions is
 * written out, for backward. Gradients of weights are summed by run of rows, then over the runs, so any number of
 * threads gives the same. For weights that L2 holds; larger ones, and products in bf16, are done as the operations they
 * are made of. Cost: 2 operations a weight and row forward, twice that backward. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"
#include "grad/tape_state.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

enum {
    LAYERS = (GRAD_IN - 1) / 2, /* at most */
    MOST = 1 << 16,             /* weights of a layer */
    ROWS = 96,                  /* of a stretch */
    NARROW = 128,               /* numbers of a row that lie well where they are */
    FAR = 256,                  /* rows a multiple of it apart would push each other out of L1 */
    RUNS = 32,                  /* at most, */
    SUMS = 1 << 21              /* with so many floats of sums */
};

typedef struct mlp_attr {
    int layers;
    unary_kind between;
    float p;
} mlp_attr;

static int weight(int layer) { return 1 + 2 * layer; } /* inputs of the operation */
static int bias(int layer) { return 2 + 2 * layer; }

typedef struct layer {
    int64_t in, out, ld; /* ld: from row to row of a stretch's values */
    float *values;       /* that come out, rows x out */
    panels w;
    /* backward: sums of each run, of w's gradient transposed if `turned` */
    float *dw, *db;
    bool turned;
} layer;

typedef struct job {
    const grad_call *c;
    const mlp_attr *a;
    int64_t rows;
    layer layer[LAYERS];
    int64_t tile; /* most of all ld */
    float *work;  /* per worker, */
    int64_t work_floats;
    int64_t run, runs; /* rows of a run, their number */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    const mlp_attr *a = attr;
    const pith_tensor *x = in[0];
    int64_t rows = pith_tensor_row_count(x), cols = x->rank ? x->shape[x->rank - 1] : -1, hidden = 0;
    for (int l = 0; l < a->layers; l++) {
        const pith_tensor *w = in[weight(l)], *b = in[bias(l)];
        op_expect(w->rank == 2 && w->shape[1] == cols, "mlp", "x (..., in), w (out, in)", x, w);
        op_expect(!b || (b->rank == 1 && b->shape[0] == w->shape[0]), "mlp", "w (out, in), b (out)", w, b);
        cols = w->shape[0], hidden += l + 1 < a->layers ? cols : 0;
    }
    int64_t s[PITH_MAX_RANK];
    memcpy(s, x->shape, sizeof s);
    s[x->rank - 1] = cols;
    *saved = (size_t)(rows * hidden) * sizeof(float);
    op_output(out, x->type, x->rank, s);
}

/* Rows of a stretch's values that lie without a gap. */
static int64_t rows_at_once(const layer *y, int64_t rows) { return y->ld == y->out ? rows : 1; }

static float *floats(const grad_call *c, int64_t n) { return op_scratch(c, (size_t)n * sizeof(float)); }

static job job_of(const grad_call *c) {
    job j = {.c = c, .a = c->attr, .rows = pith_tensor_row_count(c->in[0])};
    float *values = c->saved;
    for (int l = 0; l < j.a->layers; l++) {
        const pith_tensor *w = c->in[weight(l)];
        bool last = l + 1 == j.a->layers;
        layer *y = &j.layer[l];
        *y = (layer){.in = w->shape[1], .out = w->shape[0], .values = last ? f32(c->out[0]) : values};
        y->ld = y->out % FAR ? y->out : y->out + 16;
        values += j.rows * y->out;
        if (!last) j.tile = most(j.tile, y->ld);
    }
    return j;
}

static panels pack(const grad_call *c, int64_t k, int64_t n, int l, bool transposed) {
    panels p = panels_of(k, n, floats(c, panels_floats(k, n)));
    const pith_tensor *w = c->in[weight(l)];
    panels_pack(&p, 0, k, f32(w), pith_tensor_cols(w), transposed);
    return p;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

static void forward_rows(const job *j, int64_t first, int64_t rows, float *tile) {
    const layer *y = j->layer;
    panel_product p = {.m = rows, .a = f32(j->c->in[0]) + first * y->in, .ars = y->in, .acs = 1};
    for (int l = 0; l < j->a->layers; l++, y++) {
        float *values = y->values + first * y->out;
        p.from = f32(j->c->in[bias(l)]), p.c = values, p.ldc = y->out;
        panels_multiply(&y->w, 0, y->in, 0, y->out, p);
        if (l + 1 == j->a->layers) return;
        for (int64_t i = 0; i < rows; i += rows_at_once(y, rows))
            unary_kernel()->forward(j->a->between, j->a->p, 0, rows_at_once(y, rows) * y->out, values + i * y->out,
                                    tile + i * y->ld);
        p.a = tile, p.ars = y->ld;
    }
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    forward_rows(j, begin, end - begin, j->work + worker * j->work_floats);
}

static void forward(const grad_call *c) {
    job j = job_of(c);
    for (int l = 0; l < j.a->layers; l++) j.layer[l].w = pack(c, j.layer[l].in, j.layer[l].out, l, true);
    j.work_floats = ROWS * j.tile;
    j.work = floats(c, parallel_threads() * j.work_floats);
    parallel_for(j.rows, ROWS, forward_part, &j);
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct matrix { /* of a stretch of rows */
    const float *data;
    int64_t cols, ld;
} matrix;

/* Sums (+)= a^T b. Wide rows of b are copied first: those of several lines of L1 would push each other out. */
static void outer(int64_t rows, matrix a, matrix b, bool begin, float *sums, float *work) {
    if (b.ld < NARROW) {
        gemm_tiles()->tile(a.cols, b.cols, rows, a.data, 1, a.ld, b.data, b.ld, sums, b.cols, !begin);
        return;
    }
    panels p = panels_of(rows, b.cols, work);
    panels_pack(&p, 0, rows, b.data, b.ld, false);
    panels_multiply(&p, 0, rows, 0, b.cols,
                    (panel_product){.m = a.cols,
                                    .a = a.data,
                                    .ars = 1,
                                    .acs = a.ld,
                                    .from = begin ? NULL : sums,
                                    .ldf = b.cols,
                                    .c = sums,
                                    .ldc = b.cols});
}

static void sum_gradients(const layer *y, int64_t run, bool begin, int64_t rows, matrix x, matrix dy, float *work) {
    if (y->dw) outer(rows, y->turned ? x : dy, y->turned ? dy : x, begin, y->dw + run * y->in * y->out, work);
    if (y->db) binary_kernel()->sum_rows(rows, dy.cols, dy.data, dy.ld, y->db + run * y->out, !begin);
}

static void backward_rows(const job *j, int64_t run, int64_t first, int64_t rows, float *work) {
    const grad_call *c = j->c;
    const mlp_attr *a = j->a;
    float *x_tile = work, *dx_tile = x_tile + ROWS * j->tile, *spare = dx_tile + ROWS * j->tile;
    float *packed = spare + ROWS * j->tile;
    bool begin = first == run * j->run;
    int64_t out = j->layer[a->layers - 1].out;
    matrix dy = {f32(c->dout[0]) + first * out, out, out};
    for (int l = a->layers - 1; l > 0; l--) {
        const layer *y = &j->layer[l], *below = y - 1;
        const float *values = below->values + first * y->in;
        int64_t ld = below->ld, step = rows_at_once(below, rows);
        panels_multiply(&y->w, 0, y->out, 0, y->in,
                        (panel_product){.m = rows, .a = dy.data, .ars = dy.ld, .acs = 1, .c = dx_tile, .ldc = ld});
        for (int64_t i = 0; i < rows; i += step)
            unary_kernel()->through(a->between, a->p, 0, step * y->in, values + i * y->in, x_tile + i * ld,
                                    dx_tile + i * ld);
        sum_gradients(y, run, begin, rows, (matrix){x_tile, y->in, ld}, dy, packed);
        dy = (matrix){dx_tile, y->in, ld};
        float *other = dx_tile;
        dx_tile = spare, spare = other;
    }
    const layer *y = j->layer;
    sum_gradients(y, run, begin, rows, (matrix){f32(c->in[0]) + first * y->in, y->in, y->in}, dy, packed);
    float *dx = f32(c->din[0]);
    if (!dx) return;
    dx += first * y->in;
    panels_multiply(&y->w, 0, y->out, 0, y->in,
                    (panel_product){.m = rows,
                                    .a = dy.data,
                                    .ars = dy.ld,
                                    .acs = 1,
                                    .from = c->fresh[0] ? NULL : dx,
                                    .ldf = y->in,
                                    .c = dx,
                                    .ldc = y->in});
}

static void backward_runs(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    for (int64_t run = begin; run < end; run++) {
        int64_t last = least(j->rows, (run + 1) * j->run);
        for (int64_t i = run * j->run; i < last; i += ROWS)
            backward_rows(j, run, i, least(ROWS, last - i), j->work + worker * j->work_floats);
    }
}

/* Cost of summing a^T b: columns of b come in whole panels, and are copied. */
static int64_t cost(int64_t a, int64_t b) { return (a + 8) * panels_floats(1, b); }

static void add_sums(const job *j, int l) {
    const grad_call *c = j->c;
    const layer *y = &j->layer[l];
    if (y->db) add_parts(y->db, j->runs, y->out, f32(c->din[bias(l)]), !c->fresh[bias(l)]);
    if (!y->dw) return;
    int64_t n = y->in * y->out, count = j->runs;
    const float *parts = y->dw;
    if (y->turned) {
        float *sum = floats(c, n), *straight = floats(c, n);
        add_parts(parts, count, n, sum, false);
        gemm_tiles()->transpose(y->in, y->out, sum, y->out, straight, y->in);
        parts = straight, count = 1;
    }
    add_parts(parts, count, n, f32(c->din[weight(l)]), !c->fresh[weight(l)]);
}

static void backward(const grad_call *c) {
    job j = job_of(c);
    int64_t weights = 1, widest = 0;
    for (int l = 0; l < j.a->layers; l++) {
        layer *y = &j.layer[l];
        y->w = pack(c, y->out, y->in, l, false);
        y->turned = cost(y->in, y->out) < cost(y->out, y->in);
        weights += y->in * y->out, widest = most(widest, y->turned ? y->out : y->in);
    }
    int64_t runs = most(1, least(RUNS, SUMS / weights));
    j.run = (j.rows + runs - 1) / runs, j.run += j.run == 0, j.runs = (j.rows + j.run - 1) / j.run;
    for (int l = 0; l < j.a->layers; l++) {
        layer *y = &j.layer[l];
        if (c->din[weight(l)]) y->dw = floats(c, j.runs * y->in * y->out);
        if (c->din[bias(l)]) y->db = floats(c, j.runs * y->out);
    }
    j.work_floats = 3 * ROWS * j.tile + panels_floats(ROWS, widest);
    j.work = floats(c, parallel_threads() * j.work_floats);
    parallel_for(j.runs, 1, backward_runs, &j);
    for (int l = 0; l < j.a->layers; l++) add_sums(&j, l);
}

/* --- reference, cases --------------------------------------------------------------------------------------------- */

static void forward_f64(const grad_call *c) {
    const mlp_attr *a = c->attr;
    int64_t in = c->in[weight(0)]->shape[1], widest = in;
    for (int l = 0; l < a->layers; l++) widest = most(widest, c->in[weight(l)]->shape[0]);
    double *x = op_scratch(c, (size_t)widest * sizeof *x), *y = op_scratch(c, (size_t)widest * sizeof *y);
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[0]); i++) {
        int64_t n = in;
        memcpy(x, f64(c->in[0]) + i * n, (size_t)n * sizeof *x);
        for (int l = 0; l < a->layers; l++) {
            const double *w = f64(c->in[weight(l)]), *b = f64(c->in[bias(l)]);
            int64_t out = c->in[weight(l)]->shape[0];
            for (int64_t o = 0; o < out; o++) {
                y[o] = b ? b[o] : 0;
                for (int64_t p = 0; p < n; p++)
                    y[o] += w[o * n + p] * (l ? unary_f64(a->between, a->p, 0, x[p]) : x[p]);
            }
            n = out;
            memcpy(x, y, (size_t)n * sizeof *x);
        }
        memcpy(f64(c->out[0]) + i * n, x, (size_t)n * sizeof *x);
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    /* rows, then widths; many rows: runs of several stretches */
    static const int64_t sizes[][6] = {{3, 5, 7, 2},   {1, 1, 1, 1},    {0, 3, 4, 2},      {203, 3, 35, 5},
                                       {2, 3, 300, 5}, {3300, 1, 2, 1}, {5, 2, 37, 33, 3}, {97, 3, 2, 4, 5, 1}};
    static const unary_kind kinds[] = {UNARY_GELU, UNARY_GELU_TANH, UNARY_SIN, UNARY_SILU, UNARY_TANH, UNARY_SIN};
    const int64_t *s = sizes[k / 2];
    int layers = 0;
    case_input(c, -1, 1, CASE_SHAPE(s[0], 1, s[1]));
    for (; layers < 4 && s[layers + 2]; layers++) {
        case_input(c, -1, 1, CASE_SHAPE(s[layers + 2], s[layers + 1]));
        if (k == layers) case_absent(c);
        else case_input(c, -1, 1, CASE_SHAPE(s[layers + 2]));
    }
    case_attr(c, &(mlp_attr){layers, kinds[k % 6], 1.25f}, sizeof(mlp_attr));
}

const grad_op grad_op_mlp = {.name = "mlp",
                             .keep_in = 0xaaab, /* x and weights */
                             .deterministic = true,
                             .fresh_ok = true,
                             .cases = 16,
                             .shape = shape,
                             .forward = forward,
                             .backward = backward,
                             .forward_f64 = forward_f64,
                             .sample = sample};

var grad_mlp(tape *t, var x, int layers, const var *wb, unary_kind between, float p) {
    bool whole = !t->bf16 && layers > 1 && layers <= LAYERS;
    for (int l = 0; l < layers; l++) whole &= pith_tensor_elements(grad_value(t, wb[2 * l])) <= MOST;
    if (whole) {
        var in[GRAD_IN] = {x};
        memcpy(in + 1, wb, (size_t)(2 * layers) * sizeof *wb);
        return grad_apply(t, &grad_op_mlp, &(mlp_attr){layers, between, p}, sizeof(mlp_attr), in, 1 + 2 * layers);
    }
    for (int l = 0; l < layers; l++) {
        if (l) x = grad_unary(t, x, between, p, 0);
        x = grad_linear(t, x, wb[2 * l], wb[2 * l + 1]);
    }
    return x;
}
