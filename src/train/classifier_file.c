/* train/classifier_file.c - saving, loading and judging classifiers. */
#include "train/classifier_file.h"

#include "base/memory.h"
#include "file/safetensors.h"
#include "train/weights_file.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char metadata_key[] = "pith.classifier";

static json_t *config_json(classifier_config *c) {
    json_t *o = json_pack("{s:s}", "kind", classifier_kind_name(c->kind));
    for (const classifier_size *s = classifier_sizes; o && s->name; s++)
        json_object_set_new(o, s->name, json_integer(*classifier_size_of(c, s)));
    return o;
}

/* {"pith.classifier": "{...}"}: metadata values are strings by the format. */
static char *metadata_text(classifier_config c) {
    json_t *config = config_json(&c), *outer = NULL;
    char *inner = config ? json_dumps(config, JSON_COMPACT) : NULL, *text = NULL;
    if (inner && (outer = json_pack("{s:s}", metadata_key, inner))) text = json_dumps(outer, JSON_COMPACT);
    json_decref(config);
    json_decref(outer);
    memory_free(inner);
    return text;
}

pith_status classifier_write(const char *path, const classifier *n, const grad_params *p, pith_error *err) {
    char *metadata = metadata_text(n->config);
    if (!metadata) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = weights_write(path, p, NULL, metadata, err);
    memory_free(metadata);
    return s;
}

/* Ranges are checked when the network is opened. */
static bool read_sizes(const json_t *o, classifier_config *c) {
    for (const classifier_size *s = classifier_sizes; s->name; s++) {
        const json_t *v = json_object_get(o, s->name);
        if (!json_is_integer(v)) return false;
        *classifier_size_of(c, s) = json_integer_value(v);
    }
    return true;
}

static pith_status read_config(classifier_config *c, const safetensors *st, const char *path, pith_error *err) {
    json_t *root = json_loadb((const char *)st->header.data, st->header.size, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(root, "__metadata__"), metadata_key));
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    const char *kind = json_string_value(json_object_get(o, "kind"));
    int k = kind ? classifier_kind_by_name(kind) : -1;
    bool whole = k >= 0 && read_sizes(o, c);
    if (whole) c->kind = (classifier_kind)k;
    json_decref(o);
    json_decref(root);
    return whole ? PITH_OK
                 : pith_fail(err, PITH_UNSUPPORTED, path, -1, "expected a classifier trained by pith (metadata \"%s\")",
                             metadata_key);
}

static pith_status read_weights(grad_params *p, const safetensors *st, const char *path, pith_error *err) {
    for (int i = 0; i < p->n; i++) {
        const grad_param *g = &p->list[i];
        int64_t at = safetensors_find(st, g->name);
        if (at < 0) return pith_fail(err, PITH_MISMATCH, path, -1, "expected a tensor %s", g->name);
        const pith_tensor *t = &st->entries[at].layout;
        if (t->rank != g->value.rank || memcmp(t->shape, g->value.shape, (size_t)t->rank * sizeof *t->shape) != 0)
            return pith_fail(err, PITH_MISMATCH, path, -1, "tensor %s has another shape than its configuration says",
                             g->name);
        pith_tensor view;
        pith_status s = safetensors_load(st, (size_t)at, &view, err);
        if (s != PITH_OK) return s;
        bool plain = pith_to_f32(view.type, view.data, (int64_t)g->count, p->weights + g->offset);
        pith_tensor_release(&view);
        if (!plain) return pith_fail(err, PITH_UNSUPPORTED, path, -1, "tensor %s: expected a plain type", g->name);
    }
    params_changed(p);
    return PITH_OK;
}

pith_status classifier_read(classifier_model *m, const char *path, pith_error *err) {
    memset(m, 0, sizeof *m);
    params_init(&m->params);
    safetensors st;
    classifier_config c = {0};
    pith_status s = safetensors_open(&st, path, err);
    if (s != PITH_OK) return s;
    s = read_config(&c, &st, path, err);
    if (s == PITH_OK) s = classifier_open(&m->net, &c, &m->params, err);
    if (s == PITH_OK) s = params_commit(&m->params, false, 0, err);
    if (s == PITH_OK) s = read_weights(&m->params, &st, path, err);
    safetensors_close(&st);
    if (s != PITH_OK) classifier_model_close(m);
    return s;
}

void classifier_model_close(classifier_model *m) {
    params_free(&m->params);
    memset(m, 0, sizeof *m);
}

var classifier_input(const classifier *n, tape *t, const uint8_t *pictures, int64_t batch) {
    const classifier_config *c = &n->config;
    pith_tensor x;
    uint64_t bytes;
    pith_tensor_layout(&x, PITH_F32, 4, (int64_t[]){batch, c->height, c->wide, c->channels}, &bytes, NULL);
    float *data = x.data = tape_alloc(t, bytes);
    if (!data) return VAR_FAILED;
    for (uint64_t i = 0; i < bytes / sizeof(float); i++) data[i] = (float)pictures[i] / 127.5f - 1.0f;
    return grad_constant(t, &x);
}

static var label_var(tape *t, const uint8_t *labels, int64_t batch) {
    pith_tensor y;
    uint64_t bytes;
    pith_tensor_layout(&y, PITH_I32, 1, &batch, &bytes, NULL);
    int32_t *data = y.data = tape_alloc(t, bytes);
    if (!data) return VAR_FAILED;
    for (int64_t i = 0; i < batch; i++) data[i] = labels[i];
    return grad_constant(t, &y);
}

static int64_t count_right(const float *logits, const uint8_t *labels, int64_t batch, int64_t classes) {
    int64_t right = 0;
    for (int64_t i = 0; i < batch; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < classes; k++)
            if (logits[i * classes + k] > logits[i * classes + best]) best = k;
        right += best == labels[i];
    }
    return right;
}

pith_status classifier_accuracy(const classifier *n, tape *t, const uint8_t *pictures, const uint8_t *labels,
                                int64_t count, double *accuracy, double *loss, pith_error *err) {
    enum { BATCH = 250 };
    const classifier_config *c = &n->config;
    int64_t size = c->height * c->wide * c->channels, right = 0;
    double sum = 0;
    bool was = tape_no_grad(t, true);
    pith_status s = PITH_OK;
    for (int64_t first = 0; first < count && s == PITH_OK; first += BATCH) {
        int64_t batch = count - first < BATCH ? count - first : BATCH;
        tape_begin(t, 0, 0);
        var logits = classifier_logits(n, t, classifier_input(n, t, pictures + first * size, batch));
        if (loss)
            sum += (double)grad_scalar(t, grad_cross_entropy(t, logits, label_var(t, labels + first, batch), -1, 0)) *
                   (double)batch;
        s = tape_status(t, err);
        if (s == PITH_OK) right += count_right(grad_value(t, logits)->data, labels + first, batch, c->classes);
    }
    tape_no_grad(t, was);
    *accuracy = count ? (double)right / (double)count : 0;
    if (loss) *loss = count ? sum / (double)count : 0;
    return s;
}
