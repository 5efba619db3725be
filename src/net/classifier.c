/* net/classifier.c - what the kinds share: adding parameters in order, first weights by name, the choice between them.
 */
#include "net/classifier_parts.h"

#include "net/start.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    pith_status (*open)(classifier *n, grad_params *p, pith_error *err);
    var (*logits)(classifier_walk *w, var x);
    double (*flops)(const classifier_config *c);
    bool recompute;
} kinds[CLASSIFIER_KINDS] = {
    [CLASSIFIER_CONVNET] = {"convnet", convnet_open, convnet_logits, convnet_flops, false},
    [CLASSIFIER_VIT] = {"vit", vit_open, vit_logits, vit_flops, true},
    [CLASSIFIER_CONVNEXT] = {"convnext", convnext_open, convnext_logits, convnext_flops, true},
    [CLASSIFIER_MLP] = {"mlp", mlp_open, mlp_logits, mlp_flops, false},
};

enum {
    CONVNET = 1 << CLASSIFIER_CONVNET,
    CONVNEXT = 1 << CLASSIFIER_CONVNEXT,
    VIT = 1 << CLASSIFIER_VIT,
    ALL = (1 << CLASSIFIER_KINDS) - 1,
    MOST = 1 << 24
};
#define SIZE(name, kinds, low, high) \
    { #name, offsetof(classifier_config, name), kinds, low, high }
const classifier_size classifier_sizes[] = {SIZE(height, 0, 1, MOST),
                                            SIZE(wide, 0, 1, MOST),
                                            SIZE(channels, 0, 1, MOST),
                                            SIZE(classes, 0, 2, MOST),
                                            SIZE(width, ALL, 1, MOST),
                                            SIZE(blocks, ALL, 0, 999),
                                            SIZE(stages, CONVNET | CONVNEXT, 1, 31),
                                            SIZE(heads, VIT, 1, MOST),
                                            SIZE(ffn, VIT, 1, MOST),
                                            SIZE(patch, VIT | CONVNEXT, 1, MOST),
                                            {0}};

bool classifier_can_recompute(classifier_kind kind) { return kinds[kind].recompute; }

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

/* Nothing later divides by zero or shifts too far. */
static pith_status check(classifier_config *c, pith_error *err) {
    for (const classifier_size *s = classifier_sizes; s->name; s++) {
        int64_t found = *classifier_size_of(c, s);
        if (s->kinds && !(s->kinds >> c->kind & 1)) continue;
        if (found < s->low || found > s->high)
            return pith_fail(err, PITH_MISMATCH, "net", -1, "%s: expected %lld to %lld, found %lld", s->name,
                             (long long)s->low, (long long)s->high, (long long)found);
    }
    return PITH_OK;
}

pith_status classifier_open(classifier *n, const classifier_config *c, grad_params *p, pith_error *err) {
    memset(n, 0, sizeof *n);
    n->config = *c;
    pith_status s = check(&n->config, err);
    return s == PITH_OK ? kinds[c->kind].open(n, p, err) : s;
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
        else if (ends_with(name, ".scale")) start_fill(p, n->id[i], 0.1f);
        else start_fill(p, n->id[i], ends_with(name, ".weight") || ends_with(name, "running_var") ? 1 : 0);
    }
}

var classifier_logits(const classifier *n, tape *t, var x) {
    classifier_walk w = {.n = n, .t = t};
    return kinds[n->config.kind].logits(&w, x);
}

double classifier_flops(const classifier_config *c) { return kinds[c->kind].flops(c); }
