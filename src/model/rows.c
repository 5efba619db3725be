/* model/rows.c - choice of the row kernels. */
#include "model/rows.h"

#include "base/isa.h"

ISA_DECLARE(struct rows_kernels, rows);

const struct rows_kernels *rows_active(void) { return ISA_SELECT(rows); }
