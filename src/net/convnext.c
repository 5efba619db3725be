/* net/convnext.c - ConvNeXt (Liu et al., arXiv 2201.03545): a stem that cuts patches, stages of blocks (7x7 depthwise,
 * layer norm, four times the width and back, a learned scale a channel, the residual), halving and twice the channels
 * between stages, the mean over positions, a linear head.
 *
 * Differs from the paper in where the scales start: at 0.1 instead of 1e-6, since runs here are short; and in
 * stochastic depth, which is left out. */
#include "net/classifier_parts.h"

#include <stdio.h>

static const float epsilon = 1e-6f;

static pith_status add_pair(classifier *n, grad_params *p, const char *stem, const char *part, int rank,
                            const int64_t *shape, pith_error *err) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s.weight", stem, part);
    pith_status s = rank == 1   ? classifier_add(n, p, err, name, 1, shape[0])
                    : rank == 2 ? classifier_add(n, p, err, name, 2, shape[0], shape[1])
                                : classifier_add(n, p, err, name, 4, shape[0], shape[1], shape[2], shape[3]);
    snprintf(name, sizeof name, "%s.%s.bias", stem, part);
    return s == PITH_OK ? classifier_add(n, p, err, name, 1, shape[0]) : s;
}

static pith_status add_block(classifier *n, grad_params *p, const char *stem, int64_t width, pith_error *err) {
    const struct {
        const char *part;
        int rank;
        int64_t shape[4];
    } rows[] = {{"depthwise", 4, {width, 7, 7, 1}},
                {"norm", 1, {width}},
                {"up", 2, {4 * width, width}},
                {"down", 2, {width, 4 * width}}};
    pith_status s = PITH_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && s == PITH_OK; i++)
        s = add_pair(n, p, stem, rows[i].part, rows[i].rank, rows[i].shape, err);
    char name[96];
    snprintf(name, sizeof name, "%s.scale", stem);
    return s == PITH_OK ? classifier_add(n, p, err, name, 1, width) : s;
}

pith_status convnext_open(classifier *n, grad_params *p, pith_error *err) {
    const classifier_config *c = &n->config;
    int64_t patch = c->patch, width = c->width,
            smallest = (c->height < c->wide ? c->height : c->wide) / patch >> (c->stages - 1);
    if (smallest < 1)
        return pith_fail(err, PITH_MISMATCH, "net.stages", -1,
                         "expected fewer stages, or smaller patches, for pictures of %lldx%lld", (long long)c->height,
                         (long long)c->wide);
    pith_status s = add_pair(n, p, "stem", "patch", 4, (int64_t[]){width, patch, patch, c->channels}, err);
    if (s == PITH_OK) s = add_pair(n, p, "stem", "norm", 1, &width, err);
    for (int64_t stage = 0; stage < c->stages && s == PITH_OK; stage++) {
        char stem[64];
        snprintf(stem, sizeof stem, "stage.%lld.halve", (long long)stage);
        if (stage > 0) s = add_pair(n, p, stem, "norm", 1, &width, err);
        if (stage > 0 && s == PITH_OK) s = add_pair(n, p, stem, "conv", 4, (int64_t[]){2 * width, 2, 2, width}, err);
        if (stage > 0) width *= 2;
        for (int64_t b = 0; b < c->blocks && s == PITH_OK; b++) {
            snprintf(stem, sizeof stem, "stage.%lld.block.%lld", (long long)stage, (long long)b);
            s = add_block(n, p, stem, width, err);
        }
    }
    if (s == PITH_OK) s = add_pair(n, p, "head", "norm", 1, &width, err);
    if (s == PITH_OK) s = add_pair(n, p, "head", "linear", 2, (int64_t[]){c->classes, width}, err);
    return s;
}

static var block(tape *t, void *user, const var *in, int count) {
    (void)count;
    classifier_walk *w = user;
    var kernel = walk_take(w), bias = walk_take(w);
    var x = grad_conv(t, in[0], kernel, bias, 1, 3, grad_value(t, in[0])->shape[3]);
    x = walk_feed_forward(w, walk_layer_norm(w, x, epsilon));
    return grad_add(t, in[0], grad_mul(t, x, walk_take(w)));
}

static var patches(classifier_walk *w, var x, int64_t size) {
    var kernel = walk_take(w), bias = walk_take(w);
    return grad_conv(w->t, x, kernel, bias, size, 0, 1);
}

var convnext_logits(classifier_walk *w, var x) {
    const classifier_config *c = &w->n->config;
    x = walk_layer_norm(w, patches(w, x, c->patch), epsilon);
    for (int64_t stage = 0; stage < c->stages; stage++) {
        if (stage > 0) x = patches(w, walk_layer_norm(w, x, epsilon), 2);
        for (int64_t b = 0; b < c->blocks; b++) x = walk_block(w, block, x);
    }
    x = grad_mean(w->t, x, 1, 2);
    x = grad_reshape(w->t, x, 2, (int64_t[]){grad_value(w->t, x)->shape[0], -1});
    return walk_linear(w, walk_layer_norm(w, x, epsilon));
}

double convnext_flops(const classifier_config *c) {
    int64_t h = c->height / c->patch, wide = c->wide / c->patch;
    double width = (double)c->width, macs = (double)(h * wide) * (double)(c->patch * c->patch * c->channels) * width;
    for (int64_t stage = 0; stage < c->stages; stage++) {
        if (stage > 0) {
            h /= 2, wide /= 2;
            macs += (double)(h * wide) * 4 * width * width * 2;
            width *= 2;
        }
        macs += (double)(h * wide) * (49 * width + 8 * width * width) * (double)c->blocks;
    }
    return 2 * (macs + width * (double)c->classes);
}
