/* fuzz_quant.c - any bytes are blocks of every format: they expand, multiply and go to planes and back without leaving
 * their buffers; and any floats are packed, or refused for not being finite.
 *
 * Aims at: src/quant/q_k.c src/quant/q_legacy.c src/quant/iq4.c src/quant/mxfp4.c src/quant/ternary.c */
#include "seed.h"

#include "base/memory.h"
#include "quant/activation.h"
#include "quant/format.h"

enum { COLS = 256, ROWS = 3 };

static void multiply(const pith_packed *p) {
    static float x[COLS], y[ROWS];
    static uint8_t inputs[1 << 14];
    pith_buffer *fast = NULL;
    for (int i = 0; i < COLS; i++) x[i] = (float)(i % 17) - 8;
    if (p->format->prepare && p->format->prepare(p, &fast, NULL) != PITH_OK) return;
    activation_from_f32(p->format->activation, x, 1, COLS, inputs);
    p->format->mul(p, fast, inputs, 1, 0, ROWS, y, ROWS);
    pith_buffer_release(fast);
}

static void there_and_back(pith_packed *p, const uint8_t *bytes, size_t size) {
    pith_bytes plane[PITH_PLANES] = {{0}};
    if (!p->format->split) return;
    int n = p->format->split(p, 0, 0, ROWS, plane);
    pith_packed other = *p;
    pith_tensor_retain(&other.part[0]);
    if (n > 0 && p->format->join(&other, 0, 0, ROWS, plane, NULL) == PITH_OK &&
        memcmp(other.part[0].data, bytes, size) != 0)
        abort();
    for (int i = 0; i < n; i++) memory_free(plane[i].data);
    pith_tensor_release(&other.part[0]);
}

static void read_blocks(const pith_format *f, const uint8_t *data, size_t size) {
    static float out[ROWS * COLS];
    pith_tensor t = {0};
    pith_packed p = {0};
    if (pith_tensor_new(&t, f->id, 2, (int64_t[]){ROWS, COLS}, NULL) != PITH_OK) return;
    size_t bytes = (size_t)pith_tensor_bytes(&t);
    for (size_t i = 0; i < bytes; i++) ((uint8_t *)t.data)[i] = data[i % size];
    if (pith_packed_from_tensor(&p, &t, NULL) == PITH_OK) {
        uint8_t *kept = malloc(bytes);
        if (!kept) exit(1);
        memcpy(kept, t.data, bytes);
        f->to_f32(&p, 0, ROWS, out);
        there_and_back(&p, kept, bytes);
        multiply(&p);
        free(kept);
    }
    pith_packed_release(&p);
    pith_tensor_release(&t);
}

static void pack_floats(const pith_format *f, const uint8_t *data, size_t size) {
    static float w[ROWS * COLS];
    pith_context c;
    pith_packed p = {0};
    pith_error err = {0};
    pith_context_default(&c);
    for (size_t i = 0; i < sizeof w; i++) ((uint8_t *)w)[i] = data[i % size];
    pith_pack_input in = {.w = w, .rows = ROWS, .cols = COLS};
    if (f->pack && f->pack(&c, &in, &p, &err) == PITH_OK) pith_packed_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t formats = 0;
    if (size < 2) return 0;
    while (pith_formats[formats]) formats++;
    const pith_format *f = pith_formats[data[0] % formats];
    read_blocks(f, data + 1, size - 1);
    pack_floats(f, data + 1, size - 1);
    return 0;
}

size_t fuzz_seed(int k, uint8_t **data) {
    uint8_t bytes[65];
    if (k >= 20) return 0;
    bytes[0] = (uint8_t)k;
    for (int i = 1; i < 65; i++) bytes[i] = (uint8_t)((uint32_t)(i * (k + 3)) * 2654435761u >> 21);
    return seed_bytes(bytes, sizeof bytes, data);
}
