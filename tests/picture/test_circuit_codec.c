/* The circuit method: structure, training, and files that come back whole or are refused. */
#include "harness.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "file/container.h"
#include "file/pictures.h"
#include "file/sink.h"
#include "file/source.h"
#include "picture/circuit_codec.h"
#include "picture/circuit_em.h"
#include "picture/circuit_fit.h"
#include "picture/circuit_learn.h"

#include <math.h>
#include <unistd.h>

enum { COUNT = 300, SIDE = 6, SIZE = COUNT * SIDE * SIDE };

static char folder[64];

static const char *at(const char *name) {
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

/* Bars at a random place, with a little noise. */
static void draw(uint8_t *values, int count) {
    rng r = rng_new(3, 0);
    for (int n = 0; n < count; n++) {
        uint32_t row = rng_below(&r, SIDE), column = rng_below(&r, SIDE);
        for (uint32_t i = 0; i < SIDE * SIDE; i++) {
            bool on = i / SIDE == row || i % SIDE == column;
            values[n * SIDE * SIDE + (int)i] = on ? (uint8_t)(240 + rng_below(&r, 16)) : 0;
        }
    }
}

static int set_up(void **state) {
    (void)state;
    static uint8_t values[SIZE];
    strcpy(folder, "/tmp/pith-circuit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    draw(values, COUNT);
    pith_tensor t;
    assert_int_equal(pith_tensor_new(&t, PITH_U8, 4, (int64_t[]){COUNT, SIDE, SIDE, 1}, NULL), PITH_OK);
    memcpy(t.data, values, SIZE);
    assert_int_equal(pictures_write(at("in.idx3"), true, &t, NULL), PITH_OK);
    circuit_images images = {COUNT, SIDE, SIDE, 1, values};
    circuit_training training;
    circuit_training_default(&training);
    training.states = 8, training.epochs = 12, training.batch = 64;
    circuit_tree tree;
    circuit_parameters p;
    pith_bytes model;
    assert_int_equal(circuit_learn(NULL, &images, &training, &tree, &p, NULL), PITH_OK);
    circuit_tables tables = circuit_parameters_tables(&p, &tree);
    assert_int_equal(circuit_write(&tables, 1.0 / COUNT, &model, NULL), PITH_OK);
    FILE *f = fopen(at("bars.circuit"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(model.data, 1, model.size, f), model.size);
    fclose(f);
    memory_free(model.data);
    circuit_tree_free(&tree);
    circuit_parameters_free(&p);
    pith_tensor_release(&t);
    return setenv("PITH_SHARE", folder, 1);
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static pith_values *values_of(const char *name, const char *text) {
    pith_values *v;
    const pith_option *tables[] = {circuit_method.options};
    assert_int_equal(pith_values_new(&v, tables, &circuit_method.option_count, 1, NULL), PITH_OK);
    if (name) assert_int_equal(pith_values_set(v, name, text, NULL), PITH_OK);
    return v;
}

static pith_status pack_to(const char *path, pith_values *v, pith_error *err) {
    pith_context c;
    pith_context_default(&c);
    pith_source *s;
    pith_writer *w;
    pith_stats st;
    double seconds;
    uint64_t memory;
    const char *in = at("in.idx3");
    assert_int_equal(pith_source_open(&s, &in, 1, &c, NULL), PITH_OK);
    s->model = pith_value_text(v, "model");
    pith_status status = circuit_method.accepts(s, &seconds, &memory, err);
    if (!status) {
        assert_int_equal(pith_writer_open(&w, path, true, NULL), PITH_OK);
        status = circuit_method.pack(&c, s, v, (pith_target){0}, w, &st, err);
        if (status) pith_writer_abort(w);
        else status = pith_writer_commit(w, err);
    }
    pith_source_close(s);
    pith_values_free(v);
    return status;
}

static pith_status unpack_to(const char *in, const char *out, pith_values *v, const pith_range *only, pith_error *err) {
    pith_context c;
    pith_context_default(&c);
    pith_reader *r = NULL;
    pith_sink k = {.path = out, .replace = true};
    pith_status status = pith_reader_open(&r, in, &c, err);
    if (!status) status = circuit_method.unpack(&c, r, v, only, &k, err);
    pith_reader_close(r);
    pith_values_free(v);
    return status;
}

static pith_tensor pictures_of(const char *path) {
    pith_tensor t;
    assert_int_equal(pictures_read(path, NULL, &t, NULL), PITH_OK);
    return t;
}

static void test_round_trip(void **state) {
    (void)state;
    pith_tensor in = pictures_of(at("in.idx3"));
    assert_int_equal(pack_to(at("a.pith"), values_of(NULL, NULL), NULL), PITH_OK);
    assert_int_equal(unpack_to(at("a.pith"), at("a.idx3"), values_of(NULL, NULL), NULL, NULL), PITH_OK);
    pith_tensor out = pictures_of(at("a.idx3"));
    assert_int_equal(pith_tensor_bytes(&out), SIZE);
    assert_memory_equal(out.data, in.data, SIZE);
    pith_tensor_release(&out);
    pith_range only = {70, 3}; /* in the second segment */
    assert_int_equal(unpack_to(at("a.pith"), at("b.idx3"), values_of(NULL, NULL), &only, NULL), PITH_OK);
    out = pictures_of(at("b.idx3"));
    assert_int_equal(pith_tensor_bytes(&out), 3 * SIDE * SIDE);
    assert_memory_equal(out.data, (uint8_t *)in.data + 70 * SIDE * SIDE, 3 * SIDE * SIDE);
    pith_tensor_release(&out);
    only = (pith_range){COUNT, 1};
    assert_int_equal(unpack_to(at("a.pith"), at("b.idx3"), values_of(NULL, NULL), &only, NULL), PITH_USAGE);
    pith_tensor_release(&in);
}

static void test_models(void **state) {
    (void)state;
    pith_error err = {0};
    assert_int_equal(pack_to(at("e.pith"), values_of("embed", "true"), NULL), PITH_OK);
    assert_int_equal(pack_to(at("n.pith"), values_of("model", at("bars.circuit")), NULL), PITH_OK);
    assert_int_equal(setenv("PITH_SHARE", "/nonexistent", 1), 0);
    assert_int_equal(unpack_to(at("e.pith"), at("e.idx3"), values_of(NULL, NULL), NULL, NULL), PITH_OK);
    assert_int_equal(unpack_to(at("n.pith"), at("n.idx3"), values_of(NULL, NULL), NULL, &err), PITH_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent"));
    assert_int_equal(unpack_to(at("n.pith"), at("n.idx3"), values_of("model", at("bars.circuit")), NULL, NULL),
                     PITH_OK);
    assert_int_equal(pack_to(at("x.pith"), values_of(NULL, NULL), NULL), PITH_NOT_FOUND);
    assert_int_equal(setenv("PITH_SHARE", folder, 1), 0);
}

static size_t read_file(const char *path, uint8_t *bytes, size_t room) {
    FILE *f = fopen(path, "rb");
    size_t size = fread(bytes, 1, room, f);
    fclose(f);
    assert_true(size > 100 && size < room);
    return size;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* Single flipped bits, of the file and every third time of its model: an error or the same pictures. */
static void test_damage(void **state) {
    (void)state;
    enum { ROOM = 1 << 17 };
    static uint8_t file[2][ROOM];
    const char *const original[] = {"d.pith", "bars.circuit"}, *const damaged[] = {"x.pith", "x.circuit"};
    size_t size[2];
    int flips = getenv("PITH_DEEP") ? 10000 : 300, same = 0;
    rng r = rng_new(4, 0);
    assert_int_equal(pack_to(at("d.pith"), values_of(NULL, NULL), NULL), PITH_OK);
    for (int k = 0; k < 2; k++) {
        size[k] = read_file(at(original[k]), file[k], ROOM);
        write_file(at(damaged[k]), file[k], size[k]);
    }
    pith_tensor in = pictures_of(at("in.idx3"));
    for (int n = 0; n < flips; n++) {
        int k = n % 3 == 2;
        uint32_t bit = rng_below(&r, (uint32_t)size[k] * 8);
        file[k][bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(at(damaged[k]), file[k], size[k]);
        if (unpack_to(at("x.pith"), at("x.idx3"), values_of("model", at("x.circuit")), NULL, NULL) == PITH_OK) {
            pith_tensor out = pictures_of(at("x.idx3"));
            assert_memory_equal(out.data, in.data, SIZE);
            pith_tensor_release(&out);
            same++;
        }
        file[k][bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(at(damaged[k]), file[k], size[k]);
    }
    print_message("%d flipped bits, %d without effect\n", flips, same);
    assert_int_equal(unpack_to(at("x.pith"), at("x.idx3"), values_of("model", at("x.circuit")), NULL, NULL), PITH_OK);
    pith_tensor_release(&in);
}

/* A bar's missing pixel is put back from the others. */
static void test_mask(void **state) {
    (void)state;
    pith_tensor mask;
    assert_int_equal(pith_tensor_new(&mask, PITH_U8, 4, (int64_t[]){1, SIDE, SIDE, 1}, NULL), PITH_OK);
    memset(mask.data, 0, SIDE * SIDE);
    ((uint8_t *)mask.data)[8] = 255;
    assert_int_equal(pictures_write(at("mask.pgm"), true, &mask, NULL), PITH_OK);
    assert_int_equal(pack_to(at("m.pith"), values_of(NULL, NULL), NULL), PITH_OK);
    assert_int_equal(unpack_to(at("m.pith"), at("m.idx3"), values_of("mask", at("mask.pgm")), NULL, NULL), PITH_OK);
    pith_tensor in = pictures_of(at("in.idx3")), out = pictures_of(at("m.idx3"));
    double mean = 0, wrong = 0, blind = 0; /* squares, with and without looking at the other pixels */
    for (int n = 0; n < COUNT; n++) mean += (double)((uint8_t *)in.data)[n * SIDE * SIDE + 8] / COUNT;
    for (int i = 0; i < SIZE; i++) {
        int a = ((uint8_t *)in.data)[i], b = ((uint8_t *)out.data)[i];
        if (i % (SIDE * SIDE) == 8) wrong += (a - b) * (a - b), blind += (a - mean) * (a - mean);
        else assert_int_equal(a, b);
    }
    assert_true(wrong < 0.8 * blind);
    pith_tensor_release(&in);
    pith_tensor_release(&out);
    pith_tensor_release(&mask);
}

/* Neither threads nor an interruption change what is learned. */
static bool stop_late(void *user, double done, double total, const char *unit) {
    int *steps = user;
    (void)done, (void)total, (void)unit;
    return --*steps > 0;
}

static void check_training(int32_t states, bool grow, int steps) {
    pith_tensor in = pictures_of(at("in.idx3"));
    circuit_images images = {COUNT, SIDE, SIDE, 1, in.data};
    circuit_training t;
    circuit_training_default(&t);
    t.states = states, t.epochs = 5, t.batch = 32, t.grow = grow;
    circuit_tree tree[2];
    circuit_parameters p[2];
    for (int threads = 1; threads <= 2; threads++) {
        parallel_set_threads(threads);
        assert_int_equal(circuit_learn(NULL, &images, &t, &tree[threads - 1], &p[threads - 1], NULL), PITH_OK);
    }
    parallel_set_threads(0);
    size_t size = (size_t)p[0].nodes * (size_t)p[0].stride * CIRCUIT_VALUES * sizeof(float);
    assert_memory_equal(p[0].emit, p[1].emit, size);
    assert_memory_equal(tree[0].parent, tree[1].parent, (size_t)tree[0].nodes * sizeof(int32_t));
    circuit_tree_free(&tree[1]);
    circuit_parameters_free(&p[1]);
    pith_context c;
    pith_context_default(&c);
    c.progress = stop_late, c.user = &steps;
    t.checkpoint = at("check"), t.resume = true;
    assert_int_equal(circuit_learn(&c, &images, &t, &tree[1], &p[1], NULL), PITH_INTERRUPTED);
    assert_int_equal(access(t.checkpoint, R_OK), 0);
    assert_int_equal(circuit_learn(NULL, &images, &t, &tree[1], &p[1], NULL), PITH_OK);
    assert_memory_equal(p[0].emit, p[1].emit, size);
    assert_int_not_equal(access(t.checkpoint, R_OK), 0);
    for (int i = 0; i < 2; i++) {
        circuit_tree_free(&tree[i]);
        circuit_parameters_free(&p[i]);
    }
    pith_tensor_release(&in);
}

static void test_training_repeats(void **state) {
    (void)state;
    check_training(3, false, 25);
    check_training(32, true, 85); /* 10 steps an epoch, 3 + 3 + 5 epochs */
}

static double likelihood(const circuit_tree *tree, circuit_parameters *p, const circuit_images *images) {
    uint8_t common[SIDE * SIDE] = {0}, *pictures = memory_alloc(SIZE);
    circuit_em *em;
    for (int n = 0; n < COUNT; n++)
        for (int i = 0; i < SIDE * SIDE; i++)
            pictures[n * SIDE * SIDE + i] = images->values[n * SIDE * SIDE + tree->pixel[i]];
    assert_int_equal(circuit_em_new(&em, tree, p, NULL), PITH_OK);
    double sum = circuit_em_likelihood(em, pictures, common, COUNT);
    circuit_em_free(em);
    memory_free(pictures);
    return sum / COUNT;
}

/* Copies that differ little hardly change the likelihood; distributions stay such; rare states go. */
static void test_growing(void **state) {
    (void)state;
    pith_tensor in = pictures_of(at("in.idx3"));
    circuit_images images = {COUNT, SIDE, SIDE, 1, in.data};
    circuit_training t;
    circuit_training_default(&t);
    t.states = 8, t.epochs = 6, t.batch = 64;
    circuit_tree tree;
    circuit_parameters p, more;
    assert_int_equal(circuit_learn(NULL, &images, &t, &tree, &p, NULL), PITH_OK);
    circuit_growth g = {.states = 20, .least = 0.5 / COUNT, .noise = 1e-4f, .seed = 1};
    assert_int_equal(circuit_parameters_grow(&p, &tree, &g, &more, NULL), PITH_OK);
    assert_true(fabs(likelihood(&tree, &p, &images) - likelihood(&tree, &more, &images)) < 0.5);
    for (int32_t i = 0; i < tree.nodes; i++) {
        assert_in_range(more.own[i], 1, g.states);
        for (int32_t j = 0; j < (tree.bare[i] ? 0 : i ? more.own[tree.parent[i]] : 1); j++) {
            double sum = 0;
            for (int32_t k = 0; k < more.stride; k++)
                sum +=
                    (double)more.move[((size_t)i * (size_t)more.stride + (size_t)j) * (size_t)more.stride + (size_t)k];
            assert_true(fabs(sum - 1) < 1e-5);
        }
    }
    circuit_parameters_free(&more);
    g.least = 0.3; /* of a node's states, hardly any is that common, and none can be split */
    assert_int_equal(circuit_parameters_grow(&p, &tree, &g, &more, NULL), PITH_OK);
    for (int32_t i = 0; i < tree.nodes; i++) assert_in_range(more.own[i], 1, 3);
    circuit_parameters_free(&more);
    circuit_parameters_free(&p);
    circuit_tree_free(&tree);
    pith_tensor_release(&in);
}

/* A budget is kept and used. */
static void test_budget(void **state) {
    (void)state;
    pith_tensor in = pictures_of(at("in.idx3"));
    circuit_images images = {COUNT, SIDE, SIDE, 1, in.data};
    circuit_training t;
    circuit_training_default(&t);
    t.states = 16, t.epochs = 4, t.batch = 64;
    circuit_tree tree;
    circuit_parameters p;
    pith_bytes model;
    circuit *c;
    assert_int_equal(circuit_learn(NULL, &images, &t, &tree, &p, NULL), PITH_OK);
    for (uint64_t budget = 9000; budget <= 12000; budget += 1000) {
        assert_int_equal(circuit_fit(&tree, &p, COUNT, budget, &model, NULL), PITH_OK);
        assert_in_range(model.size, budget - 500, budget);
        assert_int_equal(circuit_read(model, UINT64_MAX, &c, NULL), PITH_OK);
        circuit_free(c);
        memory_free(model.data);
    }
    assert_int_equal(circuit_fit(&tree, &p, COUNT, 4000, &model, NULL), PITH_LIMIT);
    circuit_parameters_free(&p);
    circuit_tree_free(&tree);
    pith_tensor_release(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_models),           cmocka_unit_test(test_damage),
        cmocka_unit_test(test_mask),       cmocka_unit_test(test_training_repeats), cmocka_unit_test(test_growing),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
