/* model/generate.h - writing text, token by token. */
#ifndef MODEL_GENERATE_H
#define MODEL_GENERATE_H

#include "model/language_model.h"
#include "model/sampler.h"

typedef struct generate_settings {
    int64_t limit;            /* most tokens to write; -1: until a stop or the context's end */
    const char *const *stops; /* texts or names of tokens that end the writing, NULL-terminated; may be NULL */
    bool (*text)(void *user, const uint8_t *bytes, size_t size); /* gets the text as it comes; false stops */
    void *user;
} generate_settings;

typedef struct generate_figures {
    int64_t prompt_tokens, written_tokens;
    double prompt_seconds, write_seconds;
    bool stopped; /* by a stop token or text, not by the limit */
} generate_figures;

/* Appends `prompt` to the session and continues it. The session keeps what was read and written, so that a conversation
 * goes on by calling again. PITH_INTERRUPTED when the context's progress says so. */
pith_status generate_text(const language_model *m, llama_session *session, sampler *draws, const int32_t *prompt,
                          int64_t count, const generate_settings *settings, const pith_context *c,
                          generate_figures *out, pith_error *err);

#endif
