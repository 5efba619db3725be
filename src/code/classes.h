/* code/classes.h - large alphabets: a number as one of 124 classes, which a model knows, and raw bits, which it does
 * not.
 *
 * 0 to 3 are classes of their own; above, a class is a bit length and the two bits below the leading one, so that what
 * is left raw is nearly flat whatever the distribution. Used where differences of weights go to any size, and for what
 * lies beyond the table of a prior. */
#ifndef CODE_CLASSES_H
#define CODE_CLASSES_H

#include "code/code.h"

enum { CLASSES = 124 }; /* of numbers of 32 bits */

static inline int class_of(uint32_t value) {
    if (value < 4) return (int)value;
    int length = 31 - __builtin_clz(value);
    return 4 * (length - 1) + (int)(value >> (length - 2) & 3);
}

/* Raw bits of a number of that class, lowest ones of it: at most 29. */
static inline int class_bits(int class) { return class < 4 ? 0 : class / 4 - 1; }

static inline uint32_t class_value(int class, uint32_t rest) {
    return class < 4 ? (uint32_t) class : (4u | (uint32_t)(class & 3)) << class_bits(class) | rest;
}

enum { CLASS_PIECE = 16 }; /* raw bits a symbol: any coder takes them */

static inline void class_encode(pith_encoder *e, const pith_model *m, void *self, uint32_t value) {
    int class = class_of(value), bits = class_bits(class);
    pith_encode(e, m->mass(self, (uint32_t) class), m->bits);
    if (m->update) m->update(self, (uint32_t) class);
    for (int at = 0; at < bits; at += CLASS_PIECE) {
        int n = bits - at < CLASS_PIECE ? bits - at : CLASS_PIECE;
        pith_encode_raw(e, value >> at & ((1u << n) - 1), n);
    }
}

static inline uint32_t class_decode(pith_decoder *d, const pith_model *m, void *self) {
    pith_mass mass;
    uint32_t class = m->find(self, pith_decode_point(d, m->bits), &mass), rest = 0;
    pith_decode_take(d, mass, m->bits);
    if (m->update) m->update(self, class);
    int bits = class_bits((int)class);
    for (int at = 0; at < bits; at += CLASS_PIECE) {
        int n = bits - at < CLASS_PIECE ? bits - at : CLASS_PIECE;
        rest |= pith_decode_raw(d, n) << at;
    }
    return class_value((int)class, rest);
}

#endif
