/* tensor/isa/source.h - the part of a matrix that becomes a tile of AMX. */
#ifndef TENSOR_ISA_SOURCE_H
#define TENSOR_ISA_SOURCE_H

#include <stdint.h>

/* `index` counts rows of A or columns of B, `depth` what is summed over. */
typedef struct source {
    const float *at;
    int64_t index_step, depth_step; /* one of them is 1 */
    int64_t indices, depth;         /* that exist; zeros beyond */
} source;

static inline source source_at(source s, int64_t index, int64_t depth) {
    s.at += index * s.index_step + depth * s.depth_step;
    s.indices -= index, s.depth -= depth;
    return s;
}

#endif
