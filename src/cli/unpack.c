/* cli/unpack.c - pith unpack: any model as safetensors, GGUF or a HuggingFace folder; pictures as pictures. */
#include "cli/command.h"
#include "cli/models.h"

#include "file/container.h"
#include "file/output.h"
#include "file/sink.h"
#include "model/pack.h"

#include <string.h>

static const pith_option options[] = {
    {.name = "output",
     .letter = 'o',
     .unit = "OUT",
     .type = PITH_TEXT,
     .help =
         "x.safetensors, x.gguf, or DIR/ for a HuggingFace folder; - streams safetensors; pictures: x.idx3, x.png, DIR/"},
    {.name = "only", .unit = "K", .type = PITH_INT, .low = 0, .high = 1e15, .help = "this picture alone, from 0"},
    {.name = "mask",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "pictures: what is missing, for methods that fill it in"},
    {.name = "model",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "pictures: model they were coded with; else one that comes with pith"},
    {.name = "base", .unit = "MODEL", .type = PITH_TEXT, .help = "model that the file is the difference to"},
    {.name = "tokenizer", .unit = "FILE", .type = PITH_TEXT, .help = "llama2.c checkpoints: their tokenizer"},
};

/* The method that wrote a .pith of something else than a model; NULL for models and other formats. */
static const pith_method *method_of(pith_reader *r) {
    for (size_t i = 0; i < pith_reader_count(r); i++) {
        uint16_t id = pith_reader_section(r, i)->method;
        const pith_method *m = id == PACK_METHOD ? NULL : pith_method_by_id(id);
        if (m) return m;
    }
    return NULL;
}

static pith_status by_method(command *c, const pith_method *m, pith_reader *r, const char *out, pith_error *err) {
    pith_range only = {.first = pith_value_int(c->values, "only"), .count = 1};
    pith_sink sink = {.path = out, .replace = c->force};
    if (c->dry_run) {
        if (!c->json) command_print("%s by method %s\n", out, m->name);
        return m->describe ? m->describe(r, c->result, err) : PITH_OK;
    }
    return m->unpack(&c->context, r, c->values, pith_value_given(c->values, "only") ? &only : NULL, &sink, err);
}

/* What would be written, tensor by tensor. */
static pith_status print_plan(command *c, model_source *s, const char *out, pith_error *err) {
    model_export e;
    model_sink *k = NULL;
    uint64_t total = 0;
    pith_status status = model_export_prepare(&e, out, s, err);
    if (status != PITH_OK) return status;
    e.options.plan_only = true;
    status = model_sink_open(&k, out, s, &e.options, err);
    json_t *list = json_array();
    for (size_t i = 0; i < s->count && status == PITH_OK; i++) {
        pith_tensor t;
        const char *name = model_sink_planned(k, i, &t);
        if (!name) continue;
        uint64_t bytes = pith_tensor_bytes(&t);
        total += bytes;
        if (!c->json) command_print("%-40s %-7s %12llu\n", name, pith_types[t.type].name, (unsigned long long)bytes);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", name, "type", pith_types[t.type].name, "bytes",
                                              (json_int_t)bytes));
    }
    if (status == PITH_OK && !c->json) command_print("tensors: %llu bytes\n", (unsigned long long)total);
    json_object_set_new(c->result, "tensors", list);
    json_object_set_new(c->result, "tensor_bytes", json_integer((json_int_t)total));
    model_sink_abort(k);
    model_export_release(&e);
    return status;
}

static pith_status model(command *c, const char *in, const char *out, pith_error *err) {
    model_options mo = {.tokenizer = pith_value_text(c->values, "tokenizer"),
                        .base = pith_value_text(c->values, "base"),
                        .context = &c->context};
    model_source *s = NULL;
    pith_status status = model_source_open(&s, in, &mo, err);
    if (status == PITH_OK && c->dry_run) status = print_plan(c, s, out, err);
    else if (status == PITH_OK) status = model_convert(out, s, c->force, &c->context, err);
    model_source_close(s);
    return status;
}

static pith_status unpack(command *c, const char *in, const char *out, pith_error *err) {
    const pith_method *m = NULL;
    pith_reader *r = NULL;
    if (pith_value_given(c->values, "base") && !pith_file_is_packed(in))
        return pith_fail(err, PITH_USAGE, "--base", -1, "expected a .pith file that was packed with a base, found %s",
                         in);
    pith_status s = pith_file_is_packed(in) ? pith_reader_open(&r, in, &c->context, err) : PITH_OK;
    if (s == PITH_OK && r) m = method_of(r);
    if (s == PITH_OK && m) s = by_method(c, m, r, out, err);
    pith_reader_close(r);
    return s == PITH_OK && !m ? model(c, in, out, err) : s;
}

static pith_status run(command *c, pith_error *err) {
    const char *out = pith_value_text(c->values, "output"), *in;
    char *temporary;
    if (!out) return pith_fail(err, PITH_USAGE, "-o", -1, "expected the file or folder to write");
    pith_status s = output_not_input(out, pith_operand(c->values, 0), err);
    if (strcmp(out, "-") == 0 && c->json && !c->dry_run)
        s = pith_fail(err, PITH_USAGE, "--json", -1, "standard output holds the file already");
    if (s == PITH_OK) s = models_input(c, pith_operand(c->values, 0), &in, &temporary, err);
    if (s != PITH_OK) return s;
    s = unpack(c, in, out, err);
    models_done(temporary);
    return s;
}

const verb verb_unpack = {
    .name = "unpack",
    .summary = "turn a packed file, or any model, back into what other programs read",
    .operands = "IN -o OUT",
    .example = "pith unpack small.pith -o model.safetensors",
    .details =
        "A model packed with --type lossless from one safetensors file comes back as the very same bytes. Block types become f32\n"
        "in safetensors and folders, and stay as they are in GGUF.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
