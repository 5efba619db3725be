/* cli/verify.c - pith verify: every hash, all padding, and every tensor or picture decoded. */
#include "cli/command.h"
#include "cli/models.h"

#include "file/container.h"
#include "model/pack_reader.h"
#include "pith/method.h"

#include <string.h>

static const pith_option options[] = {
    {.name = "base", .unit = "MODEL", .type = PITH_TEXT, .help = "model that the file is the difference to"},
};

static pith_status decode_all(const command *c, model_source *s, pith_error *err) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < s->count && status == PITH_OK; i++) {
        pith_tensor t = {0};
        status = pith_progress(&c->context, (double)i, (double)s->count, "tensors", err);
        if (status == PITH_OK) status = model_source_load(s, i, &t, err);
        pith_tensor_release(&t);
    }
    return status;
}

/* A file of another kind that needs nothing beside it. */
static pith_status decode_by_method(const command *c, pith_reader *r, pith_error *err) {
    const pith_method *m = NULL;
    for (size_t i = 0; i < pith_reader_count(r) && !m; i++) m = pith_method_by_id(pith_reader_section(r, i)->method);
    return m && !m->needs_model ? m->unpack(&c->context, r, NULL, NULL, NULL, err) : PITH_OK;
}

static pith_status verify(command *c, const char *path, pith_error *err) {
    model_options mo = {.context = &c->context, .base = pith_value_text(c->values, "base")};
    pith_reader *r = NULL;
    model_source *s = NULL;
    pith_status status = pith_reader_open(&r, path, &c->context, err);
    if (status == PITH_OK) status = pith_reader_verify(r, &c->context, err);
    bool model = status == PITH_OK && pith_reader_find(r, "META", "model") >= 0;
    if (status == PITH_OK && !model && mo.base)
        status = pith_fail(err, PITH_USAGE, "--base", -1, "expected a packed model, found another kind of .pith");
    if (status == PITH_OK && !model) status = decode_by_method(c, r, err);
    size_t sections = status == PITH_OK ? pith_reader_count(r) : 0;
    pith_reader_close(r);
    if (model) status = model_source_open(&s, path, &mo, err);
    if (model && status == PITH_OK) status = decode_all(c, s, err);
    if (status == PITH_OK) {
        size_t tensors = s ? s->count : 0;
        if (!c->json && !c->quiet)
            command_print("%s: whole; %zu sections fit their checksums, %zu tensors decode\n", path, sections, tensors);
        json_object_update_new(c->result, json_pack("{s:b, s:I, s:I}", "whole", 1, "sections", (json_int_t)sections,
                                                    "tensors", (json_int_t)tensors));
    }
    model_source_close(s);
    return status;
}

static pith_status run(command *c, pith_error *err) {
    const char *path;
    char *temporary;
    pith_status s = models_input(c, pith_operand(c->values, 0), &path, &temporary, err);
    if (s == PITH_OK) s = verify(c, path, err);
    models_done(temporary);
    return s;
}

const verb verb_verify = {
    .name = "verify",
    .summary = "check every byte of a .pith file",
    .operands = "FILE.pith|-",
    .example = "pith verify small.pith",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
