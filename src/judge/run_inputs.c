/* judge/run_inputs.c - what commands read: data sets, files that come with pith, drawn pictures, and what takes long to
 * make. */
#include "judge/run_parts.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/share.h"
#include "file/json.h"
#include "file/output.h"
#include "file/pictures.h"
#include "judge/folders.h"
#include "judge/stamp.h"
#include "picture/drawn.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH = RUN_PATH };

/* ---- inputs ---- */

static pith_status find_share(const char *name, char *path, pith_error *err) {
    char folder[4096];
    for (int i = 0; share_folder(i, folder, sizeof folder); i++)
        if (snprintf(path, PATH, "%s/%s", folder, name) < PATH && access(path, R_OK) == 0) return PITH_OK;
    return pith_fail(err, PITH_NOT_FOUND, name, -1,
                     "expected a file that comes with pith (PITH_SHARE names the folder)");
}

static pith_status find_data(const char *data, const paper_input *in, char *path, pith_error *err) {
    if (!data)
        return pith_fail(err, PITH_NOT_FOUND, in->data, -1,
                         "expected a data set: PITH_DATA names the folder (pith data); --smoke needs none");
    snprintf(path, PATH, "%s/%s", data, in->data);
    if (access(path, R_OK) == 0) return PITH_OK;
    return pith_fail(err, PITH_NOT_FOUND, path, -1, "expected a data set: see pith data; --smoke needs none");
}

pith_status run_find_input(const paper_input *in, const char *data, char path[RUN_PATH], pith_error *err) {
    return in->data ? find_data(data, in, path, err) : find_share(in->share, path, err);
}

/* Another seed for every input, so that what is trained on differs from what is tested on. */
static pith_status draw(const runner *r, const paper_input *in, char *path, pith_error *err) {
    pith_tensor t;
    snprintf(path, PATH, "%s/%s.idx3", r->work, in->name);
    pith_status s = pictures_draw(in->pictures, in->side, hash_bytes(in->name, strlen(in->name)), &t, err);
    if (s) return s;
    s = pictures_write(path, true, &t, err);
    pith_tensor_release(&t);
    return s;
}

static pith_status add_input(runner *r, const paper_input *in, json_t *inputs, pith_error *err) {
    char path[PATH];
    json_t *stamp = NULL;
    bool drawn = in->data && r->options->smoke;
    pith_status s = drawn ? draw(r, in, path, err) : run_find_input(in, r->options->data, path, err);
    char *whole = s ? NULL : realpath(path, NULL);
    if (!s && !whole) s = pith_fail(err, PITH_NOT_FOUND, path, -1, "expected a file");
    if (!s) s = stamp_file(whole, &stamp, err);
    if (!s) s = environment_set(&r->variables, in->name, whole, err);
    if (!s) {
        json_object_set_new(stamp, "path", json_string(drawn ? "drawn" : in->data ? in->data : in->share));
        json_object_set_new(inputs, in->name, stamp);
    }
    free(whole);
    return s;
}

pith_status run_inputs(runner *r, json_t **out, pith_error *err) {
    json_t *inputs = json_object();
    pith_status s = inputs ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t i = 0; i < r->paper->input_count && !s; i++) s = add_input(r, &r->paper->inputs[i], inputs, err);
    if (s) json_decref(inputs);
    else *out = inputs;
    return s;
}

/* ---- what is made ---- */

static const char *taken_from(const paper_run_options *o, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < o->made_count; i++)
        if (strncmp(o->made[i], name, n) == 0 && o->made[i][n] == '=') return o->made[i] + n + 1;
    return NULL;
}

/* made.json beside what was made says how. */
static pith_status write_note(const runner *r, const char *folder, const paper_made *m, double seconds,
                              pith_error *err) {
    char path[PATH + 32], now[32];
    stamp_time(now);
    json_t *note = json_pack("{s:s, s:s, s:f, s:O}", "run", m->run, "finished", now, "seconds", seconds, "source",
                             json_object_get(r->result, "source"));
    char *text = note ? json_print(note, 1) : NULL;
    json_decref(note);
    if (!text) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    snprintf(path, sizeof path, "%s/made.json", folder);
    pith_status s = output_file(path, true, text, strlen(text), err);
    memory_free(text);
    return s;
}

/* In a folder of another name until it is whole; that folder stays when the command is stopped, so that trainings that
 * can go on from a checkpoint do. */
static pith_status make(const runner *r, const paper_made *m, const char *folder, pith_error *err) {
    char part[PATH + 8], log[PATH + 32];
    process_end end;
    snprintf(part, sizeof part, "%s.part", folder);
    snprintf(log, sizeof log, "%s/log", part);
    log_info("%s: making %s; %s.err tells how far it is", r->paper->name, m->name, log);
    pith_status s = folder_make(part, err);
    if (!s) s = run_command(r, m->run, part, log, m->name, &end, err);
    if (!s) s = write_note(r, part, m, end.seconds, err);
    if (!s && rename(part, folder) != 0) s = pith_fail(err, PITH_IO, part, -1, "cannot rename to %s", folder);
    return s;
}

/* Where a thing made earlier stands in the result's list; past its end where it does not. */
static size_t made_place(const json_t *list, const char *name, int seed) {
    size_t i = 0;
    for (; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (strcmp(json_get_text(row, "name", ""), name) == 0 && json_get_int(row, "seed", -1) == seed) break;
    }
    return i;
}

static pith_status enter(runner *r, const paper_made *m, int seed, const char *folder, const char *from,
                         pith_error *err) {
    char path[PATH + 32];
    json_t *files, *list = json_object_get(r->result, "made");
    pith_status s = stamp_folder(folder, &files, err);
    if (s) return s;
    snprintf(path, sizeof path, "%s/made.json", folder);
    json_t *note = from ? NULL : json_load_file(path, 0, NULL);
    json_t *row = json_pack("{s:s, s:i, s:o, s:s}", "name", m->name, "seed", seed, "files", files,
                            from ? "taken" : "run", from ? from : m->run);
    if (row && note) json_object_update_missing(row, note);
    json_decref(note);
    size_t at = made_place(list, m->name, seed);
    bool ok =
        at < json_array_size(list) ? json_array_set_new(list, at, row) == 0 : json_array_append_new(list, row) == 0;
    return ok ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

pith_status run_made(runner *r, const char *name, int seed, pith_error *err) {
    const paper_made *m = paper_made_by_name(r->paper, name);
    const char *from = taken_from(r->options, name);
    char folder[PATH], key[17];
    pith_status s = run_set_number(r, "seed", seed, err);
    if (!s) s = run_made_key(r, m, key, err);
    if (s) return s;
    if (from) snprintf(folder, sizeof folder, "%s", from);
    else snprintf(folder, sizeof folder, "%s/made/%.64s-%s", r->work, name, key);
    if (access(folder, R_OK | X_OK) != 0)
        s = from ? pith_fail(err, PITH_NOT_FOUND, from, -1, "expected the folder of %s, as its command leaves it", name)
                 : make(r, m, folder, err);
    char *whole = s ? NULL : realpath(folder, NULL);
    if (!s && !whole) s = pith_fail(err, PITH_NOT_FOUND, folder, -1, "expected a folder");
    if (!s) s = environment_set(&r->variables, name, whole, err);
    if (!s) s = enter(r, m, seed, folder, from, err);
    free(whole);
    return s;
}
