/* code/circuit_codes.h - the file of a circuit, as its writer and its reader know it.
 *
 * Parameters are small codes. Row by row (of a node: its moves from each state above, unless it is bare; then the
 * emissions of each of its states) they are dealt to streams by what was seen before, the code to the left and the one
 * above, each in one of CODE_CLASSES classes, and every stream is coded in bulk. All little-endian:
 *
 *     0  "PCRC", u8 version 2, u8 zero, u16 states, u16 width, u16 height, u16 channels, u16 zero
 *    16  u16 parent of each node (0xffff: root), u16 pixel of each node, a bit per node: bare (first node lowest)
 *        u16 states of each node
 *        of each stream: u32 codes, u32 bytes, u32 codes before the nodes of part 1, 2, 3 (parts are read in parallel)
 *        the streams; u64 XXH3 of all before
 *
 * A row of n numbers is 1 + n codes: that of its floor, then one a number. Code c > 0 stands for c^2, 0 for the floor,
 * code_floor(f); the row is divided by its sum. Since a count of N varies by its root, so do steps of a number, and all
 * codes of a model are about equally worth their bits.
 *
 * Version 1, which is still read: byte 5 holds a precision p of 1 to 3 bits, all nodes have the same states, streams
 * have no parts, the floor is 2^-26 and code c > 0 is a float of exponent (c - 1) >> p and p bits of mantissa; the
 * stream is chosen by the code to the left, for moves by its exponent. */
#ifndef CODE_CIRCUIT_CODES_H
#define CODE_CIRCUIT_CODES_H

#include "base/bytes.h"
#include "code/circuit.h"

#include <math.h>

enum { CODE_HEADER = 16, CODE_VERSION = 2, CODE_PARTS = 4, CODE_CLASSES = 12 };
enum {
    STREAM_MOVE_FLOORS,
    STREAM_EMIT_FLOORS,
    STREAM_MOVE,
    STREAM_EMIT = STREAM_MOVE + CODE_CLASSES * CODE_CLASSES,
    STREAMS = STREAM_EMIT + CODE_CLASSES * CODE_CLASSES
};
enum { CODE_STREAM_ENTRY = 4 * (2 + CODE_PARTS - 1) };

static const char code_magic[4] = {'P', 'C', 'R', 'C'};

/* Classes grow with the code: 0 1 2 3 4 5-6 7-9 10-14 15-22 23-40 41-90 and more. */
static inline uint8_t code_class(uint32_t code) {
    static const uint8_t last[CODE_CLASSES - 1] = {0, 1, 2, 3, 4, 6, 9, 14, 22, 40, 90};
    uint8_t n = 0;
    while (n < CODE_CLASSES - 1 && code > last[n]) n++;
    return n;
}

/* Floors: 2^-f/2, the odd ones rounded to 3/4 of the even ones. */
enum { CODE_FLOORS = 64 };
static inline float code_floor(uint32_t f) { return ldexpf(f & 1 ? 0.75f : 1, -(int)(f / 2)); }

/* First node of a part. */
static inline int32_t code_part(int32_t nodes, int part) { return (int32_t)((int64_t)nodes * part / CODE_PARTS); }

#endif
