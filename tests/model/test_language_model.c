/* What travels beside a model's weights: a chat template in a file of its own, through every format. */
#include "model/workplace.h"

#include "cli/command.h"
#include "model/language_model.h"
#include "token/chat.h"

static const char jinja[] = "{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{% endfor %}";
static int convert(const char *what, const char *in, const char *out) {
    char *argv[] = {"pith", (char *)what, (char *)in, "-o", (char *)out, "-q", NULL};
    return command_main(6, argv);
}

static void a_template_in_its_own_file_counts(void **state) {
    (void)state;
    static const char *const roads[][3] = {{"pack", "model", "a.gguf"},
                                           {"pack", "model", "a.pith"},
                                           {"unpack", "a.pith", "again"},
                                           {"unpack", "a.gguf", "other"}};
    assert_int_equal(convert("unpack", PITH_SOURCE_DIR "/share/lm-s.pith", "model"), 0);
    FILE *f = fopen("model/chat_template.jinja", "w");
    assert_non_null(f);
    fputs(jinja, f);
    fclose(f);
    for (size_t i = 0; i <= sizeof roads / sizeof *roads; i++) {
        const char *path = i ? roads[i - 1][2] : "model";
        language_model m;
        const chat_template *c;
        pith_error err = {0};
        if (i) assert_int_equal(convert(roads[i - 1][0], roads[i - 1][1], path), 0);
        if (language_model_open(&m, path, NULL, NULL, &err) != PITH_OK) fail_msg("%s: %s", path, err.text);
        if (!tokenizer_vocab(m.tokens)->chat_template) fail_msg("%s: no template", path);
        assert_string_equal(tokenizer_vocab(m.tokens)->chat_template, jinja);
        assert_int_equal(chat_choose(&c, m.tokens, NULL, NULL), PITH_OK);
        assert_string_equal(chat_name(c), "chatml");
        language_model_close(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_template_in_its_own_file_counts)};
    return cmocka_run_group_tests(tests, workplace_open, workplace_close);
}
