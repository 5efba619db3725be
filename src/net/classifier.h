/* net/classifier.h - networks from pictures to classes: residual convolutions, ConvNeXt, a vision transformer, a
 * plain perceptron.
 *
 * One configuration struct; the parameters' names are fixed, so that a saved file and a configuration are enough to
 * run. */
#ifndef NET_CLASSIFIER_H
#define NET_CLASSIFIER_H

#include "grad/ops.h"

typedef enum classifier_kind {
    CLASSIFIER_CONVNET,
    CLASSIFIER_VIT,
    CLASSIFIER_MLP,
    CLASSIFIER_CONVNEXT,
    CLASSIFIER_KINDS
} classifier_kind;

typedef struct classifier_config {
    classifier_kind kind;
    int64_t height, wide, channels, classes; /* of the pictures */
    int64_t width,
        blocks;         /* convnet, convnext: channels of the first stage, blocks a stage; vit: stream; mlp: layers */
    int64_t stages;     /* convnet, convnext */
    int64_t heads, ffn; /* vit */
    int64_t patch;      /* vit, convnext */
} classifier_config;

typedef struct classifier_size { /* a field of classifier_config, as files and recipes name it */
    const char *name;
    size_t offset;
    unsigned kinds;    /* bits 1 << kind: who has it from a recipe; 0: all, from the data */
    int64_t low, high; /* allowed */
} classifier_size;

extern const classifier_size classifier_sizes[]; /* ends with name NULL */
static inline int64_t *classifier_size_of(classifier_config *c, const classifier_size *s) {
    return (int64_t *)((char *)c + s->offset);
}
bool classifier_can_recompute(classifier_kind kind); /* blocks without running statistics can */

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
