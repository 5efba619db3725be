/* cli/train.c - pith train: a recipe, or a trainer that needs none. */
#include "cli/command.h"
#include "cli/train_circuit.h"

#include "base/log.h"
#include "token/bpe_train.h"
#include "train/run.h"

#include <stdio.h>
#include <string.h>

static const pith_option options[] = {
    {.name = "output",
     .letter = 'o',
     .unit = "DIR",
     .type = PITH_TEXT,
     .help = "folder of the model, its checkpoint and its record"},
    {.name = "resume",
     .type = PITH_FLAG,
     .help = "go on from the checkpoint in DIR; from the start where there is none"},
    {.name = "set", .unit = "KEY=VALUE", .type = PITH_LIST, .help = "set a key of the recipe; may be given again"},
    {.name = "keys", .type = PITH_FLAG, .help = "list the keys a recipe may hold"},
    {.name = "vocab",
     .unit = "N",
     .type = PITH_INT,
     .low = 257,
     .high = 1e6,
     .initial = 8192,
     .help = "bpe: tokens in all"},
    {.name = "special",
     .unit = "TOKEN",
     .type = PITH_LIST,
     .help = "bpe: a control token; may be given again; default <|endoftext|>"},
    {.name = "min-frequency",
     .unit = "N",
     .type = PITH_INT,
     .low = 1,
     .high = 1e9,
     .initial = 2,
     .help = "bpe: a pair seen less often is not merged"},
    {.name = "trap-nan", .type = PITH_FLAG, .help = "when a number is not finite, name the operation that made it"},
    {.name = "states",
     .unit = "M",
     .type = PITH_INT,
     .help = "circuit: hidden states of a node",
     .low = 1,
     .high = 256,
     .initial = 32},
    {.name = "epochs",
     .unit = "N",
     .type = PITH_INT,
     .help = "circuit: how often every picture is seen",
     .low = 1,
     .high = 100000,
     .initial = 50},
    {.name = "as-published", .type = PITH_FLAG, .help = "circuit: steps and pseudocounts of the paper"},
    {.name = "grow",
     .type = PITH_FLAG,
     .help = "circuit: begin with 8 states, prune the rare and split the others until there are M"},
    {.name = "budget",
     .unit = "BYTES",
     .type = PITH_INT,
     .help = "circuit: size of the model file, which is as precise as that allows; 0: as precise as is worthwhile",
     .low = 0,
     .high = 1e12,
     .initial = 0},
    {.name = "seed",
     .unit = "N",
     .type = PITH_INT,
     .help = "circuit: of the random start (a recipe holds its own)",
     .low = 0,
     .high = 9007199254740991.0,
     .initial = 0},
};

static pith_status dry_run(command *c, const recipe *r, pith_error *err) {
    train_plan plan;
    pith_status s = train_estimate(r, &c->context, &plan, err);
    if (s != PITH_OK) return s;
    double steps = (double)pith_value_int(recipe_values(r), "steps"), seconds = plan.seconds_a_step * steps;
    if (!c->json)
        command_print(
            "parameters       %zu\nFLOPs a step     %.4g\nmemory           %.1f MiB, %.1f of them a step's values and gradients\nseconds a step   %.3f\nexpected time    %.0f s for %.0f steps\n",
            plan.parameters, plan.flops, plan.bytes / 1048576, plan.step_bytes / 1048576, plan.seconds_a_step, seconds,
            steps);
    json_object_update_new(c->result,
                           json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "parameters", (json_int_t)plan.parameters,
                                     "flops_per_step", plan.flops, "bytes", plan.bytes, "step_bytes", plan.step_bytes,
                                     "seconds_per_step", plan.seconds_a_step, "seconds", seconds));
    return PITH_OK;
}

static pith_status train_recipe(command *c, pith_error *err) {
    const pith_values *v = c->values;
    const char *sets[256];
    size_t count = pith_value_count(v, "set");
    if (count > 256) return pith_fail(err, PITH_USAGE, "--set", -1, "expected at most 256 of them");
    for (size_t i = 0; i < count; i++) sets[i] = pith_value_item(v, "set", i);
    recipe *r = NULL;
    pith_status s = recipe_open(&r, pith_operand(v, 0), sets, count, err);
    if (s != PITH_OK) return s;
    if (c->dry_run) {
        s = dry_run(c, r, err);
        recipe_free(r);
        return s;
    }
    const char *folder = pith_value_text(v, "output");
    train_options o = {.resume = pith_value_flag(v, "resume"),
                       .replace = c->force,
                       .trap_nan = pith_value_flag(v, "trap-nan"),
                       .plot = !c->quiet};
    train_outcome out;
    if (!folder) s = pith_fail(err, PITH_USAGE, "-o", -1, "expected the folder to write to");
    if (s == PITH_OK) s = train_run(r, &c->context, &o, folder, &out, err);
    recipe_free(r);
    if (s != PITH_OK) return s;
    if (!c->json && !c->quiet)
        command_print(
            "%lld steps in %.1f s, %.0f %s/s, training loss %.4f; held-out loss %.4f, %s %.4f; step memory %.1f MiB\n%s/model.safetensors\n",
            (long long)out.steps, out.seconds, out.samples_per_s, out.unit, out.loss, out.score.loss, out.score.metric,
            out.score.value, (double)out.high_water / 1048576, folder);
    json_object_update_new(
        c->result, json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:b, s:s}", "steps", (json_int_t)out.steps,
                             "resumed_step", (json_int_t)out.resumed_step, "loss", out.loss, "held_out_loss",
                             out.score.loss, out.score.metric, out.score.value, "seconds", out.seconds, "samples_per_s",
                             out.samples_per_s, "scored_step", (json_int_t)out.score_step, "high_water_bytes",
                             (json_int_t)out.high_water, "stopped_early", out.stopped_early, "model", folder));
    return PITH_OK;
}

static pith_status train_bpe(command *c, pith_error *err) {
    const pith_values *v = c->values;
    const char *paths[256], *specials[256], *out = pith_value_text(v, "output");
    size_t n = pith_operand_count(v) - 1, special_count = pith_value_count(v, "special");
    if (n < 1 || n > 256) return pith_fail(err, PITH_USAGE, NULL, -1, "expected bpe and 1 to 256 texts, found %zu", n);
    if (special_count > 256) return pith_fail(err, PITH_USAGE, "--special", -1, "expected at most 256 of them");
    if (!out) return pith_fail(err, PITH_USAGE, "-o", -1, "expected the tokenizer.json to write");
    for (size_t i = 0; i < n; i++) paths[i] = pith_operand(v, i + 1);
    for (size_t i = 0; i < special_count; i++) specials[i] = pith_value_item(v, "special", i);
    bpe_train_options o = bpe_train_defaults();
    o.vocab = (size_t)pith_value_int(v, "vocab");
    o.min_frequency = (uint64_t)pith_value_int(v, "min-frequency");
    o.replace = c->force;
    if (special_count) o.specials = specials, o.special_count = special_count;
    if (c->dry_run) return PITH_OK;
    double started = clock_seconds();
    pith_status s = bpe_train_run(&c->context, paths, n, &o, out, err);
    if (s != PITH_OK) return s;
    if (!c->json && !c->quiet)
        command_print("%s: %zu tokens at most, %.1f s\n", out, o.vocab, clock_seconds() - started);
    json_object_update_new(c->result, json_pack("{s:s, s:f}", "tokenizer", out, "seconds", clock_seconds() - started));
    return PITH_OK;
}

/* Trainers that need no recipe, by name. */
static const struct {
    const char *name;
    pith_status (*run)(command *c, pith_error *err);
} trainers[] = {
    {"bpe", train_bpe},
    {"circuit", train_circuit},
};

/* As a Markdown table: docs/training.md holds it. */
static void list_keys(void) {
    command_print("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (const recipe_table *t = recipe_tables; t->rows; t++)
        for (size_t i = 0; i < t->count; i++) {
            const pith_option *o = &t->rows[i];
            char initial[32] = "";
            if (o->type == PITH_FLAG) snprintf(initial, sizeof initial, "false");
            else if (o->type == PITH_INT || o->type == PITH_REAL) snprintf(initial, sizeof initial, "%.6g", o->initial);
            command_print("| `%s` | ", o->name);
            for (const char *u = o->type == PITH_FLAG ? "true|false" : o->unit; *u; u++)
                command_print(*u == '|' ? ", " : "%c", *u);
            command_print(" | %s | %s%s%s |\n", o->text ? o->text : initial, t->value ? t->value : "",
                          t->value ? ": " : "", o->help);
        }
}

static pith_status run(command *c, pith_error *err) {
    if (pith_value_flag(c->values, "keys")) {
        list_keys();
        return PITH_OK;
    }
    if (pith_operand_count(c->values) == 0)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected a recipe, or the name of a trainer");
    for (size_t i = 0; i < sizeof trainers / sizeof *trainers; i++)
        if (strcmp(pith_operand(c->values, 0), trainers[i].name) == 0) return trainers[i].run(c, err);
    if (pith_operand_count(c->values) > 1)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected one recipe, found \"%s\" besides",
                         pith_operand(c->values, 1));
    return train_recipe(c, err);
}

const verb verb_train = {
    .name = "train",
    .summary = "train a network by a recipe, or a tokenizer",
    .operands = "RECIPE.json | bpe TEXT... | circuit IMAGES",
    .example = "pith train recipes/mnist.json -o digits --set steps=500",
    .details =
        "--keys lists what a recipe may hold. Interrupted runs go on with --resume, bit for bit at the same number of threads.\n"
        "--dry-run tells parameters, FLOPs, memory and expected time.\n"
        "pith train bpe TEXT... -o tokenizer.json makes a byte-level BPE vocabulary; a line holding only a form feed ends a document.\n"
        "pith train circuit IMAGES -o MODEL learns to code pictures of one size (an IDX file or a folder) without loss.",
    .min_operands = 0,
    .max_operands = -1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
