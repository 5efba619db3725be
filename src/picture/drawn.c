/* picture/drawn.c - smooth noise. */
#include "picture/drawn.h"

#include "base/rng.h"

static void draw(rng *r, int32_t side, uint8_t *p) {
    for (int32_t i = 0; i < side * side; i++) {
        int32_t above = i >= side ? p[i - side] : 128, left = i % side ? p[i - 1] : 128;
        int32_t value = (above + left) / 2 + (int32_t)rng_below(r, 61) - 30;
        p[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

pith_status pictures_draw(int64_t count, int32_t side, uint64_t seed, pith_tensor *out, pith_error *err) {
    rng r = rng_new(seed, 0);
    pith_status s = pith_tensor_new(out, PITH_U8, 4, (int64_t[]){count, side, side, 1}, err);
    for (int64_t n = 0; n < count && !s; n++) draw(&r, side, (uint8_t *)out->data + n * side * side);
    return s;
}
