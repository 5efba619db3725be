/* net/mlp.c - linear layers with ReLU between. */
#include "net/classifier_parts.h"

#include <stdio.h>

static int64_t pixels(const classifier_config *c) { return c->height * c->wide * c->channels; }

pith_status mlp_open(classifier *n, grad_params *p, pith_error *err) {
    const classifier_config *c = &n->config;
    int64_t in = pixels(c);
    pith_status s = PITH_OK;
    for (int64_t i = 0; i <= c->blocks && s == PITH_OK; i++) {
        int64_t out = i == c->blocks ? c->classes : c->width;
        char name[64];
        snprintf(name, sizeof name, "layer.%lld.weight", (long long)i);
        s = classifier_add(n, p, err, name, 2, out, in);
        snprintf(name, sizeof name, "layer.%lld.bias", (long long)i);
        if (s == PITH_OK) s = classifier_add(n, p, err, name, 1, out);
        in = out;
    }
    return s;
}

var mlp_logits(classifier_walk *w, var x) {
    const classifier_config *c = &w->n->config;
    x = grad_reshape(w->t, x, 2, (int64_t[]){-1, pixels(c)});
    for (int64_t i = 0; i <= c->blocks; i++) {
        x = walk_linear(w, x);
        if (i < c->blocks) x = grad_relu(w->t, x);
    }
    return x;
}

double mlp_flops(const classifier_config *c) {
    double in = (double)pixels(c), macs = 0;
    for (int64_t i = 0; i <= c->blocks; i++) {
        double out = (double)(i == c->blocks ? c->classes : c->width);
        macs += in * out;
        in = out;
    }
    return 2 * macs;
}
