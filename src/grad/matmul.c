/* grad/matmul.c - batched products of matrices, either transposed; B may be shared by the whole batch. */
#include "grad/each.h"
#include "grad/ops.h"
#include "tensor/gemm.h"

typedef struct matmul_attr {
    bool ta, tb;
} matmul_attr;

typedef struct sizes {
    int64_t batch, m, n, k, lda, ldb;
    bool shared; /* one B for all */
} sizes;

static sizes sizes_of(const pith_tensor *a, const pith_tensor *b, const matmul_attr *t) {
    sizes s = {.batch = 1, .shared = b->rank == 2};
    for (int i = 0; i + 2 < a->rank; i++) s.batch *= a->shape[i];
    const int64_t *x = a->shape + a->rank - 2, *y = b->shape + b->rank - 2;
    s.m = x[t->ta], s.k = x[!t->ta], s.n = y[!t->tb], s.lda = x[1], s.ldb = y[1];
    return s;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)saved;
    const matmul_attr *t = attr;
    const pith_tensor *a = in[0], *b = in[1];
    bool ok = a->rank >= 2 && (b->rank == a->rank || b->rank == 2);
    for (int i = 0; ok && b->rank > 2 && i + 2 < a->rank; i++) ok = a->shape[i] == b->shape[i];
    op_expect(ok, "matmul", "a (..., m, k) and b (..., k, n) or (k, n)", a, b);
    op_expect(a->shape[a->rank - 2 + !t->ta] == b->shape[b->rank - 2 + t->tb], "matmul", "equal inner sizes", a, b);
    sizes s = sizes_of(a, b, t);
    int64_t o[PITH_MAX_RANK];
    memcpy(o, a->shape, sizeof o);
    o[a->rank - 2] = s.m, o[a->rank - 1] = s.n;
    op_output(out, a->type, a->rank, o);
}

static void forward(const grad_call *c) {
    const matmul_attr *t = c->attr;
    sizes s = sizes_of(c->in[0], c->in[1], t);
    gemm g = {.m = s.m, .n = s.n, .k = s.k, .ta = t->ta, .tb = t->tb, .a = f32(c->in[0]), .b = f32(c->in[1])};
    g.lda = s.lda, g.ldb = s.ldb, g.c = f32(c->out[0]), g.ldc = s.n, g.bf16 = c->bf16;
    g.batch = s.batch, g.sa = s.m * s.k, g.sb = s.shared ? 0 : s.k * s.n, g.sc = s.m * s.n;
    if (s.batch) gemm_run(&g, c->scratch);
}

/* dA = dC B^T, stored transposed if A is: then (dA)^T = B dC^T. */
static void to_a(const grad_call *c, const matmul_attr *t, sizes s) {
    gemm d = {.k = s.n, .batch = s.batch, .bf16 = c->bf16, .c = f32(c->din[0]), .ldc = s.lda, .add = !c->fresh[0]};
    int64_t sb = s.shared ? 0 : s.k * s.n, sc = s.m * s.n;
    d.sc = s.m * s.k;
    if (!t->ta) {
        d.m = s.m, d.n = s.k, d.a = f32(c->dout[0]), d.lda = s.n, d.sa = sc;
        d.b = f32(c->in[1]), d.ldb = s.ldb, d.tb = !t->tb, d.sb = sb;
    } else {
        d.m = s.k, d.n = s.m, d.a = f32(c->in[1]), d.lda = s.ldb, d.ta = t->tb, d.sa = sb;
        d.b = f32(c->dout[0]), d.ldb = s.n, d.tb = true, d.sb = sc;
    }
    gemm_run(&d, c->scratch);
}

/* dB = A^T dC, stored transposed if B is. A shared B sums over the batch, one product after the other. */
static void to_b(const grad_call *c, const matmul_attr *t, sizes s) {
    int64_t rounds = s.shared ? s.batch : 1;
    for (int64_t i = 0; i < rounds; i++) {
        gemm d = {.k = s.m, .batch = s.shared ? 1 : s.batch, .bf16 = c->bf16, .c = f32(c->din[1]), .ldc = s.ldb};
        const float *a = f32(c->in[0]) + i * s.m * s.k, *dc = f32(c->dout[0]) + i * s.m * s.n;
        d.add = i > 0 || !c->fresh[1], d.sc = s.k * s.n;
        if (!t->tb) {
            d.m = s.k, d.n = s.n, d.a = a, d.lda = s.lda, d.ta = !t->ta, d.sa = s.m * s.k;
            d.b = dc, d.ldb = s.n, d.sb = s.m * s.n;
        } else {
            d.m = s.n, d.n = s.k, d.a = dc, d.lda = s.n, d.ta = true, d.sa = s.m * s.n;
            d.b = a, d.ldb = s.lda, d.tb = t->ta, d.sb = s.m * s.k;
        }
        gemm_run(&d, c->scratch);
    }
}

static void backward(const grad_call *c) {
    const matmul_attr *t = c->attr;
    sizes s = sizes_of(c->in[0], c->in[1], t);
    if (c->din[0] && s.batch) to_a(c, t, s);
    if (c->din[1] && s.batch) to_b(c, t, s);
    else if (c->din[1] && c->fresh[1]) memset(c->din[1]->data, 0, pith_tensor_bytes(c->din[1]));
}

static void forward_f64(const grad_call *c) {
    const matmul_attr *t = c->attr;
    sizes s = sizes_of(c->in[0], c->in[1], t);
    for (int64_t q = 0; q < s.batch; q++) {
        const double *a = f64(c->in[0]) + q * s.m * s.k, *b = f64(c->in[1]) + (s.shared ? 0 : q * s.k * s.n);
        for (int64_t i = 0; i < s.m; i++)
            for (int64_t j = 0; j < s.n; j++) {
                double sum = 0;
                for (int64_t p = 0; p < s.k; p++)
                    sum += a[t->ta ? p * s.lda + i : i * s.lda + p] * b[t->tb ? j * s.ldb + p : p * s.ldb + j];
                f64(c->out[0])[(q * s.m + i) * s.n + j] = sum;
            }
    }
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    static const int64_t sizes_[][4] = {{2, 3, 5, 4}, {1, 34, 33, 17}, {3, 1, 1, 1}, {0, 2, 2, 2}}; /* batch, m, n, k */
    const int64_t *s = sizes_[k / 8];
    matmul_attr t = {k & 1, k >> 1 & 1};
    case_input(c, -1, 1, CASE_SHAPE(s[0], t.ta ? s[3] : s[1], t.ta ? s[1] : s[3]));
    int64_t b[3] = {s[0], t.tb ? s[2] : s[3], t.tb ? s[3] : s[2]};
    bool shared = k >> 2 & 1;
    case_input(c, -1, 1, shared ? 2 : 3, b + shared);
    case_attr(c, &t, sizeof t);
}

const grad_op grad_op_matmul = {.name = "matmul",
                                .keep_in = 3,
                                .deterministic = true,
                                .bf16_ok = true,
                                .fresh_ok = true,
                                .cases = 32,
                                .shape = shape,
                                .forward = forward,
                                .backward = backward,
                                .forward_f64 = forward_f64,
                                .sample = sample};

var grad_matmul(tape *t, var a, var b, bool ta, bool tb) {
    return grad_apply(t, &grad_op_matmul, &(matmul_attr){ta, tb}, sizeof(matmul_attr), (var[]){a, b}, 2);
}
