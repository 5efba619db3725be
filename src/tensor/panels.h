/* tensor/panels.h - products with a matrix that was copied into panels, on the calling thread.
 *
 * For loops that hand rows through several products while they are in the cache; whole products are gemm.h's. The rows
 * of B are cut into blocks of PANEL_ROWS. How a panel lies in memory depends on the kernels: as wide as their
 * registers, or as tiles of AMX take it. */
#ifndef TENSOR_PANELS_H
#define TENSOR_PANELS_H

#include <stdbool.h>
#include <stdint.h>

enum { PANEL_ROWS = 256 };

typedef struct panels {
    const struct panel_kernels *kernels;
    int64_t k, n; /* rows and columns of B */
    float *data;
} panels;

/* For products in f32 of some hundred rows, in memory of panels_floats(k, n) floats. */
panels panels_of(int64_t k, int64_t n, float *data);
int64_t panels_floats(int64_t k, int64_t n);
int64_t panels_floats_by(const struct panel_kernels *kernels, int64_t k, int64_t n);
/* Copies rows [first, last) of B, whole blocks; `transposed`: B is stored n x k. Different blocks may be copied by
 * different threads. */
void panels_pack(const panels *p, int64_t first, int64_t last, const float *b, int64_t ldb, bool transposed);

/* C (+)= A B for a few hundred rows: A(i,p) = a[i * ars + p * acs] */
typedef struct panel_product {
    int64_t m;
    const float *a;
    int64_t ars, acs;
    const float *from; /* what the sums begin with, rows ldf apart (0: the same for all); NULL: 0 */
    int64_t ldf;
    float *c;
    int64_t ldc;
} panel_product;

/* With rows [k0, k1) and columns [n0, n1) of B; k0 is a multiple of PANEL_ROWS, k1 too or k, n0 of their width. */
void panels_multiply(const panels *p, int64_t k0, int64_t k1, int64_t n0, int64_t n1, panel_product x);

#endif
