/* file/hf_names.c - the table of tensor names.
 *
 * Sources: transformers' modeling files (names and the transposed Conv1D of GPT-2), llama.cpp's conversion script
 * (GGUF names; which architectures have their query and key rows reordered to adjacent rotary pairs). */
#include "file/hf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct name_row {
    const char *hf, *gguf; /* %: number of the block; both without ".weight" or ".bias" */
    bool transposed;
} name_row;

static const name_row llama_rows[] = {
    {"model.embed_tokens", "token_embd", false},
    {"model.norm", "output_norm", false},
    {"lm_head", "output", false},
    {"model.layers.%.input_layernorm", "blk.%.attn_norm", false},
    {"model.layers.%.self_attn.q_proj", "blk.%.attn_q", false},
    {"model.layers.%.self_attn.k_proj", "blk.%.attn_k", false},
    {"model.layers.%.self_attn.v_proj", "blk.%.attn_v", false},
    {"model.layers.%.self_attn.o_proj", "blk.%.attn_output", false},
    {"model.layers.%.self_attn.q_norm", "blk.%.attn_q_norm", false},
    {"model.layers.%.self_attn.k_norm", "blk.%.attn_k_norm", false},
    {"model.layers.%.post_attention_layernorm", "blk.%.ffn_norm", false},
    {"model.layers.%.mlp.gate_proj", "blk.%.ffn_gate", false},
    {"model.layers.%.mlp.up_proj", "blk.%.ffn_up", false},
    {"model.layers.%.mlp.down_proj", "blk.%.ffn_down", false},
    {NULL, NULL, false},
};

static const name_row gpt2_rows[] = {
    {"transformer.wte", "token_embd", false},
    {"transformer.wpe", "position_embd", false},
    {"transformer.ln_f", "output_norm", false},
    {"lm_head", "output", false},
    {"transformer.h.%.ln_1", "blk.%.attn_norm", false},
    {"transformer.h.%.attn.c_attn", "blk.%.attn_qkv", true},
    {"transformer.h.%.attn.c_proj", "blk.%.attn_output", true},
    {"transformer.h.%.ln_2", "blk.%.ffn_norm", false},
    {"transformer.h.%.mlp.c_fc", "blk.%.ffn_up", true},
    {"transformer.h.%.mlp.c_proj", "blk.%.ffn_down", true},
    {NULL, NULL, false},
};

static const struct {
    const char *model_type, *architecture;
    const name_row *rows;
    bool adjacent; /* rotary pairs of the GGUF form */
} architectures[] = {
    {"llama", "llama", llama_rows, true},     {"mistral", "llama", llama_rows, true},
    {"qwen2", "qwen2", llama_rows, false},    {"qwen3", "qwen3", llama_rows, false},
    {"smollm3", "smollm3", llama_rows, true}, {"gpt2", "gpt2", gpt2_rows, false},
};
enum { ARCHITECTURES = sizeof architectures / sizeof *architectures };

static int row_of(const char *architecture) {
    for (int i = 0; architecture && i < ARCHITECTURES; i++)
        if (strcmp(architecture, architectures[i].architecture) == 0) return i;
    return -1;
}

const char *hf_architecture(const char *model_type) {
    for (int i = 0; i < ARCHITECTURES; i++)
        if (strcmp(model_type, architectures[i].model_type) == 0) return architectures[i].architecture;
    return NULL;
}

/* Does `name` (of `size` bytes) follow the pattern? *number is set where the pattern has a %. */
static bool matches(const char *pattern, const char *name, size_t size, unsigned *number) {
    const char *hole = strchr(pattern, '%');
    size_t before = hole ? (size_t)(hole - pattern) : strlen(pattern);
    if (size < before || memcmp(pattern, name, before) != 0) return false;
    if (!hole) return size == before;
    size_t at = before, value = 0;
    while (at < size && name[at] >= '0' && name[at] <= '9' && value < 100000)
        value = value * 10 + (size_t)(name[at++] - '0');
    bool canonical_digits = at > before && (name[before] != '0' || at == before + 1);
    *number = (unsigned)value;
    return canonical_digits && size - at == strlen(hole + 1) && memcmp(hole + 1, name + at, size - at) == 0;
}

static void fill(const char *pattern, unsigned number, const char *ending, char out[HF_NAME]) {
    const char *hole = strchr(pattern, '%');
    if (hole) snprintf(out, HF_NAME, "%.*s%u%s%s", (int)(hole - pattern), pattern, number, hole + 1, ending);
    else snprintf(out, HF_NAME, "%s%s", pattern, ending);
}

static bool translate(const char *architecture, const char *name, bool to_gguf, char out[HF_NAME], bool *transposed) {
    int a = row_of(architecture);
    const char *ending = strrchr(name, '.');
    if (a < 0 || !ending || (strcmp(ending, ".weight") != 0 && strcmp(ending, ".bias") != 0)) return false;
    for (const name_row *r = architectures[a].rows; r->hf; r++) {
        unsigned number = 0;
        if (!matches(to_gguf ? r->hf : r->gguf, name, (size_t)(ending - name), &number)) continue;
        fill(to_gguf ? r->gguf : r->hf, number, ending, out);
        *transposed = r->transposed && strcmp(ending, ".weight") == 0;
        return true;
    }
    return false;
}

bool hf_to_canonical(const char *architecture, const char *name, char out[HF_NAME], bool *transposed) {
    char full[HF_NAME];
    if (translate(architecture, name, true, out, transposed)) return true;
    /* GPT-2 as first published has no prefix. */
    int n = snprintf(full, sizeof full, "transformer.%s", name);
    return architecture && strcmp(architecture, "gpt2") == 0 && n < HF_NAME &&
           translate(architecture, full, true, out, transposed);
}

bool hf_from_canonical(const char *architecture, const char *canonical, char out[HF_NAME], bool *transposed) {
    return translate(architecture, canonical, false, out, transposed);
}

pith_status hf_add_tensor(model_source *s, const char *name, const pith_tensor *layout, pith_error *err) {
    char canonical[HF_NAME];
    bool transposed = false;
    bool known = hf_to_canonical(meta_text(s->meta, "general.architecture", NULL), name, canonical, &transposed);
    if (transposed && layout->rank != 2)
        return pith_fail(err, PITH_CORRUPT, s->path, -1, "tensor %.64s: expected a matrix", name);
    return model_source_add(s, name, known ? canonical : name, layout, transposed, err);
}

bool hf_is_leftover(const char *name) {
    static const char *const endings[] = {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"};
    size_t n = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t k = strlen(endings[i]);
        if (n > k && strcmp(name + n - k, endings[i]) == 0) return true;
    }
    return false;
}

bool hf_pairs_adjacent(const char *architecture) {
    int a = row_of(architecture);
    return a >= 0 && architectures[a].adjacent;
}

uint64_t hf_reordered_heads(const meta *m, const char *canonical) {
    const char *part = strncmp(canonical, "blk.", 4) == 0 ? strchr(canonical + 4, '.') : NULL;
    bool query = part && (strcmp(part, ".attn_q.weight") == 0 || strcmp(part, ".attn_q.bias") == 0);
    bool key = part && (strcmp(part, ".attn_k.weight") == 0 || strcmp(part, ".attn_k.bias") == 0);
    uint64_t heads = 0;
    if ((!query && !key) || !hf_pairs_adjacent(meta_text(m, "general.architecture", NULL))) return 0;
    if (query || !meta_model_u64(m, "attention.head_count_kv", &heads))
        meta_model_u64(m, "attention.head_count", &heads);
    return heads;
}
