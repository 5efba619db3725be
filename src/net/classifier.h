/* net/classifier.h - networks from pictures to classes: residual convolutions, a vision transformer, a plain
 * perceptron.
 *
 * One configuration struct; the parameters' names are fixed, so that a saved file and a configuration are enough to
 * run. */
#ifndef NET_CLASSIFIER_H
#define NET_CLASSIFIER_H

#include "grad/ops.h"

typedef enum classifier_kind { CLASSIFIER_CONVNET, CLASSIFIER_VIT, CLASSIFIER_MLP, CLASSIFIER_KINDS } classifier_kind;

typedef struct classifier_config {
    classifier_kind kind;
    int64_t height, wide, channels, classes; /* of the pictures */
    int64_t width, blocks;     /* convnet: channels of the first stage, blocks a stage; vit: stream; mlp: layers */
    int64_t stages;            /* convnet */
    int64_t heads, ffn, patch; /* vit */
} classifier_config;

enum { CLASSIFIER_PARAMETERS = 512 };

typedef struct classifier {
    classifier_config config;
    bool recompute;
    int id[CLASSIFIER_PARAMETERS]; /* in the order in which the network uses them */
    int count;
} classifier;

const char *classifier_kind_name(classifier_kind kind); /* "convnet" ... */
int classifier_kind_by_name(const char *name);          /* -1 */

/* Adds the parameters (matrices group 0, vectors group 1, running statistics frozen). PITH_MISMATCH names what does not
 * fit. */
pith_status classifier_open(classifier *n, const classifier_config *c, grad_params *p, pith_error *err);
void classifier_start(const classifier *n, grad_params *p, uint64_t seed);
/* x (batch, height, wide, channels) -> logits (batch, classes). */
var classifier_logits(const classifier *n, tape *t, var x);
double classifier_flops(const classifier_config *c); /* matrix and convolution FLOPs of one picture, forward */

#endif
