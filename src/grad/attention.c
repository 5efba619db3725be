/* grad/attention.c - softmax(scale q k^T) v, tile by tile: no matrix of all scores is kept.
 *
 * As in FlashAttention (Dao et al.: arXiv 2205.14135) only the log-sum of each row is saved and backward makes the
 * probabilities again; here a tile is QUERIES rows by all keys they see, which fits L2 for some thousand keys, so a
 * row's softmax needs no second pass. Forward parallelizes over (batch, head), backward over (batch, group of heads
 * that share keys), so every sum has one owner and a fixed order. Cost: 4 time past size operations a head forward, 10
 * backward, half of that when causal. */
#include "grad/each.h"
#include "grad/kernels.h"
#include "grad/ops.h"
#include "tensor/gemm.h"

#include <math.h>

/* A tile is QUERIES rows, the last one fewer than SPARE more, which alone would be poor work. Products of queries with
 * keys go by STRIP rows, that causal ones leave out more of what nobody sees. FEW keys
 * stay in L1 as they lie. */
enum { QUERIES = 48, SPARE = 12, STRIP = 24, LANES = 32, FEW = 56 };

typedef struct attention_attr {
    bool causal;
    float scale;
} attention_attr;

typedef struct sizes {
    int64_t batch, time, heads, size, past, groups, share; /* share: heads a group */
    int64_t ldq, ldk, lds;                                 /* row strides of q and out, of k and v, of scores */
    float scale;
    bool causal;
} sizes;

static int64_t rounded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

static sizes sizes_of(const pith_tensor *q, const pith_tensor *k, const attention_attr *a) {
    sizes s = {.batch = q->shape[0], .time = q->shape[1], .heads = q->shape[2], .size = q->shape[3]};
    s.past = k->shape[1], s.groups = k->shape[2];
    s.share = s.groups ? s.heads / s.groups : 0;
    s.ldq = s.heads * s.size, s.ldk = s.groups * s.size;
    s.lds = rounded(s.past) + LANES / 2; /* not a power of two: rows would push each other out of L1 */
    s.scale = a->scale != 0 ? a->scale : s.size ? 1.0f / sqrtf((float)s.size) : 0;
    s.causal = a->causal;
    return s;
}

/* Rows of the next piece of `left`: `rows`, or all where little would remain. */
static int64_t cut(int64_t left, int64_t rows) { return left < rows + SPARE ? left : rows; }

/* How many keys query i sees. */
static int64_t seen(const sizes *s, int64_t i) {
    if (!s->causal) return s->past;
    int64_t n = i + 1 + s->past - s->time;
    return n < 0 ? 0 : n;
}

static void shape(const pith_tensor *const *in, const void *attr, pith_tensor *out, size_t *saved) {
    (void)attr;
    const pith_tensor *q = in[0], *k = in[1], *v = in[2];
    op_expect(q->rank == 4 && k->rank == 4 && q->shape[0] == k->shape[0] && q->shape[3] == k->shape[3] &&
                  k->shape[2] > 0 && q->shape[2] % k->shape[2] == 0,
              "attention", "q (batch, time, heads, size), k (batch, past, groups, size)", q, k);
    op_expect(v->rank == 4 && !memcmp(k->shape, v->shape, 4 * sizeof(int64_t)), "attention", "k and v of one shape", k,
              v);
    *saved = (size_t)(q->shape[0] * q->shape[1] * q->shape[2]) * sizeof(float);
    op_output(out, q->type, 4, q->shape);
}

typedef struct job {
    const grad_call *c;
    sizes s;
    float *scratch;
    int64_t scratch_size; /* floats a worker */
} job;

/* Keys (or values) of one group as columns: size x past, rows lds apart, zero beyond past. */
static void columns(const sizes *s, const float *k, float *to) {
    for (int64_t i = 0; i < s->size; i++) memset(to + i * s->lds + s->past, 0, (size_t)(s->lds - s->past) * sizeof *to);
    gemm_tiles()->transpose(s->past, s->size, k, s->ldk, to, s->lds);
}

typedef struct head_rows {
    const float *x;
    int64_t ld;
} head_rows;

/* Rows of one group, next to each other where there are many: as they lie, they would share a few places of L1. */
static head_rows together(const sizes *s, const float *x, float *to) {
    if (s->past <= FEW) return (head_rows){x, s->ldk};
    for (int64_t i = 0; i < s->past; i++) memcpy(to + i * s->size, x + i * s->ldk, (size_t)s->size * sizeof *to);
    return (head_rows){to, s->size};
}

static void forward_head(const job *j, int64_t b, int64_t h, float *scratch) {
    const sizes *s = &j->s;
    const grad_call *c = j->c;
    const gemm_kernels *mm = gemm_tiles();
    int64_t key = (b * s->past * s->groups + h / s->share) * s->size, strip = s->causal ? STRIP : QUERIES;
    float *kt = scratch, *copy = kt + s->size * s->lds, *p = copy + s->size * s->lds;
    columns(s, f32(c->in[1]) + key, kt);
    head_rows v = together(s, f32(c->in[2]) + key, copy);
    for (int64_t i = 0, m; i < s->time; i += m) {
        m = cut(s->time - i, strip);
        int64_t at = ((b * s->time + i) * s->heads + h) * s->size, n = seen(s, i + m - 1);
        mm->tile(m, rounded(n), s->size, f32(c->in[0]) + at, s->ldq, 1, kt, s->lds, p, s->lds, false);
        for (int64_t r = 0; r < m; r++) {
            int64_t own = seen(s, i + r);
            float *row = p + r * s->lds, *log_sum = (float *)c->saved + (b * s->time + i + r) * s->heads + h;
            /* whole vectors: an exponential alone costs as much as sixteen */
            *log_sum = own ? softmax_kernel()->forward(own, rounded(n), s->scale, row, row) : 0;
            if (!own) memset(row, 0, (size_t)n * sizeof *row);
        }
        mm->tile(m, s->size, n, p, s->lds, 1, v.x, v.ld, f32(c->out[0]) + at, s->ldq, false);
    }
}

static void forward_heads(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    for (int64_t i = begin; i < end; i++)
        forward_head(j, i / j->s.heads, i % j->s.heads, j->scratch + worker * j->scratch_size);
}

static job start(const grad_call *c, int64_t floats_past, int64_t score_tiles) {
    job j = {.c = c, .s = sizes_of(c->in[0], c->in[1], c->attr)};
    j.scratch_size = (floats_past * j.s.size + score_tiles * (QUERIES + SPARE)) * j.s.lds;
    j.scratch = op_scratch(c, (size_t)(parallel_threads() * j.scratch_size) * sizeof(float));
    return j;
}

static void forward(const grad_call *c) {
    job j = start(c, 2, 1);
    parallel_for(j.s.batch * j.s.heads, 1, forward_heads, &j);
}

/* Probabilities of a strip of queries into p, gradients of its scores into ds; columns up to n, those unseen 0. */
static void scores_backward(const job *j, int64_t b, int64_t h, int64_t i, int64_t m, int64_t n, const float *kt,
                            const float *vt, float *p, float *ds) {
    const sizes *s = &j->s;
    const grad_call *c = j->c;
    int64_t at = ((b * s->time + i) * s->heads + h) * s->size, wide = rounded(seen(s, i + m - 1));
    const float *dout = f32(c->dout[0]) + at, *out = f32(c->out[0]) + at;
    gemm_tiles()->tile(m, wide, s->size, f32(c->in[0]) + at, s->ldq, 1, kt, s->lds, p, s->lds, false);
    gemm_tiles()->tile(m, wide, s->size, dout, s->ldq, 1, vt, s->lds, ds, s->lds, false);
    for (int64_t r = 0; r < m; r++) {
        float *row = p + r * s->lds, log_sum = ((float *)c->saved)[(b * s->time + i + r) * s->heads + h];
        softmax_kernel()->exp_minus(seen(s, i + r), wide, s->scale, log_sum, row);
        float d = softmax_kernel()->dot(s->size, dout + r * s->ldq, out + r * s->ldq);
        softmax_kernel()->scores_backward(wide, row, d, s->scale, ds + r * s->lds);
        if (wide < n) memset(row + wide, 0, (size_t)(n - wide) * sizeof *row);
        if (wide < n) memset(ds + r * s->lds + wide, 0, (size_t)(n - wide) * sizeof *ds);
    }
}

static void clear_rows(float *x, int64_t rows, int64_t stride, int64_t cols) {
    for (int64_t i = 0; i < rows; i++) memset(x + i * stride, 0, (size_t)cols * sizeof *x);
}

static void backward_group(const job *j, int64_t b, int64_t g, float *scratch) {
    const sizes *s = &j->s;
    const grad_call *c = j->c;
    const gemm_kernels *mm = gemm_tiles();
    int64_t key = (b * s->past * s->groups + g) * s->size, strip = s->causal ? STRIP : QUERIES;
    float *kt = scratch, *vt = kt + s->size * s->lds, *copy = vt + s->size * s->lds, *p = copy + s->size * s->lds,
          *ds = p + (QUERIES + SPARE) * s->lds;
    float *dq = f32(c->din[0]), *dk = f32(c->din[1]), *dv = f32(c->din[2]);
    columns(s, f32(c->in[1]) + key, kt);
    columns(s, f32(c->in[2]) + key, vt);
    head_rows k = together(s, f32(c->in[1]) + key, copy);
    if (dk && c->fresh[1]) clear_rows(dk + key, s->past, s->ldk, s->size);
    if (dv && c->fresh[2]) clear_rows(dv + key, s->past, s->ldk, s->size);
    for (int64_t h = g * s->share; h < (g + 1) * s->share; h++)
        for (int64_t i = 0, m; i < s->time; i += m) {
            m = cut(s->time - i, QUERIES);
            int64_t at = ((b * s->time + i) * s->heads + h) * s->size, n = seen(s, i + m - 1);
            for (int64_t r = 0, rows; r < m; r += rows) {
                rows = cut(m - r, strip);
                scores_backward(j, b, h, i + r, rows, n, kt, vt, p + r * s->lds, ds + r * s->lds);
                if (dq)
                    mm->tile(rows, s->size, seen(s, i + r + rows - 1), ds + r * s->lds, s->lds, 1, k.x, k.ld,
                             dq + at + r * s->ldq, s->ldq, !c->fresh[0]);
            }
            if (dk) mm->tile(n, s->size, m, ds, 1, s->lds, f32(c->in[0]) + at, s->ldq, dk + key, s->ldk, true);
            if (dv) mm->tile(n, s->size, m, p, 1, s->lds, f32(c->dout[0]) + at, s->ldq, dv + key, s->ldk, true);
        }
}

static void backward_groups(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    for (int64_t i = begin; i < end; i++)
        backward_group(j, i / j->s.groups, i % j->s.groups, j->scratch + worker * j->scratch_size);
}

static void backward(const grad_call *c) {
    job j = start(c, 3, 2);
    parallel_for(j.s.batch * j.s.groups, 1, backward_groups, &j);
}

static void forward_f64_row(const sizes *s, const grad_call *c, int64_t b, int64_t i, int64_t h) {
    const double *q = f64(c->in[0]) + ((b * s->time + i) * s->heads + h) * s->size;
    const double *k = f64(c->in[1]) + (b * s->past * s->groups + h / s->share) * s->size;
    const double *v = f64(c->in[2]) + (k - f64(c->in[1]));
    double *out = f64(c->out[0]) + (q - f64(c->in[0])), sum = 0, score[64];
    assert(s->past <= 64);
    for (int64_t d = 0; d < s->size; d++) out[d] = 0;
    for (int64_t p = 0; p < seen(s, i); p++) {
        double dot = 0;
        for (int64_t d = 0; d < s->size; d++) dot += q[d] * k[p * s->ldk + d];
        sum += score[p] = exp(dot * s->scale);
    }
    for (int64_t p = 0; p < seen(s, i); p++)
        for (int64_t d = 0; d < s->size; d++) out[d] += score[p] / sum * v[p * s->ldk + d];
}

static void forward_f64(const grad_call *c) {
    sizes s = sizes_of(c->in[0], c->in[1], c->attr);
    for (int64_t b = 0; b < s.batch; b++)
        for (int64_t i = 0; i < s.time; i++)
            for (int64_t h = 0; h < s.heads; h++) forward_f64_row(&s, c, b, i, h);
}

static void sample(rng *r, int k, grad_case *c) {
    (void)r;
    /* batch, time, heads, size, past, groups, causal */
    static const int64_t v[][7] = {{2, 5, 2, 4, 5, 2, 1},    {1, 3, 4, 3, 7, 2, 1},   {1, 50, 1, 2, 50, 1, 1},
                                   {2, 3, 2, 5, 4, 1, 0},    {1, 1, 1, 1, 1, 1, 1},   {0, 3, 2, 4, 3, 2, 1},
                                   {1, 35, 1, 17, 33, 1, 1}, {1, 61, 2, 3, 61, 1, 1}, {1, 37, 1, 4, 61, 1, 0}};
    const int64_t *s = v[k];
    case_input(c, -1, 1, CASE_SHAPE(s[0], s[1], s[2], s[3]));
    for (int i = 0; i < 2; i++) case_input(c, -1, 1, CASE_SHAPE(s[0], s[4], s[5], s[3]));
    case_attr(c, &(attention_attr){s[6] != 0, k == 3 ? 0.7f : 0}, sizeof(attention_attr));
}

const grad_op grad_op_attention = {.name = "attention",
                                   .keep_in = 7,
                                   .keep_out = 1,
                                   .deterministic = true,
                                   .fresh_ok = true,
                                   .cases = 9,
                                   .shape = shape,
                                   .forward = forward,
                                   .backward = backward,
                                   .forward_f64 = forward_f64,
                                   .sample = sample};

var grad_attention(tape *t, var q, var k, var v, bool causal, float scale) {
    attention_attr a = {causal, scale};
    return grad_apply(t, &grad_op_attention, &a, sizeof a, (var[]){q, k, v}, 3);
}
