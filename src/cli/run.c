/* cli/run.c - pith run: a model continues a text, or talks. */
#include "cli/command.h"

#include "base/log.h"
#include "base/memory.h"
#include "cli/line_edit.h"
#include "model/generate.h"
#include "token/chat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const pith_option options[] = {
    {.name = "prompt",
     .letter = 'p',
     .unit = "TEXT",
     .type = PITH_TEXT,
     .help = "the text to continue; - reads standard input"},
    {.name = "file",
     .letter = 'f',
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "a file that holds the text to continue"},
    {.name = "tokens",
     .letter = 'n',
     .unit = "N",
     .type = PITH_INT,
     .low = -1,
     .high = 1e9,
     .initial = 128,
     .help = "tokens to write; -1: until the model stops"},
    {.name = "context",
     .unit = "N",
     .type = PITH_INT,
     .low = 0,
     .high = 1e8,
     .help = "positions to keep; 0: the model's own, at most 4096"},
    {.name = "cache", .unit = "f16|q8_0", .type = PITH_CHOICE, .text = "f16", .help = "how keys and values are kept"},
    {.name = "temp",
     .unit = "T",
     .type = PITH_REAL,
     .low = 0,
     .high = 100,
     .initial = 0.8,
     .help = "temperature; 0: always the likeliest token"},
    {.name = "top-k",
     .unit = "K",
     .type = PITH_INT,
     .low = 0,
     .high = 1e9,
     .initial = 40,
     .help = "choose among the K likeliest; 0: all"},
    {.name = "top-p",
     .unit = "P",
     .type = PITH_REAL,
     .low = 0,
     .high = 1,
     .initial = 0.95,
     .help = "choose among the likeliest that sum to P"},
    {.name = "min-p",
     .unit = "P",
     .type = PITH_REAL,
     .low = 0,
     .high = 1,
     .initial = 0.05,
     .help = "drop those below P of the likeliest"},
    {.name = "repeat-penalty",
     .unit = "R",
     .type = PITH_REAL,
     .low = 0.1,
     .high = 10,
     .initial = 1,
     .help = "make recent tokens less likely; 1: no"},
    {.name = "repeat-last",
     .unit = "N",
     .type = PITH_INT,
     .low = 0,
     .high = 1e6,
     .initial = 64,
     .help = "how many tokens are recent"},
    {.name = "seed",
     .letter = 's',
     .unit = "N",
     .type = PITH_INT,
     .low = 0,
     .high = 9e15,
     .initial = 0,
     .help = "same seed, same text"},
    {.name = "chat", .type = PITH_FLAG, .help = "a conversation; with -p, one answer"},
    {.name = "system", .unit = "TEXT", .type = PITH_TEXT, .help = "chat: what the model is told first"},
    {.name = "template",
     .unit = "NAME",
     .type = PITH_TEXT,
     .help = "chat: the model's way of marking turns, where it is not recognized"},
    {.name = "tokenizer", .unit = "FILE", .type = PITH_TEXT, .help = "llama2.c checkpoints: their tokenizer"},
};

typedef struct speech {
    command *c;
    language_model m;
    llama_session *session;
    sampler *sampler;
    pith_bytes said; /* what was written since it was last emptied */
    size_t capacity;
} speech;

static void close_speech(speech *s) {
    llama_session_free(s->session);
    sampler_free(s->sampler);
    language_model_close(&s->m);
    memory_free(s->said.data);
}

static pith_status open_speech(speech *s, command *c, pith_error *err) {
    const pith_values *v = c->values;
    s->c = c;
    model_options mo = {.tokenizer = pith_value_text(v, "tokenizer"), .context = &c->context};
    pith_status status = language_model_open(&s->m, pith_operand(v, 0), &mo, &c->context, err);
    if (status != PITH_OK) return status;
    int64_t own = s->m.model->config.context, context = pith_value_int(v, "context");
    if (context == 0) context = own < 4096 ? own : 4096;
    if (s->m.model->positions && context > own)
        return pith_fail(err, PITH_USAGE, "--context", -1, "expected at most the model's %lld positions, found %lld",
                         (long long)own, (long long)context);
    sampler_settings set = {.temperature = (float)pith_value_real(v, "temp"),
                            .top_k = (int)pith_value_int(v, "top-k"),
                            .top_p = (float)pith_value_real(v, "top-p"),
                            .min_p = (float)pith_value_real(v, "min-p"),
                            .repeat_penalty = (float)pith_value_real(v, "repeat-penalty"),
                            .repeat_last = (int)pith_value_int(v, "repeat-last"),
                            .seed = (uint64_t)pith_value_int(v, "seed")};
    status =
        llama_session_new(&s->session, s->m.model, context, pith_value_int(v, "cache") ? PITH_Q8_0 : PITH_F16, err);
    return status == PITH_OK ? sampler_new(&s->sampler, &set, s->m.model->config.vocab, err) : status;
}

static pith_status read_all(FILE *f, const char *name, pith_bytes *out, pith_error *err) {
    size_t capacity = 0;
    for (;;) {
        if (memory_reserve((void **)&out->data, &capacity, out->size + 65536, 1))
            return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
        size_t n = fread(out->data + out->size, 1, 65536, f);
        out->size += n;
        if (n == 0) break;
    }
    return ferror(f) ? pith_fail_errno(err, name, errno, "cannot read") : PITH_OK;
}

static pith_status read_prompt(const pith_values *v, pith_bytes *out, pith_error *err) {
    const char *text = pith_value_text(v, "prompt"), *path = pith_value_text(v, "file");
    if (text && path) return pith_fail(err, PITH_USAGE, NULL, -1, "expected -p or -f, found both");
    if (path) {
        FILE *f = fopen(path, "rb");
        if (!f) return pith_fail_errno(err, path, errno, "cannot open");
        pith_status s = read_all(f, path, out, err);
        fclose(f);
        return s;
    }
    if (!text) return pith_fail(err, PITH_USAGE, NULL, -1, "expected a text to continue: -p TEXT, -f FILE, or --chat");
    if (strcmp(text, "-") == 0) return read_all(stdin, "standard input", out, err);
    out->data = (uint8_t *)memory_text(text);
    out->size = strlen(text);
    return out->data ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

static bool say(void *user, const uint8_t *bytes, size_t size) {
    speech *s = user;
    if (memory_reserve((void **)&s->said.data, &s->capacity, s->said.size + size + 1, 1)) return false;
    memcpy(s->said.data + s->said.size, bytes, size);
    s->said.size += size;
    if (s->c->json) return true;
    return command_write(bytes, size); /* a reader that went away ends the writing */
}

static void report(const speech *s, const generate_figures *f) {
    log_info("%s%lld prompt tokens at %.1f/s, %lld written at %.1f/s", s->c->json ? "" : "\n",
             (long long)f->prompt_tokens, f->prompt_seconds > 0 ? (double)f->prompt_tokens / f->prompt_seconds : 0,
             (long long)f->written_tokens, f->write_seconds > 0 ? (double)f->written_tokens / f->write_seconds : 0);
}

static pith_status speak(speech *s, const void *text, size_t size, unsigned flags, const char *const *stops,
                         generate_figures *f, pith_error *err) {
    token_list ids = {0};
    pith_status status = tokenizer_encode(s->m.tokens, text, size, flags, &ids, err);
    generate_settings set = {.limit = pith_value_int(s->c->values, "tokens"), .stops = stops, .text = say, .user = s};
    if (status == PITH_OK && ids.count == 0)
        status = pith_fail(err, PITH_USAGE, NULL, -1, "expected a text of at least one token");
    if (status == PITH_OK)
        status =
            generate_text(&s->m, s->session, s->sampler, ids.ids, (int64_t)ids.count, &set, &s->c->context, f, err);
    memory_free(ids.ids);
    if (status == PITH_OK) status = command_output(err);
    return status;
}

static pith_status continue_text(speech *s, pith_error *err) {
    pith_bytes prompt = {0};
    generate_figures f;
    pith_status status = read_prompt(s->c->values, &prompt, err);
    if (status == PITH_OK && !s->c->json && !command_write(prompt.data, prompt.size)) status = command_output(err);
    if (status == PITH_OK) status = speak(s, prompt.data, prompt.size, TOKEN_ADD_START, NULL, &f, err);
    if (status == PITH_OK && !s->c->json) command_print("\n");
    if (status == PITH_OK) {
        report(s, &f);
        json_object_update_new(
            s->c->result,
            json_pack("{s:s%, s:s%, s:I, s:I, s:f, s:f}", "prompt", (char *)prompt.data, prompt.size, "text",
                      s->said.data ? (char *)s->said.data : "", s->said.size, "prompt_tokens",
                      (json_int_t)f.prompt_tokens, "written_tokens", (json_int_t)f.written_tokens,
                      "prompt_tokens_per_s", (double)f.prompt_tokens / (f.prompt_seconds > 0 ? f.prompt_seconds : 1),
                      "tokens_per_s", (double)f.written_tokens / (f.write_seconds > 0 ? f.write_seconds : 1)));
    }
    memory_free(prompt.data);
    return status;
}

/* --- conversation
 * ----------------------------------------------------------------------------------------------------- */

typedef struct talk {
    speech *s;
    const chat_template *template;
    chat_message *messages; /* contents owned */
    size_t count, capacity;
    token_list known; /* tokens at the start of the session */
} talk;

static void forget(talk *t) {
    for (size_t i = 0; i < t->count; i++) memory_free((char *)t->messages[i].content);
    t->count = 0;
    t->known.count = 0;
    llama_session_rewind(t->s->session, 0);
}

static pith_status add_message(talk *t, const char *role, const char *content, size_t size, pith_error *err) {
    char *copy = NULL;
    if (memory_reserve((void **)&t->messages, &t->capacity, t->count + 1, sizeof *t->messages) ||
        !(copy = memory_text_n(content, size)))
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    t->messages[t->count++] = (chat_message){role, copy};
    return PITH_OK;
}

static pith_status start_talk(talk *t, pith_error *err) {
    const char *system = pith_value_text(t->s->c->values, "system");
    forget(t);
    return system ? add_message(t, "system", system, strlen(system), err) : PITH_OK;
}

/* The whole conversation is rendered anew each turn; what the session holds already is kept as far as it agrees. */
static pith_status answer(talk *t, generate_figures *f, pith_error *err) {
    speech *s = t->s;
    pith_bytes text = {0};
    token_list ids = {0};
    pith_status status = chat_render(t->template, t->messages, t->count, true, &text, err);
    if (status == PITH_OK)
        status = tokenizer_encode(s->m.tokens, text.data, text.size, TOKEN_PARSE_SPECIAL | TOKEN_ADD_START, &ids, err);
    memory_free(text.data);
    size_t same = 0;
    while (same + 1 < ids.count && same < t->known.count && ids.ids[same] == t->known.ids[same]) same++;
    llama_session_rewind(s->session, (int64_t)same);
    memory_free(t->known.ids);
    t->known = ids;
    s->said.size = 0;
    generate_settings set = {
        .limit = pith_value_int(s->c->values, "tokens"), .stops = chat_stops(t->template), .text = say, .user = s};
    if (status == PITH_OK)
        status = generate_text(&s->m, s->session, s->sampler, ids.ids + same, (int64_t)(ids.count - same), &set,
                               &s->c->context, f, err);
    if (status == PITH_OK) status = command_output(err);
    if (status == PITH_OK)
        status = add_message(t, "assistant", s->said.data ? (char *)s->said.data : "", s->said.size, err);
    return status;
}

static const char help_text[] =
    "  /help    this\n  /new     forget the conversation\n  /undo    forget the last turn\n"
    "  /show    the conversation as the model sees it\n  /quit    leave (also Ctrl-D); Ctrl-C stops an answer\n";

static pith_status show_talk(const talk *t, pith_error *err) {
    pith_bytes text = {0};
    pith_status s = chat_render(t->template, t->messages, t->count, false, &text, err);
    if (s == PITH_OK) command_print("%s\n", (const char *)text.data);
    memory_free(text.data);
    return s;
}

static pith_status take_command(talk *t, const char *line, bool *quit, pith_error *err) {
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) *quit = true;
    else if (strcmp(line, "/new") == 0) return start_talk(t, err);
    else if (strcmp(line, "/show") == 0) return show_talk(t, err);
    else if (strcmp(line, "/undo") == 0) {
        for (int i = 0; i < 2 && t->count && strcmp(t->messages[t->count - 1].role, "system") != 0; i++)
            memory_free((char *)t->messages[--t->count].content);
    } else command_print("%s", help_text);
    return PITH_OK;
}

static pith_status take_turn(talk *t, const char *line, pith_error *err) {
    generate_figures f;
    pith_status s = add_message(t, "user", line, strlen(line), err);
    if (s == PITH_OK) s = answer(t, &f, err);
    if (s == PITH_INTERRUPTED && isatty(STDIN_FILENO)) { /* Ctrl-C ends the answer, not the conversation */
        interrupt_clear();
        *err = (pith_error){0};
        s = add_message(t, "assistant", t->s->said.data ? (char *)t->s->said.data : "", t->s->said.size, err);
    } else if (s == PITH_OK) report(t->s, &f);
    command_print("\n");
    return s;
}

static pith_status converse(talk *t, pith_error *err) {
    pith_status s = start_talk(t, err);
    bool quit = false;
    line_editor *editor = NULL;
    if (s == PITH_OK) s = line_editor_new(&editor, err);
    if (s == PITH_OK) log_info("chat (%s); /help lists commands", chat_name(t->template));
    while (s == PITH_OK && !quit) {
        char *line = NULL;
        s = line_editor_read(editor, "> ", &line, err);
        if (s != PITH_OK || !line) break;
        if (line[0] == '/') s = take_command(t, line, &quit, err);
        else if (line[0]) s = take_turn(t, line, err);
        memory_free(line);
    }
    line_editor_free(editor);
    return s;
}

static pith_status answer_once(talk *t, pith_error *err) {
    pith_bytes prompt = {0};
    generate_figures f;
    pith_status s = start_talk(t, err);
    if (s == PITH_OK) s = read_prompt(t->s->c->values, &prompt, err);
    if (s == PITH_OK) s = add_message(t, "user", (char *)prompt.data, prompt.size, err);
    if (s == PITH_OK) s = answer(t, &f, err);
    if (s == PITH_OK) {
        report(t->s, &f);
        if (!t->s->c->json) command_print("\n");
        json_object_update_new(t->s->c->result,
                               json_pack("{s:s%, s:s, s:s, s:I}", "prompt", (char *)prompt.data, prompt.size, "text",
                                         t->messages[t->count - 1].content, "template", chat_name(t->template),
                                         "written_tokens", (json_int_t)f.written_tokens));
    }
    memory_free(prompt.data);
    return s;
}

static pith_status chat(speech *s, pith_error *err) {
    talk t = {.s = s};
    pith_status status = chat_choose(&t.template, s->m.tokens, pith_value_text(s->c->values, "template"), err);
    bool once = pith_value_given(s->c->values, "prompt") || pith_value_given(s->c->values, "file");
    if (status == PITH_OK) status = once ? answer_once(&t, err) : converse(&t, err);
    forget(&t);
    memory_free(t.messages);
    memory_free(t.known.ids);
    return status;
}

static pith_status run(command *c, pith_error *err) {
    speech s = {0};
    pith_status status = open_speech(&s, c, err);
    if (status == PITH_OK && c->dry_run) log_info("%s: would run", pith_operand(c->values, 0));
    else if (status == PITH_OK) status = pith_value_flag(c->values, "chat") ? chat(&s, err) : continue_text(&s, err);
    close_speech(&s);
    return status;
}

const verb verb_run = {
    .name = "run",
    .summary = "let a language model continue a text, or talk with it",
    .operands = "MODEL",
    .example = "pith run model.gguf -p \"Once upon a time\" -n 100",
    .details =
        "MODEL is a GGUF or .pith file, a HuggingFace folder, or a llama2.c checkpoint. Text goes to standard output, figures to standard error.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
