/* grad/kernels.c - the tables of inner loops for the active instruction set. */
#include "grad/kernels.h"

ISA_DECLARE(unary_kernels, unary_table);
ISA_DECLARE(binary_kernels, binary_table);
ISA_DECLARE(norm_kernels, norm_table);
ISA_DECLARE(softmax_kernels, softmax_table);

const unary_kernels *unary_kernel(void) { return ISA_SELECT(unary_table); }
const binary_kernels *binary_kernel(void) { return ISA_SELECT(binary_table); }
const norm_kernels *norm_kernel(void) { return ISA_SELECT(norm_table); }
const softmax_kernels *softmax_kernel(void) { return ISA_SELECT(softmax_table); }
