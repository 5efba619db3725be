/* model/linear.c - matrix times inputs, cut into slices of rows for the pool.
 *
 * Decoding one token is bound by reading the weights, and by the cost of starting parallel regions: matrices that share
 * an input (query, key, value; gate, up) go through one region. */
#include "model/linear.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "quant/activation.h"

#include <string.h>

enum { ROWS_A_TASK = 64, ROWS_FOR_ONE = 64 }; /* the fewer, the shorter threads wait for the last; n == 1: the latter */

pith_status linear_prepare(linear *l, pith_error *err) {
    if (!l->w.format->prepare) return PITH_OK;
    pith_status s = l->w.format->prepare(&l->w, &l->fast, err);
    if (s == PITH_OK && l->fast && l->w.format->restore) pith_packed_let_go(&l->w);
    return s;
}

void linear_row(const linear *l, int64_t row, float *out, void *scratch) {
    if (l->w.part[0].data) {
        l->w.format->to_f32(&l->w, row, 1, out);
        return;
    }
    pith_packed one = {.format = l->w.format, .rows = 1, .cols = l->w.cols, .part[0] = l->w.part[0]};
    l->w.format->restore(&l->w, l->fast, row, 1, scratch);
    one.part[0].data = scratch;
    one.format->to_f32(&one, 0, 1, out);
}

void linear_free(linear *l) {
    pith_packed_release(&l->w);
    pith_buffer_release(l->fast);
    memory_free(l->bias);
    memset(l, 0, sizeof *l);
}

uint64_t linear_scratch(int64_t n, int64_t cols) {
    return (uint64_t)LINEAR_TOGETHER * (uint64_t)n * ((uint64_t)cols * 4 + 256);
}

typedef struct job {
    const linear *const *w;
    int count;
    const void *x[LINEAR_TOGETHER];
    int64_t first[LINEAR_TOGETHER + 1]; /* slice number at which a matrix begins */
    int64_t n, step;                    /* rows of a slice */
    float *const *y;
} job;

static void add_bias(const linear *l, float *y, int64_t n, int64_t row, int64_t rows) {
    if (!l->bias) return;
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = row; r < row + rows; r++) y[i * l->w.rows + r] += l->bias[r];
}

static void slices(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t s = begin; s < end; s++) {
        int k = 0;
        while (s >= j->first[k + 1]) k++;
        const linear *l = j->w[k];
        int64_t row = (s - j->first[k]) * j->step, rows = l->w.rows - row < j->step ? l->w.rows - row : j->step;
        l->w.format->mul(&l->w, l->fast, j->x[k], j->n, row, rows, j->y[k], l->w.rows);
        add_bias(l, j->y[k], j->n, row, rows);
    }
}

typedef struct conversion {
    uint16_t type;
    int64_t cols;
    const float *x;
    uint8_t *out;
} conversion;

static void convert(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const conversion *c = user;
    activation_from_f32(c->type, c->x + begin * c->cols, end - begin, c->cols,
                        c->out + activation_bytes(c->type, begin, c->cols));
}

/* Each activation type is made once, however many of the matrices want it. */
static void prepare_inputs(job *j, const float *x, uint8_t *scratch) {
    for (int k = 0; k < j->count; k++) {
        uint16_t type = j->w[k]->w.format->activation;
        int64_t cols = j->w[k]->w.cols;
        j->x[k] = type == PITH_F32 ? x : NULL;
        for (int i = 0; i < k && !j->x[k]; i++)
            if (j->w[i]->w.format->activation == type) j->x[k] = j->x[i];
        if (j->x[k]) continue;
        conversion c = {.type = type, .cols = cols, .x = x, .out = scratch};
        parallel_for(j->n, ACTIVATION_TILE, convert, &c);
        j->x[k] = scratch;
        scratch += (activation_bytes(type, j->n, cols) + 63) / 64 * 64;
    }
}

void linear_apply(const linear *const *w, int count, const float *x, int64_t n, float *const *y, void *scratch) {
    job j = {.w = w, .count = count, .n = n, .step = n == 1 ? ROWS_FOR_ONE : ROWS_A_TASK, .y = y};
    prepare_inputs(&j, x, scratch);
    for (int k = 0; k < count; k++) j.first[k + 1] = j.first[k] + (w[k]->w.rows + j.step - 1) / j.step;
    parallel_for(j.first[count], 1, slices, &j);
}

void linear_expect(const linear *const *w, int count) {
    parallel_range range[LINEAR_TOGETHER];
    for (int k = 0; k < count; k++) {
        range[k].begin = w[k]->fast ? pith_buffer_data(w[k]->fast) : w[k]->w.part[0].data;
        range[k].size = (int64_t)(w[k]->fast ? pith_buffer_size(w[k]->fast) : pith_packed_bytes(&w[k]->w));
    }
    parallel_expect(range, count);
}
