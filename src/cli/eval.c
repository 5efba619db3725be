/* cli/eval.c - pith eval: how good a model is, on the user's data. */
#include "cli/command.h"

#include "base/memory.h"
#include "file/idx.h"
#include "file/npy.h"
#include "model/evaluate.h"
#include "model/language_model.h"
#include "train/classifier_file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const pith_option options[] = {
    {.name = "data",
     .unit = "FILE|DIR",
     .type = PITH_TEXT,
     .help = "a text for language models; a folder of IDX pictures and labels for classifiers"},
    {.name = "reference",
     .unit = "MODEL",
     .type = PITH_TEXT,
     .help = "compare predictions with this model's, usually the unpacked one"},
    {.name = "context",
     .unit = "N",
     .type = PITH_INT,
     .low = 4,
     .high = 1e7,
     .initial = 512,
     .help = "tokens a window"},
    {.name = "logits",
     .unit = "FILE.npy",
     .type = PITH_TEXT,
     .help = "keep the logits of the tokens scored: f32 [tokens][vocabulary]"},
    {.name = "tokenizer", .unit = "FILE", .type = PITH_TEXT, .help = "llama2.c checkpoints: their tokenizer"},
};

static pith_status read_text(const char *path, pith_bytes *out, pith_buffer **b, pith_error *err) {
    pith_status s = pith_buffer_map(b, path, err);
    if (s == PITH_OK) *out = (pith_bytes){pith_buffer_data(*b), (size_t)pith_buffer_size(*b)};
    return s;
}

/* Tokens of the text and how many of its bytes each stands for. */
static pith_status tokenize(const language_model *m, pith_bytes text, token_list *ids, uint32_t **bytes,
                            pith_error *err) {
    pith_status s = tokenizer_encode(m->tokens, text.data, text.size, TOKEN_ADD_START, ids, err);
    if (s != PITH_OK) return s;
    *bytes = memory_zero(ids->count, sizeof **bytes);
    if (!*bytes) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t i = 0; i < ids->count; i++)
        if (!tokenizer_is_special(m->tokens, ids->ids[i]))
            (*bytes)[i] = (uint32_t)tokenizer_piece(m->tokens, ids->ids[i]).size;
    return PITH_OK;
}

static void print_language(const command *c, const evaluation *e) {
    if (c->json) return;
    command_print("perplexity       %.4f\nbits per byte    %.4f\n", e->perplexity, e->bits_per_byte);
    if (e->kl >= 0)
        command_print("KL               %.6f mean, %.6f 99th percentile\ntop-1 agreement  %.3f %%\n", e->kl, e->kl_p99,
                      e->top1 * 100);
    command_print("tokens           %lld scored in %lld windows of %lld\nspeed            %.0f tokens/s\n",
                  (long long)e->tokens, (long long)e->windows, (long long)e->context, e->tokens_per_s);
}

/* ---- logits kept as an array ---- */

typedef struct keeper {
    output *file;
    int64_t vocab;
} keeper;

static pith_status keep(void *user, const float *logits, int64_t rows, pith_error *err) {
    const keeper *k = user;
    return output_write(k->file, logits, (size_t)(rows * k->vocab) * sizeof *logits, err);
}

static pith_status keeper_open(keeper *k, const command *c, const llama *m, evaluate_text *t, pith_error *err) {
    const char *path = pith_value_text(c->values, "logits");
    pith_tensor layout;
    uint64_t bytes;
    if (!path) return PITH_OK;
    k->vocab = m->config.vocab;
    t->watch = keep, t->user = k;
    int64_t shape[] = {evaluate_scored(t->count, pith_value_int(c->values, "context")), k->vocab};
    pith_status s = pith_tensor_layout(&layout, PITH_F32, 2, shape, &bytes, err);
    return s == PITH_OK ? npy_begin(&k->file, path, c->force, &layout, err) : s;
}

/* The evaluation's status, or that of finishing the file. */
static pith_status keeper_close(keeper *k, pith_status s, pith_error *err) {
    if (!k->file) return s;
    if (s == PITH_OK) return output_commit(k->file, err);
    output_abort(k->file);
    return s;
}

static pith_status eval_language(command *c, const char *data, pith_error *err) {
    const pith_values *v = c->values;
    const char *reference = pith_value_text(v, "reference");
    model_options mo = {.tokenizer = pith_value_text(v, "tokenizer"), .context = &c->context};
    language_model m = {0}, other = {0};
    pith_buffer *file = NULL;
    pith_bytes text = {0};
    token_list ids = {0};
    uint32_t *bytes = NULL;
    keeper k = {0};
    evaluation e;
    pith_status s = language_model_open(&m, pith_operand(v, 0), &mo, &c->context, err);
    if (s == PITH_OK && reference) s = language_model_open(&other, reference, &mo, &c->context, err);
    if (s == PITH_OK) s = read_text(data, &text, &file, err);
    if (s == PITH_OK) s = tokenize(&m, text, &ids, &bytes, err);
    if (s == PITH_OK) {
        const token_vocab *vocab = tokenizer_vocab(m.tokens);
        evaluate_text t = {
            .tokens = ids.ids, .bytes = bytes, .count = (int64_t)ids.count, .bos = vocab->add_bos ? vocab->bos : -1};
        s = keeper_open(&k, c, m.model, &t, err);
        if (s == PITH_OK)
            s = evaluate_model(&c->context, m.model, other.model, &t, pith_value_int(v, "context"), &e, err);
        s = keeper_close(&k, s, err);
    }
    if (s == PITH_OK) {
        print_language(c, &e);
        json_object_update_new(c->result, json_pack("{s:f, s:f, s:f, s:I, s:I, s:I}", "perplexity", e.perplexity,
                                                    "bits_per_byte", e.bits_per_byte, "tokens_per_s", e.tokens_per_s,
                                                    "tokens", (json_int_t)e.tokens, "windows", (json_int_t)e.windows,
                                                    "context", (json_int_t)e.context));
        if (reference)
            json_object_update_new(c->result,
                                   json_pack("{s:f, s:f, s:f}", "kl", e.kl, "kl_p99", e.kl_p99, "top1", e.top1));
    }
    memory_free(ids.ids);
    memory_free(bytes);
    pith_buffer_release(file);
    language_model_close(&m);
    language_model_close(&other);
    return s;
}

/* --- classifiers
 * ------------------------------------------------------------------------------------------------------ */

/* The pictures (rank 3 or 4) and labels (rank 1) of a folder; test sets ("t10k", "test") go before training sets. */
static pith_status read_folder(const command *c, const char *folder, pith_tensor *pictures, pith_tensor *labels,
                               pith_error *err) {
    DIR *d = opendir(folder);
    if (!d) return pith_fail(err, PITH_NOT_FOUND, folder, -1, "expected a folder of IDX pictures and labels");
    pith_status s = PITH_OK;
    int found = 0;
    for (int pass = 0; pass < 2 && found < 2 && s == PITH_OK; pass++) {
        rewinddir(d);
        for (const struct dirent *e; s == PITH_OK && (e = readdir(d));) {
            bool test = strstr(e->d_name, "t10k") || strstr(e->d_name, "test");
            if (!strstr(e->d_name, "idx") || test != (pass == 0)) continue;
            char path[4096];
            pith_tensor t;
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            s = idx_read(path, &c->context, &t, err);
            if (s != PITH_OK) break;
            pith_tensor *to = t.rank == 1 ? labels : pictures;
            if (t.type == PITH_U8 && !to->owner) *to = t, found++;
            else pith_tensor_release(&t);
        }
    }
    closedir(d);
    if (s == PITH_OK && found != 2)
        s = pith_fail(err, PITH_NOT_FOUND, folder, -1, "expected IDX files of pictures and of labels");
    if (s == PITH_OK && (pictures->rank < 3 || pictures->shape[0] != labels->shape[0]))
        s = pith_fail(err, PITH_MISMATCH, folder, -1, "expected as many pictures as labels");
    return s;
}

static pith_status check_pictures(const classifier_config *k, const pith_tensor *x, const char *folder,
                                  pith_error *err) {
    int64_t channels = x->rank == 4 ? x->shape[3] : 1;
    if (x->shape[1] == k->height && x->shape[2] == k->wide && channels == k->channels) return PITH_OK;
    return pith_fail(err, PITH_MISMATCH, folder, -1, "expected pictures of %lldx%lldx%lld, found %lldx%lldx%lld",
                     (long long)k->height, (long long)k->wide, (long long)k->channels, (long long)x->shape[1],
                     (long long)x->shape[2], (long long)channels);
}

static pith_status eval_classifier(command *c, const char *data, pith_error *err) {
    classifier_model m;
    pith_tensor pictures = {0}, labels = {0};
    tape *t = NULL;
    double accuracy = 0, loss = 0, started;
    pith_status s = classifier_read(&m, pith_operand(c->values, 0), err);
    if (s == PITH_OK) s = read_folder(c, data, &pictures, &labels, err);
    if (s == PITH_OK) s = check_pictures(&m.net.config, &pictures, data, err);
    if (s == PITH_OK) s = tape_new(&t, &m.params, 0, err);
    started = clock_seconds();
    if (s == PITH_OK)
        s = classifier_accuracy(&m.net, t, pictures.data, labels.data, labels.shape[0], &accuracy, &loss, err);
    if (s == PITH_OK) {
        double rate = (double)labels.shape[0] / (clock_seconds() - started);
        if (!c->json)
            command_print("accuracy  %.4f of %lld pictures\nloss      %.4f\nspeed     %.0f pictures/s\n", accuracy,
                          (long long)labels.shape[0], loss, rate);
        json_object_update_new(c->result, json_pack("{s:f, s:f, s:I, s:f}", "accuracy", accuracy, "loss", loss,
                                                    "pictures", (json_int_t)labels.shape[0], "pictures_per_s", rate));
    }
    tape_free(t);
    pith_tensor_release(&pictures);
    pith_tensor_release(&labels);
    classifier_model_close(&m);
    return s;
}

static pith_status run(command *c, pith_error *err) {
    const char *data = pith_value_text(c->values, "data");
    struct stat st;
    if (!data) return pith_fail(err, PITH_USAGE, "--data", -1, "expected a text or a folder to evaluate on");
    if (stat(data, &st) != 0) return pith_fail(err, PITH_NOT_FOUND, data, -1, "no such file or folder");
    if (!S_ISDIR(st.st_mode)) return eval_language(c, data, err);
    static const char *const texts[] = {"reference", "context", "logits", "tokenizer"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (pith_value_given(c->values, texts[i]))
            return pith_fail(err, PITH_USAGE, data, -1, "expected a text with --%s, found a folder", texts[i]);
    return eval_classifier(c, data, err);
}

const verb verb_eval = {
    .name = "eval",
    .summary = "perplexity of a language model or accuracy of a classifier on your data",
    .operands = "MODEL",
    .example = "pith eval small.gguf --data book.txt --reference model.gguf",
    .details =
        "Texts are cut into windows of --context tokens; the second half of each is scored, as llama.cpp's perplexity tool does.\n"
        "With --reference: mean and 99th percentile of the KL divergence from the reference's predictions, and how often both put the\n"
        "same token first.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
