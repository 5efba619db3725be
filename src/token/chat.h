/* token/chat.h - conversations as the text a model was trained on.
 *
 * Chat templates are programs (Jinja); pith does not run them but recognizes the common ones by their marks and renders
 * them itself. */
#ifndef TOKEN_CHAT_H
#define TOKEN_CHAT_H

#include "token/tokenizer.h"

typedef struct chat_template chat_template;

typedef struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} chat_message;

/* By name ("chatml", "llama-3" ...); NULL: unknown. */
const chat_template *chat_find(const char *name);
const char *chat_name(const chat_template *c);
const char *chat_names(void); /* "chatml, llama-3, ..." for messages */
/* By the text of a Jinja template; NULL: unknown. */
const chat_template *chat_recognize(const char *jinja);
/* The template a tokenizer asks for. `name` (may be NULL) chooses; else the tokenizer's own Jinja text decides, and one
 * that is not recognized is PITH_UNSUPPORTED, quoting its start. Without any: "tales" if the vocabulary has <|user|>
 * and
 * <|assistant|>, chatml if it has <|im_start|>, else "plain". */
pith_status chat_choose(const chat_template **c, const tokenizer *t, const char *name, pith_error *err);

/* Appends the conversation as text; `answer`: up to where the assistant begins to speak. To be encoded with
 * TOKEN_PARSE_SPECIAL and, for the first message of a conversation, TOKEN_ADD_START: no start token is written here.
 * Rendering is incremental: the text of n + 1 messages begins with that of n, but for templates that place the system
 * text inside the first user message. The caller frees out->data with memory_free; it is terminated.
 * PITH_UNSUPPORTED: a role the template does not know. */
pith_status chat_render(const chat_template *c, const chat_message *messages, size_t count, bool answer,
                        pith_bytes *out, pith_error *err);
/* Where an answer ends, besides the tokenizer's stop tokens: a text, or the name of a token (tokenizer_find; control
 * tokens never appear in decoded text). Ends in NULL. */
const char *const *chat_stops(const chat_template *c);

#endif
