/* net/decoder_config.h - the one description of a decoder-only transformer.
 *
 * The tape version (net/decoder.h, training) and the cached version (model/llama.h, running) are built from the same
 * struct and name their tensors alike; a test holds their logits together. Sizes are elements. */
#ifndef NET_DECODER_CONFIG_H
#define NET_DECODER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 } rope_scaling;

typedef struct decoder_config {
    char architecture[32]; /* "llama", "qwen2", "qwen3", "smollm3", "gpt2": prefix of the metadata keys */
    int64_t vocab, width, blocks, heads, kv_heads, head_dim, ffn, context;
    float norm_epsilon;
    bool layer_norm;        /* mean and bias too; else RMS norm */
    bool gated;             /* down(silu(gate x) * up x); else down(gelu_tanh(up x)) */
    bool qkv_fused;         /* one attn_qkv matrix (gpt2) */
    bool qk_norm;           /* RMS norm of every query and key head (qwen3) */
    bool learned_positions; /* a position table is added to the embedding; no rotation */
    bool tied;              /* the head is the embedding */
    int64_t window;         /* a query sees this many latest positions, itself included; 0: all */
    int64_t no_rope_every;  /* every n-th block does not rotate (smollm3: 4); 0: all rotate */

    bool rope_halves;  /* pairs are (i, i + dims/2); else (2i, 2i + 1) */
    int64_t rope_dims; /* leading elements of a head that are rotated */
    float rope_base;
    rope_scaling scaling;
    float scaling_factor;                         /* of the context */
    float original_context;                       /* yarn, llama3: context trained before scaling */
    float beta_fast, beta_slow, attention_factor; /* yarn; attention_factor 0: by the formula */
    float low_frequency, high_frequency;          /* llama3 */
} decoder_config;

#endif
