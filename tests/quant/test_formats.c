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

/* ---- packing ---- */

static bool is_block(const pith_format *f) { return f->block > 1; }

/* Same bytes for every instruction set and thread count; the hash pins them across machines and versions: a change of
 * the search changes it, and every file written after. */
static void packed_bytes_are_pinned(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t plain, weighted;
    } pinned[] = {
        {"q8_0", 0xbdc35fc70d87ae6d, 0x5c96a6b35c342838},   {"q6_k", 0xd3964b3624ecd27b, 0xb90951fe453042ae},
        {"q5_k", 0x9db12572418fa058, 0x3badfc7d58cb96e7},   {"q5_1", 0xfdfba0283c64b04f, 0xa897612258149c37},
        {"q5_0", 0x42f904c21b0a1f89, 0xd8fa5d3cd8cb38a8},   {"q4_k", 0x7c86990880aa7ceb, 0xa2a5f4682673b37b},
        {"q4_1", 0x43049b34cb3808e7, 0xb20bf7fc60af0dd8},   {"q4_0", 0x3ce47de6cc6e0b7e, 0x8ac74737b1cb33b8},
        {"iq4_nl", 0x3f719ad3f789609f, 0xc525892e323f6e2d}, {"iq4_xs", 0x8daae6f7ea8a00aa, 0x6d28965169c65c73},
        {"mxfp4", 0x9463f40ece1bcac5, 0x36e733a1d6ab9459},  {"q3_k", 0xc33720d6136df735, 0x3942799a8959fc90},
        {"q2_k", 0x289b9e9a9ee51f49, 0x9ecbe8129b19652d},   {"tq2_0", 0x0f758bdf54aacc6d, 0x1dad4cc7133d0387},
        {"tq1_0", 0xf0713401c67f99f0, 0xe0f93b5bcd3ffc28}};
    enum { N = 65 }; /* an odd number of blocks */
    float *w = malloc(N * COLS * sizeof *w), importance[COLS];
    assert_non_null(w);
    fill(w, N * COLS / 2, 5, false);
    fill(w + N * COLS / 2, N * COLS - N * COLS / 2, 6, true);
    fill(importance, COLS, 7, true);
    for (int c = 0; c < COLS; c++) importance[c] = importance[c] * importance[c];
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++)
        for (int level = 0; level < ISA_LEVELS; level++)
            for (int threads = 1; threads <= 3; threads += 2) {
                isa_force((isa_level)level);
                parallel_set_threads(threads);
                for (int weighted = 0; weighted < 2; weighted++) {
                    pith_packed p =
                        packed(pith_format_by_name(pinned[i].name), w, N, COLS, weighted ? importance : NULL);
                    uint64_t hash = hash_bytes(p.part[0].data, pith_tensor_bytes(&p.part[0]));
                    if (hash != (weighted ? pinned[i].weighted : pinned[i].plain))
                        fail_msg("%s%s on %s, %d threads: 0x%016llx", pinned[i].name, weighted ? " weighted" : "",
                                 isa_name((isa_level)level), threads, (unsigned long long)hash);
                    pith_packed_release(&p);
                }
            }
    isa_force(isa_detected());
    parallel_set_threads(0);
    free(w);
}

/* All zero, one weight alone, constants of both signs, subnormals, the largest halves and beyond: finite and close. */
static void odd_rows(void **state) {
    (void)state;
    enum { KINDS = 8 };
    float w[KINDS * COLS] = {0};
    w[COLS + 77] = 0.3f;
    w[2 * COLS + 300] = -0.3f;
    for (int c = 0; c < COLS; c++) {
        w[3 * COLS + c] = 0.02f;
        w[4 * COLS + c] = -0.02f;
        w[5 * COLS + c] = c % 2 ? 1e-41f : -1e-39f;
        w[6 * COLS + c] = c % 3 ? 6e4f : -6e4f;
        w[7 * COLS + c] = c % 3 ? 3e38f : -1e38f;
    }
    for (const pith_format *const *f = pith_formats; *f; f++) {
        int kinds = (*f)->id == PITH_F16 ? KINDS - 1 : KINDS;
        pith_packed p = packed(*f, w, kinds, COLS, NULL);
        float out[KINDS * COLS];
        (*f)->to_f32(&p, 0, kinds, out);
        for (int i = 0; i < kinds * COLS; i++) assert_true(isfinite(out[i]));
        for (int c = 0; c < COLS; c++) {
            if (out[c] != 0) fail_msg("%s: a zero row holds %g", (*f)->name, (double)out[c]);
            for (int k = 3; k < 5; k++) /* MXFP4 has no better power of two than this */
                if (fabsf(out[k * COLS + c] - w[k * COLS + c]) > ((*f)->id == PITH_MXFP4 ? 0.2f : 0.01f) * 0.02f)
                    fail_msg("%s: constant row %d holds %g", (*f)->name, k, (double)out[k * COLS + c]);
        }
        for (int k = 1; k < 3; k++)
            for (int c = 0; c < COLS; c++) {
                float most = (*f)->id == PITH_MXFP4 && w[k * COLS + c] != 0 ? 0.06f : 0.006f;
                if (fabsf(out[k * COLS + c] - w[k * COLS + c]) > most)
                    fail_msg("%s: one-hot row %d column %d holds %g", (*f)->name, k, c, (double)out[k * COLS + c]);
            }
        pith_packed_release(&p);
    }
}

static void ternary_matrices_are_exact(void **state) {
    (void)state;
    float w[COLS], out[COLS];
    for (int c = 0; c < COLS; c++) w[c] = 0.0625f * (float)(c * 7 % 3 - 1);
    static const char *const exact[] = {"tq1_0", "tq2_0"};
    for (size_t i = 0; i < 2; i++) {
        pith_packed p = packed(pith_format_by_name(exact[i]), w, 1, COLS, NULL);
        p.format->to_f32(&p, 0, 1, out);
        for (int c = 0; c < COLS; c++)
            if (out[c] != w[c]) fail_msg("%s: %g became %g", exact[i], (double)w[c], (double)out[c]);
        pith_packed_release(&p);
    }
}

/* Weighing columns must lower the weighted error; heavy tails must not break anything. */
static void importance_is_heeded(void **state) {
    (void)state;
    float w[ROWS * COLS], importance[COLS];
    fill(w, ROWS * COLS, 8, true);
    for (int c = 0; c < COLS; c++) importance[c] = c % 8 ? 0.1f : 30.0f;
    for (const pith_format *const *f = pith_formats; *f; f++) {
        if (!is_block(*f)) continue;
        pith_packed plain = packed(*f, w, ROWS, COLS, NULL), weighted = packed(*f, w, ROWS, COLS, importance);
        double before = error_of(&plain, w, importance), after = error_of(&weighted, w, importance);
        if (after > before * 0.97) fail_msg("%s: weighted error %g, without importance %g", (*f)->name, after, before);
        if (error_of(&plain, w, NULL) > error_of(&weighted, w, NULL)) fail_msg("%s: plain error", (*f)->name);
        pith_packed_release(&plain);
        pith_packed_release(&weighted);
    }
}

/* A fine grid over scales (and offsets) that fit the file: the search may not be much worse. */
static double brute_force(const float *w, const search_plan *plan) {
    float most = 0;
    double least = INFINITY;
    for (int e = 0; e < 32; e++) most = fmaxf(most, fabsf(w[e]));
    bool affine = plan->kind == SEARCH_AFFINE;
    float steps = (float)(plan->high - plan->low);
    for (int i = -400; i <= 400; i++)
        for (int k = affine ? -40 : 0; k <= (affine ? 40 : 0); k++) {
            float d = pith_f16_to_f32(pith_f32_to_f16((float)i * most * 3 / 400 / steps)), m = (float)k * most / 40;
            m = pith_f16_to_f32(pith_f32_to_f16(m));
            double error = 0;
            for (int e = 0; e < 32; e++) {
                float q = d != 0 ? rintf((w[e] - m) / d) : 0;
                q = fminf(fmaxf(q, plan->low), plan->high);
                double off = (double)(q * d + m) - w[e];
                error += off * off;
            }
            if (error < least) least = error;
        }
    return least;
}

static void search_is_near_brute_force(void **state) {
    (void)state;
    static const char *const names[] = {"q4_0", "q4_1", "q5_0"};
    for (size_t i = 0; i < 3; i++) {
        const pith_format *f = pith_format_by_name(names[i]);
        double found = 0, best = 0;
        for (uint64_t seed = 0; seed < 20; seed++) {
            float w[32];
            fill(w, 32, 100 + seed, seed % 2);
            pith_packed p = packed(f, w, 1, 32, NULL);
            found += error_of(&p, w, NULL);
            best += brute_force(w, &((const block_codec *)f)->plan);
            pith_packed_release(&p);
        }
        if (found > 1.03 * best) fail_msg("%s: error %g, brute force %g", names[i], found, best);
    }
}

static void what_is_not_finite_is_refused(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float w[ROWS * COLS];
    for (const pith_format *const *f = pith_formats; *f; f++)
        for (int k = 0; k < 3; k++) {
            fill(w, ROWS * COLS, 9, false);
            w[4 * COLS + 100] = w[5 * COLS + 3] = bad[k];
            pith_packed p = {0};
            pith_error err = {0};
            pith_pack_input in = {.w = w, .rows = ROWS, .cols = COLS};
            assert_int_equal((*f)->pack(NULL, &in, &p, &err), PITH_NOT_FINITE);
            assert_non_null(strstr(err.text, "row 4, column 100"));
            assert_null(p.part[0].data);
            err = (pith_error){0};
            in.options = "x=1";
            assert_int_not_equal((*f)->pack(NULL, &in, &p, &err), PITH_OK);
            if (!is_block(*f)) continue;
            fill(w, ROWS * COLS, 9, false);
            float importance[COLS] = {0};
            importance[9] = bad[k];
            in = (pith_pack_input){.w = w, .importance = importance, .rows = ROWS, .cols = COLS};
            assert_int_equal((*f)->pack(NULL, &in, &p, NULL), PITH_NOT_FINITE);
        }
    pith_packed p = {0};
    pith_pack_input in = {.w = w, .rows = 1, .cols = 100};
    assert_int_equal(pith_format_by_name("q4_0")->pack(NULL, &in, &p, NULL), PITH_MISMATCH);
    in.rows = 0, in.cols = 256;
    assert_int_equal(pith_format_by_name("q4_k")->pack(NULL, &in, &p, NULL), PITH_OK);
    pith_packed_release(&p);
}

/* Random bit patterns, from subnormals to the largest floats side by side. */
static void any_finite_weights_stay_finite(void **state) {
    (void)state;
    float w[ROWS * COLS], importance[COLS], out[ROWS * COLS];
    rng r = rng_new(12, 0);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < ROWS * COLS; i++) {
            uint32_t bits = rng_u32(&r);
            memcpy(&w[i], &bits, 4);
            if (!isfinite(w[i]) || (round == 3 && i % 32)) w[i] = 0;
        }
        for (int c = 0; c < COLS; c++) importance[c] = ldexpf(rng_float(&r), (int)rng_below(&r, 250) - 125);
        for (const pith_format *const *f = pith_formats; *f; f++) {
            if (!is_block(*f)) continue;
            pith_packed p = packed(*f, w, ROWS, COLS, round % 2 ? importance : NULL);
            (*f)->to_f32(&p, 0, ROWS, out);
            for (int i = 0; i < ROWS * COLS; i++)
                if (!isfinite(out[i])) fail_msg("%s: %g became %g", (*f)->name, (double)w[i], (double)out[i]);
            pith_packed_release(&p);
        }
    }
}

static bool stop_at_once(void *user, double done, double total, const char *unit) {
    (void)user, (void)done, (void)total, (void)unit;
    return false;
}

static void packing_fails_cleanly(void **state) {
    (void)state;
    float w[ROWS * COLS], importance[COLS];
    fill(w, ROWS * COLS, 9, false);
    for (int c = 0; c < COLS; c++) importance[c] = 1;
    pith_context c;
    pith_context_default(&c);
    c.progress = stop_at_once;
    for (const pith_format *const *f = pith_formats; *f; f++) {
        pith_packed p = {0};
        pith_pack_input in = {.w = w, .importance = importance, .rows = ROWS, .cols = COLS};
        assert_int_equal((*f)->pack(&c, &in, &p, NULL), PITH_INTERRUPTED);
        for (int64_t n = 1;; n++) {
            memory_fail_at(n);
            pith_status s = (*f)->pack(NULL, &in, &p, NULL);
            memory_fail_at(0);
            if (s == PITH_OK) break;
            assert_int_equal(s, PITH_NO_MEMORY);
            assert_null(p.part[0].data);
        }
        for (int64_t n = 1;; n++) {
            pith_bytes plane[PITH_PLANES];
            memory_fail_at(n);
            int planes = (*f)->split(&p, 0, 0, ROWS, plane);
            memory_fail_at(0);
            for (int k = 0; k < planes; k++) memory_free(plane[k].data);
            if (planes > 0) break;
            assert_int_equal(planes, -1);
        }
        pith_packed_release(&p);
    }
}

/* ---- reading ---- */

static void hostile_tensors_are_refused(void **state) {
    (void)state;
    pith_tensor t;
    int64_t shape[2] = {2, 256};
    assert_int_equal(pith_tensor_new(&t, PITH_Q4_K, 2, shape, NULL), PITH_OK);
    pith_packed p;
    assert_int_equal(pith_packed_from_tensor(&p, &t, NULL), PITH_OK);
    pith_packed broken = p;
    broken.rows = 3;
    assert_int_equal(p.format->check(&broken, NULL), PITH_CORRUPT);
    broken = p, broken.part[0].shape[0] = broken.rows = 1 << 20;
    assert_int_equal(p.format->check(&broken, NULL), PITH_TRUNCATED);
    broken = p, broken.cols = broken.part[0].shape[1] = 255;
    assert_int_equal(p.format->check(&broken, NULL), PITH_MISMATCH);
    broken = p, broken.part[0].data = NULL;
    assert_int_not_equal(p.format->check(&broken, NULL), PITH_OK);
    pith_packed_release(&p);
    pith_tensor_release(&t);
    assert_int_equal(pith_tensor_new(&t, PITH_I32, 2, shape, NULL), PITH_OK);
    assert_int_equal(pith_packed_from_tensor(&p, &t, NULL), PITH_UNSUPPORTED);
    pith_tensor_release(&t);
    assert_int_equal(pith_tensor_new(&t, PITH_F32, 0, shape, NULL), PITH_OK);
    assert_int_equal(pith_packed_from_tensor(&p, &t, NULL), PITH_MISMATCH);
    pith_tensor_release(&t);
}

/* A tensor of rank 3 is read as a matrix of its rows. */
static void products_agree_with_decoding(void **state) {
    (void)state;
    float w[ROWS * COLS], x[3 * COLS], out[COLS];
    fill(w, ROWS * COLS, 2, false);
    fill(x, 3 * COLS, 3, false);
    for (const pith_format *const *f = pith_formats; *f; f++) {
        if ((*f)->activation != PITH_F32) continue;
        pith_packed p = packed(*f, w, ROWS, COLS, NULL);
        float y[3 * (ROWS + 1)];
        (*f)->mul(&p, NULL, x, 3, 0, 2, y, ROWS + 1);
        (*f)->mul(&p, NULL, x, 3, 2, ROWS - 2, y, ROWS + 1);
        for (int r = 0; r < ROWS; r++) {
            (*f)->to_f32(&p, r, 1, out);
            for (int i = 0; i < 3; i++) {
                double sum = 0;
                for (int c = 0; c < COLS; c++) sum += (double)out[c] * x[i * COLS + c];
                assert_true(fabs(sum - y[i * (ROWS + 1) + r]) < 1e-5);
            }
        }
        pith_packed_release(&p);
    }
}

/* Blocks of pseudo-random bytes (halves made finite) and the sum of bits of what ggml's reference makes of them. */
static void decoding_is_ggmls(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t hash;
    } pinned[] = {{"q8_0", 0xdb16502c8bfdc588},   {"q6_k", 0x796ee8915969a2db},  {"q5_k", 0xb48e7918d73c3bd7},
                  {"q5_1", 0xd392154adbcf8013},   {"q5_0", 0x451208971e928ca5},  {"q4_k", 0x4523ff5d910eab56},
                  {"q4_1", 0xe465f706442faad2},   {"q4_0", 0x76b46d9aad40ffd0},  {"iq4_nl", 0xc98ad14a3a2fce12},
                  {"iq4_xs", 0x39f2d2693a8e6988}, {"mxfp4", 0xd4e05c0313dc4e47}, {"q3_k", 0xa5df08bb205c9c06},
                  {"q2_k", 0x0e1ed48b2e85de47},   {"tq2_0", 0xed5a646c334864d8}, {"tq1_0", 0x340ef7c18c8b89ef}};
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        const pith_format *f = pith_format_by_name(pinned[i].name);
        pith_tensor t;
        int64_t shape[2] = {ROWS, COLS};
        assert_int_equal(pith_tensor_new(&t, f->id, 2, shape, NULL), PITH_OK);
        uint32_t v = 1;
        for (uint64_t k = 0; k < pith_tensor_bytes(&t); k++) {
            v = v * 1664525u + 1013904223u;
            ((uint8_t *)t.data)[k] = (uint8_t)(v >> 24 & 0xbb); /* no half float has all its exponent bits */
        }
        pith_packed p;
        assert_int_equal(pith_packed_from_tensor(&p, &t, NULL), PITH_OK);
        float out[ROWS * COLS];
        f->to_f32(&p, 0, ROWS, out);
        uint64_t hash = hash_bytes(out, sizeof out);
        if (hash != pinned[i].hash) fail_msg("%s: 0x%016llx", f->name, (unsigned long long)hash);
        pith_packed_release(&p);
        pith_tensor_release(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(any_bytes_survive_splitting),
        cmocka_unit_test(gaussian_rows_are_close),
        cmocka_unit_test(packed_bytes_are_pinned),
        cmocka_unit_test(odd_rows),
        cmocka_unit_test(ternary_matrices_are_exact),
        cmocka_unit_test(importance_is_heeded),
        cmocka_unit_test(search_is_near_brute_force),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(any_finite_weights_stay_finite),
        cmocka_unit_test(packing_fails_cleanly),
        cmocka_unit_test(hostile_tensors_are_refused),
        cmocka_unit_test(products_agree_with_decoding),
        cmocka_unit_test(decoding_is_ggmls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
