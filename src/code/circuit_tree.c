/* code/circuit_tree.c - the tree of a circuit: allocation and the conditions every user relies on. */
#include "code/circuit.h"

#include "base/memory.h"

#include <string.h>

pith_status circuit_tree_new(circuit_tree *t, int32_t width, int32_t height, int32_t channels, pith_error *err) {
    *t = (circuit_tree){.width = width, .height = height, .channels = channels};
    int64_t nodes = width > 0 && height > 0 && channels > 0 ? (int64_t)width * height : 0;
    if (nodes < 1 || nodes > CIRCUIT_MAX_NODES || (nodes *= channels) > CIRCUIT_MAX_NODES)
        return pith_fail(err, PITH_LIMIT, NULL, -1, "expected pictures of 1 to %d values, found %dx%dx%d",
                         CIRCUIT_MAX_NODES, width, height, channels);
    t->nodes = (int32_t)nodes;
    t->parent = memory_zero((size_t)nodes, sizeof *t->parent);
    t->pixel = memory_zero((size_t)nodes, sizeof *t->pixel);
    t->size = memory_zero((size_t)nodes, sizeof *t->size);
    t->bare = memory_zero((size_t)nodes, 1);
    if (t->parent && t->pixel && t->size && t->bare) return PITH_OK;
    circuit_tree_free(t);
    return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for a tree of %lld nodes", (long long)nodes);
}

void circuit_tree_free(circuit_tree *t) {
    memory_free(t->parent);
    memory_free(t->pixel);
    memory_free(t->size);
    memory_free(t->bare);
    *t = (circuit_tree){0};
}

bool circuit_tree_check(circuit_tree *t) {
    if (t->parent[0] != -1 || t->bare[0]) return false;
    for (int32_t i = t->nodes - 1; i >= 0; i--) t->size[i] = 1;
    for (int32_t i = t->nodes - 1; i > 0; i--) {
        if (t->parent[i] < 0 || t->parent[i] >= i) return false;
        t->size[t->parent[i]] += t->size[i];
    }
    for (int32_t i = 1; i < t->nodes; i++) { /* depth first: the parent is the node before or one of its ancestors */
        int32_t above = i - 1;
        while (above >= 0 && above != t->parent[i]) above = t->parent[above];
        if (above < 0 || t->bare[i] > 1 || (t->bare[i] && t->size[i] != 1)) return false;
    }
    bool permutation = true;
    for (int32_t i = 0; permutation && i < t->nodes; i++) { /* a mark beside `bare`: seen */
        permutation = t->pixel[i] >= 0 && t->pixel[i] < t->nodes && !(t->bare[t->pixel[i]] & 2);
        if (permutation) t->bare[t->pixel[i]] |= 2;
    }
    for (int32_t i = 0; i < t->nodes; i++) t->bare[i] &= 1;
    return permutation;
}
