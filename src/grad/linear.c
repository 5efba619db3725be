/* grad/linear.c - y = x W^T + b: three matrix products of 2 rows in out operations each.
 *
 * Where weights are small, backward goes through runs of rows and does all three gradients of some rows while these are
 * in the cache; gradients of w and b are summed by run, then over the runs, so any number of threads gives the same. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    const pith_tensor *x = in[0], *w = in[1], *b = in[2];
    op_expect(x->rank >= 1 && w->rank == 2 && w->shape[1] == x->shape[x->rank - 1], "linear",
              "x (..., in), w (out, in)", x, w);
    op_expect(!b || (b->rank == 1 && b->shape[0] == w->shape[0]), "linear", "w (out, in), b (out)", w, b);
    int64_t s[PITH_MAX_RANK];
    memcpy(s, x->shape, sizeof s);
    s[x->rank - 1] = w->shape[0];
    op_output(out, x->type, x->rank, s);
}

static void forward(const grad_call *c) {
    int64_t m = pith_tensor_row_count(c->in[0]), k = c->in[1]->shape[1], n = c->in[1]->shape[0];
    gemm g = {.m = m, .n = n, .k = k, .a = f32(c->in[0]), .lda = k, .b = f32(c->in[1]), .ldb = k, .tb = true};
    g.c = f32(c->out[0]), g.ldc = n, g.bias = f32(c->in[2]);
    g.bf16 = c->bf16, g.b16 = c->half[1];
    gemm_run(&g, c->scratch);
}

/* --- backward by runs of rows ------------------------------------------------------------------------------------- */

enum {
    SMALL = 1 << 16,     /* weights, */
    AMX_SMALL = 1 << 14, /* where AMX takes whole products */
    CHUNK = 128,         /* rows in the cache at a time */
    RUNS = 32,           /* at most, */
    SUMS = 1 << 20       /* with so many floats of sums */
};

typedef struct walk {
    const grad_call *c;
    int64_t rows, in, out, run, runs;
    panels w;
    float *dw, *db; /* of each run */
    float *work;    /* x in panels, per worker */
} walk;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void backward_rows(const walk *k, int64_t run, int64_t first, int64_t rows, float *work) {
    const grad_call *c = k->c;
    const float *x = f32(c->in[0]) + first * k->in, *dy = f32(c->dout[0]) + first * k->out;
    bool begin = first == run * k->run;
    if (c->din[0]) {
        float *dx = f32(c->din[0]) + first * k->in;
        panels_multiply(&k->w, 0, k->out, 0, k->in,
                        (panel_product){.m = rows,
                                        .a = dy,
                                        .ars = k->out,
                                        .acs = 1,
                                        .from = c->fresh[0] ? NULL : dx,
                                        .ldf = k->in,
                                        .c = dx,
                                        .ldc = k->in});
    }
    if (k->dw) {
        float *dw = k->dw + run * k->out * k->in;
        panels p = panels_of(rows, k->in, work);
        panels_pack(&p, 0, rows, x, k->in, false);
        panels_multiply(&p, 0, rows, 0, k->in,
                        (panel_product){.m = k->out,
                                        .a = dy,
                                        .ars = 1,
                                        .acs = k->out,
                                        .from = begin ? NULL : dw,
                                        .ldf = k->in,
                                        .c = dw,
                                        .ldc = k->in});
    }
    if (k->db) binary_kernel()->sum_rows(rows, k->out, dy, k->out, k->db + run * k->out, !begin);
}

static void backward_runs(void *user, int64_t begin, int64_t end, int worker) {
    const walk *k = user;
    int64_t floats = panels_floats(CHUNK, k->in);
    for (int64_t run = begin; run < end; run++) {
        int64_t last = least(k->rows, (run + 1) * k->run);
        for (int64_t i = run * k->run; i < last; i += CHUNK)
            backward_rows(k, run, i, least(CHUNK, last - i), k->work + worker * floats);
    }
}

static void backward_small(const grad_call *c, int64_t rows, int64_t in, int64_t out) {
    walk k = {.c = c, .rows = rows, .in = in, .out = out};
    int64_t runs = least(RUNS, SUMS / (in * out));
    k.run = (rows + runs - 1) / runs, k.runs = (rows + k.run - 1) / k.run;
    k.w = panels_of(out, in, op_scratch(c, (size_t)panels_floats(out, in) * sizeof(float)));
    panels_pack(&k.w, 0, out, f32(c->in[1]), in, false);
    if (c->din[1]) k.dw = op_scratch(c, (size_t)(k.runs * out * in) * sizeof(float));
    if (c->din[2]) k.db = op_scratch(c, (size_t)(k.runs * out) * sizeof(float));
    k.work = op_scratch(c, (size_t)(parallel_threads() * panels_floats(CHUNK, in)) * sizeof(float));
    parallel_for(k.runs, 1, backward_runs, &k);
    if (k.dw) add_parts(k.dw, k.runs, out * in, f32(c->din[1]), !c->fresh[1]);
    if (k.db) add_parts(k.db, k.runs, out, f32(c->din[2]), !c->fresh[2]);
}

static void backward(const grad_call *c) {
    int64_t m = pith_tensor_row_count(c->in[0]), k = c->in[1]->shape[1], n = c->in[1]->shape[0];
    const float *dy = f32(c->dout[0]);
    int64_t small = gemm_amx_tiles(m, k, n, false) ? AMX_SMALL : SMALL;
    if (!c->bf16 && m >= 4 * CHUNK && n * k <= small && n * k > 0) {
        backward_small(c, m, k, n);
        return;
    }
    if (c->din[0]) { /* dx = dy W */
        gemm g = {.m = m, .n = k, .k = n, .a = dy, .lda = n, .b = f32(c->in[1]), .ldb = k, .add = !c->fresh[0]};
        g.c = f32(c->din[0]), g.ldc = k, g.bf16 = c->bf16, g.b16 = c->half[1];
        gemm_run(&g, c->scratch);
    }
    if (c->din[1]) { /* dW = dy^T x */
        gemm g = {.m = n, .n = k, .k = m, .a = dy, .lda = n, .ta = true, .b = f32(c->in[0]), .ldb = k};
        g.c = f32(c->din[1]), g.ldc = k, g.add = !c->fresh[1], g.bf16 = c->bf16;
        gemm_run(&g, c->scratch);
    }
    if (c->din[2]) sum_rows(dy, m, n, f32(c->din[2]), !c->fresh[2], c->scratch);
}

static void forward_f64(const grad_call *c) {
    int64_t m = pith_tensor_row_count(c->in[0]), k = c->in[1]->shape[1], n = c->in[1]->shape[0];
    const double *x = f64(c->in[0]), *w = f64(c->in[1]), *b = f64(c->in[2]);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = b ? b[j] : 0;
            for (int64_t p = 0; p < k; p++) sum += x[i * k + p] * w[j * k + p];
            f64(c->out[0])[i * n + j] = sum;
        }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t sizes[][3] = {
        {1, 1, 1},    {5, 7, 3}, {0, 4, 3},
        {33, 37, 35}, {3, 0, 2}, {4200, 2, 1}}; /* rows, in, out; the last: runs of several stretches */
    const int64_t *s = sizes[k];
    case_input(c, -1, 1, CASE_SHAPE(s[0], 1, s[1]));
    case_input(c, -1, 1, CASE_SHAPE(s[2], s[1]));
    if (k == 1) case_absent(c);
    else case_input(c, -1, 1, CASE_SHAPE(s[2]));
}

const grad_op grad_op_linear = {.name = "linear",
                                .keep_in = 3,
                                .deterministic = true,
                                .bf16_ok = true,
                                .fresh_ok = true,
                                .cases = 6,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_linear(tape *t, var x, var w, var b) { return grad_apply(t, &grad_op_linear, NULL, 0, (var[]){x, w, b}, 3); }
