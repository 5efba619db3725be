/* cli/models.c - tables of tensors, and standard input as a file. */
#include "cli/models.h"

#include "base/memory.h"
#include "model/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

double models_weights(const model_source *s) {
    double n = 0;
    for (size_t i = 0; i < s->count; i++) n += (double)model_tensor_elements(&s->tensors[i]);
    return n;
}

static json_t *shape_of(const pith_tensor *t) {
    json_t *list = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(list, json_integer((json_int_t)t->shape[i]));
    return list;
}

static void print_tensor(const model_tensor *t, const pack_coding *coding) {
    char shape[128];
    int n = 0;
    shape[0] = 0;
    for (int i = 0; i < t->layout.rank; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%lld", i ? "x" : "", (long long)t->layout.shape[i]);
    command_print("%-40s %-7s %-18s %12llu  %s\n", t->name, pith_types[t->layout.type].name, shape,
                  (unsigned long long)coding->bytes, coding->coder);
}

pith_status models_report(command *c, model_source *s, bool list, pith_error *err) {
    pack_coding *coding = memory_zero(s->count, sizeof *coding);
    json_t *tensors = json_array();
    double weights = models_weights(s);
    pith_status status =
        coding && tensors ? model_codings(s, coding, err) : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    bool ok = status == PITH_OK;
    for (size_t i = 0; i < s->count && ok; i++) {
        const model_tensor *t = &s->tensors[i];
        if (list && !c->json) print_tensor(t, &coding[i]);
        json_t *row =
            json_pack("{s:s, s:s, s:o, s:I, s:s}", "name", t->name, "type", pith_types[t->layout.type].name, "shape",
                      shape_of(&t->layout), "bytes", (json_int_t)coding[i].bytes, "coder", coding[i].coder);
        if (!row) /* a name that is not UTF-8 */
            row =
                json_pack("{s:s, s:I}", "type", pith_types[t->layout.type].name, "bytes", (json_int_t)coding[i].bytes);
        ok = row && json_array_append_new(tensors, row) == 0;
    }
    memory_free(coding);
    if (ok) {
        json_object_set_new(c->result, "file_bytes", json_integer((json_int_t)s->file_bytes));
        json_object_set_new(c->result, "weights", json_integer((json_int_t)weights));
        json_object_set_new(c->result, "bits_per_weight",
                            json_real(weights > 0 ? (double)s->file_bytes * 8 / weights : 0));
        json_object_set(c->result, "tensors", tensors);
    }
    json_decref(tensors);
    if (status == PITH_OK && !ok) status = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    return status;
}

static pith_status copy_stdin(const pith_context *c, int fd, const char *path, pith_error *err) {
    enum { PIECE = 1 << 16 };
    uint8_t *piece = memory_alloc(PIECE);
    if (!piece) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    for (double done = 0; s == PITH_OK;) {
        ssize_t got = read(STDIN_FILENO, piece, PIECE);
        if (got == 0) break;
        if (got < 0 && errno != EINTR) s = pith_fail_errno(err, "standard input", errno, "cannot read");
        for (ssize_t at = 0; at < got && s == PITH_OK;) {
            ssize_t n = write(fd, piece + at, (size_t)(got - at));
            if (n < 0 && errno != EINTR) s = pith_fail_errno(err, path, errno, "cannot write");
            if (n > 0) at += n;
        }
        done += got > 0 ? (double)got : 0;
        if (s == PITH_OK) s = pith_progress(c, done, 0, "bytes", err);
    }
    memory_free(piece);
    return s;
}

pith_status models_from_stdin(const pith_context *c, char **out, pith_error *err) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (snprintf(path, sizeof path, "%s/pith-XXXXXX", folder && *folder ? folder : "/tmp") >= (int)sizeof path)
        return pith_fail(err, PITH_USAGE, "TMPDIR", -1, "expected a shorter path");
    int fd = mkstemp(path);
    if (fd < 0) return pith_fail_errno(err, path, errno, "cannot create a temporary file");
    pith_status s = copy_stdin(c, fd, path, err);
    close(fd);
    if (s == PITH_OK && !(*out = memory_text(path))) s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s != PITH_OK) unlink(path);
    return s;
}

pith_status models_input(const command *c, const char *operand, const char **path, char **temporary, pith_error *err) {
    *temporary = NULL;
    *path = operand;
    if (strcmp(operand, "-") != 0) return PITH_OK;
    pith_status s = models_from_stdin(&c->context, temporary, err);
    *path = *temporary;
    return s;
}

void models_done(char *temporary) {
    if (temporary) unlink(temporary);
    memory_free(temporary);
}
