/* model/llama.h - running a decoder-only transformer: weights as packed in the file, a key-value cache, batched
 * prefill.
 *
 * One llama (weights, read-only) serves any number of sessions (cache and scratch). One thread drives a session. */
#ifndef MODEL_LLAMA_H
#define MODEL_LLAMA_H

#include "model/linear.h"
#include "model/rope.h"
#include "net/decoder_config.h"

typedef struct llama_norm {
    float *weight, *bias; /* [width] or [head_dim]; bias may be NULL */
} llama_norm;

typedef struct llama_block {
    llama_norm attention_norm, ffn_norm, query_norm, key_norm;
    linear query, key, value, output; /* fused models hold all three in query */
    linear gate, up, down;            /* gate is empty unless config.gated */
} llama_block;

typedef struct llama {
    decoder_config config;
    rope rope;
    pith_packed embedding; /* [vocab][width]; bytes let go where the head has them too: llama_embedding reads both */
    float *positions;      /* [context][width] or NULL */
    llama_norm output_norm;
    linear head; /* [vocab][width] */
    llama_block *blocks;
} llama;

void llama_free(llama *m); /* safe on NULL */
/* Bytes of weights that one decoded token reads: every matrix once, embedding rows not. */
uint64_t llama_bytes_per_token(const llama *m);

/* The row of a token, [width]. scratch: linear_scratch(1, width) bytes. */
void llama_embedding(const llama *m, int32_t token, float *out, void *scratch);

typedef struct llama_session llama_session;
/* Room for `context` positions; cache_type PITH_F16 or PITH_Q8_0 (head_dim a multiple of 32). */
pith_status llama_session_new(llama_session **s, const llama *m, int64_t context, uint16_t cache_type, pith_error *err);
void llama_session_free(llama_session *s); /* safe on NULL */
int64_t llama_session_length(const llama_session *s);
int64_t llama_session_context(const llama_session *s);
void llama_session_rewind(llama_session *s, int64_t length); /* forgets positions from `length` on */
/* Appends n tokens and gives the logits of the last `wanted` of them: logits [wanted][vocab], or NULL where an observer
 * is to see the inputs of all matrices and nobody their outcome.
 * PITH_LIMIT when the context is full, PITH_MISMATCH for a token outside the vocabulary. */
pith_status llama_session_append(llama_session *s, const int32_t *tokens, int64_t n, int64_t wanted, float *logits,
                                 pith_error *err);
/* Shows `observe` the inputs of every product before it is made: x [n][columns of w]. NULL: nobody looks. */
typedef void (*llama_observer)(void *user, const linear *w, const float *x, int64_t n);
void llama_session_observe(llama_session *s, llama_observer observe, void *user);

#endif
