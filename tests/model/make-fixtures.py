#!/usr/bin/env python3
"""Writes tests/model/fixtures: for each architecture a random model of the transformers package and its logits.

What test_architectures.c holds pith to. Run it again only to add an architecture: the files are part of the tree.
Needs the Python packages transformers, torch, safetensors and numpy; pith itself needs none of them."""
import json
import os
import sys

import numpy
import torch
import transformers

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
VOCAB, POSITIONS = 64, 24


def llama(kind, **more):
    return kind(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, **more)


MODELS = {
    "llama": llama(transformers.LlamaConfig, tie_word_embeddings=False),
    "llama-tied-scaled": llama(transformers.LlamaConfig, tie_word_embeddings=True, rope_parameters={
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}),
    "mistral-window": llama(transformers.MistralConfig, sliding_window=6, head_dim=8),
    "qwen2": llama(transformers.Qwen2Config, tie_word_embeddings=True),
    "qwen2-yarn": llama(transformers.Qwen2Config, tie_word_embeddings=True, rope_parameters={
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}),
    "qwen3": llama(transformers.Qwen3Config, tie_word_embeddings=True, head_dim=16),
    "smollm3": llama(transformers.SmolLM3Config, tie_word_embeddings=True, no_rope_layer_interval=2, pad_token_id=0),
    "gpt2": transformers.GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=48,
                                    initializer_range=0.2, bos_token_id=0, eos_token_id=0),
}

for name, config in MODELS.items():
    folder = os.path.join(OUT, name)
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(sum(name.encode()))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases away from one and zero
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        ids = torch.randint(1, VOCAB, (1, POSITIONS))
        logits = model(ids).logits[0].numpy()
    model.save_pretrained(folder)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    numpy.save(os.path.join(folder, "logits.npy"), logits.astype(numpy.float32))
    with open(os.path.join(folder, "ids.json"), "w") as file:
        json.dump(ids[0].tolist(), file)
    print(name, logits.shape, sum(p.numel() for p in model.parameters()))
