/* picture/circuit_speed.c - three orders timed side by side. */
#include "picture/circuit_speed.h"

#include "base/memory.h"
#include "base/progress.h"
#include "picture/circuit_em.h"
#include "picture/drawn.h"

enum { PICTURES = 300, MOST_TIMES = 1000 };
static const double least_seconds = 0.5;

static pith_status make_circuit(const circuit_images *images, int32_t states, circuit **c, pith_error *err) {
    circuit_tree tree;
    circuit_parameters p = {0};
    pith_bytes model = {0};
    pith_status s = circuit_structure(images, true, &tree, err);
    if (s) return s;
    s = circuit_parameters_new(&p, tree.nodes, states, err);
    if (!s) {
        circuit_parameters_start(&p, 1);
        circuit_tables tables = circuit_parameters_tables(&p, &tree);
        s = circuit_write(&tables, 1e-5, &model, err);
    }
    if (!s) s = circuit_read(model, UINT64_MAX, c, err);
    memory_free(model.data);
    circuit_parameters_free(&p);
    circuit_tree_free(&tree);
    return s;
}

static pith_status measure(const circuit *c, const uint8_t *picture, circuit_speed *out, pith_error *err) {
    double *conditional = memory_alloc((size_t)c->tree.nodes * sizeof *conditional);
    pith_status s = conditional ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    out->values = c->tree.nodes;
    for (int order = 0; order < CIRCUIT_ORDERS && !s; order++) {
        int times = 0;
        double started = clock_seconds();
        do s = circuit_order_run(c, order, picture, conditional, &out->transitions[order], err);
        while (!s && ++times < MOST_TIMES && clock_seconds() - started < least_seconds && !interrupt_requested());
        out->seconds[order] = (clock_seconds() - started) / (times ? times : 1);
    }
    memory_free(conditional);
    return s;
}

pith_status circuit_speed_measure(int32_t side, int32_t states, circuit_speed *out, pith_error *err) {
    pith_tensor pictures = {0};
    circuit *c = NULL;
    if (side < 1 || side > 64 || states < 1 || states > CIRCUIT_MAX_STATES)
        return pith_fail(err, PITH_USAGE, NULL, -1, "expected sides of 1 to 64 and 1 to %d states", CIRCUIT_MAX_STATES);
    pith_status s = pictures_draw(PICTURES, side, 1, &pictures, err);
    circuit_images images = {PICTURES, side, side, 1, pictures.data};
    if (!s) s = make_circuit(&images, states, &c, err);
    if (!s) s = measure(c, images.values, out, err);
    circuit_free(c);
    pith_tensor_release(&pictures);
    return s;
}
