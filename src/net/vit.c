/* net/vit.c - vision transformer (Dosovitskiy et al., arXiv 2010.11929), pre-norm, with the mean over patches instead
 * of a class token. */
#include "net/classifier_parts.h"

#include <stdio.h>

static const float epsilon = 1e-6f;

static int64_t patches_of(const classifier_config *c) { return (c->height / c->patch) * (c->wide / c->patch); }

static pith_status add_pair(classifier *n, grad_params *p, const char *stem, int64_t rows, int64_t cols,
                            pith_error *err) {
    char name[96];
    snprintf(name, sizeof name, "%s.weight", stem);
    pith_status s = cols ? classifier_add(n, p, err, name, 2, rows, cols) : classifier_add(n, p, err, name, 1, rows);
    snprintf(name, sizeof name, "%s.bias", stem);
    return s == PITH_OK ? classifier_add(n, p, err, name, 1, rows) : s;
}

pith_status vit_open(classifier *n, grad_params *p, pith_error *err) {
    const classifier_config *c = &n->config;
    if (c->height % c->patch || c->wide % c->patch)
        return pith_fail(err, PITH_MISMATCH, "net.patch", -1, "expected a divisor of %lldx%lld, found %lld",
                         (long long)c->height, (long long)c->wide, (long long)c->patch);
    if (c->width % c->heads)
        return pith_fail(err, PITH_MISMATCH, "net.heads", -1, "expected a divisor of the width %lld, found %lld",
                         (long long)c->width, (long long)c->heads);
    pith_status s = classifier_add(n, p, err, "patch.weight", 4, c->width, c->patch, c->patch, c->channels);
    if (s == PITH_OK) s = classifier_add(n, p, err, "patch.bias", 1, c->width);
    if (s == PITH_OK) s = classifier_add(n, p, err, "position.weight", 2, patches_of(c), c->width);
    for (int64_t b = 0; b < c->blocks && s == PITH_OK; b++) {
        const struct {
            const char *part;
            int64_t rows, cols;
        } rows[] = {{"norm1", c->width, 0},        {"query", c->width, c->width},  {"key", c->width, c->width},
                    {"value", c->width, c->width}, {"output", c->width, c->width}, {"norm2", c->width, 0},
                    {"up", c->ffn, c->width},      {"down", c->width, c->ffn}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows && s == PITH_OK; i++) {
            char stem[64];
            snprintf(stem, sizeof stem, "block.%lld.%s", (long long)b, rows[i].part);
            s = add_pair(n, p, stem, rows[i].rows, rows[i].cols, err);
        }
    }
    if (s == PITH_OK) s = add_pair(n, p, "norm", c->width, 0, err);
    if (s == PITH_OK) s = add_pair(n, p, "head", c->classes, c->width, err);
    return s;
}

static var heads_of(classifier_walk *w, var x, int64_t batch) {
    const classifier_config *c = &w->n->config;
    return grad_reshape(w->t, walk_linear(w, x), 4, (int64_t[]){batch, patches_of(c), c->heads, c->width / c->heads});
}

static var block(tape *t, void *user, const var *in, int count) {
    (void)count;
    classifier_walk *w = user;
    const classifier_config *c = &w->n->config;
    int64_t batch = grad_value(t, in[0])->shape[0];
    var x = in[0], h = walk_layer_norm(w, x, epsilon);
    var q = heads_of(w, h, batch), k = heads_of(w, h, batch), v = heads_of(w, h, batch);
    h = grad_reshape(t, grad_attention(t, q, k, v, false, 0), 3, (int64_t[]){batch, patches_of(c), c->width});
    x = grad_add(t, x, walk_linear(w, h));
    return grad_add(t, x, walk_feed_forward(w, walk_layer_norm(w, x, epsilon)));
}

var vit_logits(classifier_walk *w, var x) {
    const classifier_config *c = &w->n->config;
    tape *t = w->t;
    int64_t batch = grad_value(t, x)->shape[0], patches = patches_of(c), stream[3] = {batch, patches, c->width};
    var kernel = walk_take(w), bias = walk_take(w);
    x = grad_reshape(t, grad_conv(t, x, kernel, bias, c->patch, 0, 1), 3, stream);
    x = grad_add(t, x, walk_take(w));
    for (int64_t b = 0; b < c->blocks; b++) x = walk_block(w, block, x);
    x = grad_reshape(t, grad_mean(t, walk_layer_norm(w, x, epsilon), 1, 1), 2, (int64_t[]){batch, c->width});
    return walk_linear(w, x);
}

double vit_flops(const classifier_config *c) {
    double n = (double)patches_of(c), d = (double)c->width;
    double block = n * (4 * d * d + 2 * d * (double)c->ffn) + 2 * n * n * d;
    return 2 *
           (n * (double)(c->patch * c->patch * c->channels) * d + block * (double)c->blocks + d * (double)c->classes);
}
