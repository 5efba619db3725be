/* grad/each.c - helpers of the operations. */
#include "grad/each.h"
#include "grad/kernels.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUN_ROWS = 256 }; /* rows summed in f32 before the sum goes to double, unless rows are short */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

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

/* The middle of x (outer, middle, inner) is cut into runs; partial holds the sum of each. */
typedef struct row_sum {
    const float *x;
    int64_t middle, inner, run, runs;
    float *partial;
} row_sum;

static void sum_runs(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const row_sum *s = user;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / s->runs, first = i % s->runs * s->run;
        int64_t rows = s->middle - first < s->run ? s->middle - first : s->run;
        binary_kernel()->sum_rows(rows, s->inner, s->x + (outer * s->middle + first) * s->inner, s->inner,
                                  s->partial + i * s->inner, false);
    }
}

void sum_middle(const float *x, int64_t outer, int64_t middle, int64_t inner, double scale, float *y, bool add,
                arena *scratch) {
    size_t mark = arena_mark(scratch);
    row_sum s = {.x = x, .middle = middle, .inner = inner, .run = most(RUN_ROWS, row_grain(inner))};
    s.runs = (middle + s.run - 1) / s.run;
    s.partial = arena_alloc(scratch, (size_t)(outer * s.runs * inner) * sizeof(float));
    assert(s.partial && "scratch arena is full");
    parallel_for(outer * s.runs, 1 + EACH_GRAIN / (least(s.run, middle) * inner + 1), sum_runs, &s);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < inner; k++) {
            double sum = 0;
            for (int64_t i = 0; i < s.runs; i++) sum += (double)s.partial[(o * s.runs + i) * inner + k];
            y[o * inner + k] = (float)((add ? (double)y[o * inner + k] : 0) + sum * scale);
        }
    arena_release(scratch, mark);
}

void sum_rows(const float *x, int64_t rows, int64_t cols, float *to, bool add, arena *scratch) {
    sum_middle(x, 1, rows, cols, 1, to, add, scratch);
}

typedef struct part_sum {
    const float *parts;
    int64_t count, n;
    float *to;
    bool add;
} part_sum;

static void add_stretch(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const part_sum *s = user;
    binary_kernel()->sum_rows(s->count, end - begin, s->parts + begin, s->n, s->to + begin, s->add);
}

void add_parts(const float *parts, int64_t count, int64_t n, float *to, bool add) {
    parallel_for(n, EACH_GRAIN / 4, add_stretch, &(part_sum){parts, count, n, to, add});
}
