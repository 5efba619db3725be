/* Calibration: sums against those computed by hand for the first block, whatever the number of threads, and both file
 * forms. */
#include "harness.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "model/calibrate.h"
#include "model/language_model.h"

#include <math.h>
#include <unistd.h>

static char text_path[] = "/tmp/pith-calibrate-XXXXXX";
static model_source *source;

static int set_up(void **state) {
    (void)state;
    int fd = mkstemp(text_path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) return -1;
    for (int i = 0; i < 40; i++) fprintf(f, "Number %d met number %d.\n", i, i * i);
    fclose(f);
    return model_source_open(&source, PITH_SOURCE_DIR "/share/lm-s.pith", NULL, NULL) == PITH_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    unlink(text_path);
    model_source_close(source);
    return 0;
}

static void measure(imatrix *m, int threads) {
    pith_context c;
    pith_error err = {0};
    pith_context_default(&c);
    c.threads = threads;
    parallel_set_threads(threads);
    if (calibrate(&c, source, text_path, m, &err) != PITH_OK) fail_msg("%s: %s", err.where, err.text);
    parallel_set_threads(0);
}

/* What enters the first block: embeddings, divided by their root mean square, times the norm's weights. */
static void first_block_by_hand(const llama *m, const int32_t *ids, int64_t n, double *mean) {
    int64_t width = m->config.width;
    float *x = malloc((size_t)width * sizeof *x);
    void *scratch = malloc(linear_scratch(1, width));
    memset(mean, 0, (size_t)width * sizeof *mean);
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        llama_embedding(m, ids[i], x, scratch);
        for (int64_t c = 0; c < width; c++) square += (double)x[c] * x[c] / (double)width;
        for (int64_t c = 0; c < width; c++)
            mean[c] +=
                pow(x[c] * m->blocks[0].attention_norm.weight[c], 2) / (square + m->config.norm_epsilon) / (double)n;
    }
    free(x);
    free(scratch);
}

static void sums_are_those_by_hand(void **state) {
    (void)state;
    imatrix m;
    llama *l;
    tokenizer *t;
    pith_buffer *text;
    token_list ids = {0};
    measure(&m, 0);
    assert_int_equal(llama_open(&l, source, NULL, NULL), PITH_OK);
    assert_int_equal(model_tokenizer(&t, source, NULL), PITH_OK);
    assert_int_equal(pith_buffer_map(&text, text_path, NULL), PITH_OK);
    assert_int_equal(
        tokenizer_encode(t, pith_buffer_data(text), (size_t)pith_buffer_size(text), TOKEN_ADD_START, &ids, NULL),
        PITH_OK);
    int64_t n = (int64_t)ids.count / 512 * 512, width = l->config.width;
    double *mean = malloc((size_t)width * sizeof *mean);
    assert_true(n >= 512);
    for (int64_t i = 0; i < n && tokenizer_vocab(t)->add_bos; i += 512) ids.ids[i] = tokenizer_vocab(t)->bos;
    first_block_by_hand(l, ids.ids, n, mean);
    assert_int_equal(m.count, l->config.blocks * 7 + 1);
    const char *const same[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"};
    for (size_t k = 0; k < 3; k++) {
        const imatrix_entry *e = imatrix_find(&m, same[k]);
        assert_non_null(e);
        assert_int_equal(e->inputs, width);
        assert_true(e->count[0] == (double)n);
        for (int64_t c = 0; c < width; c++)
            if (!(fabs(e->mean[c] - mean[c]) <= 1e-4 * mean[c]))
                fail_msg("%s column %d: expected %g, found %g", same[k], (int)c, mean[c], e->mean[c]);
    }
    free(mean);
    memory_free(ids.ids);
    pith_buffer_release(text);
    tokenizer_free(t);
    llama_free(l);
    imatrix_free(&m);
}

static void threads_change_nothing(void **state) {
    (void)state;
    imatrix a, b;
    measure(&a, 1);
    measure(&b, 2);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_memory_equal(a.entries[i].mean, b.entries[i].mean, a.entries[i].inputs * sizeof(float));
    imatrix_free(&a);
    imatrix_free(&b);
}

static void files_keep_it(void **state) {
    (void)state;
    imatrix a, b;
    measure(&a, 0);
    for (int old = 0; old < 2; old++) {
        char path[64];
        snprintf(path, sizeof path, "%s%s", text_path, old ? ".dat" : ".gguf");
        assert_int_equal(imatrix_write(&a, path, true, NULL), PITH_OK);
        assert_int_equal(imatrix_read(&b, path, NULL), PITH_OK);
        unlink(path);
        assert_int_equal(a.count, b.count);
        assert_int_equal(a.chunks, b.chunks);
        assert_string_equal(a.dataset, b.dataset);
        for (size_t i = 0; i < a.count; i++)
            for (uint64_t c = 0; c < a.entries[i].inputs; c++)
                assert_true(fabsf(a.entries[i].mean[c] - b.entries[i].mean[c]) <= 1e-6f * a.entries[i].mean[c]);
        imatrix_free(&b);
    }
    imatrix_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_are_those_by_hand),
                                       cmocka_unit_test(threads_change_nothing), cmocka_unit_test(files_keep_it)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
