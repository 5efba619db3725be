/* grad/cross_entropy.c - softmax and negative log-likelihood in one, without a table of probabilities: backward makes
 * them again from the logits and the kept log-sum of each row. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"

#include <math.h>

typedef struct entropy_attr {
    int ignore;
    float smoothing;
} entropy_attr;

/* saved: for each row its log-sum and its loss; then the number of rows that count */
static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *x = in[0], *y = in[1];
    op_expect(x->rank >= 1 && x->shape[x->rank - 1] > 0 && y->type == PITH_I32 &&
                  pith_tensor_elements(y) == pith_tensor_row_count(x),
              "cross_entropy", "logits (..., classes), labels i32 (...)", x, y);
    *saved = (size_t)(2 * pith_tensor_row_count(x) + 1) * sizeof(float);
    op_output(out, x->type, 0, NULL);
}

static void forward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const entropy_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]);
    float *log_sum = c->saved, *loss = log_sum + rows;
    for (int64_t i = begin; i < end; i++) {
        int label = i32(c->in[1])[i];
        loss[i] = log_sum[i] = 0;
        if (label == a->ignore) continue;
        assert(label >= 0 && label < n && "cross_entropy: label outside the classes");
        loss[i] = softmax_kernel()->cross_entropy(n, f32(c->in[0]) + i * n, label, a->smoothing, log_sum + i);
    }
}

static void forward(const grad_call *c) {
    const entropy_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]), count = 0;
    parallel_for(rows, row_grain(n), forward_part, (void *)c);
    const float *loss = (float *)c->saved + rows;
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += (double)loss[i], count += i32(c->in[1])[i] != a->ignore;
    ((float *)c->saved)[2 * rows] = (float)count;
    *f32(c->out[0]) = count ? (float)(sum / (double)count) : 0;
}

static void backward_part(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const grad_call *c = user;
    const entropy_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]), rows = pith_tensor_row_count(c->in[0]);
    const float *log_sum = c->saved;
    float scale = *f32(c->dout[0]) / log_sum[2 * rows];
    for (int64_t i = begin; i < end; i++) {
        int label = i32(c->in[1])[i];
        float *dx = f32(c->din[0]) + i * n;
        if (label != a->ignore)
            softmax_kernel()->cross_entropy_backward(n, f32(c->in[0]) + i * n, label, a->smoothing, log_sum[i], scale,
                                                     dx, c->fresh[0]);
        else if (c->fresh[0]) memset(dx, 0, (size_t)n * sizeof *dx);
    }
}

static void backward(const grad_call *c) {
    int64_t rows = pith_tensor_row_count(c->in[0]);
    if (c->din[0]) parallel_for(rows, row_grain(pith_tensor_cols(c->in[0])), backward_part, (void *)c);
}

static void forward_f64(const grad_call *c) {
    const entropy_attr *a = c->attr;
    int64_t n = pith_tensor_cols(c->in[0]), count = 0;
    double total = 0;
    for (int64_t i = 0; i < pith_tensor_row_count(c->in[0]); i++) {
        int label = i32(c->in[1])[i];
        if (label == a->ignore) continue;
        const double *x = f64(c->in[0]) + i * n;
        double sum = 0, mean = 0;
        for (int64_t j = 0; j < n; j++) sum += exp(x[j]), mean += x[j] / (double)n;
        total += log(sum) - (1 - a->smoothing) * x[label] - a->smoothing * mean;
        count++;
    }
    *f64(c->out[0]) = count ? total / (double)count : 0;
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    case_input(c, -3, 3, CASE_SHAPE(k == 3 ? 0 : 5, 2, k == 0 ? 7 : 19));
    case_index(c, 0, 6, CASE_SHAPE(k == 3 ? 0 : 5, 2));
    case_attr(c, &(entropy_attr){k == 1 ? 2 : -1, k == 2 ? 0.1f : 0}, sizeof(entropy_attr));
}

const grad_op grad_op_cross_entropy = {.name = "cross_entropy",
                                       .keep_in = 3,
                                       .deterministic = true,
                                       .fresh_ok = true,
                                       .cases = 4,
                                       .shape = shape,
                                       .forward = forward,
                                       .backward = backward,
                                       .forward_f64 = forward_f64,
                                       .sample = sample};

var grad_cross_entropy(tape *t, var logits, var labels, int ignore, float smoothing) {
    entropy_attr a = {ignore, smoothing};
    return grad_apply(t, &grad_op_cross_entropy, &a, sizeof a, (var[]){logits, labels}, 2);
}
