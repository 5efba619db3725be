/* tensor/types.c - the table of element and block types. */
#include "tensor/types.h"

#include <string.h>
#include <strings.h>

#define PLAIN(name, bytes, gguf, st, is_float) \
    { name, 1, bytes, gguf, st, is_float }
#define BLOCK(name, elements, bytes, gguf) \
    { name, elements, bytes, gguf, NULL, 0 }
#define PART(name, elements, bytes, st) \
    { name, elements, bytes, -1, st, 0 }

const pith_type_row pith_types[PITH_TYPES] = {
    [PITH_F32] = PLAIN("f32", 4, 0, "F32", 1),
    [PITH_F16] = PLAIN("f16", 2, 1, "F16", 1),
    [PITH_BF16] = PLAIN("bf16", 2, 30, "BF16", 1),
    [PITH_F64] = PLAIN("f64", 8, 28, "F64", 1),
    [PITH_I8] = PLAIN("i8", 1, 24, "I8", 0),
    [PITH_I16] = PLAIN("i16", 2, 25, "I16", 0),
    [PITH_I32] = PLAIN("i32", 4, 26, "I32", 0),
    [PITH_I64] = PLAIN("i64", 8, 27, "I64", 0),
    [PITH_U8] = PLAIN("u8", 1, -1, "U8", 0),
    [PITH_U16] = PLAIN("u16", 2, -1, "U16", 0),
    [PITH_U32] = PLAIN("u32", 4, -1, "U32", 0),
    [PITH_U64] = PLAIN("u64", 8, -1, "U64", 0),
    [PITH_BOOL] = PLAIN("bool", 1, -1, "BOOL", 0),
    [PITH_F8_E4M3] = PLAIN("f8_e4m3", 1, -1, "F8_E4M3", 0),
    [PITH_F8_E5M2] = PLAIN("f8_e5m2", 1, -1, "F8_E5M2", 0),
    [PITH_Q4_0] = BLOCK("q4_0", 32, 18, 2),
    [PITH_Q4_1] = BLOCK("q4_1", 32, 20, 3),
    [PITH_Q5_0] = BLOCK("q5_0", 32, 22, 6),
    [PITH_Q5_1] = BLOCK("q5_1", 32, 24, 7),
    [PITH_Q8_0] = BLOCK("q8_0", 32, 34, 8),
    [PITH_Q8_1] = BLOCK("q8_1", 32, 36, 9),
    [PITH_Q2_K] = BLOCK("q2_k", 256, 84, 10),
    [PITH_Q3_K] = BLOCK("q3_k", 256, 110, 11),
    [PITH_Q4_K] = BLOCK("q4_k", 256, 144, 12),
    [PITH_Q5_K] = BLOCK("q5_k", 256, 176, 13),
    [PITH_Q6_K] = BLOCK("q6_k", 256, 210, 14),
    [PITH_Q8_K] = BLOCK("q8_k", 256, 292, 15),
    [PITH_IQ4_NL] = BLOCK("iq4_nl", 32, 18, 20),
    [PITH_IQ4_XS] = BLOCK("iq4_xs", 256, 136, 23),
    [PITH_TQ1_0] = BLOCK("tq1_0", 256, 54, 34),
    [PITH_TQ2_0] = BLOCK("tq2_0", 256, 66, 35),
    [PITH_MXFP4] = BLOCK("mxfp4", 32, 17, 39),
    [PITH_F8_E8M0] = PLAIN("f8_e8m0", 1, -1, "F8_E8M0", 0),
    [PITH_F8_E4M3FNUZ] = PLAIN("f8_e4m3fnuz", 1, -1, "F8_E4M3FNUZ", 0),
    [PITH_F8_E5M2FNUZ] = PLAIN("f8_e5m2fnuz", 1, -1, "F8_E5M2FNUZ", 0),
    [PITH_F4] = PART("f4", 2, 1, "F4"),
    [PITH_F6_E2M3] = PART("f6_e2m3", 4, 3, "F6_E2M3"),
    [PITH_F6_E3M2] = PART("f6_e3m2", 4, 3, "F6_E3M2"),
    [PITH_C64] = PLAIN("c64", 8, -1, "C64", 0),
};

bool pith_type_is_packed(uint16_t type) { return pith_types[type].block > 1 && !pith_types[type].safetensors; }

int pith_type_by_name(const char *name) {
    for (int i = 0; i < PITH_TYPES; i++)
        if (strcasecmp(name, pith_types[i].name) == 0) return i;
    return -1;
}

int pith_type_by_gguf(int64_t gguf) {
    for (int i = 0; i < PITH_TYPES; i++)
        if (gguf >= 0 && pith_types[i].gguf == gguf) return i;
    return -1;
}

int pith_type_by_safetensors(const char *name) {
    for (int i = 0; i < PITH_TYPES; i++)
        if (pith_types[i].safetensors && strcmp(name, pith_types[i].safetensors) == 0) return i;
    return -1;
}
