/* net/decoder.h - the decoder-only transformer on the tape: the training twin of model/llama.h.
 *
 * Tensors are named as in GGUF files ("blk.0.attn_q.weight", (out, in)); the same configuration and weights give the
 * same logits in both (tests/model/test_parity.c). Covers gated RMS-norm models with grouped queries, rotary embedding,
 * tied or free head; what only released checkpoints have (biases, windows, scalings) is for running alone. */
#ifndef NET_DECODER_H
#define NET_DECODER_H

#include "grad/ops.h"
#include "net/decoder_config.h"

typedef struct decoder_block {
    int attention_norm, query, key, value, output, ffn_norm, gate, up, down; /* parameter numbers */
} decoder_block;

typedef struct decoder {
    decoder_config config;
    bool recompute;                   /* blocks keep no activations */
    int embedding, output_norm, head; /* head is embedding when tied */
    decoder_block *blocks;
} decoder;

/* Adds the parameters to p (matrices group 0, vectors and embeddings group 1: no weight decay). PITH_UNSUPPORTED when
 * the configuration asks for what the tape version lacks. Freed with decoder_close. */
pith_status decoder_open(decoder *d, const decoder_config *c, grad_params *p, pith_error *err);
void decoder_close(decoder *d); /* safe on zeroed */
/* First weights: normal of deviation 0.02, output matrices of each half block smaller by sqrt(2 blocks) (as GPT-2). */
void decoder_start(const decoder *d, grad_params *p, uint64_t seed);
/* ids i32 (batch, time) -> logits (batch, time, vocab). */
var decoder_logits(const decoder *d, tape *t, var ids);
/* Matrix FLOPs of one forward pass over `batch` sequences of `time` tokens; backward costs twice as much. */
double decoder_flops(const decoder_config *c, int64_t batch, int64_t time);

#endif
