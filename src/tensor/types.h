/* tensor/types.h - how large an element or block of each type is, and no more.
 *
 * What can be done with a block type (pack, unpack, multiply) stands in quant/format.h. Type numbers are pith's own and
 * never change; the GGUF number stands beside them. */
#ifndef TENSOR_TYPES_H
#define TENSOR_TYPES_H

#include <stdbool.h>
#include <stdint.h>

enum pith_type {
    PITH_F32,
    PITH_F16,
    PITH_BF16,
    PITH_F64,
    PITH_I8,
    PITH_I16,
    PITH_I32,
    PITH_I64,
    PITH_U8,
    PITH_U16,
    PITH_U32,
    PITH_U64,
    PITH_BOOL,
    PITH_F8_E4M3,
    PITH_F8_E5M2,
    PITH_Q4_0,
    PITH_Q4_1,
    PITH_Q5_0,
    PITH_Q5_1,
    PITH_Q8_0,
    PITH_Q8_1,
    PITH_Q2_K,
    PITH_Q3_K,
    PITH_Q4_K,
    PITH_Q5_K,
    PITH_Q6_K,
    PITH_Q8_K,
    PITH_IQ4_NL,
    PITH_IQ4_XS,
    PITH_TQ1_0,
    PITH_TQ2_0,
    PITH_MXFP4,
    /* only kept and given back: */
    PITH_F8_E8M0,
    PITH_F8_E4M3FNUZ,
    PITH_F8_E5M2FNUZ,
    PITH_F4,      /* two in a byte */
    PITH_F6_E2M3, /* four in three bytes */
    PITH_F6_E3M2,
    PITH_C64,
    PITH_TYPES
};

typedef struct pith_type_row {
    const char *name; /* "f32", "q4_k" */
    uint16_t block;   /* elements a block holds (1 for whole bytes) */
    uint16_t block_bytes;
    int16_t gguf;            /* GGUF tensor type, -1: none */
    const char *safetensors; /* dtype there ("BF16"), NULL: none */
    uint8_t is_float;        /* plain floating point */
} pith_type_row;

extern const pith_type_row pith_types[PITH_TYPES];

/* Block types of quant/format.h, which become floats only there; not the elements of less than a byte that safetensors
 * has. */
bool pith_type_is_packed(uint16_t type);
int pith_type_by_name(const char *name);        /* any case; -1 if unknown */
int pith_type_by_gguf(int64_t gguf);            /* -1 if unknown */
int pith_type_by_safetensors(const char *name); /* -1 if unknown */

#endif
