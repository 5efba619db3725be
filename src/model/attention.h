/* model/attention.h - attention over a key-value cache. */
#ifndef MODEL_ATTENTION_H
#define MODEL_ATTENTION_H

#include "tensor/tensor.h"

/* Cache of one block: [kv_heads][capacity] rows of head_dim elements, f16 or q8_0, keys and values alike. */
typedef struct cache_block {
    uint16_t type; /* PITH_F16 or PITH_Q8_0 */
    int64_t kv_heads, capacity, head_dim, row_bytes;
    uint8_t *keys, *values;
} cache_block;

/* Stores n positions from `position` on: k and v are [n][kv_heads * head_dim]. */
void cache_store(const cache_block *c, int64_t position, int64_t n, const float *k, const float *v);
/* Fetches what cache_store will write at a position: its rows lie far apart, each a wait of its own. */
void cache_expect(const cache_block *c, int64_t position);

/* out[n][heads * head_dim] = attention of q (same shape) at positions position .. position + n - 1 over everything
 * stored up to each query's own position; window 0: all, else that many latest. scratch: attention_scratch floats per
 * thread. */
void attention_run(const cache_block *c, int64_t heads, int64_t position, int64_t n, int64_t window, const float *q,
                   float *out, float *scratch);
int64_t attention_scratch(const cache_block *c, int64_t heads); /* floats, for all threads */

struct attention_kernels {
    /* s[r * stride + j] = scale * (q_r . k_j), r < rows queries of `dim` elements q_stride apart, j < n cached rows */
    void (*scores)(uint16_t type, const float *q, int64_t q_stride, int64_t rows, const uint8_t *k, int64_t n,
                   int64_t dim, float scale, float *s, int64_t stride);
    /* out_r += sum_j p[r * stride + j] v_j */
    void (*mix)(uint16_t type, const float *p, int64_t stride, int64_t rows, const uint8_t *v, int64_t n, int64_t dim,
                float *out, int64_t out_stride);
    float (*largest)(const float *s, int64_t n, float m); /* of s[0..n) and m */
    /* s[0..n) becomes exp(s - m); returns the sum */
    float (*exponentials)(float *s, int64_t n, float m);
    void (*narrow)(const float *x, int64_t n, uint16_t *out); /* to half floats, nearest even */
};

#endif
