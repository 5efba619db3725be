/* pith info: how a model cuts text, as lines and as JSON, from the command line and from a file; the coder of every
 * tensor of a packed model. */
#include "harness.h"

#include "cli/command.h"

#include <string.h>
#include <unistd.h>

static const char model[] = PITH_SOURCE_DIR "/share/lm-s.pith";
static char folder[] = "/tmp/pith-info-XXXXXX", text[64], answer[64];

/* Exit code; what the command printed stands in `answer`. */
static int ask(const char *const *words) {
    char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    argv[argc] = NULL;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    if (!freopen(answer, "w", stdout)) return -1;
    int code = command_main(argc, argv);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return code;
}
#define ASK(...) ask((const char *const[]){"pith", "info", __VA_ARGS__, NULL})

/* The model's tokens are bytes: of the two of an "é" none is a character, so that neither has a piece in JSON. */
static void check_answer(void) {
    static const int expected[] = {'H', 0xc3, 0xa9, '!'};
    json_t *o = json_load_file(answer, 0, NULL);
    const json_t *ids = json_object_get(o, "ids"), *pieces = json_object_get(o, "pieces");
    assert_int_equal(json_array_size(ids), 4);
    assert_int_equal(json_array_size(pieces), 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(json_integer_value(json_array_get(ids, i)), expected[i]);
    assert_string_equal(json_string_value(json_array_get(pieces, 0)), "H");
    assert_true(json_is_null(json_array_get(pieces, 1)) && json_is_null(json_array_get(pieces, 2)));
    assert_string_equal(json_string_value(json_array_get(pieces, 3)), "!");
    json_decref(o);
}

static void tokens_as_json(void **state) {
    (void)state;
    FILE *f = fopen(text, "w");
    assert_non_null(f);
    fputs("H\xc3\xa9!", f);
    fclose(f);
    assert_int_equal(ASK(model, "--tokens", "H\xc3\xa9!", "--json"), 0);
    check_answer();
    assert_int_equal(ASK(model, "--tokens-file", text, "--json"), 0);
    check_answer();
    assert_int_equal(ASK(model, "--tokens", "x", "--tokens-file", text), 2);
    assert_int_equal(ASK(model, "--tokens-file", "/nonexistent"), 1);
}

static void tokens_as_lines(void **state) {
    (void)state;
    char line[64] = "";
    assert_int_equal(ASK(model, "--tokens", "ab"), 0);
    FILE *f = fopen(answer, "r");
    assert_non_null(f);
    line[fread(line, 1, sizeof line - 1, f)] = 0;
    fclose(f);
    assert_string_equal(line, "97\ta\n98\tb\n");
}

/* Blocks and plain tensors alike have a coder with a name. */
static void coder_of_every_tensor(void **state) {
    (void)state;
    char packed[64];
    snprintf(packed, sizeof packed, "%s/q.pith", folder);
    char *argv[] = {"pith", "pack", (char *)model, "-o", packed, "--type", "q4_k", "-q"};
    assert_int_equal(command_main(8, argv), 0);
    assert_int_equal(ASK(packed, "--json"), 0);
    unlink(packed);
    json_t *o = json_load_file(answer, 0, NULL);
    const json_t *tensors = json_object_get(o, "tensors"), *t;
    size_t i, blocks = 0;
    json_array_foreach(tensors, i, t) {
        const char *coder = json_string_value(json_object_get(t, "coder"));
        assert_non_null(coder);
        assert_string_not_equal(coder, "unknown");
        blocks += strcmp(coder, "planes") == 0;
    }
    assert_true(blocks > 0);
    json_decref(o);
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(text, sizeof text, "%s/text", folder);
    snprintf(answer, sizeof answer, "%s/answer", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(text), unlink(answer);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokens_as_json), cmocka_unit_test(tokens_as_lines),
                                       cmocka_unit_test(coder_of_every_tensor)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
