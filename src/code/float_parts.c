/* code/float_parts.c - scales and contexts of float_way: the integer arithmetic that both directions run. */
#include "code/float_parts.h"

#include "base/isa.h"
#include "tensor/types.h"

#include <string.h>

float_layout float_layout_of(uint16_t type) {
    return type == PITH_F32   ? (float_layout){4, 8, 23}
           : type == PITH_F16 ? (float_layout){2, 5, 10}
                              : (float_layout){2, 8, 7};
}

bool float_type(uint16_t type) { return type == PITH_F32 || type == PITH_F16 || type == PITH_BF16; }

/* A matrix is rows x inner; from rank 3 on the last dimensions are a kernel, where they are small. */
size_t float_cut(uint16_t type, int rank, const int64_t *shape, uint8_t *data, float_piece *pieces) {
    uint64_t rows = rank > 1 ? (uint64_t)shape[0] : 1, kernel = 1, inner = 1, n = 0;
    for (int i = 2; i < rank; i++) kernel *= (uint64_t)shape[i];
    if (rank > 0) inner = (uint64_t)shape[rank > 1 ? 1 : 0];
    if (kernel > FLOAT_KERNEL || (inner == 1 && rows == 1)) {
        inner *= kernel;
        kernel = 1;
    }
    if (rows * inner * kernel == 0) return 0;
    if (inner * kernel > FLOAT_PIECE / 4) { /* too long to keep rows whole */
        inner *= rows * kernel;
        rows = kernel = 1;
    }
    uint64_t bytes = (uint64_t)float_layout_of(type).bytes;
    uint64_t step = rows > 1 ? FLOAT_PIECE / (inner * kernel) : FLOAT_PIECE;
    for (uint64_t at = 0; at < (rows > 1 ? rows : inner); at += step, n++) {
        if (!pieces) continue;
        uint64_t left = (rows > 1 ? rows : inner) - at, some = left < step ? left : step;
        pieces[n] = (float_piece){type, rows > 1 ? (uint32_t)some : 1, rows > 1 ? (uint32_t)inner : (uint32_t)some,
                                  (uint32_t)kernel, data + at * (rows > 1 ? inner * kernel : 1) * bytes};
    }
    return (size_t)n;
}

bool float_scales_new(float_scales *s, const float_piece *p) {
    *s = (float_scales){.length = {p->rows, p->inner, p->kernel}};
    int8_t *memory = memory_zero((size_t)p->rows + p->inner + p->kernel, 1);
    s->axis[0] = memory;
    s->axis[1] = memory ? memory + p->rows : NULL;
    s->axis[2] = memory ? s->axis[1] + p->inner : NULL;
    return memory != NULL;
}

void float_scales_free(float_scales *s) { memory_free(s->axis[0]); }

void float_side_start(float_side *f) { binary_start((binary_bit *)f, sizeof *f / sizeof(binary_bit)); }

static void write_bits(binary_encoder *e, int value, int bits) {
    for (int i = bits - 1; i >= 0; i--) binary_put_at(e, 32768, value >> i & 1);
}

static int read_bits(binary_decoder *d, int bits) {
    int v = 0;
    for (int i = 0; i < bits; i++) v = v << 1 | binary_get_at(d, 32768);
    return v;
}

enum { LEVEL_BITS = 10, SHIFT_BITS = 5, MOST = 100 }; /* MOST: largest distance of a scale */

static int sign_context(int before) { return before > 0 ? 1 : before < 0 ? 2 : 0; }

void float_scales_write(binary_encoder *e, float_side *f, const float_scales *s) {
    write_bits(e, s->base, LEVEL_BITS);
    write_bits(e, s->shift, SHIFT_BITS);
    for (int a = 0; a < 3; a++) {
        binary_put(e, &f->used[a], s->used[a]);
        int before = 0;
        for (uint32_t i = 0; s->used[a] && i < s->length[a]; i++) {
            int v = s->axis[a][i], c = sign_context(before);
            before = v;
            binary_put(e, &f->zero[a][c], v == 0);
            if (!v) continue;
            binary_put(e, &f->sign[a][c], v < 0);
            int size = v < 0 ? -v : v;
            for (int k = 1; k < size; k++) binary_put(e, &f->more[a][k < 8 ? k - 1 : 7], 1);
            binary_put(e, &f->more[a][size < 8 ? size - 1 : 7], 0);
        }
    }
}

bool float_scales_read(binary_decoder *d, float_side *f, float_scales *s, const float_piece *p) {
    s->base = read_bits(d, LEVEL_BITS);
    s->shift = read_bits(d, SHIFT_BITS);
    if (s->shift > float_layout_of(p->type).mantissa - 2) return false;
    for (int a = 0; a < 3; a++) {
        s->used[a] = binary_get(d, &f->used[a]);
        int before = 0;
        for (uint32_t i = 0; s->used[a] && i < s->length[a]; i++) {
            int c = sign_context(before), v = 0;
            if (!binary_get(d, &f->zero[a][c])) {
                int minus = binary_get(d, &f->sign[a][c]);
                for (v = 1; binary_get(d, &f->more[a][v < 8 ? v - 1 : 7]); v++)
                    if (v == MOST) return false;
                if (minus) v = -v;
            }
            before = s->axis[a][i] = (int8_t)v;
        }
    }
    return true;
}

void float_plane_open(float_plane *f, const float_piece *p, uint32_t q, const int8_t *distance, const int16_t *value,
                      const int8_t *no_distance, const int16_t *no_value) {
    uint32_t width = float_kernel_width(p->kernel), x = q % width, y = q / width, plane = p->rows * p->inner;
    bool has[4] = {x > 0, y > 0, x > 0 && y > 0, y > 0 && x + 1 < width};
    uint32_t back[4] = {1, width, width + 1, width - 1};
    const int8_t *d[4];
    const int16_t *v[4];
    for (int i = 0; i < 4; i++) {
        d[i] = has[i] ? distance + (size_t)(q - back[i]) * plane : no_distance;
        v[i] = has[i] ? value + (size_t)(q - back[i]) * plane : no_value;
    }
    int weight = 4 * has[0] + 4 * has[1] + 2 * has[2] + 2 * has[3];
    *f = (float_plane){q, p->rows, p->inner, plane, {d[0], d[1], d[2], d[3], v[0], v[1], v[2], v[3], weight}};
}

ISA_DECLARE(float_kernels, float_kernels);

const float_kernels *float_kernels_active(void) { return ISA_SELECT(float_kernels); }

void float_contexts(const float_plane *f, const float_scales *s, int classes, int16_t *scale, uint8_t *table) {
    const float_kernels *k = float_kernels_active();
    for (uint32_t r = 0; r < f->rows; r++) {
        size_t at = (size_t)r * f->inner;
        k->scales(s->base + s->axis[0][r] + s->axis[2][f->q], s->axis[1], scale + at, table + at, f->inner);
    }
    if (classes == 1) return;
    if (f->near.weight) k->classes(&f->near, table, f->plane);
    else
        for (size_t i = 0; i < f->plane; i++) table[i] = (uint8_t)(table[i] + 4 * (FLOAT_CLASSES - 1));
}
