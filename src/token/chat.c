/* token/chat.c - the table of chat templates: by which marks a Jinja text is known, and what stands around each turn.
 *
 * Facts from the templates models are published with. A row is known when its text holds all the row's marks; rows are
 * tried in order, so special cases stand before general ones. */
#include "token/chat.h"

#include "base/memory.h"

#include <ctype.h>
#include <string.h>

typedef struct chat_turn {
    const char *before, *after;
} chat_turn;

enum {
    CHAT_TRIM = 1,
    CHAT_SYSTEM_IN_USER = 2
}; /* content without white space around it; system text inside first user turn */

struct chat_template {
    const char *name, *marks[2];
    chat_turn system, user, assistant;
    const char *answer;         /* begins the assistant's turn */
    const char *default_system; /* where the conversation brings none */
    unsigned flags;
    const char *stops[3];
};

#define END_OF_SENTENCE "<｜end▁of▁sentence｜>"
#define CHATML(name, mark, system)                                                               \
    {                                                                                            \
        name, {"<|im_start|>", mark}, {"<|im_start|>system\n", "<|im_end|>\n"},                  \
            {"<|im_start|>user\n", "<|im_end|>\n"}, {"<|im_start|>assistant\n", "<|im_end|>\n"}, \
            "<|im_start|>assistant\n", system, 0, {                                              \
            "<|im_end|>", NULL                                                                   \
        }                                                                                        \
    }
#define MISTRAL(name, mark, user_before, user_after, assistant_before)                                         \
    {                                                                                                          \
        name, {"[INST]", mark}, {"", "\n\n"}, {user_before, user_after}, {assistant_before, "</s>"}, "", NULL, \
            CHAT_SYSTEM_IN_USER, {                                                                             \
            "</s>", NULL                                                                                       \
        }                                                                                                      \
    }
#define PHI(name, first, mark, end)                                                                               \
    {                                                                                                             \
        name, {first, mark}, {"<|system|>\n", end "\n"}, {"<|user|>\n", end "\n"}, {"<|assistant|>\n", end "\n"}, \
            "<|assistant|>\n", NULL, 0, {                                                                         \
            end, NULL                                                                                             \
        }                                                                                                         \
    }

static const chat_template rows[] = {
    {"phi-4",
     {"<|im_start|>", "<|im_sep|>"},
     {"<|im_start|>system<|im_sep|>", "<|im_end|>"},
     {"<|im_start|>user<|im_sep|>", "<|im_end|>"},
     {"<|im_start|>assistant<|im_sep|>", "<|im_end|>"},
     "<|im_start|>assistant<|im_sep|>",
     NULL,
     0,
     {"<|im_end|>", NULL}},
    CHATML("qwen2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
           "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    CHATML("qwen2", "You are a helpful assistant.", "You are a helpful assistant."),
    CHATML("qwen1.5", "You are a helpful assistant<|im_end|>", "You are a helpful assistant"),
    CHATML("smollm2", "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
           "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    CHATML("qwen3", "<think>", NULL),
    CHATML("smollm", "<|im_start|>", NULL),
    CHATML("chatml", "<|im_start|>", NULL),
    {"llama-3",
     {"<|start_header_id|>", "<|end_header_id|>"},
     {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
     {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
     {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     NULL,
     CHAT_TRIM,
     {"<|eot_id|>", NULL}},
    {"mistral-v7",
     {"[INST]", "[SYSTEM_PROMPT]"},
     {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     {"[INST] ", "[/INST]"},
     {" ", "</s>"},
     "",
     NULL,
     0,
     {"</s>", NULL}},
    {"llama-2",
     {"[INST]", "<<SYS>>"},
     {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     {"[INST] ", " [/INST]"},
     {" ", " </s><s>"},
     "",
     NULL,
     CHAT_TRIM | CHAT_SYSTEM_IN_USER,
     {"</s>", NULL}},
    MISTRAL("mistral-v1", "' [INST] '", " [INST] ", " [/INST]", " "),
    MISTRAL("mistral-tekken", "\"[INST]\"", "[INST]", "[/INST]", ""),
    MISTRAL("mistral-v3", "[AVAILABLE_TOOLS]", "[INST] ", "[/INST]", " "),
    MISTRAL("mistral", "[/INST]", "[INST] ", " [/INST]", ""),
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     {"", "\n\n"},
     {"<start_of_turn>user\n", "<end_of_turn>\n"},
     {"<start_of_turn>model\n", "<end_of_turn>\n"},
     "<start_of_turn>model\n",
     NULL,
     CHAT_TRIM | CHAT_SYSTEM_IN_USER,
     {"<end_of_turn>", NULL}},
    PHI("phi-3", "<|user|>", "<|end|>", "<|end|>"),
    PHI("phi-3", "'<|' + message['role'] + '|>\n'", "<|end|>", "<|end|>"), /* roles as they come: pith train's models */
    PHI("zephyr", "<|user|>", "eos_token", "</s>"),
    PHI("stablelm-zephyr", "<|user|>", "<|endoftext|>", "<|endoftext|>"),
    {"deepseek-v3",
     {"<｜Assistant｜>", "<｜User｜>"},
     {"", "\n\n"},
     {"<｜User｜>", ""},
     {"<｜Assistant｜>", END_OF_SENTENCE},
     "<｜Assistant｜>",
     NULL,
     0,
     {END_OF_SENTENCE, NULL}},
    {"deepseek-v2",
     {"'Assistant: ' + message['content'] + eos_token", "User: "},
     {"", "\n\n"},
     {"User: ", "\n\n"},
     {"Assistant: ", END_OF_SENTENCE},
     "Assistant:",
     NULL,
     0,
     {END_OF_SENTENCE, NULL}},
    {"deepseek-coder",
     {"### Instruction:", "<|EOT|>"},
     {"", ""},
     {"### Instruction:\n", "\n"},
     {"### Response:\n", "\n<|EOT|>\n"},
     "### Response:\n",
     NULL,
     0,
     {"<|EOT|>", NULL}},
    {"vicuna",
     {"USER: ", "ASSISTANT:"},
     {"", "\n\n"},
     {"USER: ", "\n"},
     {"ASSISTANT: ", "</s>\n"},
     "ASSISTANT:",
     NULL,
     0,
     {"</s>", "USER:", NULL}},
    {"tales",
     {"<|user|>", "<|assistant|>"},
     {"", "\n"},
     {"<|user|>", ""},
     {"<|assistant|>", ""},
     "<|assistant|>",
     NULL,
     0,
     {"<|user|>", "<|endoftext|>", NULL}},
    {"plain",
     {NULL, NULL},
     {"", "\n\n"},
     {"User: ", "\n"},
     {"Assistant: ", "\n"},
     "Assistant:",
     NULL,
     0,
     {"\nUser:", NULL}},
};
enum { ROWS = sizeof rows / sizeof *rows };

const chat_template *chat_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

const char *chat_name(const chat_template *c) { return c->name; }
const char *const *chat_stops(const chat_template *c) { return c->stops; }

const char *chat_names(void) {
    return "chatml, qwen2, qwen2.5, qwen3, smollm, smollm2, llama-2, llama-3, mistral, mistral-v1, mistral-v3, mistral-tekken, "
           "mistral-v7, phi-3, phi-4, gemma, zephyr, stablelm-zephyr, vicuna, deepseek-coder, deepseek-v2, deepseek-v3, tales, "
           "plain";
}

const chat_template *chat_recognize(const char *jinja) {
    const chat_template *general = chat_find("chatml");
    for (size_t i = 0; i < ROWS; i++) {
        const chat_template *c = &rows[i];
        if (!c->marks[0] || !strstr(jinja, c->marks[0]) || !strstr(jinja, c->marks[1])) continue;
        return strcmp(c->name, "smollm") == 0 ? general : c; /* the same text */
    }
    return NULL;
}

pith_status chat_choose(const chat_template **c, const tokenizer *t, const char *name, pith_error *err) {
    const char *jinja = tokenizer_vocab(t)->chat_template;
    if (name) {
        *c = chat_find(name);
        return *c ? PITH_OK
                  : pith_fail(err, PITH_USAGE, "--template", -1, "expected a chat template among %s; found %s",
                              chat_names(), name);
    }
    if (jinja) {
        *c = chat_recognize(jinja);
        if (!*c)
            return pith_fail(err, PITH_UNSUPPORTED, "chat template", -1,
                             "expected a template pith knows, found \"%.80s\": choose with --template among %s", jinja,
                             chat_names());
        if (strcmp((*c)->name, "zephyr") == 0 && tokenizer_find(t, "</s>") < 0) *c = chat_find("stablelm-zephyr");
        return PITH_OK;
    }
    bool turns = tokenizer_find(t, "<|user|>") >= 0 && tokenizer_find(t, "<|assistant|>") >= 0;
    *c = chat_find(turns ? "tales" : tokenizer_find(t, "<|im_start|>") >= 0 ? "chatml" : "plain");
    return PITH_OK;
}

typedef struct chat_text {
    char *data;
    size_t size, capacity;
    bool failed;
} chat_text;

static void add_n(chat_text *o, const char *text, size_t size) {
    if (o->failed || memory_reserve((void **)&o->data, &o->capacity, o->size + size + 1, 1) != 0) {
        o->failed = true;
        return;
    }
    memcpy(o->data + o->size, text, size);
    o->size += size;
    o->data[o->size] = 0;
}

static void add_turn(chat_text *o, const chat_template *c, chat_turn turn, const char *content) {
    size_t size = strlen(content);
    if (c->flags & CHAT_TRIM) {
        while (size && isspace((unsigned char)content[size - 1])) size--;
        while (size && isspace((unsigned char)*content)) content++, size--;
    }
    add_n(o, turn.before, strlen(turn.before));
    add_n(o, content, size);
    add_n(o, turn.after, strlen(turn.after));
}

/* A user's turn; `system` (or NULL) stands inside it. */
static void add_user(chat_text *o, const chat_template *c, const char *system, const char *content) {
    if (!system) {
        add_turn(o, c, c->user, content);
        return;
    }
    add_n(o, c->user.before, strlen(c->user.before));
    add_turn(o, c, c->system, system);
    add_turn(o, c, (chat_turn){"", c->user.after}, content);
}

pith_status chat_render(const chat_template *c, const chat_message *messages, size_t count, bool answer,
                        pith_bytes *out, pith_error *err) {
    chat_text o = {0};
    const char *waiting = NULL; /* system text for the next user turn */
    *out = (pith_bytes){NULL, 0};
    add_n(&o, "", 0);
    if (c->default_system && (count == 0 || strcmp(messages[0].role, "system") != 0))
        add_turn(&o, c, c->system, c->default_system);
    for (size_t i = 0; i < count; i++) {
        const chat_message *m = &messages[i];
        if (strcmp(m->role, "user") == 0) {
            add_user(&o, c, waiting, m->content);
            waiting = NULL;
        } else if (strcmp(m->role, "assistant") == 0) add_turn(&o, c, c->assistant, m->content);
        else if (strcmp(m->role, "system") == 0 && c->flags & CHAT_SYSTEM_IN_USER) waiting = m->content;
        else if (strcmp(m->role, "system") == 0) add_turn(&o, c, c->system, m->content);
        else {
            memory_free(o.data);
            return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected a role system, user or assistant, found %s",
                             m->role);
        }
    }
    if (answer) add_n(&o, c->answer, strlen(c->answer));
    if (o.failed) {
        memory_free(o.data);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    *out = (pith_bytes){(uint8_t *)o.data, o.size};
    return PITH_OK;
}
