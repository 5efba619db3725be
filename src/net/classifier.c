/* net/classifier.c - what the kinds share: adding parameters in order, first weights by name, the choice between them.
 */
#include "net/classifier_parts.h"

#include "net/start.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    pith_status (*open)(classifier *n, grad_params *p, pith_error *err);
    var (*logits)(classifier_walk *w, var x);
    double (*flops)(const classifier_config *c);
} kinds[CLASSIFIER_KINDS] = {
    [CLASSIFIER_CONVNET] = {"convnet", convnet_open, convnet_logits, convnet_flops},
    [CLASSIFIER_VIT] = {"vit", vit_open, vit_logits, vit_flops},
    [CLASSIFIER_MLP] = {"mlp", mlp_open, mlp_logits, mlp_flops},
};

const char *classifier_kind_name(classifier_kind kind) { return kinds[kind].name; }

int classifier_kind_by_name(const char *name) {
    for (int i = 0; i < CLASSIFIER_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0) return i;
    return -1;
}

pith_status classifier_add(classifier *n, grad_params *p, pith_error *err, const char *name, int rank, ...) {
    int64_t shape[PITH_MAX_RANK];
    va_list sizes;
    va_start(sizes, rank);
    for (int i = 0; i < rank; i++) shape[i] = va_arg(sizes, int64_t);
    va_end(sizes);
    if (n->count == CLASSIFIER_PARAMETERS)
        return pith_fail(err, PITH_LIMIT, "net", -1, "expected at most %d parameters", CLASSIFIER_PARAMETERS);
    pith_status s = params_add(p, name, rank, shape, rank == 1, &n->id[n->count], err);
    if (s != PITH_OK) return s;
    bool running = strstr(name, "running_") != NULL;
    p->list[n->id[n->count]].frozen = running;
    n->count++;
    return PITH_OK;
}

pith_status classifier_open(classifier *n, const classifier_config *c, grad_params *p, pith_error *err) {
    memset(n, 0, sizeof *n);
    n->config = *c;
    if (c->height < 1 || c->wide < 1 || c->channels < 1 || c->classes < 2)
        return pith_fail(err, PITH_MISMATCH, "net", -1,
                         "expected pictures and at least two classes, found %lldx%lldx%lld and %lld",
                         (long long)c->height, (long long)c->wide, (long long)c->channels, (long long)c->classes);
    return kinds[c->kind].open(n, p, err);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

void classifier_start(const classifier *n, grad_params *p, uint64_t seed) {
    for (int i = 0; i < n->count; i++) {
        const char *name = p->list[n->id[i]].name;
        bool vector = p->list[n->id[i]].value.rank == 1;
        if (ends_with(name, "position.weight")) start_normal(p, n->id[i], 0.02f, seed);
        else if (!vector) start_scaled(p, n->id[i], n->config.kind == CLASSIFIER_VIT ? 1 : 2, seed);
        else start_fill(p, n->id[i], ends_with(name, ".weight") || ends_with(name, "running_var") ? 1 : 0);
    }
}

var classifier_logits(const classifier *n, tape *t, var x) {
    classifier_walk w = {.n = n, .t = t};
    return kinds[n->config.kind].logits(&w, x);
}

double classifier_flops(const classifier_config *c) { return kinds[c->kind].flops(c); }
