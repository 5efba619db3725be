/* pith eval of a language model: figures that follow from the logits it keeps, and a model compared with itself. */
#include "harness.h"

#include "base/memory.h"
#include "cli/command.h"
#include "file/npy.h"
#include "model/language_model.h"

#include <math.h>
#include <unistd.h>

static const char model[] = PITH_SOURCE_DIR "/share/lm-s.pith";
static char folder[] = "/tmp/pith-eval-XXXXXX", text[64], logits[64], answer[64];
enum { CONTEXT = 64 };

/* The command's JSON, or NULL if it fails. */
static json_t *ask(const char *const *words) {
    char *argv[24];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    argv[argc] = NULL;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    if (!freopen(answer, "w", stdout)) return NULL;
    int code = command_main(argc, argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return code == 0 ? json_load_file(answer, 0, NULL) : NULL;
}
#define ASK(...) ask((const char *const[]){"pith", "eval", __VA_ARGS__, "--json", "-q", NULL})

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (!v) fail_msg("the answer has no %s", key);
    return json_number_value(v);
}

static void read_tokens(token_list *ids) {
    language_model m;
    pith_buffer *b;
    assert_int_equal(language_model_open(&m, model, NULL, NULL, NULL), PITH_OK);
    assert_int_equal(pith_buffer_map(&b, text, NULL), PITH_OK);
    assert_int_equal(
        tokenizer_encode(m.tokens, pith_buffer_data(b), (size_t)pith_buffer_size(b), TOKEN_ADD_START, ids, NULL),
        PITH_OK);
    pith_buffer_release(b);
    language_model_close(&m);
}

/* exp of the mean surprise of the second half of every window. */
static double perplexity_of(const pith_tensor *t, const int32_t *ids, int64_t count) {
    int64_t vocab = t->shape[1], scored = CONTEXT - 1 - CONTEXT / 2, row = 0;
    double nats = 0;
    for (int64_t w = 0; w < count / CONTEXT; w++)
        for (int64_t i = 0; i < scored; i++, row++) {
            const float *x = (const float *)t->data + row * vocab;
            double sum = 0;
            for (int64_t v = 0; v < vocab; v++) sum += exp((double)x[v]);
            nats += log(sum) - x[ids[w * CONTEXT + CONTEXT - scored + i]];
        }
    assert_int_equal(row, t->shape[0]);
    return exp(nats / (double)row);
}

static void figures_follow_from_the_logits(void **state) {
    (void)state;
    pith_tensor t;
    token_list ids = {0};
    json_t *o = ASK(model, "--data", text, "--context", "64", "--logits", logits);
    assert_non_null(o);
    assert_int_equal(npy_read(logits, NULL, &t, NULL), PITH_OK);
    read_tokens(&ids);
    double expected = perplexity_of(&t, ids.ids, (int64_t)ids.count), found = number(o, "perplexity");
    if (!(fabs(found / expected - 1) < 1e-4)) fail_msg("perplexity: expected %g, found %g", expected, found);
    assert_true(number(o, "tokens") == (double)t.shape[0]);
    assert_true(number(o, "bits_per_byte") > 0 && number(o, "tokens_per_s") > 0);
    assert_null(json_object_get(o, "kl"));
    json_decref(o);
    pith_tensor_release(&t);
    memory_free(ids.ids);
    assert_null(ASK(model, "--data", text, "--logits", logits)); /* is there already */
}

static void a_model_agrees_with_itself(void **state) {
    (void)state;
    json_t *o = ASK(model, "--data", text, "--context", "64", "--reference", model);
    assert_non_null(o);
    assert_true(number(o, "kl") == 0 && number(o, "kl_p99") == 0 && number(o, "top1") == 1);
    json_decref(o);
    assert_null(ASK(model, "--data", folder, "--context", "64"));
    assert_null(ASK(model, "--data", "/nonexistent"));
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(text, sizeof text, "%s/text", folder);
    snprintf(logits, sizeof logits, "%s/l.npy", folder);
    snprintf(answer, sizeof answer, "%s/answer", folder);
    FILE *f = fopen(text, "w");
    if (!f) return -1;
    for (int i = 0; i < 20; i++) fprintf(f, "The fox met %d hens. ", i);
    return fclose(f);
}

static int tear_down(void **state) {
    (void)state;
    unlink(text), unlink(logits), unlink(answer);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(figures_follow_from_the_logits),
                                       cmocka_unit_test(a_model_agrees_with_itself)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
