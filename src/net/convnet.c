/* net/convnet.c - residual convolutions (He et al., arXiv 1512.03385), small: a 5x5 stem and a pool, stages of
 * two-convolution blocks with batch norm, a pool and twice the channels between stages, the mean over positions, a
 * linear head. */
#include "net/classifier_parts.h"

#include <stdio.h>

static const float momentum = 0.1f, epsilon = 1e-5f;

static pith_status add_conv(classifier *n, grad_params *p, const char *stem, int64_t out, int64_t kernel, int64_t in,
                            pith_error *err) {
    static const char *const parts[] = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"};
    char name[96];
    snprintf(name, sizeof name, "%s.conv.weight", stem);
    pith_status s = classifier_add(n, p, err, name, 4, out, kernel, kernel, in);
    for (int i = 0; i < 4 && s == PITH_OK; i++) {
        snprintf(name, sizeof name, "%s.%s", stem, parts[i]);
        s = classifier_add(n, p, err, name, 1, out);
    }
    return s;
}

static var conv_norm(classifier_walk *w, var x, int64_t pad) {
    var kernel = walk_take(w);
    x = grad_conv(w->t, x, kernel, VAR_NONE, 1, pad, 1);
    var weight = walk_take(w), bias = walk_take(w), mean = walk_take(w), variance = walk_take(w);
    return grad_batch_norm(w->t, x, weight, bias, mean, variance, momentum, epsilon);
}

pith_status convnet_open(classifier *n, grad_params *p, pith_error *err) {
    const classifier_config *c = &n->config;
    int64_t smallest = (c->height < c->wide ? c->height : c->wide) >> c->stages;
    if (smallest < 1)
        return pith_fail(err, PITH_MISMATCH, "net.stages", -1, "expected fewer stages for pictures of %lldx%lld",
                         (long long)c->height, (long long)c->wide);
    pith_status s = add_conv(n, p, "stem", c->width, 5, c->channels, err);
    int64_t channels = c->width;
    for (int64_t stage = 0; stage < c->stages && s == PITH_OK; stage++) {
        char name[64];
        snprintf(name, sizeof name, "stage.%lld.widen", (long long)stage);
        if (stage > 0) s = add_conv(n, p, name, channels * 2, 3, channels, err);
        if (stage > 0) channels *= 2;
        for (int64_t b = 0; b < 2 * c->blocks && s == PITH_OK; b++) {
            snprintf(name, sizeof name, "stage.%lld.block.%lld.%lld", (long long)stage, (long long)b / 2,
                     (long long)b % 2);
            s = add_conv(n, p, name, channels, 3, channels, err);
        }
    }
    if (s == PITH_OK) s = classifier_add(n, p, err, "head.weight", 2, c->classes, channels);
    if (s == PITH_OK) s = classifier_add(n, p, err, "head.bias", 1, c->classes);
    return s;
}

var convnet_logits(classifier_walk *w, var x) {
    const classifier_config *c = &w->n->config;
    tape *t = w->t;
    x = grad_max_pool(t, grad_relu(t, conv_norm(w, x, 2)), 2, 2, 0);
    for (int64_t stage = 0; stage < c->stages; stage++) {
        if (stage > 0) x = grad_max_pool(t, grad_relu(t, conv_norm(w, x, 1)), 2, 2, 0);
        for (int64_t b = 0; b < c->blocks; b++) {
            var y = grad_relu(t, conv_norm(w, x, 1));
            x = grad_relu(t, grad_add(t, x, conv_norm(w, y, 1)));
        }
    }
    x = grad_mean(t, x, 1, 2);
    const pith_tensor *shape = grad_value(t, x);
    x = grad_reshape(t, x, 2, (int64_t[]){shape->shape[0], -1});
    return walk_linear(w, x);
}

double convnet_flops(const classifier_config *c) {
    double h = (double)c->height, w = (double)c->wide, channels = (double)c->width,
           macs = h * w * 25 * (double)c->channels * channels;
    for (int64_t stage = 0; stage < c->stages; stage++) {
        if (stage > 0) macs += (double)((int64_t)h / 2 * ((int64_t)w / 2)) * 9 * channels * channels * 2;
        h = (double)((int64_t)h / 2), w = (double)((int64_t)w / 2);
        if (stage > 0) channels *= 2;
        macs += h * w * 9 * channels * channels * 2 * (double)c->blocks;
    }
    return 2 * (macs + channels * (double)c->classes);
}
