/* Recipes that cannot be run stop before the first step with words that name the line. */
#include "train/workshop.h"

#include "train/task.h"

/* Keys of tests/train/workshop.h's recipe stand on lines 2 to 4, these on line 5. */
static const struct {
    const char *keys, *expected;
} bad[] = {
    {"\"stepz\": 5", "line 5: stepz: unknown key"},
    {"\"optimizer\": {\"kind\": \"adam\",\n\"momentum\": 1}", "line 6: optimizer.momentum: unknown key"},
    {"\"steps\": \"many\"", "line 5: steps: expected a number, found a string"},
    {"\"steps\": 2.5", "line 5: steps: "},
    {"\"steps\": 0", "line 5: steps: "},
    {"\"recompute\": 1", "line 5: recompute: expected true or false, found a number"},
    {"\"seed\": [1]", "line 5: seed: expected a number, found a list"},
    {"\"seed\": null", "line 5: seed: expected a number, found null"},
    {"\"precision\": \"f16\"", "line 5: precision: "},
    {"\"steps\": 5, \"steps\": 6", "line 5: duplicate"},
    {"\"steps\": 5,", "line 6: "},
    {"\"optimizer\": 5", "line 5: optimizer: unknown key"},
};

static void expect(workshop *w, const char *const *set, const char *expected) {
    train_outcome out = {0};
    const train_options o = {0};
    pith_error err = {0};
    pith_status s = workshop_train(w, NULL, set, &o, "out", &out, &err);
    if (s == PITH_OK || !strstr(err.text, expected)) fail_msg("expected \"%s\", found \"%s\"", expected, err.text);
    size_t n = strlen(w->folder);
    if (strncmp(err.where, w->folder, n) != 0 && strcmp(err.where, "--set") != 0)
        fail_msg("%s: expected the recipe's name, found \"%s\"", expected, err.where);
    assert_int_equal(out.steps, 0);
}

static void bad_keys_and_values_name_their_line(void **state) {
    workshop *w = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        workshop_recipe(w, bad[i].keys);
        expect(w, NULL, bad[i].expected);
    }
}

static void settings_of_the_command_line_are_checked_alike(void **state) {
    workshop *w = *state;
    workshop_recipe(w, "\"steps\": 5");
    expect(w, (const char *[]){"stepz=5", NULL}, "unknown key \"stepz\"");
    expect(w, (const char *[]){"steps=many", NULL}, "steps");
    expect(w, (const char *[]){"steps", NULL}, "expected key=value");
}

static void shapes_that_do_not_fit_name_their_line(void **state) {
    workshop *w = *state;
    workshop_recipe(w, "\"steps\": 5");
    expect(w, (const char *[]){"net.kind=vit", "net.patch=4", "net.width=8", "net.blocks=1", NULL},
           "net.patch: expected a divisor of 6x6, found 4");
    expect(w, (const char *[]){"net.kind=vit", "net.patch=3", "net.heads=3", "net.width=8", "net.blocks=1", NULL},
           "net.heads: expected a divisor of the width 8, found 3");
    expect(w, (const char *[]){"net.kind=convnet", "net.stages=6", NULL}, "net.stages: expected fewer stages");
    expect(w, (const char *[]){"batch=49", NULL}, "line 2: batch: expected at most the 48 training pictures");
    expect(w, (const char *[]){"net.kind=decoder", NULL}, "line 3: net.kind: ");
}

static void replace_data(workshop *w, const char *files, const char *rest) {
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "{\n\"task\": \"classify\",\n\"net\": {\"kind\": \"mlp\"},\n\"data\": {\n\"files\": [%s]%s}}\n",
                     files, rest);
    workshop_write(w, "recipe.json", text, (size_t)n);
}

static void missing_and_changed_data_name_their_line(void **state) {
    workshop *w = *state;
    char files[256];
    replace_data(w, "\"/nowhere/x\", \"/nowhere/y\"", "");
    expect(w, NULL, "line 5: data.files: /nowhere/x: ");
    replace_data(w, "\"/x\"", "");
    expect(w, NULL, "line 5: data.files: expected two IDX files");
    replace_data(w, "", ",\n\"flip\": [true]");
    expect(w, NULL, "line 6: data.flip: expected true or false, found a list");
    snprintf(files, sizeof files, "\"%s/x-idx3\", \"%s/y-idx1\"", w->folder, w->folder);
    replace_data(w, files, ",\n\"hashes\": [\"0123456789abcdef\", \"0123456789abcdef\"]");
    expect(w, NULL, "line 6: data.hashes: ");
    expect(w, NULL, "expected the hash 0123456789abcdef, found ");
    replace_data(w, files, ",\n\"hashes\": [\"0123456789abcdef\"]");
    expect(w, NULL, "line 6: data.hashes: expected 2 hashes, one a file, found 1");
    snprintf(files, sizeof files, "\"%s/x-idx3\", \"%s/x-idx3\"", w->folder, w->folder);
    replace_data(w, files, "");
    expect(w, NULL, "line 5: data.files: expected as many pictures as labels");
}

/* A text recipe's files are checked in the same words. */
static void text_recipes_too(void **state) {
    workshop *w = *state;
    char text[1024];
    workshop_write(w, "text.txt", "some words\n", 11);
    int n = snprintf(text, sizeof text,
                     "{\n\"net\": {\"kind\": \"decoder\", \"width\": 8, \"heads\": 2, \"ffn\": 8,\n\"vocab\": 258},\n"
                     "\"data\": {\n\"files\": [\"%s/text.txt\"],\n\"hashes\": [\"0123456789abcdef\"]}}\n",
                     w->folder);
    workshop_write(w, "recipe.json", text, (size_t)n);
    expect(w, NULL, "line 6: data.hashes: ");
    expect(w, (const char *[]){"net.vocab=200", NULL}, "line 3: net.vocab: expected at least the tokenizer's");
    expect(w, (const char *[]){"net.heads=3", NULL}, "line 2: net.heads: expected a divisor of the width 8, found 3");
    expect(w, (const char *[]){"data.tokenizer=none.json", NULL}, "data.tokenizer: ");
    n = snprintf(text, sizeof text, "{\n\"data\": {\n\"files\": \"%s/text.txt\"}}\n", w->folder);
    workshop_write(w, "recipe.json", text, (size_t)n);
    expect(w, NULL, "line 3: data.files: expected a list, found a string");
}

/* docs/training.md holds the table that `pith train --keys` prints. */
static void the_guide_lists_every_key(void **state) {
    workshop *w = *state;
    size_t size;
    char keys[512];
    snprintf(keys, sizeof keys, "%s train --keys > %s/keys.md", PITH_COMMAND, w->folder);
    assert_int_equal(system(keys), 0);
    char *printed = workshop_read(workshop_path(w, "keys.md"), &size),
         *text = workshop_read(PITH_SOURCE_DIR "/docs/training.md", &size);
    if (!strstr(text, printed)) fail_msg("docs/training.md: the table of keys is not that of pith train --keys");
    free(printed);
    free(text);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, workshop_open, workshop_close)
    const struct CMUnitTest tests[] = {
        TEST(bad_keys_and_values_name_their_line),
        TEST(settings_of_the_command_line_are_checked_alike),
        TEST(shapes_that_do_not_fit_name_their_line),
        TEST(missing_and_changed_data_name_their_line),
        TEST(text_recipes_too),
        TEST(the_guide_lists_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
