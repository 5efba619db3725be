/* quant/mix.c - which format each tensor gets: mixes as tables of exceptions, rules, fallbacks.
 *
 * The exceptions are those of llama.cpp (src/llama-quant.cpp), for the decoder models pith runs. */
#include "quant/mix.h"

#include "base/memory.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum part { HEAD, EMBEDDING, VALUE, OUTPUT, DOWN, OTHER } part; /* of a decoder, by tensor name */

typedef enum when { ALWAYS, FIRST_2, FIRST_4, FIRST_8TH, FIRST_16TH, BLIND_8TH, WEIGHED_8TH, MORE_BITS, GROUPED } when;

typedef struct exception {
    uint8_t part, when;
    uint16_t type;
} exception;

enum { EXCEPTIONS = 6 };

typedef struct mix_row {
    const char *name;
    uint16_t type;
    int file_type;
    exception exceptions[EXCEPTIONS]; /* the first that applies; ends in type 0 */
} mix_row;

static const mix_row mixes[] = {
    {"q2_k_s", PITH_Q2_K, 21, {{VALUE, GROUPED, PITH_Q4_K}, {DOWN, FIRST_8TH, PITH_Q4_K}}},
    {"q2_k_m",
     PITH_Q2_K,
     10,
     {{VALUE, GROUPED, PITH_Q4_K}, {VALUE, ALWAYS, PITH_Q3_K}, {DOWN, ALWAYS, PITH_Q3_K}, {OUTPUT, ALWAYS, PITH_Q3_K}}},
    {"q3_k_s", PITH_Q3_K, 11, {{0}}},
    {"q3_k_m",
     PITH_Q3_K,
     12,
     {{VALUE, FIRST_2, PITH_Q5_K},
      {VALUE, ALWAYS, PITH_Q4_K},
      {DOWN, FIRST_16TH, PITH_Q5_K},
      {DOWN, ALWAYS, PITH_Q4_K},
      {OUTPUT, ALWAYS, PITH_Q4_K}}},
    {"q3_k_l", PITH_Q3_K, 13, {{VALUE, ALWAYS, PITH_Q5_K}, {DOWN, ALWAYS, PITH_Q5_K}, {OUTPUT, ALWAYS, PITH_Q5_K}}},
    {"q4_k_s", PITH_Q4_K, 14, {{VALUE, FIRST_4, PITH_Q5_K}, {DOWN, FIRST_8TH, PITH_Q5_K}}},
    {"q4_k_m", PITH_Q4_K, 15, {{VALUE, MORE_BITS, PITH_Q6_K}, {DOWN, MORE_BITS, PITH_Q6_K}}},
    {"q5_k_s", PITH_Q5_K, 16, {{0}}},
    {"q5_k_m", PITH_Q5_K, 17, {{VALUE, MORE_BITS, PITH_Q6_K}, {DOWN, MORE_BITS, PITH_Q6_K}}},
    {"q4_0_m", PITH_Q4_0, 2, {{DOWN, WEIGHED_8TH, PITH_Q4_1}}},
    {"q4_1_m", PITH_Q4_1, 3, {{0}}},
    {"q5_0_m", PITH_Q5_0, 8, {{DOWN, WEIGHED_8TH, PITH_Q5_1}}},
    {"q5_1_m", PITH_Q5_1, 9, {{0}}},
    {"iq4_nl_m", PITH_IQ4_NL, 25, {{VALUE, GROUPED, PITH_Q5_K}, {DOWN, BLIND_8TH, PITH_Q5_K}}},
    {"iq4_xs_m", PITH_IQ4_XS, 30, {{VALUE, GROUPED, PITH_Q5_K}, {DOWN, BLIND_8TH, PITH_Q5_K}}},
    {"tq1_0_m", PITH_TQ1_0, 36, {{EMBEDDING, ALWAYS, PITH_Q4_K}}},
    {"tq2_0_m", PITH_TQ2_0, 37, {{EMBEDDING, ALWAYS, PITH_Q4_K}}},
};
enum { MIXES = sizeof mixes / sizeof *mixes };

typedef struct rule {
    regex_t regex;
    uint16_t type;
} rule;

struct pith_mix {
    const mix_row *mix; /* NULL: one format for all */
    uint16_t type;
    mix_model model;
    rule *rules;
    size_t rule_count;
};

const char *pith_mix_name(size_t i) { return i < MIXES ? mixes[i].name : NULL; }

static const mix_row *mix_by_name(const char *name) {
    for (size_t i = 0; i < MIXES; i++)
        if (strcasecmp(mixes[i].name, name) == 0) return &mixes[i];
    return NULL;
}

int pith_mix_file_type(const char *name) {
    static const struct {
        uint16_t type;
        int file_type;
    } plain[] = {{PITH_F32, 0},    {PITH_F16, 1},    {PITH_BF16, 32}, {PITH_Q4_0, 2},    {PITH_Q4_1, 3},
                 {PITH_Q8_0, 7},   {PITH_Q5_0, 8},   {PITH_Q5_1, 9},  {PITH_Q2_K, 10},   {PITH_Q3_K, 11},
                 {PITH_Q4_K, 14},  {PITH_Q5_K, 16},  {PITH_Q6_K, 18}, {PITH_IQ4_NL, 25}, {PITH_IQ4_XS, 30},
                 {PITH_TQ1_0, 36}, {PITH_TQ2_0, 37}, {PITH_MXFP4, 38}};
    const mix_row *mix = mix_by_name(name);
    if (mix) return mix->file_type;
    const pith_format *f = pith_format_by_name(name);
    for (size_t i = 0; f && i < sizeof plain / sizeof *plain; i++)
        if (plain[i].type == f->id) return plain[i].file_type;
    return -1;
}

static pith_status unknown_type(const char *where, const char *found, bool with_mixes, pith_error *err) {
    char known[320] = "";
    size_t used = 0;
    for (const pith_format *const *f = pith_formats; *f && used < sizeof known; f++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? " " : "", (*f)->name);
    for (size_t i = 0; with_mixes && i < MIXES && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", mixes[i].name);
    return pith_fail(err, PITH_USAGE, where, -1, "found \"%.40s\", expected one of: %s", found, known);
}

static pith_status add_rule(pith_mix *m, const char *text, pith_error *err) {
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text)
        return pith_fail(err, PITH_USAGE, "tensor-type", -1, "expected REGEX=TYPE, found \"%s\"", text);
    const pith_format *format = pith_format_by_name(equals + 1);
    if (!format) return unknown_type("tensor-type", equals + 1, false, err);
    char *pattern = memory_text_n(text, (size_t)(equals - text));
    if (!pattern) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    rule *r = &m->rules[m->rule_count];
    int failed = regcomp(&r->regex, pattern, REG_EXTENDED | REG_NOSUB);
    char why[128] = "";
    if (failed) regerror(failed, &r->regex, why, sizeof why);
    r->type = format->id;
    pith_status s = PITH_OK;
    if (failed == REG_ESPACE) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    else if (failed)
        s = pith_fail(err, PITH_USAGE, "tensor-type", -1, "\"%s\" is no regular expression: %s", pattern, why);
    else m->rule_count++;
    memory_free(pattern);
    return s;
}

pith_status pith_mix_open(pith_mix **out, const char *name, const char *const *rules, size_t rule_count,
                          const mix_model *model, pith_error *err) {
    const mix_row *mix = mix_by_name(name);
    const pith_format *format = mix ? pith_format_by_id(mix->type) : pith_format_by_name(name);
    if (!format) return unknown_type("type", name, true, err);
    pith_mix *m = memory_zero(1, sizeof *m);
    if (m) m->rules = memory_zero(rule_count, sizeof *m->rules);
    if (!m || !m->rules) {
        memory_free(m);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    m->mix = mix;
    m->type = format->id;
    if (model) m->model = *model;
    for (size_t i = 0; i < rule_count; i++) {
        pith_status s = add_rule(m, rules[i], err);
        if (s != PITH_OK) {
            pith_mix_free(m);
            return s;
        }
    }
    *out = m;
    return PITH_OK;
}

void pith_mix_free(pith_mix *m) {
    if (!m) return;
    for (size_t i = 0; i < m->rule_count; i++) regfree(&m->rules[i].regex);
    memory_free(m->rules);
    memory_free(m);
}

static bool holds(const char *name, const char *piece) { return strstr(name, piece) != NULL; }

/* Matrices that stand in products with activations. */
static bool is_weight(const char *name) {
    size_t n = strlen(name);
    if (n < 6 || strcmp(name + n - 6, "weight") != 0) return false;
    static const char *const kept[] = {"_norm.weight", "ffn_gate_inp.weight", "position_embd", "token_types",
                                       "attn_rel_b",   "ssm_conv1d",          "shortconv.conv"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (holds(name, kept[i])) return false;
    return true;
}

static part part_of(const pith_mix *m, const char *name) {
    if (strcmp(name, "output.weight") == 0) return HEAD;
    if (strcmp(name, "token_embd.weight") == 0) return m->model.tied ? HEAD : EMBEDDING;
    if (holds(name, "attn_v.weight") || holds(name, "attn_qkv.weight")) return VALUE;
    if (holds(name, "attn_output.weight")) return OUTPUT;
    if (holds(name, "ffn_down")) return DOWN;
    return OTHER;
}

static int layer_of(const char *name) {
    int layer;
    return sscanf(name, "blk.%d.", &layer) == 1 && layer >= 0 ? layer : 0;
}

static bool applies(const mix_model *model, when w, int layer) {
    int n = model->layers, eighth = n / 8;
    switch (w) {
    case FIRST_2: return layer < 2;
    case FIRST_4: return layer < 4;
    case FIRST_8TH: return layer < eighth;
    case FIRST_16TH: return layer < n / 16;
    case BLIND_8TH: return layer < eighth && !model->importance;
    case WEIGHED_8TH: return layer < eighth && model->importance;
    case MORE_BITS: return layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2;
    case GROUPED: return model->kv_heads > 0 && model->heads / model->kv_heads >= 4;
    default: return true;
    }
}

static uint16_t type_in_mix(const pith_mix *m, const char *name, int64_t cols) {
    part p = part_of(m, name);
    if (p == HEAD) return cols % 256 ? PITH_Q8_0 : PITH_Q6_K;
    uint16_t type = m->type;
    for (int i = 0; i < EXCEPTIONS && m->mix->exceptions[i].type; i++) {
        const exception *e = &m->mix->exceptions[i];
        if (e->part != p || !applies(&m->model, e->when, layer_of(name))) continue;
        type = e->type;
        break;
    }
    /* 80 layers: the 70B shape, where values are an eighth of the queries and extra bits cost little. */
    if (p == VALUE && m->model.layers == 80 && (type == PITH_Q3_K || type == PITH_Q4_K)) type = PITH_Q5_K;
    return type;
}

static uint16_t fallback(uint16_t type, int64_t cols) {
    if (cols % pith_types[type].block == 0) return type;
    uint16_t smaller = type;
    switch (type) {
    case PITH_Q4_K: smaller = PITH_Q5_0; break;
    case PITH_Q5_K: smaller = PITH_Q5_1; break;
    case PITH_Q6_K: smaller = PITH_Q8_0; break;
    case PITH_Q2_K:
    case PITH_Q3_K:
    case PITH_IQ4_XS: smaller = PITH_IQ4_NL; break;
    case PITH_TQ1_0:
    case PITH_TQ2_0: smaller = PITH_Q4_0; break;
    default: break;
    }
    return cols % pith_types[smaller].block == 0 ? smaller : PITH_F16;
}

mix_choice pith_mix_choose(const pith_mix *m, const char *tensor, uint16_t own, int rank, const int64_t *shape) {
    if (!pith_format_by_id(own) && !(own < PITH_TYPES && pith_types[own].is_float)) return (mix_choice){own, own};
    if (rank < 2) return (mix_choice){PITH_F32, PITH_F32};
    uint16_t wanted = own;
    bool named = false;
    for (size_t i = 0; i < m->rule_count && !named; i++)
        if (regexec(&m->rules[i].regex, tensor, 0, NULL, 0) == 0) {
            wanted = m->rules[i].type;
            named = true;
        }
    if (!named && is_weight(tensor)) wanted = m->mix ? type_in_mix(m, tensor, shape[rank - 1]) : m->type;
    if (wanted == own) return (mix_choice){own, own};
    return (mix_choice){fallback(wanted, shape[rank - 1]), wanted};
}
