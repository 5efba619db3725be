/* cli/info.c - pith info: what is in a file, and how a model cuts text into tokens. */
#include "cli/command.h"
#include "cli/models.h"

#include "base/memory.h"
#include "file/container.h"
#include "model/language_model.h"
#include "model/pack_reader.h"
#include "pith/method.h"

#include <string.h>

static const pith_option options[] = {
    {.name = "tokens", .unit = "TEXT", .type = PITH_TEXT, .help = "print ids and pieces of this text's tokens"},
    {.name = "tokens-file", .unit = "FILE", .type = PITH_TEXT, .help = "the same for a file's text"},
    {.name = "base",
     .unit = "MODEL",
     .type = PITH_TEXT,
     .help = "model that a .pith is the difference to: lists its tensors, too"},
    {.name = "tokenizer", .unit = "FILE", .type = PITH_TEXT, .help = "llama2.c checkpoints: their tokenizer"},
};

/* ---- metadata ---- */

static json_t *number_of(const meta *m, const char *key, meta_type type) {
    double real;
    int64_t whole;
    bool flag;
    if (type == META_BOOL) return meta_flag(m, key, &flag) ? json_boolean(flag) : json_null();
    if (type == META_F32 || type == META_F64) return meta_f64(m, key, &real) ? json_real(real) : json_null();
    return meta_i64(m, key, &whole) ? json_integer((json_int_t)whole) : json_null();
}

static json_t *value_of(const meta *m, size_t i) {
    const char *key = meta_key(m, i);
    meta_array a;
    size_t size;
    if (meta_type_at(m, i) == META_TEXT) {
        const char *text = meta_text(m, key, &size);
        json_t *value = text ? json_stringn(text, size) : NULL;
        return value ? value : json_null();
    }
    if (meta_type_at(m, i) == META_ARRAY && meta_get_array(m, key, &a))
        return json_sprintf("%llu of %s", (unsigned long long)a.count, meta_type_name(a.type));
    json_t *value = number_of(m, key, meta_type_at(m, i));
    return value ? value : json_null(); /* NaN has no JSON */
}

static void report_meta(command *c, const meta *m) {
    json_t *all = json_object();
    for (size_t i = 0; i < meta_count(m); i++) {
        json_t *value = value_of(m, i);
        if (!c->json) {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
            command_print("%-44s %.100s%s\n", meta_key(m, i), text ? text : "",
                          text && strlen(text) > 100 ? "..." : "");
            memory_free(text);
        }
        json_object_set_new(all, meta_key(m, i), value);
    }
    json_object_set_new(c->result, "metadata", all);
}

/* ---- tokens ---- */

static pith_status report_tokens(command *c, const tokenizer *t, const void *text, size_t size, pith_error *err) {
    token_list ids = {0};
    pith_status s = tokenizer_encode(t, text, size, 0, &ids, err);
    json_t *numbers = json_array(), *pieces = json_array();
    for (size_t i = 0; i < ids.count && s == PITH_OK; i++) {
        pith_bytes piece = tokenizer_piece(t, ids.ids[i]);
        json_t *text_of = json_stringn((const char *)piece.data, piece.size);
        if (!c->json) command_print("%d\t%.*s\n", ids.ids[i], (int)piece.size, (const char *)piece.data);
        json_array_append_new(numbers, json_integer(ids.ids[i]));
        json_array_append_new(pieces, text_of ? text_of : json_null()); /* part of a character */
    }
    json_object_set_new(c->result, "ids", numbers);
    json_object_set_new(c->result, "pieces", pieces);
    memory_free(ids.ids);
    return s;
}

static pith_status tokens(command *c, const model_source *s, pith_error *err) {
    const char *text = pith_value_text(c->values, "tokens"), *path = pith_value_text(c->values, "tokens-file");
    tokenizer *t = NULL;
    pith_buffer *file = NULL;
    if (text && path) return pith_fail(err, PITH_USAGE, "--tokens", -1, "expected a text or a file, found both");
    pith_status status = model_tokenizer(&t, s, err);
    if (status == PITH_OK && path) status = pith_buffer_map(&file, path, err);
    if (status == PITH_OK)
        status = path ? report_tokens(c, t, pith_buffer_data(file), (size_t)pith_buffer_size(file), err)
                      : report_tokens(c, t, text, strlen(text), err);
    pith_buffer_release(file);
    tokenizer_free(t);
    return status;
}

/* ---- files ---- */

static pith_status model(command *c, const char *path, pith_error *err) {
    model_options mo = {.tokenizer = pith_value_text(c->values, "tokenizer"),
                        .base = pith_value_text(c->values, "base"),
                        .context = &c->context};
    model_source *s = NULL;
    pith_status status = model_source_open(&s, path, &mo, err);
    if (status != PITH_OK) return status;
    if (pith_value_given(c->values, "tokens") || pith_value_given(c->values, "tokens-file")) {
        status = tokens(c, s, err);
    } else {
        json_object_set_new(c->result, "format", json_string(s->format));
        if (strcmp(s->format, "pith") == 0) json_object_set_new(c->result, "origin", json_string(pack_origin(s)));
        report_meta(c, s->meta);
        status = models_report(c, s, true, err);
        double weights = models_weights(s);
        if (status == PITH_OK && !c->json)
            command_print("%s, %zu tensors, %.0f weights, %llu bytes, %.3f bits per weight\n", s->format, s->count,
                          weights, (unsigned long long)s->file_bytes,
                          weights > 0 ? (double)s->file_bytes * 8 / weights : 0);
    }
    model_source_close(s);
    return status;
}

/* A line a picture, where the method speaks of pictures one by one. */
static void print_pictures(const json_t *list) {
    size_t i;
    const json_t *p;
    json_array_foreach(list, i, p) {
        command_print("%-4zu %-32s %lldx%lldx%lld, %lld bits, %lld bytes, %.3f bits per pixel\n", i,
                      json_string_value(json_object_get(p, "name")),
                      (long long)json_integer_value(json_object_get(p, "width")),
                      (long long)json_integer_value(json_object_get(p, "height")),
                      (long long)json_integer_value(json_object_get(p, "channels")),
                      (long long)json_integer_value(json_object_get(p, "bits")),
                      (long long)json_integer_value(json_object_get(p, "bytes")),
                      json_real_value(json_object_get(p, "bits_per_pixel")));
    }
}

/* A .pith of another kind: its sections, and what its method says of it. */
static pith_status other(command *c, pith_reader *r, pith_error *err) {
    const pith_method *m = NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < pith_reader_count(r); i++) {
        const pith_section *x = pith_reader_section(r, i);
        if (!m) m = pith_method_by_id(x->method);
        if (!c->json)
            command_print("%.4s %-24s %12llu bytes, %llu decoded\n", x->kind, x->name, (unsigned long long)x->stored,
                          (unsigned long long)x->raw);
        char kind[5] = {0};
        memcpy(kind, x->kind, 4);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "kind", kind, "name", x->name, "bytes",
                                              (json_int_t)x->stored, "raw", (json_int_t)x->raw));
    }
    json_object_set_new(c->result, "sections", list);
    if (!m) return PITH_OK;
    if (!c->json) command_print("method %s\n", m->name);
    json_object_set_new(c->result, "method", json_string(m->name));
    pith_status s = m->describe ? m->describe(r, c->result, err) : PITH_OK;
    if (s == PITH_OK && !c->json) print_pictures(json_object_get(c->result, "picture_list"));
    return s;
}

/* Says what the file is the difference to, if it is. */
static pith_status report_base(command *c, pith_reader *r, bool *found, pith_error *err) {
    pack_base_name b;
    char hash[20];
    pith_status s = pack_base_name_read(r, found, &b, err);
    if (s != PITH_OK || !*found) return s;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)b.hash);
    if (!c->json)
        command_print("difference to \"%s\" (hash %s)%s\n", b.name, hash,
                      pith_value_given(c->values, "base") ? "" : "; --base lists its tensors, too");
    json_t *name = json_string(b.name);
    json_object_set_new(c->result, "base", json_pack("{s:o, s:s}", "name", name ? name : json_null(), "hash", hash));
    return PITH_OK;
}

static pith_status describe(command *c, const char *path, pith_error *err) {
    pith_reader *r = NULL;
    if (!pith_file_is_packed(path)) return model(c, path, err);
    pith_status s = pith_reader_open(&r, path, &c->context, err);
    if (s != PITH_OK) return s;
    bool packed_model = pith_reader_find(r, "META", "model") >= 0, based;
    s = report_base(c, r, &based, err);
    if (based && !pith_value_given(c->values, "base")) packed_model = false;
    if (s == PITH_OK && !packed_model) s = other(c, r, err);
    pith_reader_close(r);
    return s == PITH_OK && packed_model ? model(c, path, err) : s;
}

static pith_status run(command *c, pith_error *err) {
    const char *path;
    char *temporary;
    pith_status s = models_input(c, pith_operand(c->values, 0), &path, &temporary, err);
    if (s == PITH_OK) s = describe(c, path, err);
    models_done(temporary);
    return s;
}

const verb verb_info = {
    .name = "info",
    .summary = "what is in a model or .pith file; how a model cuts text into tokens",
    .operands = "FILE|-",
    .example = "pith info small.pith",
    .details =
        "Bytes of tensors are those in the file. Tensors coded together share theirs by their number of elements.",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .run = run,
};
