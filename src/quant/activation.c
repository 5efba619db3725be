/* quant/activation.c - inputs as the kernels want them. */
#include "quant/activation.h"

#include "base/isa.h"
#include "tensor/tensor.h"

#include <assert.h>

ISA_DECLARE(struct activation_kernels, activation);

uint64_t activation_bytes(uint16_t type, int64_t n, int64_t cols) {
    if (type >= ACTIVATION_Q8) return (uint64_t)(n * (cols / ACTIVATION_GROUP) * (32 + 4 * ACTIVATION_NUMBERS));
    const pith_type_row *row = &pith_types[type];
    assert(cols % row->block == 0);
    return (uint64_t)(n * (cols / row->block) * row->block_bytes);
}

void activation_from_f32(uint16_t type, const float *x, int64_t n, int64_t cols, void *out) {
    if (type >= ACTIVATION_Q8) {
        assert(cols % (type == ACTIVATION_Q8 ? ACTIVATION_GROUP : ACTIVATION_BLOCK) == 0);
        const struct activation_kernels *kernels = ISA_SELECT(activation);
        for (int64_t i = 0; i < n;) {
            int tile = activation_tile(n - i);
            kernels->q8(type, x + i * cols, tile, cols, (uint8_t *)out + activation_bytes(type, i, cols));
            i += tile;
        }
        return;
    }
    bool known = pith_from_f32(type, x, n * cols, out);
    assert(known);
    (void)known;
}
