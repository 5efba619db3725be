/* code/float_parts.h - what encoder and decoder of float_way share: layout of the types, scales, contexts. */
#ifndef CODE_FLOAT_PARTS_H
#define CODE_FLOAT_PARTS_H

#include "code/binary.h"
#include "code/float_kernels.h"
#include "code/float_way.h"

typedef struct float_layout {
    int bytes, exponent, mantissa; /* bytes an element, bits of the fields */
} float_layout;

float_layout float_layout_of(uint16_t type);

/* A level is exponent << 2 | top two bits of the mantissa. Its symbol: FLOAT_ZERO for level 0, FLOAT_ESCAPE where the
 * level follows as it is in 16 bits, FLOAT_CENTER for a level at the scale rounded down to a whole exponent. Scales are
 * in quarter octaves; the quarter chooses the table, as does the class of neighbors (five of them, and none). */
enum { FLOAT_CLASSES = 6, FLOAT_PHASES = 4, FLOAT_SIGNS = 189, FLOAT_SIGN_STEPS = 32, FLOAT_SIGN_BITS = 10 };

typedef struct float_scales { /* of one piece */
    int base, shift;          /* level; mantissa bits that are zero in all elements */
    int8_t *axis[3];          /* rows, inner, kernel: distances to base */
    uint32_t length[3];
    bool used[3];
} float_scales;

bool float_scales_new(float_scales *s, const float_piece *p); /* zeroed; false: no memory */
void float_scales_free(float_scales *s);

typedef struct float_side { /* adaptive bits of the side information */
    binary_bit used[3], zero[3][3], sign[3][3], more[3][8];
} float_side;

void float_side_start(float_side *f);
void float_scales_write(binary_encoder *e, float_side *f, const float_scales *s);
bool float_scales_read(binary_decoder *d, float_side *f, float_scales *s, const float_piece *p);

/* Mantissa bits that are kept as they are, with the sign where that is not modeled. */
static inline int float_rest_bits(const float_piece *p, const float_scales *s, bool sign) {
    return float_layout_of(p->type).mantissa - 2 - s->shift + (sign ? 1 : 0);
}

/* Width of a kernel of two dimensions or, where it is no square, of one. */
static inline uint32_t float_kernel_width(uint32_t kernel) {
    return kernel == 9 ? 3 : kernel == 25 ? 5 : kernel == 49 ? 7 : kernel;
}

/* One plane (all rows and inner at kernel position q); planes lie one after another in the arrays given. Without a
 * neighbor the `nothing` arrays of a plane's length stand in. */
typedef struct float_plane {
    uint32_t q, rows, inner, plane; /* plane: elements */
    float_near near;
} float_plane;

void float_plane_open(float_plane *f, const float_piece *p, uint32_t q, const int8_t *distance, const int16_t *value,
                      const int8_t *no_distance, const int16_t *no_value);
/* The scale of each element, and the table that codes it. */
void float_contexts(const float_plane *f, const float_scales *s, int classes, int16_t *scale, uint8_t *table);
const float_kernels *float_kernels_active(void);

#endif
