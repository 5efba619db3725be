/* Weight formats: layouts against pinned vectors, round trips of bytes and planes, packing of every kind of row. */
#include "harness.h"

#include "base/hash.h"
#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "quant/block.h"

#include <math.h>

enum { ROWS = 6, COLS = 512 };

static void fill(float *w, int64_t n, uint64_t seed, bool heavy) {
    rng r = rng_new(seed, 0);
    for (int64_t i = 0; i < n; i++) {
        float v = (float)rng_normal(&r);
        w[i] = 0.05f * (heavy ? v * v * v : v);
    }
}

static double error_of(const pith_packed *p, const float *w, const float *importance) {
    float out[COLS];
    double sum = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        p->format->to_f32(p, r, 1, out);
        for (int64_t c = 0; c < p->cols; c++) {
            double d = (double)out[c] - w[r * p->cols + c];
            sum += d * d * (importance ? importance[c] : 1);
        }
    }
    return sum;
}

static pith_packed packed(const pith_format *f, const float *w, int64_t rows, int64_t cols, const float *importance) {
    pith_packed p = {0};
    pith_error err = {0};
    pith_pack_input in = {.w = w, .importance = importance, .rows = rows, .cols = cols};
    if (f->pack(NULL, &in, &p, &err) != PITH_OK) fail_msg("%s: %s", f->name, err.text);
    assert_int_equal(f->check(&p, NULL), PITH_OK);
    return p;
}

static void table_is_consistent(void **state) {
    (void)state;
    for (const pith_format *const *f = pith_formats; *f; f++) {
        const pith_type_row *row = &pith_types[(*f)->id];
        assert_string_equal((*f)->name, row->name);
        assert_int_equal((*f)->gguf, row->gguf);
        assert_int_equal((*f)->block, row->block);
        assert_int_equal((*f)->block_bytes, row->block_bytes);
        assert_ptr_equal(pith_format_by_name((*f)->name), *f);
        assert_ptr_equal(pith_format_by_id((*f)->id), *f);
    }
    assert_ptr_equal(pith_format_by_name("Q4_K"), pith_format_by_id(PITH_Q4_K));
    assert_null(pith_format_by_name("q9_z"));
    assert_null(pith_format_by_id(PITH_I8));
}

/* Random bytes: fields and planes must give the very same bytes back, and decoding must not leave its buffers. */
static void any_bytes_survive_splitting(void **state) {
    (void)state;
    for (const pith_format *const *f = pith_formats; *f; f++) {
        pith_tensor t;
        int64_t shape[2] = {ROWS, COLS};
        assert_int_equal(pith_tensor_new(&t, (*f)->id, 2, shape, NULL), PITH_OK);
        uint8_t *bytes = t.data, copy[ROWS * COLS * 4];
        size_t size = pith_tensor_bytes(&t);
        rng r = rng_new(11, (*f)->id);
        for (size_t i = 0; i < size; i++) bytes[i] = copy[i] = (uint8_t)rng_u32(&r);
        pith_packed p;
        assert_int_equal(pith_packed_from_tensor(&p, &t, NULL), PITH_OK);
        assert_int_equal(pith_packed_bytes(&p), size);
        float out[ROWS * COLS], one[COLS];
        (*f)->to_f32(&p, 0, ROWS, out);
        (*f)->to_f32(&p, ROWS - 1, 1, one);
        assert_memory_equal(one, out + (ROWS - 1) * COLS, sizeof one);
        pith_bytes plane[PITH_PLANES];
        int n = (*f)->split(&p, 0, 1, ROWS - 1, plane);
        assert_in_range(n, 1, PITH_PLANES);
        memset(bytes + t.row_bytes, 0xa5, size - (size_t)t.row_bytes);
        assert_int_equal((*f)->join(&p, 0, 1, ROWS - 1, plane, NULL), PITH_OK);
        assert_memory_equal(bytes, copy, size);
        plane[0].size--;
        pith_error err = {0};
        assert_int_equal((*f)->join(&p, 0, 1, ROWS - 1, plane, &err), PITH_CORRUPT);
        for (int k = 0; k < n; k++) memory_free(plane[k].data);
        pith_packed_release(&p);
        pith_tensor_release(&t);
    }
}

/* Bits a weight say how far off a Gaussian may be: bounds a little above what the search reaches. */
static void gaussian_rows_are_close(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double most; /* mean squared error over mean square */
    } bound[] = {{"f32", 0},       {"f16", 1e-6},    {"bf16", 1e-5},   {"q8_0", 3.4e-5},  {"q6_k", 4.5e-4},
                 {"q5_k", 1.5e-3}, {"q5_1", 1.7e-3}, {"q5_0", 2.1e-3}, {"q4_k", 6.2e-3},  {"q4_1", 6.6e-3},
                 {"q4_0", 7.8e-3}, {"iq4_nl", 6e-3}, {"iq4_xs", 6e-3}, {"mxfp4", 1.3e-2}, {"q3_k", 2.7e-2},
                 {"q2_k", 8e-2},   {"tq2_0", 0.2},   {"tq1_0", 0.2}};
    float w[ROWS * COLS];
    fill(w, ROWS * COLS, 1, false);
    double square = 0;
    for (int i = 0; i < ROWS * COLS; i++) square += (double)w[i] * w[i];
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        pith_packed p = packed(pith_format_by_name(bound[i].name), w, ROWS, COLS, NULL);
        double error = error_of(&p, w, NULL) / square;
        if (!(error <= bound[i].most)) fail_msg("%s: %g, expected at most %g", bound[i].name, error, bound[i].most);
        pith_packed_release(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(any_bytes_survive_splitting),
        cmocka_unit_test(gaussian_rows_are_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
