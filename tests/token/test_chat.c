/* Chat templates: known by their marks, rendered as published. */
#include "harness.h"

#include "base/memory.h"
#include "token/chat.h"

static const chat_message talk[] = {{"system", " Be kind. "}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}};

static void expect(const char *name, size_t first, size_t count, const char *text) {
    pith_bytes out;
    assert_int_equal(chat_render(chat_find(name), talk + first, count, true, &out, NULL), PITH_OK);
    assert_string_equal((char *)out.data, text);
    assert_int_equal(out.size, strlen(text));
    memory_free(out.data);
}

static void renders_as_published(void **state) {
    (void)state;
    expect("chatml", 1, 1, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    expect(
        "qwen2", 1, 1,
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    expect(
        "llama-3", 0, 2,
        "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    expect("llama-2", 0, 4, "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]");
    expect("gemma", 0, 2, "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\n");
    expect("mistral-v3", 1, 3, "[INST] Hi[/INST] Hello</s>[INST] Bye[/INST]");
    expect("mistral-tekken", 1, 3, "[INST]Hi[/INST]Hello</s>[INST]Bye[/INST]");
    expect("phi-3", 1, 1, "<|user|>\nHi<|end|>\n<|assistant|>\n");
    expect("tales", 1, 3, "<|user|>Hi<|assistant|>Hello<|user|>Bye<|assistant|>");
    expect("plain", 1, 3, "User: Hi\nAssistant: Hello\nUser: Bye\nAssistant:");
}

static void knows_templates_by_their_marks(void **state) {
    (void)state;
    static const struct {
        const char *jinja, *name;
    } cases[] = {
        {"{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n'}}", "chatml"},
        {"'<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'", "qwen2"},
        {"<|im_start|> ... <think>\n\n</think>", "qwen3"},
        {"<|start_header_id|>' + role + '<|end_header_id|>", "llama-3"},
        {"'[INST] ' + '<<SYS>>\n' + ' [/INST]'", "llama-2"},
        {"' [INST] ' + system_message [/INST]", "mistral-v1"},
        {"\"[INST]\" + content + \"[/INST]\" [AVAILABLE_TOOLS]", "mistral-tekken"},
        {"[AVAILABLE_TOOLS] [INST] ", "mistral-v3"},
        {"'<start_of_turn>' + role <end_of_turn>", "gemma"},
        {"'<|user|>\n' + content + '<|end|>\n'", "phi-3"},
        {"{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}", "phi-3"},
        {"'<|user|>\n' + content + eos_token", "zephyr"},
        {"<｜User｜> <｜Assistant｜>", "deepseek-v3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const chat_template *c = chat_recognize(cases[i].jinja);
        assert_non_null(c);
        assert_string_equal(chat_name(c), cases[i].name);
    }
    assert_null(chat_recognize("{{ messages[0] }}"));
}

static void chooses_by_name_template_or_vocabulary(void **state) {
    (void)state;
    static const char *const turns[] = {"<|user|>", "<|assistant|>"};
    const chat_template *c;
    tokenizer *t, *bare;
    pith_error err = {0};
    assert_int_equal(tokenizer_new_bytes(&t, turns, 2, NULL), PITH_OK);
    assert_int_equal(tokenizer_new_bytes(&bare, NULL, 0, NULL), PITH_OK);
    assert_int_equal(chat_choose(&c, t, NULL, NULL), PITH_OK);
    assert_string_equal(chat_name(c), "tales");
    assert_int_equal(chat_choose(&c, bare, NULL, NULL), PITH_OK);
    assert_string_equal(chat_name(c), "plain");
    assert_int_equal(chat_choose(&c, bare, "gemma", NULL), PITH_OK);
    assert_string_equal(chat_name(c), "gemma");
    assert_int_equal(chat_choose(&c, bare, "nonsense", &err), PITH_USAGE);
    assert_non_null(strstr(err.text, "nonsense"));
    tokenizer_free(t);
    tokenizer_free(bare);
}

static void names_lists_every_template_it_finds(void **state) {
    (void)state;
    char names[1024];
    strcpy(names, chat_names());
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", ")) assert_non_null(chat_find(name));
}

static void survives_bad_roles_and_lack_of_memory(void **state) {
    (void)state;
    pith_bytes out;
    chat_message tool = {"tool", "x"};
    assert_int_equal(chat_render(chat_find("chatml"), &tool, 1, true, &out, NULL), PITH_UNSUPPORTED);
    for (int n = 1;; n++) {
        memory_fail_at(n);
        pith_status s = chat_render(chat_find("llama-3"), talk, 4, true, &out, NULL);
        memory_fail_at(0);
        if (s == PITH_OK) {
            assert_true(n > 1);
            memory_free(out.data);
            break;
        }
        assert_int_equal(s, PITH_NO_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_published),
        cmocka_unit_test(knows_templates_by_their_marks),
        cmocka_unit_test(chooses_by_name_template_or_vocabulary),
        cmocka_unit_test(names_lists_every_template_it_finds),
        cmocka_unit_test(survives_bad_roles_and_lack_of_memory),
    };
    return cmocka_run_group_tests_name("token/chat", tests, NULL, NULL);
}
