/* Matrix products and convolutions: every way of doing them against plain loops in double. */
#include "harness.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "tensor/conv.h"
#include "tensor/gemm.h"
#include "tensor/tensor.h"

#include <math.h>

static arena scratch;

static float *values(rng *r, int64_t n) {
    float *x = malloc((size_t)(n ? n : 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_normal(r);
    return x;
}

static double error_of(const float *a, const float *b, int64_t n) {
    double error = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), norm += (double)b[i] * b[i];
    return sqrt(error) / (sqrt(norm) + 1e-30);
}

static void plain(const gemm *g, float *c) {
    for (int64_t q = 0; q < (g->batch ? g->batch : 1); q++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                float *to = c + q * g->sc + i * g->ldc + j;
                double sum = (g->add ? *to : 0) + (g->bias ? g->bias[j] : 0);
                for (int64_t p = 0; p < g->k; p++)
                    sum += (double)g->a[q * g->sa + (g->ta ? p * g->lda + i : i * g->lda + p)] *
                           g->b[q * g->sb + (g->tb ? j * g->ldb + p : p * g->ldb + j)];
                *to = (float)sum;
            }
}

/* Sizes, transposes, batch, bias or sum, and rows longer than they need be. */
static void try_gemm(rng *r, int64_t m, int64_t n, int64_t k, int form, int64_t batch, double limit, bool bf16) {
    gemm g = {.m = m, .n = n, .k = k, .ta = form & 1, .tb = form >> 1 & 1, .add = form >> 2 & 1, .batch = batch};
    g.lda = (g.ta ? m : k) + 3, g.ldb = (g.tb ? k : n) + 1, g.ldc = n + 2, g.bf16 = bf16;
    g.sa = g.lda * (g.ta ? k : m), g.sb = form >> 3 & 1 ? 0 : g.ldb * (g.tb ? n : k), g.sc = g.ldc * m;
    float *a = values(r, batch * g.sa), *b = values(r, batch * g.sb + g.ldb * (g.tb ? n : k)), *bias = values(r, n),
          *c = values(r, batch * g.sc), *own = malloc((size_t)(batch * g.sc + 1) * sizeof *own),
          *truth = malloc((size_t)(batch * g.sc + 1) * sizeof *truth);
    memcpy(own, c, (size_t)(batch * g.sc) * sizeof *c), memcpy(truth, c, (size_t)(batch * g.sc) * sizeof *c);
    g.a = a, g.b = b, g.bias = g.add ? NULL : bias;
    plain(&g, truth);
    g.c = c, gemm_run(&g, &scratch);
    g.c = own, gemm_own(&g, &scratch);
    assert_true(error_of(c, truth, batch * g.sc) < limit);
    assert_true(error_of(own, truth, batch * g.sc) < (bf16 && gemm_amx_tiles(m, n, k, true) ? limit : 2e-6));
    free(a), free(b), free(bias), free(c), free(own), free(truth);
}

static void products_agree_with_loops(void **state) {
    (void)state;
    rng r = rng_new(1, 1);
    for (int level = ISA_SCALAR; level <= (int)isa_detected(); level++)
        for (int threads = 1; threads <= 2; threads++) {
            isa_force((isa_level)level);
            parallel_set_threads(threads);
            for (int form = 0; form < 16; form++) {
                try_gemm(&r, 37, 45, 33, form, 1, 2e-6, false);
                try_gemm(&r, 13, 34, 300, form, 2, 2e-6, false);
                try_gemm(&r, 1, 1, 1, form, 1, 2e-6, false);
                try_gemm(&r, 5, 3, 0, form, 2, 2e-6, false);
                try_gemm(&r, 100, 70, 300, form, 2, 1e-2, true);
            }
            try_gemm(&r, 64, 2, 5000, 1, 1, 2e-6, false); /* the thin way */
            try_gemm(&r, 64, 2, 5000, 5, 1, 2e-6, false);
            try_gemm(&r, 32, 32, 32, 0, 1, 1e-2, true);
            try_gemm(&r, 33, 47, 1100, 3, 1, 1e-2, true); /* a sum of two spans */
            try_gemm(&r, 1100, 34, 33, 4, 1, 1e-2, true);
        }
}

/* Numbers far apart: the error is small beside the norms of row and column, and one row has nothing to do with another.
 */
static void products_in_digits_agree_with_loops(void **state) {
    (void)state;
    rng r = rng_new(6, 6);
    isa_force(isa_detected());
    for (int threads = 1; threads <= 2; threads++) {
        parallel_set_threads(threads);
        for (int form = 0; form < 8; form++) try_gemm(&r, 133, 150, 290, form, 1, 2e-6, false);
        try_gemm(&r, 520, 271, 1100, 1, 1, 2e-6, false); /* wide tiles, two spans */
    }
}

static void products_of_uneven_rows_are_as_exact_as_their_norms(void **state) {
    (void)state;
    enum { M = 130, N = 129, K = 300 };
    rng r = rng_new(4, 4);
    float *a = values(&r, M * K), *b = values(&r, K * N), *c = values(&r, M * N);
    static const float sizes[] = {1, 1e-30f, 1e30f, 0};
    for (int i = 0; i < M; i++) {
        for (int p = 0; p < K; p++) a[i * K + p] *= sizes[i / 4 % 4];
        if (i % 4 == 1) a[i * K + i] *= 1e4f; /* one that is large beside the others */
    }
    for (int p = 0; p < K; p++) b[p * N + 7] *= 1e-25f, b[p * N + 8] = 0, b[p * N + 9] *= p == 11 ? 1e6f : 1;
    gemm g = {.m = M, .n = N, .k = K, .a = a, .b = b, .c = c, .lda = K, .ldb = N, .ldc = N};
    for (int level = ISA_SCALAR; level <= (int)isa_detected(); level++) {
        isa_force((isa_level)level);
        gemm_own(&g, &scratch);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0, left = 0, right = 0;
                for (int p = 0; p < K; p++) {
                    double x = a[i * K + p], y = b[p * N + j];
                    sum += x * y, left += x * x, right += y * y;
                }
                assert_true(fabs(c[i * N + j] - sum) <= 0x1p-21 * sqrt(left) * sqrt(right) + 1e-43);
            }
    }
    a[20 * K + 299] = NAN, a[33 * K] = -INFINITY, b[5 * N + 100] = INFINITY;
    gemm_own(&g, &scratch);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) assert_int_equal(isfinite(c[i * N + j]) == 0, i == 20 || i == 33 || j == 100);
    free(a), free(b), free(c);
}

static void own_products_do_not_depend_on_threads(void **state) {
    (void)state;
    rng r = rng_new(2, 2);
    float *a = values(&r, 300 * 200), *b = values(&r, 250 * 200), *c = values(&r, 300 * 250),
          *d = values(&r, 300 * 250);
    gemm g = {.m = 300, .n = 250, .k = 200, .a = a, .b = b, .c = c, .lda = 200, .ldb = 200, .ldc = 250, .tb = true};
    isa_force(isa_detected());
    parallel_set_threads(1), gemm_own(&g, &scratch);
    g.c = d;
    parallel_set_threads(2), gemm_own(&g, &scratch);
    assert_memory_equal(c, d, 300 * 250 * sizeof *c);
    free(a), free(b), free(c), free(d);
}

/* f32 in vectors, as no fast way has it with AMX */
static isa_level plain_level(void) { return isa_detected() < ISA_AVX2 ? isa_detected() : ISA_AVX2; }

static void try_conv(rng *r, conv v, double limit) {
    int64_t nx = v.n * v.h * v.w * v.c, ny = v.n * v.oh * v.ow * v.o, nw = v.o * v.kh * v.kw * v.c / v.groups;
    float *x = values(r, nx), *w = values(r, nw), *y = values(r, ny), *z = values(r, ny), *bias = values(r, v.o);
    float *dx = values(r, nx), *ex = malloc((size_t)nx * sizeof *ex), *dw = values(r, nw),
          *ew = malloc((size_t)nw * sizeof *ew);
    memcpy(ex, dx, (size_t)nx * sizeof *ex), memcpy(ew, dw, (size_t)nw * sizeof *ew);
    conv_forward(&v, x, w, bias, y, &scratch);
    isa_force(plain_level());
    conv_plain_forward(&v, x, w, bias, z, &scratch);
    assert_true(error_of(y, z, ny) < limit);
    for (int add = 1; add >= 0; add--) {
        isa_force(isa_detected());
        conv_backward_data(&v, z, w, dx, add, &scratch);
        conv_backward_weights(&v, x, z, dw, add, &scratch);
        isa_force(plain_level());
        conv_plain_backward_data(&v, z, w, ex, add, &scratch);
        assert_true(error_of(dx, ex, nx) < limit);
        conv_plain_backward_weights(&v, x, z, ew, add, &scratch);
        assert_true(error_of(dw, ew, nw) < limit);
    }
    isa_force(isa_detected());
    free(x), free(w), free(y), free(z), free(bias), free(dx), free(ex), free(dw), free(ew);
}

/* Forward and both gradients, one after the other. */
static void all_passes(conv v, int threads, const float *x, const float *w, const float *dy, float *out) {
    int64_t nx = v.n * v.h * v.w * v.c, ny = v.n * v.oh * v.ow * v.o;
    parallel_set_threads(threads);
    conv_forward(&v, x, w, NULL, out, &scratch);
    conv_backward_data(&v, dy, w, out + ny, false, &scratch);
    conv_backward_weights(&v, x, dy, out + ny + nx, false, &scratch);
}

/* Of own convolutions; oneDNN's may depend on them. */
static void threads_change_no_bit(rng *r, conv v) {
    int64_t nx = v.n * v.h * v.w * v.c, ny = v.n * v.oh * v.ow * v.o, nw = v.o * v.kh * v.kw * v.c;
    float *x = values(r, nx), *w = values(r, nw), *dy = values(r, ny), *a = values(r, nx + ny + nw),
          *b = values(r, nx + ny + nw);
    all_passes(v, 1, x, w, dy, a), all_passes(v, 2, x, w, dy, b);
    assert_memory_equal(a, b, (size_t)(nx + ny + nw) * sizeof *a);
    free(x), free(w), free(dy), free(a), free(b);
}

static conv shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, int64_t k, int64_t stride, int64_t pad,
                  int64_t groups) {
    conv v = {.n = n, .h = h, .w = w, .c = c, .o = o, .kh = k, .kw = k, .stride = stride, .pad = pad, .groups = groups};
    v.oh = (h + 2 * pad - k) / stride + 1, v.ow = (w + 2 * pad - k) / stride + 1;
    return v;
}

static void convolutions_agree_with_copies_and_products(void **state) {
    (void)state;
    rng r = rng_new(3, 3);
    isa_force(isa_detected());
    for (int threads = 1; threads <= 2; threads++) {
        parallel_set_threads(threads);
        try_conv(&r, shape(2, 14, 13, 32, 48, 3, 1, 1, 1), 1e-5); /* Winograd */
        try_conv(&r, shape(1, 9, 9, 31, 37, 3, 1, 0, 1), 1e-5);
        try_conv(&r, shape(3, 41, 38, 16, 19, 3, 1, 2, 1), 1e-5); /* several groups of tiles, several shares */
        try_conv(&r, shape(1, 1, 2, 16, 16, 3, 1, 1, 1), 1e-5);
        try_conv(&r, shape(2, 25, 14, 300, 71, 3, 1, 1, 1), 1e-5); /* its products in digits */
        try_conv(&r, shape(2, 16, 16, 16, 24, 5, 2, 2, 1), 1e-5);
        try_conv(&r, shape(1, 12, 12, 8, 8, 3, 1, 1, 2), 1e-5);
        try_conv(&r, shape(2, 20, 21, 24, 24, 5, 1, 2, 24), 1e-5); /* depthwise */
        try_conv(&r, shape(1, 20, 21, 37, 37, 7, 2, 3, 37), 1e-5);
        try_conv(&r, shape(3, 15, 14, 130, 129, 5, 2, 2, 1), 2e-6); /* windows */
        try_conv(&r, shape(2, 25, 18, 133, 128, 2, 2, 0, 1), 2e-6); /* some pixels in none, one tap a phase */
        try_conv(&r, shape(2, 13, 12, 128, 150, 5, 1, 1, 1), 2e-6);
        /* phases of one and two taps, some beyond the edge */
        try_conv(&r, shape(9, 14, 14, 128, 128, 4, 3, 3, 1), 2e-6);
        conv half = shape(2, 14, 14, 32, 32, 3, 1, 1, 1);
        half.bf16 = true;
        try_conv(&r, half, 1e-2);
    }
}

static void own_convolutions_do_not_depend_on_threads(void **state) {
    (void)state;
    rng r = rng_new(7, 7);
    isa_force(isa_detected());
    threads_change_no_bit(&r, shape(2, 30, 31, 32, 40, 3, 1, 1, 1));
    threads_change_no_bit(&r, shape(2, 30, 31, 130, 128, 3, 1, 1, 1));
    if (isa_detected() == ISA_AMX) threads_change_no_bit(&r, shape(2, 33, 40, 128, 130, 5, 2, 2, 1));
}

static int setup(void **state) {
    (void)state;
    return arena_open(&scratch, (size_t)1 << 32);
}

static int teardown(void **state) {
    (void)state;
    arena_close(&scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_agree_with_loops),
                                       cmocka_unit_test(products_in_digits_agree_with_loops),
                                       cmocka_unit_test(products_of_uneven_rows_are_as_exact_as_their_norms),
                                       cmocka_unit_test(own_products_do_not_depend_on_threads),
                                       cmocka_unit_test(own_convolutions_do_not_depend_on_threads),
                                       cmocka_unit_test(convolutions_agree_with_copies_and_products)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
