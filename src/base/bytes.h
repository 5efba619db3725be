/* base/bytes.h - numbers as bytes, bytes that grow at their end, bytes that are taken from their front.
 *
 * Fields of files are little-endian and may stand at any address. A varint has seven bits a byte, lowest first, and the
 * top bit where more follow. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/memory.h"
#include "pith/status.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian and so must be the machine"
#endif

static inline void put16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void put64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint16_t get16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

enum { VARINT_MOST = 10 }; /* bytes */

/* Returns how many bytes it took. */
static inline size_t put_varint(uint8_t *p, uint64_t v) {
    size_t n = 0;
    for (; v >= 128; v >>= 7) p[n++] = (uint8_t)(v | 128);
    p[n++] = (uint8_t)v;
    return n;
}

/* ---- from the front; false, and nothing or part of a number taken, where there is too little ---- */

static inline bool bytes_take(pith_bytes *in, uint64_t size, pith_bytes *out) {
    if (in->size < size) return false;
    *out = (pith_bytes){in->data, (size_t)size};
    in->data += size;
    in->size -= (size_t)size;
    return true;
}

static inline bool bytes_take32(pith_bytes *in, uint32_t *v) {
    pith_bytes number;
    if (!bytes_take(in, 4, &number)) return false;
    *v = get32(number.data);
    return true;
}

static inline bool bytes_take64(pith_bytes *in, uint64_t *v) {
    pith_bytes number;
    if (!bytes_take(in, 8, &number)) return false;
    *v = get64(number.data);
    return true;
}

static inline bool bytes_take_varint(pith_bytes *in, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 63 && in->size; shift += 7) {
        uint8_t byte = *in->data++;
        in->size--;
        *v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* ---- at the end ---- */

typedef struct growing_bytes { /* zeroed: empty */
    uint8_t *data;             /* the owner's to memory_free */
    size_t size, capacity;
    bool failed; /* out of memory once: what comes later is not appended */
} growing_bytes;

/* False: out of memory, now or before. */
static inline bool bytes_append(growing_bytes *b, const void *data, size_t size) {
    if (b->failed) return false;
    if (b->capacity - b->size < size && memory_reserve((void **)&b->data, &b->capacity, b->size + size, 1) != 0) {
        b->failed = true;
        return false;
    }
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
    return true;
}

static inline bool bytes_append32(growing_bytes *b, uint32_t v) { return bytes_append(b, &v, 4); }
static inline bool bytes_append64(growing_bytes *b, uint64_t v) { return bytes_append(b, &v, 8); }

static inline bool bytes_append_varint(growing_bytes *b, uint64_t v) {
    uint8_t number[VARINT_MOST];
    return bytes_append(b, number, put_varint(number, v));
}

#endif
