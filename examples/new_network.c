/* examples/new_network.c - write, train, save and run a network of one's own: it learns to add two numbers in a circle.
 * Explained line by line in docs/new-network.md. */
#include "base/rng.h"
#include "file/safetensors.h"
#include "grad/ops.h"
#include "net/optimizer.h"
#include "net/start.h"

#include <math.h>
#include <stdio.h>

enum { BATCH = 64, HIDDEN = 32 };

typedef struct network {
    int w1, b1, w2, b2;
} network;

static pith_status build(network *n, grad_params *p, pith_error *err) {
    pith_status s = params_add(p, "w1", 2, (int64_t[]){HIDDEN, 4}, 0, &n->w1, err);
    if (s == PITH_OK) s = params_add(p, "b1", 1, (int64_t[]){HIDDEN}, 1, &n->b1, err);
    if (s == PITH_OK) s = params_add(p, "w2", 2, (int64_t[]){2, HIDDEN}, 0, &n->w2, err);
    if (s == PITH_OK) s = params_add(p, "b2", 1, (int64_t[]){2}, 1, &n->b2, err);
    if (s == PITH_OK) s = params_commit(p, true, 2, err); /* gradients and Adam's two moments */
    if (s == PITH_OK) start_scaled(p, n->w1, 2, 1), start_scaled(p, n->w2, 1, 1);
    return s;
}

static var forward(const network *n, tape *t, var x) {
    var h = grad_silu(t, grad_linear(t, x, grad_parameter(t, n->w1), grad_parameter(t, n->b1)));
    return grad_linear(t, h, grad_parameter(t, n->w2), grad_parameter(t, n->b2));
}

/* Two angles as points of the circle, and the point of their sum. */
static void sample(tape *t, uint64_t step, var *x, var *y) {
    pith_tensor in, out;
    uint64_t bytes;
    pith_tensor_layout(&in, PITH_F32, 2, (int64_t[]){BATCH, 4}, &bytes, NULL);
    float *a = in.data = tape_alloc(t, bytes);
    pith_tensor_layout(&out, PITH_F32, 2, (int64_t[]){BATCH, 2}, &bytes, NULL);
    float *b = out.data = tape_alloc(t, bytes);
    rng r = rng_new(1, step);
    for (int i = 0; a && b && i < BATCH; i++) {
        float u = 6.2831853f * rng_float(&r), v = 6.2831853f * rng_float(&r);
        a[4 * i] = cosf(u), a[4 * i + 1] = sinf(u), a[4 * i + 2] = cosf(v), a[4 * i + 3] = sinf(v);
        b[2 * i] = cosf(u + v), b[2 * i + 1] = sinf(u + v);
    }
    *x = grad_constant(t, &in), *y = grad_constant(t, &out);
}

static pith_status save(const grad_params *p, const char *path, pith_error *err) {
    safetensors_entry e[4];
    pith_bytes header;
    safetensors_writer *w;
    for (int i = 0; i < p->n; i++) e[i] = (safetensors_entry){.name = p->list[i].name, .layout = p->list[i].value};
    pith_status s = safetensors_header(e, (size_t)p->n, NULL, &header, err);
    if (s == PITH_OK) s = safetensors_writer_open(&w, path, true, header, err);
    for (int i = 0; i < p->n && s == PITH_OK; i++)
        s = safetensors_write(w, p->weights + p->list[i].offset, 4 * p->list[i].count, err);
    return s == PITH_OK ? safetensors_writer_commit(w, err) : s;
}

int main(int argc, char **argv) {
    network n;
    grad_params p;
    tape *t = NULL;
    pith_error err = {0};
    optimizer adam = {.kind = OPTIMIZER_ADAM,
                      .beta1 = 0.9f,
                      .beta2 = 0.99f,
                      .epsilon = 1e-8f,
                      .accumulate = 1,
                      .group = {{1, 0.01f}, {1, 0}}};
    float loss = 1;
    params_init(&p);
    pith_status s = build(&n, &p, &err);
    if (s == PITH_OK) s = tape_new(&t, &p, 0, &err);
    for (uint64_t step = 0; s == PITH_OK && step < 2000; step++) {
        var x, y;
        tape_begin(t, 1, step);
        params_zero_grads(&p);
        sample(t, step, &x, &y);
        var l = grad_mse(t, forward(&n, t, x), y);
        loss = grad_scalar(t, l);
        grad_backward(t, l);
        s = tape_status(t, &err);
        if (s == PITH_OK) optimizer_step(&adam, &p, 0.01 * (1 - (double)step / 2000));
    }
    if (s == PITH_OK && argc > 1) s = save(&p, argv[1], &err);
    if (s == PITH_OK) printf("loss after 2000 steps: %.5f\n", loss);
    else printf("failed: %s\n", err.text);
    tape_free(t);
    params_free(&p);
    return s == PITH_OK && loss < 0.02 ? 0 : 1;
}
