/* base/isa.h - which instruction sets kernels may use, decided once.
 *
 * A kernel file under an isa/ folder is compiled once per level (CMake adds the flags and defines PITH_ISA_LEVEL) and
 * exports one table of functions; ISA_TABLE names it. PITH_ISA=scalar|avx2|avx512|amx in the environment lowers the
 * level; asking for more than the machine has falls back to what it has, with a warning.
 *
 * AMX is a level to choose by, not one to compile for: its machines run the kernels for AVX-512, and what multiplies
 * with tiles stands beside those and asks isa_active. Tiles need the system's leave for their registers, which is
 * asked for once, at the first question; where it is refused (or a tool emulates the processor) the level is AVX-512.
 */
#ifndef BASE_ISA_H
#define BASE_ISA_H

typedef enum isa_level {
    ISA_SCALAR,
    ISA_AVX2,   /* AVX2, FMA, F16C, BMI2, POPCNT */
    ISA_AVX512, /* F BW DQ VL CD VBMI VNNI BF16 VPOPCNTDQ BITALG */
    ISA_AMX,    /* the same and AMX-TILE, AMX-INT8, AMX-BF16 */
    ISA_LEVELS
} isa_level;

isa_level isa_detected(void);    /* what the machine has */
isa_level isa_active(void);      /* what is used: detected, lowered by PITH_ISA or isa_force */
void isa_force(isa_level level); /* tests; clamps to detected */
const char *isa_name(isa_level level);

/* In isa/x.c:  const struct x_kernels ISA_TABLE(x) = {...};   declares x_scalar, x_avx2 or x_avx512.
 * In x.c:      ISA_DECLARE(struct x_kernels, x);  const struct x_kernels *k = ISA_SELECT(x); */
#define ISA_JOIN2(a, b) a##_##b
#define ISA_JOIN(a, b) ISA_JOIN2(a, b)
#define ISA_TABLE(x) ISA_JOIN(x, PITH_ISA_SUFFIX)
#if defined(PITH_HAVE_X86_ISA)
#define ISA_DECLARE(type, x) extern const type x##_scalar, x##_avx2, x##_avx512
#define ISA_AT(x, level) ((level) >= ISA_AVX512 ? &x##_avx512 : (level) == ISA_AVX2 ? &x##_avx2 : &x##_scalar)
#else
#define ISA_DECLARE(type, x) extern const type x##_scalar
#define ISA_AT(x, level) ((void)(level), &x##_scalar)
#endif
#define ISA_SELECT(x) ISA_AT(x, isa_active())

#endif
