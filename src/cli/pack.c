/* cli/pack.c - pith pack: a smaller file, checked after it is written. */
#include "cli/command.h"
#include "cli/models.h"

#include "base/memory.h"
#include "file/container.h"
#include "file/imatrix.h"
#include "file/output.h"
#include "file/source.h"
#include "model/calibrate.h"
#include "model/pack.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const pith_option options[] = {
    {.name = "output", .letter = 'o', .unit = "OUT", .type = PITH_TEXT, .help = "x.gguf or x.pith; - streams a .pith"},
    {.name = "type",
     .unit = "TYPE",
     .type = PITH_TEXT,
     .help = "q4_k, q8_0, f16 ..., a mix (q4_k_m ...), or lossless (.pith, the default there)"},
    {.name = "tensor-type",
     .unit = "REGEX=TYPE",
     .type = PITH_LIST,
     .help = "type of the tensors whose names match; the first that matches counts; may be given again"},
    {.name = "imatrix",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "how much each input of each matrix matters, as llama.cpp's tool writes it"},
    {.name = "calib",
     .unit = "TEXT",
     .type = PITH_TEXT,
     .help = "measure that by running the model over this text; some 100 KB of what it will be used for"},
    {.name = "imatrix-out",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "keep it: GGUF, or llama.cpp's older form when FILE ends in .dat"},
    {.name = "base",
     .unit = "MODEL",
     .type = PITH_TEXT,
     .help = "write only the difference to this model (.pith), which unpacking needs again"},
    {.name = "tokenizer", .unit = "FILE", .type = PITH_TEXT, .help = "llama2.c checkpoints: their tokenizer"},
    {.name = "no-verify", .type = PITH_FLAG, .help = "do not read back and compare what was written"},
    {.name = "method", .unit = "NAME", .type = PITH_TEXT, .help = "pack by this method; pictures: the one that fits"},
    {.name = "model",
     .unit = "FILE",
     .type = PITH_TEXT,
     .help = "pictures: learned model to code with; else one that comes with pith"},
    {.name = "embed", .type = PITH_FLAG, .help = "pictures: carry the model in the packed file"},
};

/* ---- models ---- */

static pith_status print_plan(command *c, const pack_plan *p, pith_error *err) {
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const char *type = pith_types[p->types[i]].name, *wanted = pith_types[p->wanted[i]].name;
        uint64_t bytes = model_tensor_bytes(&p->tensors[i]);
        if (!c->json)
            command_print("%-40s %-7s %12llu%s%s%s\n", p->tensors[i].name, type, (unsigned long long)bytes,
                          type == wanted ? "" : "  (columns do not divide for ", type == wanted ? "" : wanted,
                          type == wanted ? "" : ")");
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I}", "name", p->tensors[i].name, "type", type, "bytes", (json_int_t)bytes));
    }
    if (!list) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (!c->json) command_print("tensors: %llu bytes\n", (unsigned long long)p->bytes);
    json_object_set_new(c->result, "tensors", list);
    json_object_set_new(c->result, "tensor_bytes", json_integer((json_int_t)p->bytes));
    return PITH_OK;
}

static pith_status summarize(command *c, const model_source *in, const char *out, double seconds, pith_error *err) {
    model_options mo = {.context = &c->context, .base = pith_value_text(c->values, "base")};
    model_source *s = NULL;
    double before = (double)in->file_bytes;
    if (strcmp(out, "-") == 0) return PITH_OK; /* standard output holds the file */
    pith_status status = model_source_open(&s, out, &mo, err);
    if (status == PITH_OK) status = models_report(c, s, false, err);
    if (status == PITH_OK) {
        double after = (double)s->file_bytes, weights = models_weights(s);
        if (!c->json && !c->quiet)
            command_print("%s: %.0f -> %.0f bytes (%.3f), %.3f bits per weight, %.1f s, peak memory %.0f MiB\n", out,
                          before, after, before > 0 ? after / before : 0, weights > 0 ? after * 8 / weights : 0,
                          seconds, (double)memory_peak_kib() / 1024);
        json_object_update_new(c->result, json_pack("{s:I, s:f, s:I}", "input_bytes", (json_int_t)before, "seconds",
                                                    seconds, "peak_memory_kib", (json_int_t)memory_peak_kib()));
    }
    model_source_close(s);
    return status;
}

/* Mixtures of experts share a name among matrices: their importance is not used. */
static const float *importance_of(void *user, const char *canonical, int64_t cols) {
    const imatrix_entry *e = imatrix_find(user, canonical);
    return e && e->experts == 1 && e->inputs == (uint64_t)cols ? e->mean : NULL;
}

static pith_status check_importance(const pith_values *v, pith_error *err) {
    const char *type = pith_value_text(v, "type");
    bool matrix = pith_value_given(v, "imatrix"), text = pith_value_given(v, "calib");
    if (matrix && text) return pith_fail(err, PITH_USAGE, "--calib", -1, "expected it or --imatrix, found both");
    if (pith_value_given(v, "imatrix-out") && !matrix && !text)
        return pith_fail(err, PITH_USAGE, "--imatrix-out", -1, "expected --calib TEXT beside it");
    if ((matrix || text) && (!type || strcasecmp(type, "lossless") == 0))
        return pith_fail(err, PITH_USAGE, matrix ? "--imatrix" : "--calib", -1,
                         "expected --type with it: lossless changes no tensor");
    return PITH_OK;
}

/* From --imatrix or --calib; none is fine too. */
static pith_status find_importance(command *c, model_source *s, imatrix *m, pith_error *err) {
    const char *matrix = pith_value_text(c->values, "imatrix"), *text = pith_value_text(c->values, "calib"),
               *keep = pith_value_text(c->values, "imatrix-out");
    pith_status status = PITH_OK;
    if (matrix) status = imatrix_read(m, matrix, err);
    else if (text) status = calibrate(&c->context, s, text, m, err);
    return status == PITH_OK && keep ? imatrix_write(m, keep, c->force, err) : status;
}

static pith_status pack_model(command *c, const char *in, const char *out, pith_error *err) {
    const pith_values *v = c->values;
    const char *rules[256];
    size_t count = pith_value_count(v, "tensor-type");
    model_options mo = {.tokenizer = pith_value_text(v, "tokenizer"), .context = &c->context};
    pack_options o = {.type = pith_value_text(v, "type"),
                      .rules = rules,
                      .rule_count = count,
                      .base = pith_value_text(v, "base"),
                      .replace = c->force,
                      .verify = !pith_value_flag(v, "no-verify")};
    if (count > 256) return pith_fail(err, PITH_USAGE, "--tensor-type", -1, "expected at most 256 of them");
    for (size_t i = 0; i < count; i++) rules[i] = pith_value_item(v, "tensor-type", i);
    if (pith_value_given(v, "imatrix") || pith_value_given(v, "calib")) o.importance = importance_of;
    double started = clock_seconds();
    model_source *s = NULL;
    pack_plan p = {0};
    imatrix importance = {0};
    o.user = &importance;
    pith_status status = check_importance(v, err);
    if (status == PITH_OK) status = model_source_open(&s, in, &mo, err);
    if (status == PITH_OK) status = pack_plan_make(&p, s, out, &o, err);
    if (status == PITH_OK && c->dry_run) status = print_plan(c, &p, err);
    else if (status == PITH_OK) {
        status = find_importance(c, s, &importance, err);
        if (status == PITH_OK) status = pack_run(&c->context, &p, s, out, &o, err);
        if (status == PITH_OK) status = summarize(c, s, out, clock_seconds() - started, err);
    }
    pack_plan_free(&p);
    imatrix_free(&importance);
    model_source_close(s);
    return status;
}

/* ---- other kinds, by method ---- */

static const pith_method *method_for(const pith_source *s, pith_error *err) {
    pith_error why = {0};
    for (const pith_method *const *m = pith_methods; *m; m++) {
        double seconds;
        uint64_t memory;
        if (!((*m)->kinds & (uint32_t)s->kind)) continue;
        if ((*m)->accepts(s, &seconds, &memory, &why) == PITH_OK) return *m;
    }
    pith_fail(err, PITH_UNSUPPORTED, s->path, -1, "no method packs this%s%s", why.text[0] ? ": " : "", why.text);
    return NULL;
}

static pith_status write_by_method(command *c, const pith_method *m, pith_source *s, const char *out, pith_stats *st,
                                   pith_error *err) {
    pith_writer *w = NULL;
    pith_status status = pith_writer_open(&w, out, c->force, err);
    if (status != PITH_OK) return status;
    status = m->pack(&c->context, s, c->values, (pith_target){PITH_FREE, 0}, w, st, err);
    if (status == PITH_OK) return pith_writer_commit(w, err);
    pith_writer_abort(w);
    return status;
}

static pith_status pack_by_method(command *c, const char *const *in, size_t count, const char *out, pith_error *err) {
    const char *name = pith_value_text(c->values, "method");
    const pith_method *m = name ? pith_method_by_name(name) : NULL;
    pith_source *s = NULL;
    pith_stats st = {0};
    double seconds = 0, started = clock_seconds();
    uint64_t memory = 0;
    if (pith_value_given(c->values, "base"))
        return pith_fail(err, PITH_USAGE, "--base", -1, "expected a model to pack, found pictures");
    if (name && !m) return pith_fail(err, PITH_USAGE, "--method", -1, "expected a method pith has, found \"%s\"", name);
    pith_status status = pith_source_open(&s, in, count, &c->context, err);
    if (status == PITH_OK) s->model = pith_value_text(c->values, "model");
    if (status == PITH_OK && !m && !(m = method_for(s, err))) status = err->status;
    if (status == PITH_OK) status = m->accepts(s, &seconds, &memory, err);
    if (status == PITH_OK && c->dry_run) {
        if (!c->json)
            command_print("method %s, about %.1f s, %.0f MiB of memory\n", m->name, seconds, (double)memory / 1048576);
    } else if (status == PITH_OK) status = write_by_method(c, m, s, out, &st, err);
    if (status == PITH_OK && !c->dry_run && strcmp(out, "-") != 0) {
        struct stat size;
        uint64_t before = s->file_bytes, after = stat(out, &size) == 0 ? (uint64_t)size.st_size : 0;
        if (!c->json && !c->quiet)
            command_print("%s: %llu -> %llu bytes (%s), %.1f s\n", out, (unsigned long long)before,
                          (unsigned long long)after, m->name, clock_seconds() - started);
        json_object_update_new(c->result,
                               json_pack("{s:I, s:I, s:s, s:f}", "input_bytes", (json_int_t)before, "file_bytes",
                                         (json_int_t)after, "method", m->name, "seconds", clock_seconds() - started));
    }
    pith_source_close(s);
    return status;
}

static bool is_model_folder(const char *path) {
    char config[4096];
    struct stat st;
    return snprintf(config, sizeof config, "%s/config.json", path) < (int)sizeof config && stat(config, &st) == 0;
}

static pith_status pack(command *c, const char *const *in, size_t count, const char *out, pith_error *err) {
    if (strcmp(out, "-") == 0 && c->json)
        return pith_fail(err, PITH_USAGE, "--json", -1, "standard output holds the file already");
    if (pith_value_given(c->values, "method") || (pith_source_is(in[0]) && !is_model_folder(in[0])))
        return pack_by_method(c, in, count, out, err);
    if (count == 1) return pack_model(c, in[0], out, err);
    return pith_fail(err, PITH_USAGE, in[1], -1, "expected one model, found %zu files", count);
}

static pith_status run(command *c, pith_error *err) {
    const char *out = pith_value_text(c->values, "output");
    size_t count = pith_operand_count(c->values);
    char *temporary;
    if (!out) return pith_fail(err, PITH_USAGE, "-o", -1, "expected the file to write");
    const char **in = memory_alloc(count * sizeof *in);
    if (!in) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        in[i] = pith_operand(c->values, i);
        s = output_not_input(out, in[i], err);
    }
    if (s == PITH_OK) s = models_input(c, in[0], &in[0], &temporary, err);
    if (s == PITH_OK) {
        s = pack(c, in, count, out, err);
        models_done(temporary);
    }
    memory_free(in);
    return s;
}

const verb verb_pack = {
    .name = "pack",
    .summary = "make a model or pictures smaller",
    .operands = "IN... -o OUT",
    .example = "pith pack model.gguf -o small.gguf --type q4_k_m",
    .details =
        "IN is GGUF, safetensors, a HuggingFace folder, a llama2.c checkpoint, a .pith file, or - for standard input. Only matrices of\n"
        "floats change type; rows that do not divide into a type's blocks take the next type that fits (--dry-run says which).\n"
        "In .pith files all tensors are entropy coded besides. What was written is read back and compared.\n"
        "With --base OLD a fine-tuned model or the next checkpoint becomes a small file that is exact beside OLD:\n"
        "  pith pack new.safetensors --base old.safetensors -o step.pith\n"
        "  pith unpack step.pith --base old.safetensors -o new.safetensors\n"
        "Pictures of any size, also several or folders of them, are packed without loss:\n"
        "  pith pack *.png -o album.pith --method photo",
    .min_operands = 1,
    .max_operands = -1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
