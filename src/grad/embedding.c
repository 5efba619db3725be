/* grad/embedding.c - rows of a table by number. Backward adds rows in order of the ids, on one thread per column block,
 * so that the sum is the same for any number of threads. */
#include "grad/each.h"
#include "grad/ops.h"

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr, (void)saved;
    const pith_tensor *table = in[0], *ids = in[1];
    op_expect(table->rank == 2 && ids->type == PITH_I32 && ids->rank < PITH_MAX_RANK, "embedding",
              "table (rows, width), ids i32 (...)", table, ids);
    int64_t s[PITH_MAX_RANK];
    memcpy(s, ids->shape, sizeof s);
    s[ids->rank] = table->shape[1];
    op_output(out, table->type, ids->rank + 1, s);
}

static void copy_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    int64_t width = c->in[0]->shape[1], rows = c->in[0]->shape[0];
    for (int64_t i = begin; i < end; i++) {
        int64_t id = i32(c->in[1])[i];
        assert(id >= 0 && id < rows && "embedding: id outside the table");
        memcpy(f32(c->out[0]) + i * width, f32(c->in[0]) + id * width, (size_t)width * sizeof(float));
    }
    (void)rows;
}

static void forward(const grad_call *c) {
    parallel_for(pith_tensor_elements(c->in[1]), row_grain(c->in[0]->shape[1]), copy_rows, (void *)c);
}

static void backward_columns(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    int64_t width = c->in[0]->shape[1], n = pith_tensor_elements(c->in[1]);
    for (int64_t i = 0; i < n; i++) {
        const float *dy = f32(c->dout[0]) + i * width;
        float *to = f32(c->din[0]) + i32(c->in[1])[i] * width;
        for (int64_t j = begin; j < end; j++) to[j] += dy[j];
    }
}

static void backward(const grad_call *c) {
    if (c->din[0]) parallel_for(c->in[0]->shape[1], 64, backward_columns, (void *)c);
}

static void forward_f64(const grad_call *c) {
    int64_t width = c->in[0]->shape[1];
    for (int64_t i = 0; i < pith_tensor_elements(c->in[1]); i++)
        for (int64_t j = 0; j < width; j++) f64(c->out[0])[i * width + j] = f64(c->in[0])[i32(c->in[1])[i] * width + j];
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -1, 1, CASE_SHAPE(5, k == 0 ? 3 : 70));
    case_index(c, 0, 4, CASE_SHAPE(k == 2 ? 0 : 2, 7));
}

const grad_op grad_op_embedding = {.name = "embedding",
                                   .keep_in = 2,
                                   .deterministic = true,
                                   .cases = 3,
                                   .shape = shape,
                                   .forward = forward,
                                   .backward = backward,
                                   .forward_f64 = forward_f64,
                                   .sample = sample};

var grad_embedding(tape *t, var table, var ids) {
    return grad_apply(t, &grad_op_embedding, NULL, 0, (var[]){table, ids}, 2);
}
