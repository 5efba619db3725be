/* model/evaluate.h - how well a model predicts a text, alone or against a reference model. */
#ifndef MODEL_EVALUATE_H
#define MODEL_EVALUATE_H

#include "model/llama.h"

typedef struct evaluate_text {
    const int32_t *tokens;
    const uint32_t *bytes; /* of the text that each token stands for */
    int64_t count;
    int32_t bos; /* replaces the first token of every window; -1: none */
    /* Is shown the logits [rows][vocab] of the tokens scored, window after window. May be NULL. */
    pith_status (*watch)(void *user, const float *logits, int64_t rows, pith_error *err);
    void *user;
} evaluate_text;

typedef struct evaluation {
    int64_t tokens, windows, context; /* tokens scored */
    double perplexity, bits_per_byte; /* bits_per_byte over the text that the scored tokens stand for */
    double kl, kl_p99, top1;          /* against the reference; kl in nats, top1 a share. -1 without a reference */
    double tokens_per_s;              /* of the model alone, all tokens of the windows */
} evaluation;

/* The text is cut into windows of `context` tokens, the rest dropped; in each window the second half is scored, so that
 * every scored token has at least half a window before it. This is how llama.cpp's perplexity tool counts. A text
 * shorter than one window is one window of its own length. reference may be NULL; it must have the same vocabulary
 * (PITH_MISMATCH). */
pith_status evaluate_model(const pith_context *c, const llama *m, const llama *reference, const evaluate_text *text,
                           int64_t context, evaluation *out, pith_error *err);
/* How many tokens are scored of a text of `count`. */
int64_t evaluate_scored(int64_t count, int64_t context);

#endif
