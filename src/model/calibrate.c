/* model/calibrate.c - sums of squared inputs of every matrix over a text.
 *
 * Source: llama.cpp tools/imatrix: for each matrix the sum over all tokens of x[column]^2, and how many tokens. Sums
 * are doubles, added token by token in their order and cut among threads by columns, so they do not depend on threads.
 * Cost: the forward pass, without the head's product, whose inputs are all that counts; memory: one double for each
 * column of each matrix. */
#include "model/calibrate.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "model/language_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WINDOW = 512, LEAST = 4, COLUMNS_A_TASK = 256 };

typedef struct collector {
    const linear **matrix; /* [count] */
    double **sum;          /* [count][columns] */
    double *rows;          /* [count] tokens seen */
    size_t count;
    imatrix *out; /* entry k belongs to matrix[k] */
} collector;

typedef struct addition {
    const float *x;
    double *sum;
    int64_t n, cols;
} addition;

static void add_columns(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const addition *a = user;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = begin; c < end; c++) a->sum[c] += (double)a->x[i * a->cols + c] * a->x[i * a->cols + c];
}

static void observe(void *user, const linear *w, const float *x, int64_t n) {
    collector *k = user;
    for (size_t i = 0; i < k->count; i++) {
        if (k->matrix[i] != w) continue;
        addition a = {.x = x, .sum = k->sum[i], .n = n, .cols = w->w.cols};
        parallel_for(a.cols, COLUMNS_A_TASK, add_columns, &a);
        k->rows[i] += (double)n;
    }
}

static void collector_free(collector *k) {
    for (size_t i = 0; i < k->count; i++) memory_free(k->sum[i]);
    memory_free(k->matrix);
    memory_free(k->sum);
    memory_free(k->rows);
}

static pith_status add_matrix(collector *k, const linear *w, const char *name, pith_error *err) {
    imatrix_entry *e;
    if (!w->w.format) return PITH_OK; /* a part this architecture lacks */
    pith_status s = imatrix_add(k->out, name, (uint64_t)w->w.cols, 1, &e, err);
    if (s != PITH_OK) return s;
    k->matrix[k->count] = w;
    k->sum[k->count] = memory_zero((size_t)w->w.cols, sizeof **k->sum);
    if (!k->sum[k->count]) return pith_fail(err, PITH_NO_MEMORY, name, -1, "out of memory");
    k->count++;
    return PITH_OK;
}

static pith_status add_block(collector *k, const llama *m, int64_t index, pith_error *err) {
    const llama_block *b = &m->blocks[index];
    const struct {
        const char *name;
        const linear *w;
    } parts[] = {{m->config.qkv_fused ? "attn_qkv" : "attn_q", &b->query},
                 {"attn_k", &b->key},
                 {"attn_v", &b->value},
                 {"attn_output", &b->output},
                 {"ffn_gate", &b->gate},
                 {"ffn_up", &b->up},
                 {"ffn_down", &b->down}};
    pith_status s = PITH_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && s == PITH_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%lld.%s.weight", (long long)index, parts[i].name);
        s = add_matrix(k, parts[i].w, name, err);
    }
    return s;
}

static pith_status collector_open(collector *k, const llama *m, imatrix *out, pith_error *err) {
    size_t room = (size_t)m->config.blocks * 7 + 1;
    *k = (collector){.out = out};
    k->matrix = memory_zero(room, sizeof *k->matrix);
    k->sum = memory_zero(room, sizeof *k->sum);
    k->rows = memory_zero(room, sizeof *k->rows);
    if (!k->matrix || !k->sum || !k->rows) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    pith_status s = PITH_OK;
    for (int64_t b = 0; b < m->config.blocks && s == PITH_OK; b++) s = add_block(k, m, b, err);
    return s == PITH_OK ? add_matrix(k, &m->head, m->config.tied ? "token_embd.weight" : "output.weight", err) : s;
}

static pith_status finish(const collector *k, pith_error *err) {
    for (size_t i = 0; i < k->count; i++) {
        imatrix_entry *e = &k->out->entries[i];
        e->count[0] = k->rows[i];
        for (uint64_t c = 0; c < e->inputs; c++) {
            e->mean[c] = (float)((float)k->sum[i][c] / k->rows[i]); /* rounded as a file's sum is */
            if (!isfinite(e->mean[c]))
                return pith_fail(err, PITH_NOT_FINITE, e->name, -1,
                                 "the model's activations are not finite (column %llu)", (unsigned long long)c);
        }
    }
    return PITH_OK;
}

static pith_status run_windows(const pith_context *c, const llama *m, token_list *ids, int32_t bos, int64_t window,
                               collector *k, pith_error *err) {
    int64_t windows = (int64_t)ids->count / window;
    llama_session *session = NULL;
    pith_status s = llama_session_new(&session, m, window, PITH_F16, err);
    if (s == PITH_OK) llama_session_observe(session, observe, k);
    for (int64_t i = 0; i < windows && s == PITH_OK; i++) {
        int32_t *tokens = ids->ids + i * window;
        if (bos >= 0) tokens[0] = bos;
        llama_session_rewind(session, 0);
        s = llama_session_append(session, tokens, window, window, NULL, err);
        if (s == PITH_OK) s = pith_progress(c, (double)(i + 1), (double)windows, "windows of calibration", err);
    }
    llama_session_free(session);
    return s;
}

/* dataset, chunks: what the file says of its origin. */
static pith_status describe(imatrix *out, const char *path, size_t tokens, int64_t window, pith_error *err) {
    out->chunks = (uint32_t)(tokens / (size_t)window);
    out->chunk_size = (uint32_t)window;
    out->dataset = memory_text(path);
    return out->dataset ? PITH_OK : pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
}

static pith_status collect(const pith_context *c, const llama *m, const tokenizer *t, const char *path, imatrix *out,
                           pith_error *err) {
    const token_vocab *vocab = tokenizer_vocab(t);
    pith_buffer *text = NULL;
    token_list ids = {0};
    collector k = {0};
    pith_status s = pith_buffer_map(&text, path, err);
    if (s == PITH_OK)
        s = tokenizer_encode(t, pith_buffer_data(text), (size_t)pith_buffer_size(text), TOKEN_ADD_START, &ids, err);
    if (s == PITH_OK && ids.count < LEAST)
        s = pith_fail(err, PITH_USAGE, path, -1, "expected a text of at least %d tokens, found %zu", LEAST, ids.count);
    int64_t window = ids.count < WINDOW ? (int64_t)ids.count : WINDOW;
    if (s == PITH_OK) s = collector_open(&k, m, out, err);
    if (s == PITH_OK) s = run_windows(c, m, &ids, vocab->add_bos ? vocab->bos : -1, window, &k, err);
    if (s == PITH_OK) s = finish(&k, err);
    if (s == PITH_OK) s = describe(out, path, ids.count, window, err);
    collector_free(&k);
    memory_free(ids.ids);
    pith_buffer_release(text);
    return s;
}

pith_status calibrate(const pith_context *c, model_source *s, const char *text_path, imatrix *out, pith_error *err) {
    llama *m = NULL;
    tokenizer *t = NULL;
    memset(out, 0, sizeof *out);
    pith_status status = llama_open(&m, s, c, err);
    if (status == PITH_OK) status = model_tokenizer(&t, s, err);
    if (status == PITH_OK) status = collect(c, m, t, text_path, out, err);
    tokenizer_free(t);
    llama_free(m);
    if (status != PITH_OK) imatrix_free(out);
    return status;
}
