/* model/pack_groups.c - how the tensors of a model are cut into groups, each coded and decoded by itself. */
#include "model/pack_payload.h"

#include "base/memory.h"

#include <string.h>

typedef struct cutting {
    pack_groups *g;
    size_t pieces, firsts; /* capacities */
    size_t most;
    pith_error *err;
} cutting;

static pith_status no_memory(pith_error *err) { return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory"); }

static pith_status open_group(cutting *c) {
    pack_groups *g = c->g;
    if (g->count >= c->most)
        return pith_fail(c->err, PITH_CORRUPT, NULL, -1, "expected %zu groups of tensors, found tensors for more",
                         c->most);
    if (memory_reserve((void **)&g->first, &c->firsts, g->count + 2, sizeof *g->first) != 0) return no_memory(c->err);
    g->first[g->count++] = g->piece_count;
    return PITH_OK;
}

static pith_status add_piece(cutting *c, pack_piece p) {
    pack_groups *g = c->g;
    if (memory_reserve((void **)&g->piece, &c->pieces, g->piece_count + 1, sizeof *g->piece) != 0)
        return no_memory(c->err);
    g->piece[g->piece_count++] = p;
    return PITH_OK;
}

static pith_status cut_tensor(cutting *c, size_t i, const pith_tensor *t, uint64_t group_bytes) {
    int64_t rows = pith_tensor_row_count(t), run = (int64_t)(group_bytes / (uint64_t)t->row_bytes);
    pith_status s = PITH_OK;
    if (run < 1) run = 1;
    for (int64_t row = 0; row < rows && s == PITH_OK; row += run) {
        int64_t n = rows - row < run ? rows - row : run;
        s = open_group(c);
        if (s == PITH_OK) s = add_piece(c, (pack_piece){i, row, n, n == rows});
    }
    return s;
}

pith_status pack_groups_make(pack_groups *g, const model_tensor *tensors, size_t count, uint64_t group_bytes,
                             size_t most, pith_error *err) {
    cutting c = {.g = g, .most = most, .err = err};
    uint64_t filled = 0;
    bool open = false;
    pith_status s = PITH_OK;
    memset(g, 0, sizeof *g);
    for (size_t i = 0; i < count && s == PITH_OK; i++) {
        const pith_tensor *t = &tensors[i].layout;
        uint64_t bytes = pith_tensor_bytes(t);
        if (bytes > group_bytes) {
            s = cut_tensor(&c, i, t, group_bytes);
            open = false;
            continue;
        }
        if (!open || filled + bytes > group_bytes) {
            s = open_group(&c);
            open = true;
            filled = 0;
        }
        if (s == PITH_OK) s = add_piece(&c, (pack_piece){i, 0, pith_tensor_row_count(t), true});
        filled += bytes;
    }
    if (s == PITH_OK && !g->first && !(g->first = memory_zero(1, sizeof *g->first))) s = no_memory(err);
    if (s == PITH_OK) g->first[g->count] = g->piece_count;
    else pack_groups_free(g);
    return s;
}

void pack_groups_free(pack_groups *g) {
    memory_free(g->piece);
    memory_free(g->first);
    memset(g, 0, sizeof *g);
}

uint64_t pack_piece_bytes(const pack_piece *p, const model_tensor *tensors) {
    const pith_tensor *t = &tensors[p->tensor].layout;
    return p->whole ? pith_tensor_bytes(t) : (uint64_t)p->rows * (uint64_t)t->row_bytes;
}
