/* code/float_group.h - what float_encode.c and float_decode.c share: the tables of a group, the arrays of a piece. */
#ifndef CODE_FLOAT_GROUP_H
#define CODE_FLOAT_GROUP_H

#include "base/bytes.h"
#include "code/bulk_kernels.h"
#include "code/float_parts.h"
#include "code/table.h"

enum { FLOAT_LANES = 32, FLOAT_LEVEL_BITS = 12, FLOAT_TABLES = FLOAT_CLASSES * FLOAT_PHASES };
enum { FLOAT_CHUNK_HEAD = 8 }; /* bytes of the scales' stream, number of escapes */

static inline size_t float_elements(const float_piece *p) { return (size_t)p->rows * p->inner * p->kernel; }

/* Pieces [first, next) make one chunk: as many as fill it. Both directions cut alike. */
size_t float_chunk_end(const float_piece *p, size_t count, size_t first);
size_t float_chunks(const float_piece *p, size_t count);

typedef struct float_shared {
    bool classes, signs; /* neighbors choose level tables; signs are modeled in kernels */
    bool present[FLOAT_TABLES];
    pith_table level[FLOAT_TABLES], sign[FLOAT_SIGN_STEPS];
    uint8_t sign_step[256]; /* of a sign context */
    bulk_bank level_bank, sign_bank;
} float_shared;

static inline int float_table_count(const float_shared *s) { return s->classes ? FLOAT_TABLES : FLOAT_PHASES; }

static inline bool float_signs_modeled(const float_shared *s, const float_piece *p) {
    return s->signs && p->kernel > 1;
}

/* False: out of memory; float_shared_free either way. */
bool float_shared_banks(float_shared *s, bool decoding);
void float_shared_free(float_shared *s);
void float_shared_write(binary_encoder *e, const float_shared *s);
bool float_shared_read(binary_decoder *d, float_shared *s); /* false: damaged */

typedef struct float_arrays { /* arrays of all elements, plane after plane */
    float_scales scales;
    int16_t *level, *scale, *value;
    int8_t *distance;
    uint8_t *symbol, *table, *sign, *context;
    int8_t *no_distance;
    int16_t *no_value;
    uint8_t *memory;
} float_arrays;

/* False: out of memory; float_arrays_free either way. */
bool float_arrays_new(float_arrays *s, const float_piece *p);
void float_arrays_free(float_arrays *s);

static inline uint32_t float_load(const uint8_t *p, int bytes) { return bytes == 4 ? get32(p) : get16(p); }

static inline size_t float_rest_bytes(const float_piece *p, const float_scales *s, bool sign) {
    return (float_elements(p) * (size_t)float_rest_bits(p, s, sign) + 7) / 8;
}

#endif
