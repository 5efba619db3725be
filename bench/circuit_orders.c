/* bench/circuit_orders.c - what the three ways to a picture's conditionals cost: products with M x M matrices, and
 * time.
 *
 * Trees come from random smooth pictures, parameters are random. Usage: circuit_orders [STATES] */
#include "base/memory.h"
#include "base/progress.h"
#include "base/rng.h"
#include "code/circuit_orders.h"
#include "picture/circuit_em.h"

#include <stdio.h>
#include <stdlib.h>

enum { PICTURES = 300 };

/* Sums of noise from above and from the left: near values depend on each other. */
static uint8_t *smooth_pictures(int32_t side) {
    uint8_t *v = memory_alloc((size_t)PICTURES * (size_t)(side * side));
    rng r = rng_new(1, 0);
    for (int n = 0; v && n < PICTURES; n++)
        for (int32_t i = 0; i < side * side; i++) {
            uint8_t *p = v + (size_t)n * (size_t)(side * side);
            int32_t above = i >= side ? p[i - side] : 128, left = i % side ? p[i - 1] : 128;
            int32_t value = (above + left) / 2 + (int32_t)rng_below(&r, 61) - 30;
            p[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    return v;
}

static pith_status make_circuit(const circuit_images *images, int32_t states, circuit **c, pith_error *err) {
    circuit_tree tree;
    circuit_parameters p = {0};
    pith_bytes model = {0};
    pith_status s = circuit_structure(images, true, &tree, err);
    if (s) return s;
    s = circuit_parameters_new(&p, tree.nodes, states, err);
    if (!s) {
        circuit_parameters_start(&p, 1);
        s = circuit_write(&tree, states, p.move, p.emit, 3, 0, &model, err);
    }
    if (!s) s = circuit_read(model, UINT64_MAX, c, err);
    memory_free(model.data);
    circuit_parameters_free(&p);
    circuit_tree_free(&tree);
    return s;
}

static pith_status measure(const circuit *c, const uint8_t *picture, pith_error *err) {
    static const char *const names[] = {"naive", "larger child first", "two messages"};
    double *conditional = memory_alloc((size_t)c->tree.nodes * sizeof *conditional), seconds[3];
    int64_t transitions[3];
    pith_status s = conditional ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory");
    for (int order = 0; order < 3 && !s; order++) {
        int times = 0;
        double started = clock_seconds();
        do s = circuit_order_run(c, order, picture, conditional, &transitions[order], err);
        while (!s && ++times < 1000 && clock_seconds() - started < 0.5);
        seconds[order] = (clock_seconds() - started) / (times ? times : 1);
    }
    for (int order = 0; order < 3 && !s; order++)
        printf("D %4d  %-18s %9lld transitions (1/%.2f of naive)  %9.3f ms (1/%.2f)\n", c->tree.nodes, names[order],
               (long long)transitions[order], (double)transitions[0] / (double)transitions[order], 1e3 * seconds[order],
               seconds[0] / seconds[order]);
    memory_free(conditional);
    return s;
}

int main(int argc, char **argv) {
    int32_t states = argc > 1 ? atoi(argv[1]) : 32;
    pith_error err = {0};
    pith_status s = states < 1 || states > CIRCUIT_MAX_STATES
                        ? pith_fail(&err, PITH_USAGE, "STATES", -1, "expected 1 to %d", CIRCUIT_MAX_STATES)
                        : PITH_OK;
    for (int32_t side = 14; side <= 28 && !s; side += 14) {
        circuit *c = NULL;
        circuit_images images = {PICTURES, side, side, 1, smooth_pictures(side)};
        s = images.values ? make_circuit(&images, states, &c, &err)
                          : pith_fail(&err, PITH_NO_MEMORY, NULL, -1, "no memory");
        if (!s) s = measure(c, images.values, &err);
        circuit_free(c);
        memory_free((void *)images.values);
    }
    if (s) fprintf(stderr, "%s\n", err.text);
    return s ? 1 : 0;
}
