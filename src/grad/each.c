/* grad/each.c - helpers of the operations. */
#include "grad/each.h"

#include <stdio.h>
#include <stdlib.h>

static void print_shape(const pith_tensor *t) {
    if (!t) {
        fprintf(stderr, " (absent)");
        return;
    }
    fprintf(stderr, " %s(", pith_types[t->type].name);
    for (int i = 0; i < t->rank; i++) fprintf(stderr, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    fprintf(stderr, ")");
}

void op_expect(bool ok, const char *op, const char *rule, const pith_tensor *a, const pith_tensor *b) {
    if (ok) return;
    fprintf(stderr, "%s: expected %s, found", op, rule);
    print_shape(a);
    print_shape(b);
    fprintf(stderr, "\n");
    abort();
}

void op_output(pith_tensor *out, int type, int rank, const int64_t *shape) {
    uint64_t bytes;
    pith_error err = {0};
    if (pith_tensor_layout(out, (uint16_t)type, rank, shape, &bytes, &err) == PITH_OK) return;
    fprintf(stderr, "output of an operation: %s\n", err.text);
    abort();
}

void *op_scratch(const grad_call *c, size_t bytes) {
    void *p = arena_alloc(c->scratch, bytes);
    if (p) return p;
    fprintf(stderr, "the memory limit of a training step is reached: %zu bytes of scratch\n", bytes);
    abort();
}

enum { SUM_ROWS = 512 };

typedef struct row_sum {
    const float *x;
    int64_t rows, cols;
    float *partial;
} row_sum;

static void sum_chunk(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const row_sum *s = user;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        float *to = s->partial + chunk * s->cols;
        int64_t first = chunk * SUM_ROWS, last = first + SUM_ROWS < s->rows ? first + SUM_ROWS : s->rows;
        memset(to, 0, (size_t)s->cols * sizeof *to);
        for (int64_t r = first; r < last; r++)
            for (int64_t j = 0; j < s->cols; j++) to[j] += s->x[r * s->cols + j];
    }
}

void sum_rows(const float *x, int64_t rows, int64_t cols, float *to, bool add, arena *scratch) {
    int64_t chunks = (rows + SUM_ROWS - 1) / SUM_ROWS;
    size_t mark = arena_mark(scratch);
    row_sum s = {x, rows, cols, arena_alloc(scratch, (size_t)(chunks * cols) * sizeof(float))};
    assert(s.partial && "scratch arena is full");
    parallel_for(chunks, 1 + EACH_GRAIN / (SUM_ROWS * (cols + 1)), sum_chunk, &s);
    if (!add) memset(to, 0, (size_t)cols * sizeof *to);
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t j = 0; j < cols; j++) to[j] += s.partial[c * cols + j];
    arena_release(scratch, mark);
}
