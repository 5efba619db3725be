/* cli/bench.c - pith bench: speed of a model beside what the machine could do, and what orders of coding cost. */
#include "cli/command.h"

#include "file/model_source.h"
#include "model/open.h"
#include "model/random.h"
#include "model/speed.h"
#include "picture/circuit_speed.h"

#include <string.h>

static pith_status open_model(command *c, llama **m, pith_error *err) {
    const char *shape = pith_value_text(c->values, "random"), *type = pith_value_text(c->values, "type");
    const char *path = pith_operand(c->values, 1);
    if (!shape == !path) return pith_fail(err, PITH_USAGE, NULL, -1, "expected a model or --random SHAPE");
    if (path) {
        model_source *source;
        pith_status s = model_source_open(&source, path, &(model_options){.context = &c->context}, err);
        if (s != PITH_OK) return s;
        s = llama_open(m, source, &c->context, err);
        model_source_close(source);
        return s;
    }
    const pith_format *format = pith_format_by_name(type);
    if (!format) return pith_fail(err, PITH_USAGE, "--type", -1, "expected a weight format, found %s", type);
    decoder_config config;
    pith_status s = llama_random_shape(&config, shape, err);
    return s == PITH_OK ? llama_random(m, &config, format, c->context.seed, err) : s;
}

static pith_status say(command *c, const speed_report *r, pith_error *err) {
    json_t *all = json_pack("{s:I, s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)r->tokens,
                            "pairs", (json_int_t)r->pairs, "tokens_per_s", r->tokens_per_s, "bytes_per_token",
                            (json_int_t)r->bytes_per_token, "bytes_per_s", r->bytes_per_s, "bandwidth", r->bandwidth,
                            "bandwidth_share", r->bandwidth_share, "ops_per_s", r->ops_per_s, "peak", r->peak,
                            "peak_share", r->peak_share);
    if (!all || json_object_update(c->result, all) != 0) {
        json_decref(all);
        return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    }
    json_decref(all);
    if (c->json) return PITH_OK;
    command_print("%.1f tokens/s   (median of %lld measurements of %lld tokens)\n", r->tokens_per_s,
                  (long long)r->pairs, (long long)r->tokens);
    command_print("weights read   %7.2f GB/s of %.2f GB/s   %5.1f %%   %.1f MB a pass\n", r->bytes_per_s * 1e-9,
                  r->bandwidth * 1e-9, 100 * r->bandwidth_share, (double)r->bytes_per_token * 1e-6);
    command_print("8-bit work     %7.1f GOP/s of %.1f GOP/s %5.1f %%\n", r->ops_per_s * 1e-9, r->peak * 1e-9,
                  100 * r->peak_share);
    return PITH_OK;
}

static pith_status language_model(command *c, pith_error *err) {
    bool decode = strcmp(pith_operand(c->values, 0), "decode") == 0;
    llama *m = NULL;
    pith_status s = open_model(c, &m, err);
    if (s != PITH_OK) return s;
    int64_t tokens = pith_value_int(c->values, "tokens");
    if (!tokens) tokens = decode ? 64 : 512;
    speed_report report;
    s = (decode ? speed_decode : speed_prefill)(&c->context, m, tokens, &report, err);
    llama_free(m);
    return s == PITH_OK ? say(c, &report, err) : s;
}

/* Pictures of 14 x 14 and 28 x 28: the ratios grow with the number of values. */
static pith_status circuit_orders(command *c, pith_error *err) {
    static const char *const names[CIRCUIT_ORDERS] = {"naive", "larger child first", "two messages"};
    json_t *sizes = json_array();
    pith_status s = PITH_OK;
    for (int32_t side = 14; side <= 28 && !s; side += 14) {
        circuit_speed r;
        s = circuit_speed_measure(side, (int32_t)pith_value_int(c->values, "states"), &r, err);
        json_t *orders = json_array();
        for (int i = 0; i < CIRCUIT_ORDERS && !s; i++) {
            if (!c->json)
                command_print("D %4d  %-18s %9lld transitions (1/%.2f of naive)  %9.3f ms (1/%.2f)\n", r.values,
                              names[i], (long long)r.transitions[i],
                              (double)r.transitions[0] / (double)r.transitions[i], 1e3 * r.seconds[i],
                              r.seconds[0] / r.seconds[i]);
            json_array_append_new(orders, json_pack("{s:s, s:I, s:f}", "order", names[i], "transitions",
                                                    (json_int_t)r.transitions[i], "seconds", r.seconds[i]));
        }
        json_array_append_new(sizes, json_pack("{s:i, s:o}", "values", s ? 0 : r.values, "orders", orders));
    }
    json_object_set_new(c->result, "sizes", sizes);
    return s;
}

static const struct {
    const char *name;
    pith_status (*run)(command *c, pith_error *err);
} benches[] = {
    {"decode", language_model},
    {"prefill", language_model},
    {"circuit", circuit_orders},
};

static pith_status run(command *c, pith_error *err) {
    const char *what = pith_operand(c->values, 0);
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (strcmp(what, benches[i].name) == 0) return benches[i].run(c, err);
    return pith_fail(err, PITH_USAGE, NULL, -1, "expected decode, prefill or circuit, found %s", what);
}

static const pith_option options[] = {
    {.name = "random",
     .unit = "SHAPE",
     .type = PITH_TEXT,
     .help = "a llama of random weights: 377m, or WIDTHxBLOCKSxFFNxHEADSxVOCAB"},
    {.name = "type", .unit = "TYPE", .type = PITH_TEXT, .text = "q4_k", .help = "format of every matrix of --random"},
    {.name = "tokens",
     .unit = "N",
     .type = PITH_INT,
     .high = 65536,
     .help = "tokens of one measurement; 0: 64 for decode, 512 for prefill"},
    {.name = "states",
     .unit = "M",
     .type = PITH_INT,
     .low = 1,
     .high = CIRCUIT_MAX_STATES,
     .initial = 32,
     .help = "circuit: hidden states of a node"},
};

const verb verb_bench = {
    .name = "bench",
    .summary = "speed of a model beside what this machine could do",
    .operands = "decode|prefill [MODEL] | circuit",
    .example = "pith bench decode --random 377m --type q4_k",
    .details =
        "Memory bandwidth and the peak of 8-bit multiplications (with AMX where products use it) are probed with "
        "the same threads right before each of nine measurements. Bytes are those of the tensors in the file, each "
        "matrix once.\n"
        "circuit counts and times three ways to a picture's probabilities: naive, the paper's, and pith's.",
    .min_operands = 1,
    .max_operands = 2,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
