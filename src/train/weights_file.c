/* train/weights_file.c - header first, then the flat array piece by piece. */
#include "train/weights_file.h"

#include "base/memory.h"
#include "file/safetensors.h"

#include <stdio.h>

static pith_status write_all(const char *path, const grad_params *p, safetensors_entry *e, const char *metadata,
                             pith_error *err) {
    pith_bytes header = {0};
    safetensors_writer *w = NULL;
    pith_status s = safetensors_header(e, (size_t)p->n, metadata, &header, err);
    if (s == PITH_OK) s = safetensors_writer_open(&w, path, true, header, err);
    for (int i = 0; i < p->n && s == PITH_OK; i++)
        s = safetensors_write(w, p->weights + p->list[i].offset, p->list[i].count * sizeof(float), err);
    if (s == PITH_OK) s = safetensors_writer_commit(w, err);
    else safetensors_writer_abort(w);
    memory_free(header.data);
    return s;
}

pith_status weights_write(const char *path, const grad_params *p, weight_namer namer, const char *metadata,
                          pith_error *err) {
    char(*names)[WEIGHT_NAME] = memory_zero((size_t)p->n, sizeof *names);
    safetensors_entry *e = memory_zero((size_t)p->n, sizeof *e);
    pith_status s = names && e ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (int i = 0; i < p->n && s == PITH_OK; i++) {
        if (namer) namer(p->list[i].name, names[i]);
        else snprintf(names[i], sizeof names[i], "%s", p->list[i].name);
        e[i] = (safetensors_entry){.name = names[i], .layout = p->list[i].value};
    }
    if (s == PITH_OK) s = write_all(path, p, e, metadata, err);
    memory_free(names);
    memory_free(e);
    return s;
}
