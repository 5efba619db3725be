/* model/generate.c - prefill, then sample, decode, show; a stop text is never shown, not even its beginning. */
#include "model/generate.h"

#include "base/memory.h"
#include "base/progress.h"

#include <string.h>

typedef struct writer {
    const language_model *m;
    const generate_settings *set;
    token_decoder decoder;
    uint8_t *held; /* text not shown yet: it may be the beginning of a stop */
    size_t held_size, held_capacity;
    uint8_t *piece;
    bool stopped;
} writer;

/* Where in the held text a stop begins whole; or SIZE_MAX. */
static size_t find_stop(const writer *w, size_t *length) {
    for (const char *const *s = w->set->stops; s && *s; s++) {
        *length = strlen(*s);
        if (*length == 0 || *length > w->held_size) continue;
        const uint8_t *at = memmem(w->held, w->held_size, *s, *length);
        if (at) return (size_t)(at - w->held);
    }
    return SIZE_MAX;
}

/* How many bytes at the end of the held text may be the beginning of a stop. */
static size_t longest_beginning(const writer *w) {
    size_t longest = 0;
    for (const char *const *s = w->set->stops; s && *s; s++) {
        size_t n = strlen(*s), most = n - (n > 0) < w->held_size ? n - (n > 0) : w->held_size;
        for (size_t k = most; k > longest; k--)
            if (memcmp(w->held + w->held_size - k, *s, k) == 0) longest = k;
    }
    return longest;
}

static bool show(writer *w, size_t size) {
    bool more = size == 0 || !w->set->text || w->set->text(w->set->user, w->held, size);
    memmove(w->held, w->held + size, w->held_size - size);
    w->held_size -= size;
    return more;
}

static bool push_text(writer *w, const uint8_t *bytes, size_t size) {
    if (memory_reserve((void **)&w->held, &w->held_capacity, w->held_size + size + 1, 1)) return false;
    memcpy(w->held + w->held_size, bytes, size);
    w->held_size += size;
    size_t length, at = find_stop(w, &length);
    if (at != SIZE_MAX) {
        w->stopped = true;
        w->held_size = at;
        return show(w, at);
    }
    return show(w, w->held_size - longest_beginning(w));
}

/* A stop may also be the name of a control token, which decodes to nothing. */
static bool is_stop(const writer *w, int32_t token) {
    if (tokenizer_is_stop(w->m->tokens, token)) return true;
    for (const char *const *s = w->set->stops; s && *s; s++)
        if (tokenizer_find(w->m->tokens, *s) == token) return true;
    return false;
}

static pith_status prefill(llama_session *session, const int32_t *prompt, int64_t count, const pith_context *c,
                           float *logits, pith_error *err) {
    enum { PIECE = 512 };
    pith_status s = PITH_OK;
    for (int64_t at = 0; at < count && s == PITH_OK; at += PIECE) {
        int64_t n = count - at < PIECE ? count - at : PIECE;
        s = llama_session_append(session, prompt + at, n, at + n == count, logits, err);
        if (s == PITH_OK) s = pith_progress(c, (double)(at + n), (double)count, "prompt tokens", err);
    }
    return s;
}

static pith_status write_on(writer *w, llama_session *session, sampler *draws, const pith_context *c, float *logits,
                            generate_figures *out, pith_error *err) {
    pith_status s = PITH_OK;
    bool more = true;
    while (s == PITH_OK && more && (w->set->limit < 0 || out->written_tokens < w->set->limit)) {
        int32_t token = sampler_draw(draws, logits);
        if (is_stop(w, token)) {
            w->stopped = true;
            break;
        }
        out->written_tokens++;
        size_t n = token_decoder_push(&w->decoder, token, w->piece, token_decoder_room(w->m->tokens));
        more = push_text(w, w->piece, n) && !w->stopped;
        if (llama_session_length(session) >= llama_session_context(session)) break;
        if (more && out->written_tokens != w->set->limit) s = llama_session_append(session, &token, 1, 1, logits, err);
        if (s == PITH_OK && c->progress && !c->progress(c->user, 0, 0, ""))
            s = pith_fail(err, PITH_INTERRUPTED, NULL, -1, "interrupted");
    }
    return s;
}

pith_status generate_text(const language_model *m, llama_session *session, sampler *draws, const int32_t *prompt,
                          int64_t count, const generate_settings *settings, const pith_context *c,
                          generate_figures *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    if (count < 1) return pith_fail(err, PITH_USAGE, NULL, -1, "expected a prompt of at least one token");
    writer w = {.m = m, .set = settings, .decoder = token_decoder_new(m->tokens, false)};
    float *logits = memory_zero((size_t)m->model->config.vocab, sizeof *logits);
    w.piece = memory_alloc(token_decoder_room(m->tokens));
    w.decoder.started = true; /* what is written follows the prompt: a leading space is part of it */
    pith_status s = logits && w.piece ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    double started = clock_seconds();
    if (s == PITH_OK) s = prefill(session, prompt, count, c, logits, err);
    for (int64_t i = 0; i < count && s == PITH_OK; i++) sampler_accept(draws, prompt[i]);
    out->prompt_tokens = count;
    out->prompt_seconds = clock_seconds() - started;
    started = clock_seconds();
    if (s == PITH_OK) s = write_on(&w, session, draws, c, logits, out, err);
    if (s == PITH_OK && !w.stopped) show(&w, w.held_size);
    out->write_seconds = clock_seconds() - started;
    out->stopped = w.stopped;
    memory_free(w.held);
    memory_free(w.piece);
    memory_free(logits);
    return s;
}
