/* Every architecture pith runs, held to the logits of the transformers package (fixtures made by make-fixtures.py): the
 * whole prompt at once, token by token through the cache, and again after a detour through GGUF and .pith. */
#include "harness.h"

#include "base/memory.h"
#include "cli/command.h"
#include "file/npy.h"
#include "model/open.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

static const char *const names[] = {
    "llama", "llama-tied-scaled", "mistral-window", "qwen2", "qwen2-yarn", "qwen3", "smollm3", "gpt2"};
enum { NAMES = sizeof names / sizeof *names, LONGEST = 64 };

typedef struct truth {
    int32_t ids[LONGEST];
    int64_t count;
    pith_tensor logits;
} truth;

static const char *fixture(const char *name, const char *file) {
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/model/fixtures/%s/%s", PITH_SOURCE_DIR, name, file);
    return path;
}

static void read_truth(truth *t, const char *name) {
    json_t *ids = json_load_file(fixture(name, "ids.json"), 0, NULL);
    assert_non_null(ids);
    t->count = (int64_t)json_array_size(ids);
    for (int64_t i = 0; i < t->count; i++) t->ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
    json_decref(ids);
    pith_error err = {0};
    if (npy_read(fixture(name, "logits.npy"), NULL, &t->logits, &err) != PITH_OK)
        fail_msg("%s: %s", err.where, err.text);
}

static double distance(const float *a, const float *b, int64_t n) {
    double d = 0, q = 0;
    for (int64_t i = 0; i < n; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), q += (double)b[i] * b[i];
    return sqrt(d / q);
}

static llama *open_model(const char *path) {
    model_source *s = NULL;
    llama *m = NULL;
    pith_error err = {0};
    if (model_source_open(&s, path, NULL, &err) != PITH_OK || llama_open(&m, s, NULL, &err) != PITH_OK)
        fail_msg("%s: %s: %s", path, err.where, err.text);
    model_source_close(s);
    return m;
}

/* 1e-3 is what the f16 cache costs. */
static void check_model(const char *path, const truth *t) {
    llama *m = open_model(path);
    llama_session *s = NULL;
    int64_t vocab = m->config.vocab;
    float *logits = calloc((size_t)(t->count * vocab), sizeof *logits);
    assert_int_equal(llama_session_new(&s, m, t->count, PITH_F16, NULL), PITH_OK);
    assert_int_equal(llama_session_append(s, t->ids, t->count, t->count, logits, NULL), PITH_OK);
    double whole = distance(logits, t->logits.data, t->count * vocab);
    assert_int_equal(llama_session_append(s, t->ids, 1, 1, logits, NULL), PITH_LIMIT);
    llama_session_rewind(s, 0);
    for (int64_t i = 0; i < t->count; i++)
        assert_int_equal(llama_session_append(s, t->ids + i, 1, 1, logits + i * vocab, NULL), PITH_OK);
    double stepwise = distance(logits, t->logits.data, t->count * vocab);
    llama_session_rewind(s, t->count / 2); /* what was forgotten leaves no trace */
    assert_int_equal(llama_session_append(s, t->ids + t->count / 2, t->count - t->count / 2, 1, logits, NULL), PITH_OK);
    double again = distance(logits, (float *)t->logits.data + (t->count - 1) * vocab, vocab);
    if (!(whole < 1e-3 && stepwise < 1e-3 && again < 2e-3))
        fail_msg("%s: %g whole, %g stepwise, %g again", path, whole, stepwise, again);
    int32_t outside = (int32_t)vocab;
    llama_session_rewind(s, 0);
    assert_int_equal(llama_session_append(s, &outside, 1, 1, logits, NULL), PITH_MISMATCH);
    free(logits);
    llama_session_free(s);
    llama_free(m);
}

static void folders_give_the_logits_of_transformers(void **state) {
    (void)state;
    for (size_t i = 0; i < NAMES; i++) {
        truth t;
        read_truth(&t, names[i]);
        char path[512];
        snprintf(path, sizeof path, "%s", fixture(names[i], ""));
        check_model(path, &t);
        pith_tensor_release(&t.logits);
    }
}

static int convert(const char *what, const char *in, const char *out) {
    char *argv[] = {"pith", (char *)what, (char *)in, "-o", (char *)out, "--force", "-q", NULL};
    return command_main(7, argv);
}

/* Folder to GGUF and .pith, these to folders and into each other: other names, orders, orientations and rows. */
static void detours_change_nothing(void **state) {
    (void)state;
    static const struct {
        const char *what, *in, *out;
    } roads[] = {{"pack", NULL, "a.gguf"},       {"pack", NULL, "a.pith"},       {"unpack", "a.gguf", "from-gguf"},
                 {"unpack", "a.pith", "folder"}, {"unpack", "a.pith", "b.gguf"}, {"pack", "a.gguf", "b.pith"},
                 {"pack", "folder", "c.gguf"}};
    char work[] = "/tmp/pith-detours-XXXXXX", home[512], line[256];
    assert_non_null(mkdtemp(work));
    assert_non_null(getcwd(home, sizeof home));
    for (size_t i = 0; i < NAMES; i++) {
        truth t;
        read_truth(&t, names[i]);
        assert_int_equal(chdir(work), 0);
        for (size_t k = 0; k < sizeof roads / sizeof *roads; k++) {
            const char *in = roads[k].in ? roads[k].in : fixture(names[i], "");
            if (convert(roads[k].what, in, roads[k].out) != 0)
                fail_msg("%s: %s %s -o %s failed", names[i], roads[k].what, in, roads[k].out);
            check_model(roads[k].out, &t);
        }
        pith_tensor_release(&t.logits);
    }
    assert_int_equal(chdir(home), 0);
    snprintf(line, sizeof line, "rm -r %s", work);
    assert_int_equal(system(line), 0);
}

int main(void) {
    json_set_alloc_funcs(memory_alloc, memory_free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(folders_give_the_logits_of_transformers),
                                       cmocka_unit_test(detours_change_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
