/* net/classifier_parts.h - between classifier.c and the kinds; no one else includes it.
 *
 * A kind adds its parameters in the order in which it uses them, and takes them in the same order when it runs. */
#ifndef NET_CLASSIFIER_PARTS_H
#define NET_CLASSIFIER_PARTS_H

#include "net/classifier.h"

typedef struct classifier_walk {
    const classifier *n;
    tape *t;
    int next;
} classifier_walk;

static inline var walk_take(classifier_walk *w) { return grad_parameter(w->t, w->n->id[w->next++]); }

static inline var walk_linear(classifier_walk *w, var x) {
    var weight = walk_take(w), bias = walk_take(w);
    return grad_linear(w->t, x, weight, bias);
}

static inline var walk_feed_forward(classifier_walk *w, var x) {
    var wb[4];
    for (int i = 0; i < 4; i++) wb[i] = walk_take(w);
    return grad_mlp(w->t, x, 2, wb, UNARY_GELU_TANH, 0);
}

static inline var walk_layer_norm(classifier_walk *w, var x, float epsilon) {
    var weight = walk_take(w), bias = walk_take(w);
    return grad_layer_norm(w->t, x, weight, bias, epsilon);
}

/* Runs `block`, whose user is the walk, on x; keeps nothing inside it when the network recomputes. */
static inline var walk_block(classifier_walk *w, grad_fn block, var x) {
    return w->n->recompute ? grad_recompute(w->t, block, w, sizeof *w, &x, 1) : block(w->t, w, &x, 1);
}

/* Sizes are int64_t arguments, `rank` of them. */
pith_status classifier_add(classifier *n, grad_params *p, pith_error *err, const char *name, int rank, ...);

pith_status convnet_open(classifier *n, grad_params *p, pith_error *err);
var convnet_logits(classifier_walk *w, var x);
double convnet_flops(const classifier_config *c);
pith_status vit_open(classifier *n, grad_params *p, pith_error *err);
var vit_logits(classifier_walk *w, var x);
double vit_flops(const classifier_config *c);
pith_status convnext_open(classifier *n, grad_params *p, pith_error *err);
var convnext_logits(classifier_walk *w, var x);
double convnext_flops(const classifier_config *c);
pith_status mlp_open(classifier *n, grad_params *p, pith_error *err);
var mlp_logits(classifier_walk *w, var x);
double mlp_flops(const classifier_config *c);

#endif
