/* fuzz_circuit.c - a circuit's model file, and streams of pictures; the first byte of the input says which.
 *
 * A model's hash is made right, so that mutations get behind it. Whatever model is read codes any picture and gets it
 * back; whatever the bytes, an input takes seconds at most.
 *
 * Aims at: src/code/circuit_file.c src/code/circuit_expand.c src/code/circuit_tree.c src/code/circuit_coder.c
 * src/code/circuit_walk.c src/code/circuit_orders.c */
#include "seed.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "code/circuit.h"

#include <time.h>

enum { MODEL, STREAM, KINDS, SIDE = 5, STATES = 5, PICTURES = 70, MEMORY = 1 << 22, MOST_SECONDS = 10 };

/* A tree in which node i hangs on the node before or on that one's parent, states of any number, random parameters. */
static pith_bytes make_model(uint64_t seed) {
    circuit_tree t;
    int32_t own[SIDE * SIDE];
    const size_t stride = (size_t)circuit_stride(STATES);
    rng r = rng_new(seed, 0);
    if (circuit_tree_new(&t, SIDE, SIDE, 1, NULL) != PITH_OK) exit(1);
    for (int32_t i = 0; i < t.nodes; i++) {
        t.parent[i] = i == 0 ? -1 : i > 1 && rng_below(&r, 2) ? t.parent[i - 1] : i - 1;
        t.pixel[i] = t.nodes - 1 - i;
    }
    if (!circuit_tree_check(&t)) exit(1);
    float *move = memory_zero((size_t)t.nodes * stride, stride * sizeof *move);
    float *emit = memory_zero((size_t)t.nodes * stride, CIRCUIT_VALUES * sizeof *emit);
    if (!move || !emit) exit(1);
    for (int32_t i = 0; i < t.nodes; i++) {
        t.bare[i] = i && t.size[i] == 1 && rng_below(&r, 2);
        own[i] = t.bare[i] ? own[t.parent[i]] : 1 + (int32_t)rng_below(&r, STATES);
        for (size_t j = 0; j < STATES; j++)
            for (int32_t k = 0; k < own[i]; k++) move[((size_t)i * stride + j) * stride + (size_t)k] = rng_float(&r);
        for (size_t v = 0; v < CIRCUIT_VALUES; v++)
            for (int32_t k = 0; k < own[i]; k++)
                emit[((size_t)i * CIRCUIT_VALUES + v) * stride + (size_t)k] = v ? rng_float(&r) / 300 : 1;
    }
    const circuit_tables tables = {&t, STATES, (int32_t)stride, own, move, emit};
    pith_bytes out;
    if (circuit_write(&tables, 1e-3, &out, NULL) != PITH_OK) exit(1);
    memory_free(move);
    memory_free(emit);
    circuit_tree_free(&t);
    return out;
}

static void draw(uint8_t *v, size_t n) {
    for (size_t i = 0; i < n; i++) v[i] = i * 2654435761u >> 7 & 3 ? 0 : (uint8_t)(i * 37);
}

static void round_trip(const circuit *c) {
    size_t size = 3 * (size_t)c->tree.nodes;
    uint8_t *pictures = memory_alloc(2 * size);
    uint32_t *sizes = NULL;
    pith_bytes coded = {0};
    if (!pictures) exit(1);
    draw(pictures, size);
    if (circuit_encode(c, NULL, pictures, 3, &coded, &sizes, NULL) != PITH_OK) abort();
    if (circuit_decode(c, NULL, coded, sizes, 3, pictures + size, NULL, NULL) != PITH_OK) abort();
    if (memcmp(pictures, pictures + size, size) != 0) abort();
    memory_free(coded.data);
    memory_free(sizes);
    memory_free(pictures);
}

static void try_model(const uint8_t *data, size_t size) {
    uint8_t *copy = memory_alloc(size);
    circuit *c;
    if (!copy) exit(1);
    memcpy(copy, data, size);
    if (size >= 8) put64(copy + size - 8, hash_bytes(copy, size - 8));
    if (circuit_read((pith_bytes){copy, size}, MEMORY, &c, NULL) == PITH_OK) round_trip(c);
    circuit_free(c);
    memory_free(copy);
}

static void try_stream(const uint8_t *data, size_t size) {
    static circuit *c;
    static uint8_t pictures[PICTURES * SIDE * SIDE];
    if (size < 2) return;
    if (!c) {
        pith_bytes model = make_model(1);
        if (circuit_read(model, UINT64_MAX, &c, NULL) != PITH_OK) exit(1);
        memory_free(model.data);
    }
    size -= 2;
    uint32_t first = (uint32_t)data[0] | (uint32_t)data[1] << 8;
    uint32_t sizes[2] = {first, first < size ? (uint32_t)size - first : 0};
    circuit_decode(c, NULL, (pith_bytes){(uint8_t *)(uintptr_t)data + 2, size}, sizes, PICTURES, pictures, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    clock_t started = clock();
    parallel_set_threads(1);
    if (data[0] % KINDS == MODEL) try_model(data + 1, size - 1);
    else try_stream(data + 1, size - 1);
    if (clock() - started > (clock_t)MOST_SECONDS * CLOCKS_PER_SEC) abort();
    return 0;
}

/* 0 and 1: models; 2: pictures coded; 3: a file of version 1 */
size_t fuzz_seed(int k, uint8_t **data) {
    if (k > 3) return 0;
    pith_bytes model = make_model(k == 2 ? 1 : (uint64_t)k), coded = {0};
    if (k == 3) {
        FILE *f = fopen(PITH_SOURCE_DIR "/tests/code/version1.circuit", "rb");
        model.size = f ? fread(model.data, 1, model.size, f) : 0;
        if (f) fclose(f);
    }
    size_t size = 1 + model.size;
    uint32_t *sizes = NULL;
    if (k == 2) {
        static uint8_t pictures[PICTURES * SIDE * SIDE];
        circuit *c;
        draw(pictures, sizeof pictures);
        if (circuit_read(model, UINT64_MAX, &c, NULL) != PITH_OK) exit(1);
        if (circuit_encode(c, NULL, pictures, PICTURES, &coded, &sizes, NULL) != PITH_OK) exit(1);
        circuit_free(c);
        size = 3 + coded.size;
    }
    *data = malloc(size);
    if (!*data) exit(1);
    (*data)[0] = k == 2 ? STREAM : MODEL;
    if (k == 2) {
        (*data)[1] = (uint8_t)sizes[0], (*data)[2] = (uint8_t)(sizes[0] >> 8);
        memcpy(*data + 3, coded.data, coded.size);
    } else {
        memcpy(*data + 1, model.data, model.size);
    }
    memory_free(model.data);
    memory_free(coded.data);
    memory_free(sizes);
    return size;
}
