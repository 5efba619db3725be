/* base/amx.h - the tile registers of AMX, for kernels of level AVX-512 that saw isa_active() at ISA_AMX.
 *
 * Tiles are named in assembly: intrinsics of compilers up to gcc 12 do not say that they read and write memory. A
 * thread sets the shapes before its first tile and gives the registers back after its last: the system then need not
 * keep 8 KiB for it at every change of threads. */
#ifndef BASE_AMX_H
#define BASE_AMX_H

#include <stdint.h>

typedef struct amx_shapes {
    uint8_t palette, start, reserved[14]; /* palette 1 */
    uint16_t row_bytes[16];               /* of registers 0 to 7; at most 64 */
    uint8_t rows[16];                     /* at most 16 */
} amx_shapes;

static inline void amx_begin(const amx_shapes *s) { __asm__ volatile("ldtilecfg %0" : : "m"(*s)); }
static inline void amx_begin_whole(void) { /* all registers of 16 rows of 64 bytes */
    amx_shapes s = {.palette = 1};
    for (int i = 0; i < 8; i++) s.rows[i] = 16, s.row_bytes[i] = 64;
    amx_begin(&s);
}
/* Mask of the first n of the 16 lanes that a row of a tile has. */
static inline uint16_t amx_first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (uint16_t)((1 << n) - 1); }
static inline void amx_end(void) { __asm__ volatile("tilerelease" : :); }

/* Numbers of registers are literal. Rows in memory are `stride` bytes apart. */
#define AMX_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define AMX_LOAD(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(stride)) : "memory")
#define AMX_STORE(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(stride)) : "memory")
/* sums[i][j] += products of a's bytes [i][4 k ..] with b's [k][4 j ..]; signs: ss, su, us or uu, of a and b. */
#define AMX_MULTIPLY(signs, sums, a, b) __asm__ volatile("tdpb" #signs "d %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)
/* The same of pairs of bf16 numbers; sums are f32. */
#define AMX_MULTIPLY_BF16(sums, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)

#endif
