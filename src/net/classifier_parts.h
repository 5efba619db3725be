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

/* Sizes are int64_t arguments, `rank` of them. */
pith_status classifier_add(classifier *n, grad_params *p, pith_error *err, const char *name, int rank, ...);

pith_status convnet_open(classifier *n, grad_params *p, pith_error *err);
var convnet_logits(classifier_walk *w, var x);
double convnet_flops(const classifier_config *c);
pith_status vit_open(classifier *n, grad_params *p, pith_error *err);
var vit_logits(classifier_walk *w, var x);
double vit_flops(const classifier_config *c);
pith_status mlp_open(classifier *n, grad_params *p, pith_error *err);
var mlp_logits(classifier_walk *w, var x);
double mlp_flops(const classifier_config *c);

#endif
