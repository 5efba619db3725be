/* bench/train_works.c - one training step (forward, backward, Adam) of nine small networks: time, GFLOP/s of its matrix
 * products and convolutions, and the share of the f32 peak measured in the same run: that of multiply-adds in vectors,
 * which Winograd's convolutions and AMX may exceed.
 *
 *     train_works [--bf16] [--threads N] [--seconds S] [--cpu] [works, e.g. abd]
 *
 * --cpu counts this process's processor time, for one thread on a busy machine. */
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "grad/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct work {
    grad_params params;
    tape *t;
    pith_tensor x, y; /* input; labels or target */
    double flops;     /* of one step */
    int next;         /* parameter that the network asks for next */
    var (*loss)(struct work *w);
    int64_t d, blocks, heads, hidden, vocab; /* transformers */
} work;

static clockid_t watch = CLOCK_MONOTONIC;

static double now(void) {
    struct timespec t;
    clock_gettime(watch, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "train_works: %s\n", what);
    exit(1);
}

/* --- parameters and data ------------------------------------------------------------------------------------------ */

static void add(work *w, int rank, const int64_t *shape) {
    char name[32];
    int id;
    snprintf(name, sizeof name, "p%d", w->params.n);
    if (params_add(&w->params, name, rank, shape, 0, &id, NULL) != PITH_OK) die("no memory");
}
#define ADD(...) add(w, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static var next(work *w) { return grad_parameter(w->t, w->next++); }

static void make(pith_tensor *t, int type, int rank, const int64_t *shape, rng *r, int below) {
    if (pith_tensor_new(t, (uint16_t)type, rank, shape, NULL) != PITH_OK) die("no memory");
    for (int64_t i = 0; i < pith_tensor_elements(t); i++)
        if (type == PITH_F32) ((float *)t->data)[i] = (float)rng_normal(r);
        else ((int32_t *)t->data)[i] = (int32_t)rng_below(r, (uint32_t)below);
}

static void commit(work *w, rng *r) {
    if (params_commit(&w->params, true, 2, NULL) != PITH_OK || tape_new(&w->t, &w->params, 0, NULL) != PITH_OK)
        die("no memory");
    for (int i = 0; i < w->params.n; i++) {
        const grad_param *p = &w->params.list[i];
        int64_t fan = pith_tensor_elements(&p->value) / (p->value.rank ? p->value.shape[0] : 1);
        for (size_t k = 0; k < p->count; k++)
            params_weight(&w->params, i)[k] = p->value.rank < 2 ? 1.0f : (float)(rng_normal(r) / sqrt((double)fan));
    }
    params_changed(&w->params);
}

/* --- networks ----------------------------------------------------------------------------------------------------- */

static var mean_square(work *w, var x) { return grad_mean(w->t, grad_square(w->t, x), 0, -1); }

static var loss_convs(work *w) {
    var x = grad_constant(w->t, &w->x);
    for (int i = 0; i < 4; i++) {
        var k = next(w), b = next(w);
        x = grad_relu(w->t, grad_conv(w->t, x, k, b, 1, 1, 1));
    }
    return mean_square(w, x);
}

static void setup_a(work *w, rng *r) {
    for (int i = 0; i < 4; i++) ADD(64, 3, 3, 64), ADD(64);
    make(&w->x, PITH_F32, 4, (int64_t[]){8, 64, 64, 64}, r, 0);
    w->flops = 4 * 6.0 * 8 * 4096 * 64 * 64 * 9, w->loss = loss_convs;
}

static var loss_convnext(work *w) {
    var x = grad_constant(w->t, &w->x);
    for (int i = 0; i < 4; i++) {
        var p[8];
        for (int k = 0; k < 8; k++) p[k] = next(w);
        var h = grad_layer_norm(w->t, grad_conv(w->t, x, p[0], p[1], 1, 2, 64), p[2], p[3], 1e-6f);
        x = grad_mlp(w->t, h, 2, p + 4, UNARY_GELU, 0);
    }
    return mean_square(w, x);
}

static void setup_b(work *w, rng *r) {
    for (int i = 0; i < 4; i++)
        ADD(64, 5, 5, 1), ADD(64), ADD(64), ADD(64), ADD(256, 64), ADD(256), ADD(64, 256), ADD(64);
    make(&w->x, PITH_F32, 4, (int64_t[]){8, 64, 64, 64}, r, 0);
    w->flops = 4 * 6.0 * 8 * 4096 * (2.0 * 64 * 256 + 25 * 64), w->loss = loss_convnext;
}

static var loss_mlp(work *w) {
    var x = grad_constant(w->t, &w->x);
    for (int i = 0; i < 3; i++) {
        var k = next(w), b = next(w);
        x = grad_linear(w->t, x, k, b);
        if (i < 2) x = grad_relu(w->t, x);
    }
    return grad_cross_entropy(w->t, x, grad_constant(w->t, &w->y), -1, 0);
}

static void setup_c(work *w, rng *r) {
    ADD(512, 784), ADD(512), ADD(512, 512), ADD(512), ADD(10, 512), ADD(10);
    make(&w->x, PITH_F32, 2, (int64_t[]){64, 784}, r, 0);
    make(&w->y, PITH_I32, 1, (int64_t[]){64}, r, 10);
    w->flops = 64 * (4.0 * 784 * 512 + 6.0 * (512 * 512 + 512 * 10)), w->loss = loss_mlp;
}

static var heads_of(work *w, var x) {
    const int64_t *s = grad_value(w->t, x)->shape;
    return grad_reshape(w->t, x, 4, (int64_t[]){s[0], s[1], w->heads, w->d / w->heads});
}

static var flat(work *w, var x) {
    const int64_t *s = grad_value(w->t, x)->shape;
    return grad_reshape(w->t, x, 3, (int64_t[]){s[0], s[1], w->d});
}

static var decoder_block(work *w, var x) {
    tape *t = w->t;
    var n1 = next(w), wq = next(w), wk = next(w), wv = next(w), wo = next(w), n2 = next(w), wg = next(w), wu = next(w),
        wd = next(w);
    var h = grad_rms_norm(t, x, n1, 1e-5f);
    var q = grad_rope(t, heads_of(w, grad_linear(t, h, wq, VAR_NONE)), 10000, 0, 0, false);
    var k = grad_rope(t, heads_of(w, grad_linear(t, h, wk, VAR_NONE)), 10000, 0, 0, false);
    var v = heads_of(w, grad_linear(t, h, wv, VAR_NONE));
    x = grad_add(t, x, grad_linear(t, flat(w, grad_attention(t, q, k, v, true, 0)), wo, VAR_NONE));
    h = grad_rms_norm(t, x, n2, 1e-5f);
    h = grad_swiglu(t, grad_linear(t, h, wg, VAR_NONE), grad_linear(t, h, wu, VAR_NONE));
    return grad_add(t, x, grad_linear(t, h, wd, VAR_NONE));
}

static var loss_decoder(work *w) {
    var table = next(w), x = grad_embedding(w->t, table, grad_constant(w->t, &w->x));
    for (int64_t i = 0; i < w->blocks; i++) x = decoder_block(w, x);
    x = grad_rms_norm(w->t, x, next(w), 1e-5f);
    return grad_cross_entropy(w->t, grad_linear(w->t, x, next(w), VAR_NONE), grad_constant(w->t, &w->y), -1, 0);
}

static void decoder(work *w, rng *r, int64_t d, int64_t blocks, int64_t heads, int64_t ffn, int64_t batch) {
    w->d = d, w->blocks = blocks, w->heads = heads, w->hidden = ffn, w->vocab = 288;
    ADD(w->vocab, d);
    for (int64_t i = 0; i < blocks; i++)
        ADD(d), ADD(d, d), ADD(d, d), ADD(d, d), ADD(d, d), ADD(d), ADD(ffn, d), ADD(ffn, d), ADD(d, ffn);
    ADD(d), ADD(w->vocab, d);
    make(&w->x, PITH_I32, 2, (int64_t[]){batch, 256}, r, 256);
    make(&w->y, PITH_I32, 2, (int64_t[]){batch, 256}, r, 256);
    double tokens = (double)batch * 256, weights = (double)(blocks * (4 * d * d + 3 * d * ffn) + w->vocab * d);
    /* causal attention: half of the scores */
    w->flops = tokens * (6 * weights + (double)blocks * 14.0 * (double)d * 128), w->loss = loss_decoder;
}

static void setup_d(work *w, rng *r) { decoder(w, r, 256, 4, 4, 768, 32); }
static void setup_e(work *w, rng *r) { decoder(w, r, 512, 8, 8, 1536, 8); }

static var loss_transposed(work *w) {
    var x = grad_constant(w->t, &w->x);
    for (int i = 0; i < 2; i++) {
        var k = next(w), b = next(w);
        x = grad_relu(w->t, grad_conv_transposed(w->t, x, k, b, 2, 2, 1, 1));
    }
    return mean_square(w, x);
}

static void setup_f(work *w, rng *r) {
    for (int i = 0; i < 2; i++) ADD(128, 5, 5, 128), ADD(128);
    make(&w->x, PITH_F32, 4, (int64_t[]){8, 16, 16, 128}, r, 0);
    w->flops = 8 * 25.0 * 128 * 128 * (4 * 256 + 6 * 1024), w->loss = loss_transposed;
}

static var loss_strided(work *w) {
    var x = grad_input(w->t, &w->x), k = next(w), b = next(w);
    return mean_square(w, grad_relu(w->t, grad_conv(w->t, x, k, b, 2, 2, 1)));
}

static void setup_g(work *w, rng *r) {
    ADD(128, 5, 5, 128), ADD(128);
    make(&w->x, PITH_F32, 4, (int64_t[]){8, 64, 64, 128}, r, 0);
    w->flops = 6.0 * 8 * 1024 * 128 * 128 * 25, w->loss = loss_strided;
}

static var loss_coordinates(work *w) {
    var x = grad_constant(w->t, &w->x), p[8];
    for (int i = 0; i < 8; i++) p[i] = next(w);
    x = grad_mlp(w->t, x, 4, p, UNARY_SIN, 30);
    return grad_mse(w->t, x, grad_constant(w->t, &w->y));
}

static void setup_h(work *w, rng *r) {
    ADD(64, 2), ADD(64), ADD(64, 64), ADD(64), ADD(64, 64), ADD(64), ADD(3, 64), ADD(3);
    make(&w->x, PITH_F32, 2, (int64_t[]){65536, 2}, r, 0);
    make(&w->y, PITH_F32, 2, (int64_t[]){65536, 3}, r, 0);
    w->flops = 65536 * (4.0 * 2 * 64 + 6.0 * (2 * 64 * 64 + 3 * 64)), w->loss = loss_coordinates;
}

static var vit_block(work *w, var x) {
    tape *t = w->t;
    var p[16];
    for (int i = 0; i < 16; i++) p[i] = next(w);
    var h = grad_layer_norm(t, x, p[0], p[1], 1e-6f);
    var q = heads_of(w, grad_linear(t, h, p[2], p[3])), k = heads_of(w, grad_linear(t, h, p[4], p[5])),
        v = heads_of(w, grad_linear(t, h, p[6], p[7]));
    x = grad_add(t, x, grad_linear(t, flat(w, grad_attention(t, q, k, v, false, 0)), p[8], p[9]));
    h = grad_layer_norm(t, x, p[10], p[11], 1e-6f);
    return grad_add(t, x, grad_mlp(t, h, 2, p + 12, UNARY_GELU, 0));
}

static var loss_vit(work *w) {
    var x = grad_constant(w->t, &w->x), k = next(w), b = next(w), place = next(w);
    x = grad_add(w->t, grad_linear(w->t, x, k, b), place);
    for (int64_t i = 0; i < w->blocks; i++) x = vit_block(w, x);
    var n = next(w), m = next(w), head = next(w), bias = next(w);
    x = grad_mean(w->t, grad_layer_norm(w->t, x, n, m, 1e-6f), 1, 1);
    return grad_cross_entropy(w->t, grad_linear(w->t, x, head, bias), grad_constant(w->t, &w->y), -1, 0);
}

static void setup_i(work *w, rng *r) {
    int64_t d = w->d = 128;
    w->blocks = 6, w->heads = 4;
    ADD(d, 16), ADD(d), ADD(49, d);
    for (int i = 0; i < 6; i++)
        ADD(d), ADD(d), ADD(d, d), ADD(d), ADD(d, d), ADD(d), ADD(d, d), ADD(d), ADD(d, d), ADD(d), ADD(d), ADD(d),
            ADD(4 * d, d), ADD(4 * d), ADD(d, 4 * d), ADD(d);
    ADD(d), ADD(d), ADD(10, d), ADD(10);
    make(&w->x, PITH_F32, 3, (int64_t[]){128, 49, 16}, r, 0);
    make(&w->y, PITH_I32, 1, (int64_t[]){128}, r, 10);
    w->flops = 128 * 49.0 * (6.0 * 6 * 12 * 128 * 128 + 6 * 14.0 * 128 * 49 + 4.0 * 16 * 128), w->loss = loss_vit;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

static void adam_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    grad_params *p = user;
    float *w = p->weights, *g = p->grads, *m = p->moment[0], *v = p->moment[1];
    for (int64_t i = begin; i < end; i++) {
        m[i] += 0.1f * (g[i] - m[i]);
        v[i] += 0.05f * (g[i] * g[i] - v[i]);
        w[i] -= 1e-4f * m[i] / (sqrtf(v[i]) + 1e-8f);
        g[i] = 0;
    }
}

static float step(work *w, uint64_t number) {
    tape_begin(w->t, 1, number);
    w->next = 0;
    var loss = w->loss(w);
    grad_backward(w->t, loss);
    pith_error err = {0};
    if (tape_status(w->t, &err) != PITH_OK) die(err.text);
    parallel_for((int64_t)w->params.floats, 1 << 14, adam_part, &w->params);
    params_changed(&w->params);
    return grad_scalar(w->t, loss);
}

#if defined(__x86_64__)
typedef float wide __attribute__((vector_size(64)));
#define PEAK_TARGET __attribute__((target("avx512f")))
#else
typedef float wide __attribute__((vector_size(16)));
#define PEAK_TARGET
#endif
enum { SUMS = 16, ROUNDS = 4000000 };

PEAK_TARGET static void multiply_add(void *user, int64_t begin, int64_t end, int worker) {
    (void)user, (void)end, (void)worker;
    /* towards 1000 a, never into the slow numbers next to 0 */
    wide sum[SUMS], a = (wide){0} + 1e-3f * (float)(begin + 1), b = (wide){0} + 0.999f;
    for (int i = 0; i < SUMS; i++) sum[i] = (wide){0} + (float)i;
    for (int64_t k = 0; k < ROUNDS; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < SUMS; i++) sum[i] = sum[i] * b + a;
    }
    wide total = {0};
    for (int i = 0; i < SUMS; i++) total += sum[i];
    __asm__ volatile("" : : "m"(total)); /* or the compiler sees that nobody reads it */
}

/* GFLOP/s of multiply-adds in registers on all threads; 0 where this machine's widest are not known here. */
static double peak(void) {
    if (isa_detected() < ISA_AVX512) return 0;
    double best = 1e30;
    for (int i = 0; i < 5; i++) {
        double start = now();
        parallel_for(parallel_threads(), 1, multiply_add, NULL);
        double took = now() - start;
        best = took < best ? took : best;
    }
    return 2.0 * (sizeof(wide) / sizeof(float)) * SUMS * ROUNDS * parallel_threads() / best * 1e-9;
}

static const struct {
    char letter;
    const char *what;
    void (*setup)(work *w, rng *r);
} works[] = {{'a', "4 x conv 3x3 64, 8x64x64", setup_a},       {'b', "4 x ConvNeXt block 64, 8x64x64", setup_b},
             {'c', "MLP 784-512-512-10, batch 64", setup_c},   {'d', "decoder d 256, 4 blocks, 32x256", setup_d},
             {'e', "decoder d 512, 8 blocks, 8x256", setup_e}, {'f', "2 x transposed 5x5 s2 128", setup_f},
             {'g', "conv 5x5 s2 128, 8x64x64", setup_g},       {'h', "sine MLP 2-64-64-64-3, 65536", setup_h},
             {'i', "ViT 28x28 d 128, 6 blocks, 128", setup_i}};

int main(int argc, char **argv) {
    bool bf16 = false;
    double seconds = 3;
    const char *only = "abcdefghi";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bf16")) bf16 = true;
        else if (!strcmp(argv[i], "--cpu")) watch = CLOCK_PROCESS_CPUTIME_ID;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) parallel_set_threads(atoi(argv[++i]));
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) seconds = atof(argv[++i]);
        else only = argv[i];
    }
    parallel_set_threads(parallel_threads());
    double top = peak();
    printf("%d threads, f32 peak %.0f GFLOP/s%s\n", parallel_threads(), top, bf16 ? ", products in bf16" : "");
    printf("%-34s %9s %9s %8s %8s %9s\n", "work", "best ms", "median ms", "GFLOP/s", "of peak", "memory MB");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (!strchr(only, works[i].letter)) continue;
        work w = {0};
        rng r = rng_new(1, i);
        params_init(&w.params);
        works[i].setup(&w, &r);
        commit(&w, &r);
        tape_bf16(w.t, bf16);
        enum { MOST = 1000 };
        double times[MOST], start = now();
        int n = 0;
        step(&w, 0);
        while (n < 3 || (n < MOST && now() - start < seconds)) {
            double t = now();
            step(&w, (uint64_t)n);
            t = now() - t;
            int k = n++;
            for (; k > 0 && times[k - 1] > t; k--) times[k] = times[k - 1];
            times[k] = t;
        }
        double rate = w.flops / times[0] * 1e-9;
        printf("%c %-32s %9.2f %9.2f %8.1f %7.0f%% %9.0f\n", works[i].letter, works[i].what, times[0] * 1e3,
               times[n / 2] * 1e3, rate, top > 0 ? 100 * rate / top : 0, (double)tape_high_water(w.t) * 1e-6);
        fflush(stdout);
        tape_free(w.t);
        params_free(&w.params);
        pith_tensor_release(&w.x), pith_tensor_release(&w.y);
    }
    return 0;
}
