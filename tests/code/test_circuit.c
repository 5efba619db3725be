/* Circuits: model file, coder, conditionals and orders, on small random trees. */
#include "harness.h"

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "code/circuit.h"
#include "code/circuit_orders.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct sample {
    circuit_tree tree;
    int32_t states, own[256];
    float *move, *emit;
} sample;

static void random_row(float *v, int32_t n, size_t step, rng *r) {
    float sum = 0;
    for (int32_t k = 0; k < n; k++) sum += v[k * step] = powf(rng_float(r) + 1e-2f, 2);
    for (int32_t k = 0; k < n; k++) v[k * step] /= sum;
}

/* A random tree over width x height values in which node i hangs on one of the nodes before it, depth first. */
static sample make_sample(int32_t width, int32_t height, int32_t states, uint64_t seed) {
    sample s = {.states = states};
    rng r = rng_new(seed, 0);
    assert_int_equal(circuit_tree_new(&s.tree, width, height, 1, NULL), PITH_OK);
    for (int32_t i = 0; i < s.tree.nodes; i++) {
        int32_t up = (int32_t)rng_below(&r, 3), above = i - 1;
        while (above > 0 && up-- > 0) above = s.tree.parent[above];
        s.tree.parent[i] = i ? above : -1;
        s.tree.pixel[i] = s.tree.nodes - 1 - i;
    }
    assert_true(circuit_tree_check(&s.tree));
    for (int32_t i = 1; i < s.tree.nodes; i++) s.tree.bare[i] = s.tree.size[i] == 1 && rng_below(&r, 2);
    size_t stride = (size_t)circuit_stride(states), nodes = (size_t)s.tree.nodes;
    s.move = memory_zero(nodes * stride, stride * sizeof(float));
    s.emit = memory_zero(nodes * stride, CIRCUIT_VALUES * sizeof(float));
    for (size_t i = 0; i < nodes; i++) {
        s.own[i] = s.tree.bare[i] ? s.own[s.tree.parent[i]] : states - (int32_t)rng_below(&r, (uint32_t)states) / 2;
        for (int32_t k = 0; k < (i ? s.own[s.tree.parent[i]] : 1); k++)
            random_row(s.move + (i * stride + (size_t)k) * stride, s.own[i], 1, &r);
        for (int32_t k = 0; k < s.own[i]; k++)
            random_row(s.emit + i * stride * CIRCUIT_VALUES + (size_t)k, CIRCUIT_VALUES, stride, &r);
    }
    return s;
}

static void free_sample(sample *s) {
    circuit_tree_free(&s->tree);
    memory_free(s->move);
    memory_free(s->emit);
}

static circuit_tables tables_of(const sample *s) {
    return (circuit_tables){&s->tree, s->states, circuit_stride(s->states), s->own, s->move, s->emit};
}

static pith_bytes model_of(const sample *s) {
    pith_bytes b;
    circuit_tables t = tables_of(s);
    assert_int_equal(circuit_write(&t, 1e-5, &b, NULL), PITH_OK);
    return b;
}

static circuit *make_circuit(int32_t width, int32_t height, int32_t states, uint64_t seed) {
    sample s = make_sample(width, height, states, seed);
    pith_bytes b = model_of(&s);
    circuit *c;
    assert_int_equal(circuit_read(b, UINT64_MAX, &c, NULL), PITH_OK);
    memory_free(b.data);
    free_sample(&s);
    return c;
}

static double emission(const circuit *c, int32_t i, int32_t k, int32_t value) {
    const circuit_node *n = &c->node[i];
    if (value == n->common) return (double)n->often[k];
    return (double)n->emit[(value / 16 * n->width + k) * 16 + value % 16];
}

/* p of the values that are not missing, by going through all hidden states. */
static double brute_force(const circuit *c, const uint8_t *picture, const uint8_t *missing) {
    int32_t nodes = c->tree.nodes, combinations = 1;
    for (int32_t i = 0; i < nodes; i++) combinations *= c->node[i].states;
    double sum = 0;
    for (int32_t n = 0; n < combinations; n++) {
        int32_t z[16], rest = n;
        double p = 1;
        for (int32_t i = 0; i < nodes && p > 0; rest /= c->node[i++].states) {
            int32_t above = i ? z[c->tree.parent[i]] : 0;
            z[i] = rest % c->node[i].states;
            if (c->tree.bare[i]) {
                if (z[i] != 0) p = 0; /* a state it does not have: counted once */
                z[i] = above;
            } else {
                p *= (double)c->node[i].move[above * c->node[i].width + z[i]];
            }
            if (!missing[c->tree.pixel[i]]) p *= emission(c, i, z[i], picture[c->tree.pixel[i]]);
        }
        sum += p;
    }
    return sum;
}

static void fill(uint8_t *v, size_t n, uint64_t seed) {
    rng r = rng_new(seed, 77);
    for (size_t i = 0; i < n; i++) v[i] = (uint8_t)rng_below(&r, 256);
}

typedef struct expectation {
    const circuit *c;
    const uint8_t *picture, *missing;
    int calls;
} expectation;

static void compare_distribution(void *user, int64_t picture, int32_t pixel, const float *distribution) {
    expectation *e = user;
    uint8_t values[16], missing[16];
    assert_int_equal(picture, 0);
    memcpy(values, e->picture, (size_t)e->c->tree.nodes);
    memcpy(missing, e->missing, (size_t)e->c->tree.nodes);
    double all = brute_force(e->c, values, missing);
    missing[pixel] = 0;
    for (int v = 0; v < CIRCUIT_VALUES; v += 5) {
        values[pixel] = (uint8_t)v;
        assert_true(fabs(brute_force(e->c, values, missing) / all - (double)distribution[v]) < 1e-6);
    }
    e->calls++;
}

static void test_conditionals(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        circuit *c = make_circuit(3, 2, 3, seed);
        uint8_t picture[6], missing[6] = {0};
        fill(picture, 6, seed);
        missing[seed % 6] = missing[(seed * 3 + 1) % 6] = missing[2] = 1;
        int expected = 0;
        for (int i = 0; i < 6; i++) expected += missing[i];
        expectation e = {c, picture, missing, 0};
        assert_int_equal(circuit_conditionals(c, NULL, picture, 1, missing, compare_distribution, &e, NULL), PITH_OK);
        assert_int_equal(e.calls, expected);
        circuit_free(c);
    }
}

static void test_orders(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        circuit *c = make_circuit(3, 2, 3, seed);
        uint8_t picture[6], none[6] = {0}, hidden[6];
        double conditional[6], total = log(brute_force(c, picture, none));
        fill(picture, 6, seed);
        total = log(brute_force(c, picture, none));
        int64_t edges = 0, transitions, larger;
        for (int i = 1; i < 6; i++) edges += !c->tree.bare[i];
        for (int order = CIRCUIT_NAIVE; order <= CIRCUIT_MESSAGES; order++) {
            assert_int_equal(circuit_order_run(c, order, picture, conditional, &transitions, NULL), PITH_OK);
            double sum = 0, before = 0;
            for (int i = 0; i < 6; i++) sum += conditional[i];
            assert_true(fabs(sum - total) < 1e-5);
            memset(hidden, 1, 6); /* node order: each conditional against brute force */
            for (int i = 0; i < 6 && order != CIRCUIT_LARGER; i++) {
                hidden[c->tree.pixel[i]] = 0;
                double now = log(brute_force(c, picture, hidden));
                assert_true(fabs(conditional[i] - (now - before)) < 1e-5);
                before = now;
            }
            if (order == CIRCUIT_NAIVE) assert_int_equal(transitions, 6 * edges);
            if (order == CIRCUIT_LARGER) larger = transitions;
            if (order == CIRCUIT_MESSAGES) assert_int_equal(transitions, 2 * edges);
        }
        assert_true(larger >= edges);
        circuit_free(c);
    }
}

static void test_orders_agree_on_large_trees(void **state) {
    (void)state;
    circuit *c = make_circuit(20, 10, 16, 3);
    uint8_t picture[200];
    double conditional[200], total[3];
    int64_t transitions[3];
    fill(picture, sizeof picture, 5);
    for (int order = 0; order < 3; order++) {
        assert_int_equal(circuit_order_run(c, order, picture, conditional, &transitions[order], NULL), PITH_OK);
        total[order] = 0;
        for (int i = 0; i < 200; i++) total[order] += conditional[i];
        assert_true(fabs(total[order] - total[0]) < 1e-3);
    }
    assert_true(transitions[0] > transitions[1] && transitions[1] > transitions[2] / 2);
    circuit_free(c);
}

static void test_round_trip_everywhere(void **state) {
    (void)state;
    for (int32_t states = 1; states <= 40; states += 13) {
        circuit *c = make_circuit(5, 4, states, (uint64_t)states);
        enum { COUNT = 3 * CIRCUIT_SEGMENT + 5, SIZE = COUNT * 20 };
        static uint8_t pictures[SIZE], back[SIZE];
        static float bits[COUNT];
        fill(pictures, SIZE, 9);
        pith_bytes first = {0};
        uint32_t *first_sizes = NULL;
        for (int level = 0; level < ISA_LEVELS; level++) {
            isa_force((isa_level)level);
            parallel_set_threads(1 + level % 2);
            pith_bytes out;
            uint32_t *sizes;
            assert_int_equal(circuit_encode(c, NULL, pictures, COUNT, &out, &sizes, NULL), PITH_OK);
            if (!level) {
                first = out, first_sizes = sizes;
            } else {
                assert_int_equal(out.size, first.size);
                assert_memory_equal(out.data, first.data, out.size);
                memory_free(out.data);
                memory_free(sizes);
            }
            memset(back, 0, SIZE);
            assert_int_equal(circuit_decode(c, NULL, first, first_sizes, COUNT, back, bits, NULL), PITH_OK);
            assert_memory_equal(back, pictures, SIZE);
        }
        isa_force(ISA_LEVELS - 1);
        parallel_set_threads(0);
        double sum = 0, exact = 0;
        for (int n = 0; n < COUNT; n++) {
            double conditional[20];
            int64_t transitions;
            sum += (double)bits[n];
            assert_int_equal(circuit_order_run(c, CIRCUIT_MESSAGES, pictures + n * 20, conditional, &transitions, NULL),
                             PITH_OK);
            for (int i = 0; i < 20; i++) exact -= conditional[i] / log(2);
        }
        assert_true(fabs(sum - exact) < 0.001 * exact);
        assert_true((double)first.size * 8 < sum + 4 * 8 + 1);
        memory_free(first.data);
        memory_free(first_sizes);
        circuit_free(c);
    }
}

static void test_damaged_streams(void **state) {
    (void)state;
    circuit *c = make_circuit(4, 4, 4, 2);
    enum { COUNT = 70, SIZE = COUNT * 16 };
    uint8_t pictures[SIZE], back[SIZE];
    fill(pictures, SIZE, 4);
    pith_bytes out;
    uint32_t *sizes;
    parallel_set_threads(1);
    assert_int_equal(circuit_encode(c, NULL, pictures, COUNT, &out, &sizes, NULL), PITH_OK);
    int refused = 0;
    for (size_t bit = 0; bit < out.size * 8; bit += 7) {
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused += circuit_decode(c, NULL, out, sizes, COUNT, back, NULL, NULL) != PITH_OK;
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > (int)(out.size * 8 / 7) * 9 / 10); /* the container's hash refuses all */
    sizes[1]--;
    assert_int_equal(circuit_decode(c, NULL, out, sizes, COUNT, back, NULL, NULL), PITH_CORRUPT);
    out.size--;
    assert_int_equal(circuit_decode(c, NULL, out, sizes, COUNT, back, NULL, NULL), PITH_TRUNCATED);
    sizes[0] = UINT32_MAX;
    assert_int_equal(circuit_decode(c, NULL, out, sizes, COUNT, back, NULL, NULL), PITH_TRUNCATED);
    parallel_set_threads(0);
    memory_free(out.data);
    memory_free(sizes);
    circuit_free(c);
}

static void test_damaged_models(void **state) {
    (void)state;
    sample s = make_sample(3, 2, 2, 8);
    pith_bytes b = model_of(&s);
    circuit *c;
    for (size_t bit = 0; bit < b.size * 8; bit += 3) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(circuit_read(b, UINT64_MAX, &c, NULL), PITH_OK);
        assert_null(c);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < b.size; size++)
        assert_int_not_equal(circuit_read((pith_bytes){b.data, size}, UINT64_MAX, &c, NULL), PITH_OK);
    assert_int_equal(circuit_read(b, 1000, &c, NULL), PITH_LIMIT);
    memory_free(b.data);
    free_sample(&s);
}

/* A file from before nodes had a number of states each. */
static void test_version_1(void **state) {
    (void)state;
    uint8_t file[4096], pictures[70 * 9], back[70 * 9];
    FILE *f = fopen(PITH_SOURCE_DIR "/tests/code/version1.circuit", "rb");
    assert_non_null(f);
    pith_bytes in = {file, fread(file, 1, sizeof file, f)}, out;
    fclose(f);
    circuit *c;
    uint32_t *sizes;
    assert_int_equal(circuit_read(in, UINT64_MAX, &c, NULL), PITH_OK);
    assert_int_equal(c->tree.nodes, 9);
    for (int i = 0; i < 70 * 9; i++) pictures[i] = i % 7 ? 0 : 252;
    assert_int_equal(circuit_encode(c, NULL, pictures, 70, &out, &sizes, NULL), PITH_OK);
    assert_int_equal(circuit_decode(c, NULL, out, sizes, 70, back, NULL, NULL), PITH_OK);
    assert_memory_equal(back, pictures, sizeof back);
    const uint8_t none[9] = {0}, cross[9] = {252, 252, 252, 252, 0, 0, 252, 0, 0};
    /* what the program that wrote the file needed for this picture */
    assert_true(fabs(-log(brute_force(c, cross, none)) / log(2) - 25.2832) < 1e-3);
    memory_free(out.data);
    memory_free(sizes);
    circuit_free(c);
}

typedef struct memory_test {
    sample s;
    pith_bytes model, out;
    uint32_t *sizes;
    circuit *c;
    uint8_t pictures[18], back[18];
} memory_test;

static pith_status write_again(memory_test *m) {
    memory_free(m->model.data);
    m->model = (pith_bytes){0};
    circuit_tables t = tables_of(&m->s);
    return circuit_write(&t, 1e-5, &m->model, NULL);
}

static pith_status read_again(memory_test *m) {
    circuit_free(m->c);
    return circuit_read(m->model, UINT64_MAX, &m->c, NULL);
}

static pith_status encode_again(memory_test *m) {
    memory_free(m->out.data);
    memory_free(m->sizes);
    return circuit_encode(m->c, NULL, m->pictures, 3, &m->out, &m->sizes, NULL);
}

static pith_status decode_again(memory_test *m) {
    return circuit_decode(m->c, NULL, m->out, m->sizes, 3, m->back, NULL, NULL);
}

/* Lets the n-th allocation fail, for every n there is. */
static void fail_each(pith_status (*step)(memory_test *), memory_test *m) {
    pith_status status = PITH_NO_MEMORY;
    int64_t n = 1;
    for (; status == PITH_NO_MEMORY && n < 10000; n++) {
        memory_fail_at(n);
        status = step(m);
        memory_fail_at(0);
    }
    assert_int_equal(status, PITH_OK);
    assert_true(n > 2);
}

static void test_out_of_memory(void **state) {
    (void)state;
    memory_test m = {.s = make_sample(3, 2, 2, 8)};
    fill(m.pictures, sizeof m.pictures, 1);
    parallel_set_threads(1);
    fail_each(write_again, &m);
    fail_each(read_again, &m);
    fail_each(encode_again, &m);
    fail_each(decode_again, &m);
    assert_memory_equal(m.back, m.pictures, sizeof m.back);
    parallel_set_threads(0);
    memory_free(m.model.data);
    memory_free(m.out.data);
    memory_free(m.sizes);
    circuit_free(m.c);
    free_sample(&m.s);
}

static void test_trees(void **state) {
    (void)state;
    circuit_tree t;
    assert_int_equal(circuit_tree_new(&t, 0, 4, 1, NULL), PITH_LIMIT);
    assert_int_equal(circuit_tree_new(&t, 70000, 4, 1, NULL), PITH_LIMIT);
    assert_int_equal(circuit_tree_new(&t, 2, 2, 1, NULL), PITH_OK);
    const int32_t good[4] = {-1, 0, 1, 0};
    const struct { int32_t node, parent; } bad[] = {{0, 0}, {1, 1}, {1, -1}, {2, 3}, {3, 9}};
    for (int32_t i = 0; i < 4; i++) t.pixel[i] = i;
    memcpy(t.parent, good, sizeof good);
    assert_true(circuit_tree_check(&t));
    assert_int_equal(t.size[0], 4);
    assert_int_equal(t.size[1], 2);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        memcpy(t.parent, good, sizeof good);
        t.parent[bad[k].node] = bad[k].parent;
        assert_false(circuit_tree_check(&t));
    }
    const int32_t across[4] = {-1, 0, 0, 1}; /* not depth first */
    memcpy(t.parent, across, sizeof across);
    assert_false(circuit_tree_check(&t));
    memcpy(t.parent, good, sizeof good);
    t.bare[1] = 1; /* has a child */
    assert_false(circuit_tree_check(&t));
    t.bare[1] = 0, t.pixel[2] = 1; /* twice */
    assert_false(circuit_tree_check(&t));
    circuit_tree_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_conditionals),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_orders_agree_on_large_trees),
        cmocka_unit_test(test_round_trip_everywhere),
        cmocka_unit_test(test_damaged_streams),
        cmocka_unit_test(test_damaged_models),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
