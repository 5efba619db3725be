/* model/evaluate.c - windows through the model, second halves scored. */
#include "model/evaluate.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "measure/distribution.h"

#include <math.h>
#include <string.h>

typedef struct scoring {             /* one window */
    const float *logits, *reference; /* [scored][vocab] */
    const int32_t *targets;
    int64_t vocab;
    double *surprise, *divergence; /* [scored] */
    uint8_t *agree;
} scoring;

static void score_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const scoring *s = user;
    for (int64_t i = begin; i < end; i++) {
        const float *row = s->logits + i * s->vocab;
        s->surprise[i] = distribution_surprise(row, s->vocab, s->targets[i]);
        if (!s->reference) continue;
        const float *other = s->reference + i * s->vocab;
        s->divergence[i] = distribution_divergence(other, row, s->vocab);
        s->agree[i] = distribution_likeliest(other, s->vocab) == distribution_likeliest(row, s->vocab);
    }
}

typedef struct work {
    llama_session *session, *reference;
    int64_t window, scored, windows, vocab;
    float *logits, *other;
    int32_t *tokens;
    double *surprise, *divergence; /* divergence of all scored tokens, for the quantile */
    uint8_t *agree;
} work;

static void close_work(work *w) {
    llama_session_free(w->session);
    llama_session_free(w->reference);
    memory_free(w->logits);
    memory_free(w->other);
    memory_free(w->tokens);
    memory_free(w->surprise);
    memory_free(w->divergence);
    memory_free(w->agree);
}

static pith_status open_work(work *w, const llama *m, const llama *reference, pith_error *err) {
    size_t rows = (size_t)w->scored, vocab = (size_t)w->vocab;
    w->logits = memory_zero(rows * vocab, sizeof *w->logits);
    w->other = reference ? memory_zero(rows * vocab, sizeof *w->other) : NULL;
    w->tokens = memory_zero((size_t)w->window, sizeof *w->tokens);
    w->surprise = memory_zero(rows, sizeof *w->surprise);
    w->divergence = memory_zero(rows * (size_t)w->windows, sizeof *w->divergence);
    w->agree = memory_zero(rows, 1);
    if (!w->logits || (reference && !w->other) || !w->tokens || !w->surprise || !w->divergence || !w->agree)
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = llama_session_new(&w->session, m, w->window, PITH_F16, err);
    if (s == PITH_OK && reference) s = llama_session_new(&w->reference, reference, w->window, PITH_F16, err);
    return s;
}

static pith_status run_window(work *w, const evaluate_text *text, int64_t index, evaluation *sum, pith_error *err) {
    memcpy(w->tokens, text->tokens + index * w->window, (size_t)w->window * sizeof *w->tokens);
    if (text->bos >= 0) w->tokens[0] = text->bos;
    double started = clock_seconds();
    llama_session_rewind(w->session, 0);
    /* the last token predicts nothing that is scored */
    pith_status s = llama_session_append(w->session, w->tokens, w->window - 1, w->scored, w->logits, err);
    sum->tokens_per_s += clock_seconds() - started;
    if (s == PITH_OK && text->watch) s = text->watch(text->user, w->logits, w->scored, err);
    if (s == PITH_OK && w->reference) {
        llama_session_rewind(w->reference, 0);
        s = llama_session_append(w->reference, w->tokens, w->window - 1, w->scored, w->other, err);
    }
    if (s != PITH_OK) return s;
    int64_t first = w->window - w->scored;
    scoring sc = {.logits = w->logits,
                  .reference = w->reference ? w->other : NULL,
                  .targets = w->tokens + first,
                  .vocab = w->vocab,
                  .surprise = w->surprise,
                  .divergence = w->divergence + index * w->scored,
                  .agree = w->agree};
    parallel_for(w->scored, 8, score_rows, &sc);
    for (int64_t i = 0; i < w->scored; i++) {
        if (!isfinite(w->surprise[i]))
            return pith_fail(err, PITH_NOT_FINITE, NULL, -1, "the model's logits are not finite at token %lld",
                             (long long)(index * w->window + first + i));
        sum->perplexity += w->surprise[i];
        sum->bits_per_byte += text->bytes[index * w->window + first + i];
        sum->kl += sc.divergence[i];
        sum->top1 += w->agree[i];
    }
    return PITH_OK;
}

static void finish(evaluation *sum, work *w) {
    double n = (double)sum->tokens, nats = sum->perplexity, bytes = sum->bits_per_byte;
    sum->perplexity = exp(nats / n);
    sum->bits_per_byte = bytes > 0 ? nats / log(2.0) / bytes : 0;
    sum->tokens_per_s = (double)(sum->windows * (w->window - 1)) / sum->tokens_per_s;
    sum->kl = w->reference ? sum->kl / n : -1;
    sum->top1 = w->reference ? sum->top1 / n : -1;
    sum->kl_p99 = w->reference ? distribution_quantile(w->divergence, sum->tokens, 0.99) : -1;
}

static int64_t scored_of(int64_t window) { return window - 1 - window / 2; }

int64_t evaluate_scored(int64_t count, int64_t context) {
    int64_t window = count < context ? count : context;
    return window >= 4 ? count / window * scored_of(window) : 0;
}

pith_status evaluate_model(const pith_context *c, const llama *m, const llama *reference, const evaluate_text *text,
                           int64_t context, evaluation *out, pith_error *err) {
    memset(out, 0, sizeof *out);
    if (reference && reference->config.vocab != m->config.vocab)
        return pith_fail(err, PITH_MISMATCH, "--reference", -1, "expected a vocabulary of %lld tokens, found %lld",
                         (long long)m->config.vocab, (long long)reference->config.vocab);
    if (text->count < 4)
        return pith_fail(err, PITH_USAGE, "--data", -1, "expected a text of at least 4 tokens, found %lld",
                         (long long)text->count);
    work w = {.window = text->count < context ? text->count : context, .vocab = m->config.vocab};
    w.scored = scored_of(w.window);
    w.windows = text->count / w.window;
    pith_status s = open_work(&w, m, reference, err);
    for (int64_t i = 0; i < w.windows && s == PITH_OK; i++) {
        s = run_window(&w, text, i, out, err);
        if (s == PITH_OK) s = pith_progress(c, (double)(i + 1), (double)w.windows, "windows", err);
    }
    out->windows = w.windows;
    out->tokens = w.windows * w.scored;
    out->context = w.window;
    if (s == PITH_OK) finish(out, &w);
    close_work(&w);
    return s;
}
