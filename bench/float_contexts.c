/* bench/float_contexts.c - what each context of floating-point weights gains: float_contexts MODEL...
 *
 * For each model the bits an element takes (signs, exponents, mantissas, tables and all) without any context, and what
 * each context saves when it is added to those left of it: scales of rows, of columns, of kernel positions, tables
 * chosen by neighbors in kernels, signs predicted by them. Only way float is tried (code/float_way.h). */
#include "base/memory.h"
#include "code/float_way.h"
#include "file/model_source.h"

#include <stdio.h>
#include <string.h>

typedef struct weights { /* all floating-point tensors of a model, cut */
    pith_tensor *tensor;
    float_piece *piece;
    size_t tensors, pieces;
    double elements;
} weights;

static pith_status load(weights *w, model_source *s, pith_error *err) {
    size_t most = 0;
    w->tensor = memory_zero(s->count, sizeof *w->tensor);
    for (size_t i = 0; i < s->count; i++) most += (size_t)model_tensor_elements(&s->tensors[i]) / (FLOAT_PIECE / 8) + 2;
    w->piece = memory_zero(most, sizeof *w->piece);
    if (!w->tensor || !w->piece) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    for (size_t i = 0; i < s->count; i++) {
        if (!float_type(s->tensors[i].layout.type)) continue;
        pith_tensor *t = &w->tensor[w->tensors++];
        pith_status st = model_source_load(s, i, t, err);
        if (st != PITH_OK) return st;
        w->pieces += float_cut(t->type, t->rank, t->shape, t->data, w->piece + w->pieces);
        w->elements += (double)pith_tensor_elements(t);
    }
    return PITH_OK;
}

static void unload(weights *w) {
    for (size_t i = 0; i < w->tensors; i++) pith_tensor_release(&w->tensor[i]);
    memory_free(w->tensor);
    memory_free(w->piece);
}

static pith_status bits_with(const weights *w, unsigned contexts, double *bits, pith_error *err) {
    pith_bytes out;
    pith_status s = float_encode(w->piece, w->pieces, contexts, &out, err);
    if (s != PITH_OK) return s;
    *bits = 8 * (double)out.size / w->elements;
    memory_free(out.data);
    return PITH_OK;
}

static pith_status bench(const char *path, pith_error *err) {
    static const unsigned added[] = {FLOAT_ROWS, FLOAT_COLUMNS, FLOAT_POSITIONS, FLOAT_NEIGHBORS, FLOAT_NEIGHBOR_SIGNS};
    model_source *s = NULL;
    weights w = {0};
    double before = 0, bits = 0;
    unsigned contexts = 0;
    pith_status st = model_source_open(&s, path, NULL, err);
    if (st == PITH_OK) st = load(&w, s, err);
    if (st == PITH_OK) st = bits_with(&w, 0, &before, err);
    if (st == PITH_OK) printf("%-40s %8.4f", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, before);
    for (size_t k = 0; k < sizeof added / sizeof *added && st == PITH_OK; k++, before = bits) {
        contexts |= added[k];
        st = bits_with(&w, contexts, &bits, err);
        if (st == PITH_OK) printf(" %9.4f", before - bits);
    }
    if (st == PITH_OK) printf(" %8.4f\n", bits);
    unload(&w);
    model_source_close(s);
    return st;
}

int main(int count, char **arg) {
    if (count < 2) printf("usage: float_contexts MODEL...\n");
    else
        printf("%-40s %8s %9s %9s %9s %9s %9s %8s\n", "bits an element", "none", "rows", "columns", "positions",
               "neighbors", "signs", "all");
    for (int i = 1; i < count; i++) {
        pith_error err = {0};
        if (bench(arg[i], &err) == PITH_OK) continue;
        fprintf(stderr, "%s: %s\n", err.where, err.text);
        return 1;
    }
    return 0;
}
