/* train/checkpoint.c - a .pith container of raw arrays: "STAT" the counters, "CURV" the loss curve so far, "TENS" one
 * section an array. The container brings the hashes and the rename. */
#include "train/checkpoint.h"

#include "base/memory.h"
#include "file/container.h"

#include <string.h>

enum { VERSION = 0 };

typedef struct array {
    const char *name;
    float *data;
} array;

/* The arrays a run has, in file order; names of absent ones have data NULL. */
static int list_arrays(const grad_params *p, const optimizer *o, float *best, array list[5]) {
    int n = 0;
    list[n++] = (array){"weights", p->weights};
    list[n++] = (array){"moment0", p->moment[0]};
    list[n++] = (array){"moment1", p->moment[1]};
    list[n++] = (array){"averaged", o->averaged};
    list[n++] = (array){"best", best};
    return n;
}

static pith_status write_section(pith_writer *w, const char kind[4], const char *name, const void *data, size_t size,
                                 pith_error *err) {
    pith_section s = {.version = VERSION, .raw = size, .name = name};
    memcpy(s.kind, kind, 4);
    pith_status status = pith_writer_begin(w, &s, err);
    if (status == PITH_OK) status = pith_writer_write(w, data, size, err);
    if (status == PITH_OK) status = pith_writer_end(w, err);
    return status;
}

pith_status checkpoint_write(const char *path, const checkpoint *c, const grad_params *p, const optimizer *o,
                             const float *best, const char *curve, pith_error *err) {
    pith_writer *w = NULL;
    pith_status s = pith_writer_open(&w, path, true, err);
    if (s != PITH_OK) return s;
    struct {
        checkpoint c;
        int64_t optimizer_step;
    } state = {*c, o->step};
    s = write_section(w, "STAT", "state", &state, sizeof state, err);
    if (s == PITH_OK) s = write_section(w, "CURV", "curve", curve, strlen(curve), err);
    array list[5];
    int n = list_arrays(p, o, (float *)best, list);
    for (int i = 0; i < n && s == PITH_OK; i++)
        if (list[i].data) s = write_section(w, "TENS", list[i].name, list[i].data, p->floats * sizeof(float), err);
    if (s == PITH_OK) return pith_writer_commit(w, err);
    pith_writer_abort(w);
    return s;
}

static pith_status view(pith_reader *r, const char *path, const char kind[4], const char *name, size_t expected,
                        pith_bytes *out, pith_error *err) {
    int64_t i = pith_reader_find(r, kind, name);
    if (i < 0)
        return pith_fail(err, PITH_MISMATCH, path, -1, "expected a section \"%s\": the recipe has changed since", name);
    pith_status s = pith_reader_view(r, (size_t)i, out, err);
    if (s == PITH_OK && expected && out->size != expected)
        s = pith_fail(err, PITH_MISMATCH, path, -1,
                      "expected %zu bytes of \"%s\", found %zu: the network has changed since", expected, name,
                      out->size);
    return s;
}

pith_status checkpoint_read(const char *path, checkpoint *c, grad_params *p, optimizer *o, float *best, char **curve,
                            pith_error *err) {
    pith_context context;
    pith_context_default(&context);
    pith_reader *r = NULL;
    pith_bytes b;
    pith_status s = pith_reader_open(&r, path, &context, err);
    if (s != PITH_OK) return s;
    struct {
        checkpoint c;
        int64_t optimizer_step;
    } state;
    s = view(r, path, "STAT", "state", sizeof state, &b, err);
    if (s == PITH_OK) memcpy(&state, b.data, sizeof state);
    array list[5];
    int n = list_arrays(p, o, best, list);
    for (int i = 0; i < n && s == PITH_OK; i++) {
        if (!list[i].data) continue;
        if (list[i].data == best && state.c.best_step == 0) continue; /* nothing was best yet */
        s = view(r, path, "TENS", list[i].name, p->floats * sizeof(float), &b, err);
        if (s == PITH_OK) memcpy(list[i].data, b.data, b.size);
    }
    if (s == PITH_OK) s = view(r, path, "CURV", "curve", 0, &b, err);
    if (s == PITH_OK && !(*curve = memory_text_n((const char *)b.data, b.size)))
        s = pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    if (s == PITH_OK) {
        *c = state.c;
        o->step = state.optimizer_step;
        params_changed(p);
    }
    pith_reader_close(r);
    return s;
}
