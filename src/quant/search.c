/* quant/search.c - choice of the search kernels. */
#include "quant/search.h"

#include "base/isa.h"

ISA_DECLARE(struct search_kernels, search);

const struct search_kernels *search_active(void) { return ISA_SELECT(search); }
