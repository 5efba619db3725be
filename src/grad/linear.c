/* grad/linear.c - y = x W^T + b: three matrix products of 2 rows in out operations each. */
#include "grad/each.h"
#include "grad/ops.h"
#include "tensor/gemm.h"

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

static void backward(const grad_call *c) {
    int64_t m = pith_tensor_row_count(c->in[0]), k = c->in[1]->shape[1], n = c->in[1]->shape[0];
    const float *dy = f32(c->dout[0]);
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
    static const int64_t sizes[][3] = {{1, 1, 1}, {5, 7, 3}, {0, 4, 3}, {33, 37, 35}, {3, 0, 2}}; /* rows, in, out */
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
                                .cases = 5,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_linear(tape *t, var x, var w, var b) { return grad_apply(t, &grad_op_linear, NULL, 0, (var[]){x, w, b}, 3); }
