/* file/container_layout.h - the bytes of the frame, for container_write.c and container_read.c alone; docs/format.md in
 * code.
 *
 * header (64)   0 magic 9, 9 zero 3, 12 u16 major, 14 u16 minor, 16 u64 file bytes, 24 u64 index at, 32 u64 index
 * bytes, 40 u64 XXH3(index), 48 u64 zero, 56 u64 XXH3(bytes 0..55). A streamed file has zeros at 16..47. entry (96) 0
 * kind 4, 4 u16 method, 6 u16 version, 8 u32 flags, 12 u32 name bytes, 16 u64 offset, 24 u64 stored, 32 u64 raw, 40 u64
 * XXH3(stored bytes), 48 zero 48; then the name, zero padded to 8 index         entries one after the other, at a
 * multiple of 64 trailer (64)  0 magic 9, 9 "END", 12 u16 major, 14 u16 minor, 16 u64 file bytes, 24 u64 index at, 32
 * u64 index bytes, 40 u64 XXH3(index), 48 u64 sections, 56 u64 XXH3(bytes 0..55); the last bytes of the file */
#ifndef FILE_CONTAINER_LAYOUT_H
#define FILE_CONTAINER_LAYOUT_H

#include "base/bytes.h"

enum { FRAME = 64, ENTRY = 96, ALIGNMENT = 64, NAME_ALIGNMENT = 8, NAME_LONGEST = 255 };

#define CONTAINER_MAGIC "\x89PITH\r\n\x1a"

static inline uint64_t round_up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

#endif
