/* cli/train_circuit.c - pith train circuit IMAGES -o MODEL: learns a hidden Chow-Liu tree from pictures of one size. */
#include "cli/train_circuit.h"

#include "base/log.h"
#include "base/memory.h"
#include "file/output.h"
#include "file/pictures.h"
#include "picture/circuit_fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct record { /* what each epoch came to */
    json_t *trace;
    int64_t values; /* of a picture */
} record;

static void report(void *user, int32_t states, int32_t epoch, double log_likelihood) {
    record *r = user;
    log_info("%d states, epoch %d: %.2f nats a picture, %.4f bits a value", states, epoch, log_likelihood,
             -log_likelihood / ((double)r->values * log(2)));
    json_array_append_new(r->trace, json_real(log_likelihood));
}

static pith_status read_pictures(const pith_context *c, const char *path, pith_tensor *t, circuit_images *images,
                                 pith_error *err) {
    pith_status s = pictures_read(path, c, t, err);
    if (s) return s;
    for (int i = 1; i < 4; i++)
        if (t->shape[i] > UINT16_MAX) return pith_fail(err, PITH_LIMIT, path, -1, "expected smaller pictures");
    *images = (circuit_images){.count = t->shape[0],
                               .width = (int32_t)t->shape[2],
                               .height = (int32_t)t->shape[1],
                               .channels = (int32_t)t->shape[3],
                               .values = t->data};
    return PITH_OK;
}

static pith_status write_model(command *c, const circuit_tree *tree, const circuit_parameters *p, int64_t pictures,
                               const char *path, size_t *size, pith_error *err) {
    pith_bytes model;
    uint64_t budget = (uint64_t)pith_value_int(c->values, "budget");
    pith_status s = circuit_fit(tree, p, pictures, budget, &model, err);
    if (s) return s;
    *size = model.size;
    s = output_file(path, c->force, model.data, model.size, err);
    memory_free(model.data);
    return s;
}

pith_status train_circuit(command *c, pith_error *err) {
    const pith_values *v = c->values;
    const char *out = pith_value_text(v, "output");
    if (pith_operand_count(v) != 2)
        return pith_fail(err, PITH_USAGE, NULL, -1,
                         "expected circuit and one set of pictures: an IDX file or a folder");
    if (!out) return pith_fail(err, PITH_USAGE, "-o", -1, "expected the model to write");
    char checkpoint[4096];
    if (snprintf(checkpoint, sizeof checkpoint, "%s.checkpoint", out) >= (int)sizeof checkpoint)
        return pith_fail(err, PITH_USAGE, "-o", -1, "expected a shorter path");
    circuit_training t;
    circuit_training_default(&t);
    record r = {0};
    t.states = (int32_t)pith_value_int(v, "states");
    t.epochs = (int32_t)pith_value_int(v, "epochs");
    t.paper = pith_value_flag(v, "as-published");
    t.seed = (uint64_t)pith_value_int(v, "seed");
    t.grow = pith_value_flag(v, "grow");
    t.checkpoint = checkpoint, t.resume = pith_value_flag(v, "resume");
    t.report = report, t.user = &r;
    pith_tensor pictures = {0};
    circuit_images images = {0};
    circuit_tree tree = {0};
    circuit_parameters p = {0};
    size_t size = 0;
    double started = clock_seconds();
    pith_status s = read_pictures(&c->context, pith_operand(v, 1), &pictures, &images, err);
    if (!s && c->dry_run) {
        pith_tensor_release(&pictures);
        return PITH_OK;
    }
    r.values = (int64_t)images.width * images.height * images.channels;
    r.trace = json_array();
    if (!s) s = circuit_learn(&c->context, &images, &t, &tree, &p, err);
    if (!s) s = write_model(c, &tree, &p, images.count, out, &size, err);
    if (!s) {
        double seconds = clock_seconds() - started;
        if (!c->json) command_print("%s: %zu bytes, %d states, %.1f s\n", out, size, t.states, seconds);
        json_object_update_new(c->result, json_pack("{s:s, s:I, s:i, s:i, s:f, s:O}", "model", out, "bytes",
                                                    (json_int_t)size, "states", t.states, "epochs", t.epochs, "seconds",
                                                    seconds, "log_likelihood", r.trace));
    }
    json_decref(r.trace);
    circuit_tree_free(&tree);
    circuit_parameters_free(&p);
    pith_tensor_release(&pictures);
    return s;
}
