/* train/classify.c - the task of naming what a picture shows: IDX pictures and labels, small random distortions, a
 * classifier.
 *
 * data.files is pictures then labels, pairs of them. The last data.held_out of all pictures is kept for evaluation. */
#include "train/task.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "file/idx.h"
#include "train/classifier_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct classify {
    const pith_values *v;
    classifier net;
    pith_tensor pictures, labels; /* u8 (n, h, w[, c]) and (n) */
    int64_t batch, trained, count, size;
    uint8_t *distorted; /* [batch][size] */
    uint32_t *order;    /* of the training pictures in epoch `epoch` */
    int64_t epoch;
    uint64_t order_seed;
} classify;

static void classify_close(void *self) {
    classify *k = self;
    if (!k) return;
    pith_tensor_release(&k->pictures);
    pith_tensor_release(&k->labels);
    memory_free(k->distorted);
    memory_free(k->order);
    memory_free(k);
}

static pith_status check_hash(const recipe *r, const char *path, size_t i, pith_error *err) {
    const char *expected = pith_value_item(recipe_values(r), "data.hashes", i);
    if (!expected) return PITH_OK;
    pith_buffer *b;
    pith_status s = pith_buffer_map(&b, path, err);
    if (s != PITH_OK) return s;
    char found[24];
    snprintf(found, sizeof found, "%016llx", (unsigned long long)hash_bytes(pith_buffer_data(b), pith_buffer_size(b)));
    pith_buffer_release(b);
    if (strcmp(expected, found) == 0) return PITH_OK;
    return recipe_fail(r, err, PITH_MISMATCH, "data.hashes",
                       "%s: expected the hash %s, found %s: the file is another one", path, expected, found);
}

static pith_status read_one(const recipe *r, const pith_context *c, size_t i, pith_tensor *out, pith_error *err) {
    const char *name = pith_value_item(recipe_values(r), "data.files", i), *root = getenv("PITH_DATA");
    char path[4096];
    if (name[0] == '/') snprintf(path, sizeof path, "%s", name);
    else if (root && *root) snprintf(path, sizeof path, "%s/%s", root, name);
    else
        return recipe_fail(r, err, PITH_NOT_FOUND, "data.files",
                           "%s: expected the environment's PITH_DATA to name the folder of data sets (see pith data)",
                           name);
    pith_error inner = {0};
    pith_status s = idx_read(path, c, out, &inner);
    if (s == PITH_OK && out->type != PITH_U8)
        s = pith_fail(&inner, PITH_UNSUPPORTED, NULL, -1, "expected unsigned bytes");
    if (s != PITH_OK) return recipe_fail(r, err, s, "data.files", "%s: %s", path, inner.text);
    return check_hash(r, path, i, err);
}

static pith_status read_pictures(classify *k, const recipe *r, const pith_context *c, classifier_config *config,
                                 pith_error *err) {
    size_t n = pith_value_count(k->v, "data.files"), hashes = pith_value_count(k->v, "data.hashes");
    if (n != 2)
        return recipe_fail(r, err, PITH_USAGE, "data.files", "expected two IDX files, pictures and labels, found %zu",
                           n);
    if (hashes && hashes != n)
        return recipe_fail(r, err, PITH_USAGE, "data.hashes", "expected %zu hashes, one a file, found %zu", n, hashes);
    pith_status s = read_one(r, c, 0, &k->pictures, err);
    if (s == PITH_OK) s = read_one(r, c, 1, &k->labels, err);
    if (s != PITH_OK) return s;
    const pith_tensor *x = &k->pictures, *y = &k->labels;
    if (x->rank < 3 || y->rank != 1 || x->shape[0] != y->shape[0] || x->shape[0] < 2)
        return recipe_fail(r, err, PITH_MISMATCH, "data.files", "expected as many pictures as labels, at least 2");
    config->height = x->shape[1], config->wide = x->shape[2], config->channels = x->rank == 4 ? x->shape[3] : 1;
    const uint8_t *labels = y->data;
    for (int64_t i = 0; i < y->shape[0]; i++)
        if (labels[i] >= config->classes) config->classes = labels[i] + 1;
    k->count = x->shape[0];
    k->size = config->height * config->wide * config->channels;
    k->trained = k->count - (int64_t)((double)k->count * pith_value_real(k->v, "data.held_out"));
    if (k->batch > k->trained)
        return recipe_fail(r, err, PITH_USAGE, "batch", "expected at most the %lld training pictures",
                           (long long)k->trained);
    return PITH_OK;
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
    k->epoch = -1;
    int kind = classifier_kind_by_name(pith_value_text(k->v, "net.kind"));
    if (kind < 0)
        return recipe_fail(r, err, PITH_USAGE, "net.kind", "the task classify expected convnet, convnext, vit or mlp");
    classifier_config config = {.kind = (classifier_kind)kind};
    read_sizes(k->v, &config);
    bool recompute = pith_value_flag(k->v, "recompute");
    if (recompute && !classifier_can_recompute(config.kind))
        return recipe_fail(r, err, PITH_UNSUPPORTED, "recompute", "expected false: a %s's blocks cannot be recomputed",
                           classifier_kind_name(config.kind));
    pith_status s = read_pictures(k, r, c, &config, err);
    pith_error inner = {0};
    if (s == PITH_OK && (s = classifier_open(&k->net, &config, p, &inner)) != PITH_OK)
        s = recipe_fail(r, err, s, inner.where, "%s", inner.text);
    if (s != PITH_OK) return s;
    k->net.recompute = recompute;
    k->distorted = memory_alloc((size_t)(k->batch * k->size));
    k->order = memory_zero((size_t)k->trained, sizeof *k->order);
    if (!k->distorted || !k->order) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return PITH_OK;
}

static void classify_start(void *self, grad_params *p, uint64_t seed) {
    classify *k = self;
    classifier_start(&k->net, p, seed);
}

/* --- samples ---------------------------------------------------------------------------------------------------------
 */

/* Every epoch is a shuffle of all training pictures, keyed by its number. */
static uint32_t sample_number(classify *k, uint64_t seed, int64_t position) {
    int64_t epoch = position / k->trained;
    if (epoch != k->epoch || seed != k->order_seed) {
        for (int64_t i = 0; i < k->trained; i++) k->order[i] = (uint32_t)i;
        rng r = rng_new(seed, 0x6f72646572u ^ (uint64_t)epoch << 40);
        rng_shuffle(&r, k->order, (uint32_t)k->trained);
        k->epoch = epoch, k->order_seed = seed;
    }
    return k->order[position % k->trained];
}

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
    const uint32_t *numbers;
} distort_job;

static void distort_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const distort_job *j = user;
    classify *k = j->k;
    for (int64_t i = begin; i < end; i++) {
        rng r = rng_new(j->seed, 0x64697374u ^ (uint64_t)(j->first + i) << 8);
        distortion m = draw_distortion(k, &r);
        distort(k, &m, (const uint8_t *)k->pictures.data + j->numbers[i] * k->size, k->distorted + i * k->size);
    }
}

static var classify_loss(void *self, tape *t, uint64_t seed, int64_t step, int64_t part) {
    classify *k = self;
    int64_t first = (step * pith_value_int(k->v, "accumulate") + part) * k->batch;
    uint32_t *numbers = tape_alloc(t, (size_t)k->batch * sizeof *numbers);
    pith_tensor y;
    uint64_t bytes;
    pith_tensor_layout(&y, PITH_I32, 1, &k->batch, &bytes, NULL);
    int32_t *labels = y.data = tape_alloc(t, bytes);
    if (!numbers || !labels) return VAR_FAILED;
    for (int64_t i = 0; i < k->batch; i++) {
        numbers[i] = sample_number(k, seed, first + i);
        labels[i] = ((const uint8_t *)k->labels.data)[numbers[i]];
    }
    parallel_for(k->batch, 8, distort_rows, &(distort_job){.k = k, .seed = seed, .first = first, .numbers = numbers});
    var logits = classifier_logits(&k->net, t, classifier_input(&k->net, t, k->distorted, k->batch));
    return grad_cross_entropy(t, logits, grad_constant(t, &y), -1, (float)pith_value_real(k->v, "label_smoothing"));
}

static pith_status classify_evaluate(void *self, tape *t, train_score *out, pith_error *err) {
    classify *k = self;
    out->metric = "accuracy";
    int64_t held = k->count - k->trained,
            first = held ? k->trained : 0; /* without held-out pictures: the training ones */
    return classifier_accuracy(&k->net, t, (const uint8_t *)k->pictures.data + first * k->size,
                               (const uint8_t *)k->labels.data + first, held ? held : k->count, &out->value, &out->loss,
                               err);
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
