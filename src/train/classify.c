/* train/classify.c - the task of naming what a picture shows: labeled pictures, small random distortions, a classifier.
 */
#include "train/task.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "train/classifier_file.h"
#include "train/labeled.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct classify {
    const pith_values *v;
    classifier net;
    labeled data;
    int64_t batch, size;                 /* bytes of a picture */
    uint8_t *drawn, *distorted, *labels; /* of a batch */
} classify;

static void classify_close(void *self) {
    classify *k = self;
    if (!k) return;
    labeled_close(&k->data);
    memory_free(k->drawn);
    memory_free(k->distorted);
    memory_free(k->labels);
    memory_free(k);
}

static void read_sizes(const pith_values *v, classifier_config *c) {
    for (const classifier_size *s = classifier_sizes; s->name; s++) {
        char key[32];
        snprintf(key, sizeof key, "net.%s", s->name);
        if (s->kinds >> c->kind & 1) *classifier_size_of(c, s) = pith_value_int(v, key);
    }
}

static pith_status classify_open(void **self, const recipe *r, const pith_context *c, bool dry_run, grad_params *p,
                                 pith_error *err) {
    (void)dry_run; /* reading pictures takes a second; their shape is needed */
    classify *k = memory_zero(1, sizeof *k);
    if (!k) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    *self = k;
    k->v = recipe_values(r);
    k->batch = pith_value_int(k->v, "batch");
    int kind = classifier_kind_by_name(pith_value_text(k->v, "net.kind"));
    if (kind < 0)
        return recipe_fail(r, err, PITH_USAGE, "net.kind", "the task classify expected convnet, convnext, vit or mlp");
    classifier_config config = {.kind = (classifier_kind)kind};
    read_sizes(k->v, &config);
    bool recompute = pith_value_flag(k->v, "recompute");
    if (recompute && !classifier_can_recompute(config.kind))
        return recipe_fail(r, err, PITH_UNSUPPORTED, "recompute", "expected false: a %s's blocks cannot be recomputed",
                           classifier_kind_name(config.kind));
    pith_status s = labeled_open(&k->data, r, c, err);
    pith_error inner = {0};
    config.height = k->data.height, config.wide = k->data.wide;
    config.channels = k->data.channels, config.classes = k->data.classes;
    if (s == PITH_OK && (s = classifier_open(&k->net, &config, p, &inner)) != PITH_OK)
        s = recipe_fail(r, err, s, inner.where, "%s", inner.text);
    if (s != PITH_OK) return s;
    k->net.recompute = recompute;
    k->size = config.height * config.wide * config.channels;
    k->drawn = memory_alloc((size_t)(k->batch * k->size));
    k->distorted = memory_alloc((size_t)(k->batch * k->size));
    k->labels = memory_alloc((size_t)k->batch);
    if (!k->drawn || !k->distorted || !k->labels) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return PITH_OK;
}

static void classify_start(void *self, grad_params *p, uint64_t seed) {
    classify *k = self;
    classifier_start(&k->net, p, seed);
}

/* --- samples ---------------------------------------------------------------------------------------------------------
 */

typedef struct distortion { /* output pixel (x, y) comes from input (a x + b y + c, d x + e y + f) */
    float a, b, c, d, e, f;
} distortion;

static distortion draw_distortion(const classify *k, rng *r) {
    const classifier_config *n = &k->net.config;
    float shift = (float)pith_value_int(k->v, "data.shift"), turn = (float)pith_value_real(k->v, "data.rotate"),
          size = (float)pith_value_real(k->v, "data.scale");
    float dx = shift * (2 * rng_float(r) - 1), dy = shift * (2 * rng_float(r) - 1),
          angle = turn * (2 * rng_float(r) - 1) * 0.017453293f;
    float scale = 1 + size * (2 * rng_float(r) - 1),
          flip = pith_value_flag(k->v, "data.flip") && rng_float(r) < 0.5f ? -1.0f : 1.0f;
    float co = cosf(angle) / scale, si = sinf(angle) / scale, cx = (float)(n->wide - 1) / 2,
          cy = (float)(n->height - 1) / 2;
    distortion m = {.a = co * flip, .b = si * flip, .d = -si, .e = co};
    m.c = cx - m.a * (cx + dx) - m.b * (cy + dy);
    m.f = cy - m.d * (cx + dx) - m.e * (cy + dy);
    return m;
}

static void distort(const classify *k, const distortion *m, const uint8_t *in, uint8_t *out) {
    const classifier_config *n = &k->net.config;
    int64_t h = n->height, w = n->wide, c = n->channels;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            float u = m->a * (float)x + m->b * (float)y + m->c, v = m->d * (float)x + m->e * (float)y + m->f;
            int64_t x0 = (int64_t)floorf(u), y0 = (int64_t)floorf(v);
            float p = u - (float)x0, q = v - (float)y0;
            for (int64_t ch = 0; ch < c; ch++) {
                float sum = 0;
                for (int i = 0; i < 4; i++) {
                    int64_t xi = x0 + (i & 1), yi = y0 + i / 2;
                    if (xi < 0 || yi < 0 || xi >= w || yi >= h) continue; /* outside is 0 */
                    sum += (i & 1 ? p : 1 - p) * (i / 2 ? q : 1 - q) * (float)in[(yi * w + xi) * c + ch];
                }
                out[(y * w + x) * c + ch] = (uint8_t)(sum + 0.5f);
            }
        }
}

typedef struct distort_job {
    classify *k;
    uint64_t seed;
    int64_t first;
} distort_job;

static void distort_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const distort_job *j = user;
    classify *k = j->k;
    for (int64_t i = begin; i < end; i++) {
        rng r = rng_new(j->seed, 0x64697374u ^ (uint64_t)(j->first + i) << 8);
        distortion m = draw_distortion(k, &r);
        distort(k, &m, k->drawn + i * k->size, k->distorted + i * k->size);
    }
}

static var classify_loss(void *self, tape *t, uint64_t seed, int64_t step, int64_t part) {
    classify *k = self;
    int64_t first = (step * pith_value_int(k->v, "accumulate") + part) * k->batch;
    pith_error err = {0};
    if (labeled_batch(&k->data, seed, first, k->drawn, k->labels, &err) != PITH_OK) {
        tape_fail(t, err.status, err.where, err.text);
        return VAR_FAILED;
    }
    pith_tensor y;
    uint64_t bytes;
    pith_tensor_layout(&y, PITH_I32, 1, &k->batch, &bytes, NULL);
    int32_t *labels = y.data = tape_alloc(t, bytes);
    if (!labels) return VAR_FAILED;
    for (int64_t i = 0; i < k->batch; i++) labels[i] = k->labels[i];
    parallel_for(k->batch, 8, distort_rows, &(distort_job){.k = k, .seed = seed, .first = first});
    var logits = classifier_logits(&k->net, t, classifier_input(&k->net, t, k->distorted, k->batch));
    return grad_cross_entropy(t, logits, grad_constant(t, &y), -1, (float)pith_value_real(k->v, "label_smoothing"));
}

static pith_status classify_evaluate(void *self, tape *t, train_score *out, pith_error *err) {
    classify *k = self;
    out->metric = "accuracy";
    return classifier_accuracy(&k->net, t, k->data.held_pictures, k->data.held_labels, k->data.held, &out->value,
                               &out->loss, err);
}

static pith_status classify_save(void *self, const grad_params *p, const char *dir, pith_error *err) {
    classify *k = self;
    char path[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    return classifier_write(path, &k->net, p, err);
}

static train_cost classify_cost(const void *self) {
    const classify *k = self;
    return (train_cost){.flops = 3 * (double)k->batch * classifier_flops(&k->net.config),
                        .samples = (double)k->batch,
                        .unit = "pictures"};
}

const train_task train_classify = {"classify",    classify_open,     classify_close, classify_start,
                                   classify_loss, classify_evaluate, classify_save,  classify_cost};
