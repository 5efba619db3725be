/* cli/bench.c - pith bench: speed of a model beside what the machine could do. */
#include "cli/command.h"

#include "file/model_source.h"
#include "model/open.h"
#include "model/random.h"
#include "model/speed.h"

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

static pith_status run(command *c, pith_error *err) {
    const char *what = pith_operand(c->values, 0);
    bool decode = strcmp(what, "decode") == 0;
    if (!decode && strcmp(what, "prefill") != 0)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected decode or prefill, found %s", what);
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
};

const verb verb_bench = {
    .name = "bench",
    .summary = "speed of a model, and the share of what this machine could do",
    .operands = "decode|prefill [MODEL]",
    .example = "pith bench decode --random 377m --type q4_k",
    .details = "Memory bandwidth and the peak of 8-bit multiplications are probed with the same threads right before "
               "each of nine measurements. Bytes are those of the tensors in the file, each matrix once.",
    .min_operands = 1,
    .max_operands = 2,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
