/* A text recipe leaves a folder that opens as a language model, and resumes with the same bits. */
#include "train/workshop.h"

#include "model/language_model.h"

static void text_recipe(workshop *w) {
    char text[4096], keys[1024];
    size_t n = 0;
    for (int i = 0; i < 40; i++) n += (size_t)sprintf(text + n, "the %dth document says so\nand ends\n\f\n", i);
    workshop_write(w, "text.txt", text, n);
    int m = snprintf(
        keys, sizeof keys,
        "{\"threads\": 1, \"steps\": 9, \"batch\": 2, \"checkpoint_every\": 4, \"optimizer\": {\"rate\": 0.01},\n"
        "\"net\": {\"kind\": \"decoder\", \"width\": 16, \"blocks\": 2, \"heads\": 2, \"ffn\": 24},\n"
        "\"data\": {\"files\": [\"%s/text.txt\"], \"context\": 12, \"held_out\": 0.1}}\n",
        w->folder);
    workshop_write(w, "recipe.json", keys, (size_t)m);
}

static void a_text_run_resumes_and_opens(void **state) {
    workshop *w = *state;
    const train_options afresh = {0}, resuming = {.resume = true};
    train_outcome out;
    text_recipe(w);
    assert_int_equal(workshop_train(w, NULL, NULL, &afresh, "whole", &out, NULL), PITH_OK);
    assert_string_equal(out.score.metric, "bits_per_byte");
    double when = 5;
    pith_context c;
    pith_context_default(&c);
    c.progress = workshop_stop_at, c.user = &when;
    assert_int_equal(workshop_train(w, &c, NULL, &afresh, "cut", &out, NULL), PITH_INTERRUPTED);
    assert_int_equal(workshop_train(w, NULL, NULL, &resuming, "cut", &out, NULL), PITH_OK);
    assert_int_equal(out.resumed_step, 5);
    size_t size[2];
    char *a = workshop_read(workshop_path(w, "whole/model.safetensors"), &size[0]),
         *b = workshop_read(workshop_path(w, "cut/model.safetensors"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(a, b, size[0]);
    assert_non_null(strstr(a + 8, "model.layers.1.mlp.down_proj.weight"));
    free(a);
    free(b);
    language_model m = {0};
    model_options o = {.context = &c};
    pith_error err = {0};
    c.progress = NULL;
    if (language_model_open(&m, workshop_path(w, "whole"), &o, &c, &err) != PITH_OK) fail_msg("%s", err.text);
    assert_int_equal(m.model->config.blocks, 2);
    language_model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_text_run_resumes_and_opens, workshop_open, workshop_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
