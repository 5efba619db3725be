/* Products of every format at every instruction set: against exact sums over the same 8-bit inputs, and against the
 * inputs themselves within what eight bits allow. Sizes are odd: rows short of a strip, all tiles of tokens, columns
 * beyond one block of the decoder. */
#include "harness.h"

#include "base/isa.h"
#include "base/memory.h"
#include "quant/activation.h"
#include "quant/random.h"

#include <math.h>

typedef struct problem {
    pith_packed p;
    pith_buffer *fast;
    int64_t n;
    float *x, *y;
    void *in;
    double *wanted, *truth, *weight; /* weight: sum of magnitudes of a sum's terms */
} problem;

/* The number that input (i, col) was turned into. */
static float turned(const problem *q, int64_t i, int64_t col) {
    if (q->p.format->activation == PITH_F32) return q->x[i * q->p.cols + col];
    int64_t begin = 0;
    while (begin + activation_tile(q->n - begin) <= i) begin += activation_tile(q->n - begin);
    int tile = activation_tile(q->n - begin);
    const uint8_t *base = (const uint8_t *)q->in + activation_bytes(ACTIVATION_Q8, begin, q->p.cols);
    int64_t t = i - begin;
    int8_t code = ((const int8_t *)base)[activation_at(q->p.format->activation, tile, (int)t, col)];
    return (float)code * ((const float *)(base + tile * q->p.cols))[col / 32 * 4 * tile + t];
}

static void sum_up(problem *q) {
    int64_t rows = q->p.rows, cols = q->p.cols;
    float *w = memory_alloc((size_t)cols * sizeof *w);
    for (int64_t k = 0; k < q->n * rows; k++) q->wanted[k] = q->weight[k] = q->truth[k] = 0;
    for (int64_t r = 0; r < rows; r++) {
        q->p.format->to_f32(&q->p, r, 1, w);
        for (int64_t i = 0; i < q->n; i++)
            for (int64_t c = 0; c < cols; c++) {
                double term = (double)w[c] * (double)turned(q, i, c);
                q->wanted[i * rows + r] += term, q->weight[i * rows + r] += fabs(term);
                q->truth[i * rows + r] += (double)w[c] * (double)q->x[i * cols + c];
            }
    }
    memory_free(w);
}

static problem open_problem(const pith_format *format, int64_t rows, int64_t cols, int64_t n) {
    pith_error err = {0};
    rng random = rng_new((uint64_t)(rows * 7 + cols + n), format->id);
    problem q = {.n = n};
    assert_int_equal(quant_random(format, rows, cols, 0.05f, &random, &q.p, &err), PITH_OK);
    q.x = memory_zero((size_t)(n * cols), sizeof(float));
    q.y = memory_zero((size_t)(n * rows), sizeof(float));
    q.in = memory_alloc(activation_bytes(ACTIVATION_Q8, n, cols) + (size_t)(n * cols) * 4);
    q.wanted = memory_zero((size_t)(n * rows), sizeof(double));
    q.truth = memory_zero((size_t)(n * rows), sizeof(double));
    q.weight = memory_zero((size_t)(n * rows), sizeof(double));
    for (int64_t i = 0; i < n * cols; i++) q.x[i] = (float)rng_normal(&random);
    for (int64_t i = 0; i < 32 && i < cols && n > 1; i++) q.x[cols + i] = 0; /* a group of zeros */
    activation_from_f32(format->activation, q.x, n, cols, q.in);
    sum_up(&q);
    return q;
}

static void close_problem(problem *q) {
    pith_packed_release(&q->p);
    memory_free(q->x), memory_free(q->y), memory_free(q->in);
    memory_free(q->wanted), memory_free(q->truth), memory_free(q->weight);
}

static void judge(const problem *q, const char *isa) {
    double noise = 0, power = 0;
    for (int64_t k = 0; k < q->n * q->p.rows; k++) {
        double error = fabs((double)q->y[k] - q->wanted[k]);
        if (!(error <= 1e-5 * q->weight[k] + 1e-12))
            fail_msg("%s at %s, %lld x %lld, n %lld: element %lld is %g, expected %g", q->p.format->name, isa,
                     (long long)q->p.rows, (long long)q->p.cols, (long long)q->n, (long long)k, (double)q->y[k],
                     q->wanted[k]);
        noise += pow((double)q->y[k] - q->truth[k], 2), power += q->truth[k] * q->truth[k];
    }
    assert_true(noise < 0.015 * 0.015 * power);
}

static void check_size(const pith_format *format, int64_t rows, int64_t cols, int64_t n) {
    problem q = open_problem(format, rows, cols, n);
    for (int level = 0; level < ISA_LEVELS; level++) {
        isa_force((isa_level)level);
        if (isa_active() != (isa_level)level) continue;
        pith_error err = {0};
        if (format->prepare) assert_int_equal(format->prepare(&q.p, &q.fast, &err), PITH_OK);
        memset(q.y, 0xff, (size_t)(n * rows) * sizeof *q.y);
        int64_t cut = rows / 2 / format->row_align * format->row_align;
        format->mul(&q.p, q.fast, q.in, n, 0, cut, q.y, rows);
        format->mul(&q.p, q.fast, q.in, n, cut, rows - cut, q.y, rows);
        judge(&q, isa_name((isa_level)level));
        pith_buffer_release(q.fast);
        q.fast = NULL;
    }
    isa_force(isa_detected());
    close_problem(&q);
}

static void every_format(void **state) {
    (void)state;
    for (int level = (int)isa_detected() + 1; level < ISA_LEVELS; level++)
        print_message("this machine or build lacks %s: its products are not tested\n", isa_name((isa_level)level));
    for (const pith_format *const *f = pith_formats; *f; f++) {
        int64_t least = (*f)->block > 32 ? 256 : 32;
        check_size(*f, 37, least, 1);
        check_size(*f, 16, 3 * least, 2);
        check_size(*f, 100, 2048, 1);
        check_size(*f, 81, 1792, 15);
        check_size(*f, 5, 1536 + 1024, 9);
        check_size(*f, 49, least, 16);
        check_size(*f, 70, 3 * least, 33);
        check_size(*f, 23, 7 * least, 63);
    }
}

static void every_half_float(void **state) { /* odd columns too, which block types cannot have */
    (void)state;
    for (const char *const *name = (const char *const[]){"f32", "f16", "bf16", NULL}; *name; name++)
        for (int64_t cols = 1; cols < 70; cols += 17) check_size(pith_format_by_name(*name), 33, cols, 1 + cols % 20);
}

static void extreme_codes(void **state) { /* all codes of all bytes, largest inputs: no sum may overflow */
    (void)state;
    enum { ROWS = 16, COLS = 256, N = 41 };
    for (const pith_format *const *f = pith_formats; *f; f++) {
        if ((*f)->block == 1) continue;
        problem q = open_problem(*f, ROWS, COLS, N);
        for (int64_t i = 0; i < N * COLS; i++) q.x[i] = i % 3 ? 127.0f : -127.0f; /* scale 1 */
        activation_from_f32((*f)->activation, q.x, N, COLS, q.in);
        memset(q.wanted, 0, sizeof(double) * ROWS * N), memset(q.weight, 0, sizeof(double) * ROWS * N);
        memset(q.truth, 0, sizeof(double) * ROWS * N);
        float w[COLS];
        for (int64_t r = 0; r < ROWS; r++) {
            (*f)->to_f32(&q.p, r, 1, w);
            for (int64_t i = 0; i < N; i++)
                for (int64_t c = 0; c < COLS; c++) {
                    double term = (double)w[c] * (double)q.x[i * COLS + c];
                    q.wanted[i * ROWS + r] += term, q.weight[i * ROWS + r] += fabs(term);
                }
        }
        memcpy(q.truth, q.wanted, sizeof(double) * ROWS * N);
        for (int level = 0; level < ISA_LEVELS; level++) {
            isa_force((isa_level)level);
            pith_error err = {0};
            assert_int_equal((*f)->prepare(&q.p, &q.fast, &err), PITH_OK);
            (*f)->mul(&q.p, q.fast, q.in, N, 0, ROWS, q.y, ROWS);
            judge(&q, isa_name(isa_active()));
            pith_buffer_release(q.fast);
            q.fast = NULL;
        }
        isa_force(isa_detected());
        close_problem(&q);
    }
}

static void rows_come_back(void **state) { /* from what prepare made, which then multiplies alone, slowly too */
    (void)state;
    enum { ROWS = 81, COLS = 512, N = 3 };
    for (const pith_format *const *f = pith_formats; *f; f++) {
        if (!(*f)->restore) continue;
        problem q = open_problem(*f, ROWS, COLS, N);
        pith_error err = {0};
        assert_int_equal((*f)->prepare(&q.p, &q.fast, &err), PITH_OK);
        if (q.fast) {
            size_t bytes = pith_packed_bytes(&q.p);
            uint8_t *back = memory_zero(bytes, 1);
            (*f)->restore(&q.p, q.fast, 0, 7, back);
            (*f)->restore(&q.p, q.fast, 7, ROWS - 7, back + 7 * q.p.part[0].row_bytes);
            assert_memory_equal(back, q.p.part[0].data, bytes);
            memory_free(back);
            pith_packed_let_go(&q.p);
            assert_int_equal(pith_packed_bytes(&q.p), bytes);
            for (int level = 0; level < ISA_LEVELS; level++) {
                isa_force((isa_level)level);
                (*f)->mul(&q.p, q.fast, q.in, N, 0, ROWS, q.y, ROWS);
                judge(&q, isa_name((isa_level)level));
            }
            isa_force(isa_detected());
        }
        pith_buffer_release(q.fast);
        close_problem(&q);
    }
}

static void check_bytes(int64_t n, int at, uint8_t byte) {
    problem q = open_problem(pith_format_by_name("tq1_0"), 37, 512, n);
    size_t bytes = pith_packed_bytes(&q.p);
    uint8_t *back = memory_zero(bytes, 1), *own = (uint8_t *)q.p.part[0].data;
    own[at] = byte;
    sum_up(&q);
    for (int level = 0; level < ISA_LEVELS; level++) {
        pith_error err = {0};
        isa_force((isa_level)level);
        assert_int_equal(q.p.format->prepare(&q.p, &q.fast, &err), PITH_OK);
        q.p.format->mul(&q.p, q.fast, q.in, n, 0, q.p.rows, q.y, q.p.rows);
        judge(&q, isa_name((isa_level)level));
        if (q.fast) {
            q.p.format->restore(&q.p, q.fast, 0, q.p.rows, back);
            assert_memory_equal(back, own, bytes);
        }
        pith_buffer_release(q.fast);
        q.fast = NULL;
    }
    isa_force(isa_detected());
    memory_free(back);
    close_problem(&q);
}

static void unusual_bytes(void **state) { /* TQ1_0 as no packer writes it is multiplied and comes back, too */
    (void)state;
    enum { LAST_CODES = 51 };
    for (int64_t n = 1; n <= 3; n += 2) {
        check_bytes(n, 0, 2);                   /* usual: ceil(256 v / 243) of v = 1 */
        check_bytes(n, 0, 1);                   /* the same weights as 0 */
        check_bytes(n, 54 * 3 + LAST_CODES, 2); /* a fifth digit where four are held */
    }
}

static void inputs_alike(void **state) { /* the same bits at every level; a fault is seen */
    (void)state;
    enum { N = 7, COLS = 96 };
    float x[N * COLS];
    rng random = rng_new(3, 4);
    for (int i = 0; i < N * COLS; i++) x[i] = (float)rng_normal(&random) * powf(10, (float)(i / 32) - 10);
    x[5] = INFINITY, x[40] = NAN, x[70] = -INFINITY, x[100] = 1e-42f;
    for (int i = 128; i < 160; i++) x[i] = 1e-42f;
    uint8_t first[2048], other[2048];
    for (int row = N; row >= 0; row--) /* one by one, then all at once */
        for (int level = 0; level < ISA_LEVELS; level++) {
            int n = row ? 1 : N;
            isa_force((isa_level)level);
            activation_from_f32(ACTIVATION_Q8, x + (row ? row - 1 : 0) * COLS, n, COLS, level ? other : first);
            if (level) assert_memory_equal(first, other, activation_bytes(ACTIVATION_Q8, n, COLS));
        }
    isa_force(isa_detected());
    const float *numbers = (const float *)(first + 4 * COLS);
    assert_true(isnan(numbers[0]) && isnan(numbers[16]) && isnan(numbers[32]) && isfinite(numbers[1]));
    for (int i = 0; i < 3; i++) assert_true(isfinite(numbers[16 * i + 1]));
}

static void blocks_alike(void **state) { /* one scale for 256 inputs, the largest of which has code 127 */
    (void)state;
    enum { N = 3, COLS = 512 };
    float x[N * COLS];
    rng random = rng_new(5, 6);
    for (int i = 0; i < N * COLS; i++) x[i] = (float)rng_normal(&random) * powf(10, (float)(i / 256));
    x[3 * 256] = -1e30f, x[4 * 256 + 7] = NAN;
    uint8_t first[4 * N * COLS], other[4 * N * COLS];
    for (int level = 0; level < ISA_LEVELS; level++) {
        isa_force((isa_level)level);
        activation_from_f32(ACTIVATION_Q8_BLOCK, x, N, COLS, level ? other : first);
        if (level) assert_memory_equal(first, other, activation_bytes(ACTIVATION_Q8_BLOCK, N, COLS));
    }
    isa_force(isa_detected());
    const float *pair = (const float *)(first + 2 * COLS); /* numbers of the first tile: two rows */
    for (int g = 0; g < 16; g++) assert_true(pair[8 * g] == pair[8 * (g / 8 * 8)]);
    assert_true(pair[64] > 5 * pair[0] && pair[64 + 1] == 1e30f / 127.0f);
    assert_int_equal((int8_t)first[(4 * 2 + 1) * 64], -127);
    const float *last = (const float *)(first + activation_bytes(ACTIVATION_Q8_BLOCK, 2, COLS) + COLS);
    assert_true(isnan(last[0]) && isfinite(last[32]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format),   cmocka_unit_test(every_half_float), cmocka_unit_test(extreme_codes),
        cmocka_unit_test(rows_come_back), cmocka_unit_test(inputs_alike),     cmocka_unit_test(blocks_alike),
        cmocka_unit_test(unusual_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
