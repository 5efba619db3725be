/* tensor/dnnl.c - oneDNN behind pith's own interfaces. */
#include "tensor/dnnl.h"

#if !defined(PITH_DNNL)

bool onednn_usable(void) { return false; }
bool onednn_gemm(const gemm *g, arena *scratch) {
    (void)g, (void)scratch;
    return false;
}

#else

#include "base/isa.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "tensor/tensor.h"

#include <assert.h>
#include <dnnl.h>
#include <string.h>

bool onednn_usable(void) { return isa_active() == isa_detected() && isa_active() >= ISA_AVX2; }

/* --- what is kept from call to call ------------------------------------------------------------------------------ */

enum { KEY = 20, SLOTS = 4096, ARGS = 6 };

typedef struct entry { /* one primitive, ready to run */
    int64_t key[KEY];
    dnnl_primitive_t primitive; /* NULL: oneDNN has no fast way for this key */
    dnnl_memory_t memory[ARGS];
    int argument[ARGS], args;
    dnnl_memory_t scratch;
    size_t scratch_bytes;
    bool used;
} entry;

static struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t plain, sum; /* user scratchpad; sum: adds to the output */
    entry *table;
    size_t count;
    bool broken;
} lib;

static bool open_library(void) {
    if (lib.table) return true;
    if (lib.broken) return false;
    dnnl_post_ops_t post = NULL;
    lib.broken = true;
    if (dnnl_engine_create(&lib.engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&lib.stream, lib.engine, dnnl_stream_default_flags) != dnnl_success ||
        dnnl_primitive_attr_create(&lib.plain) != dnnl_success ||
        dnnl_primitive_attr_set_scratchpad_mode(lib.plain, dnnl_scratchpad_mode_user) != dnnl_success ||
        dnnl_primitive_attr_clone(&lib.sum, lib.plain) != dnnl_success || dnnl_post_ops_create(&post) != dnnl_success ||
        dnnl_post_ops_append_sum(post, 1.0f) != dnnl_success ||
        dnnl_primitive_attr_set_post_ops(lib.sum, post) != dnnl_success)
        return false;
    dnnl_post_ops_destroy(post);
    lib.table = memory_zero(SLOTS, sizeof *lib.table);
    lib.broken = !lib.table;
    return lib.table != NULL;
}

static uint64_t hash_key(const int64_t *key) {
    uint64_t h = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < KEY; i++) h = (h ^ (uint64_t)key[i]) * 0xD6E8FEB86659FD93u, h ^= h >> 32;
    return h;
}

static void drop_entries(void) {
    for (size_t i = 0; i < SLOTS; i++) {
        entry *e = &lib.table[i];
        for (int k = 0; k < e->args; k++) dnnl_memory_destroy(e->memory[k]);
        if (e->scratch) dnnl_memory_destroy(e->scratch);
        if (e->primitive) dnnl_primitive_destroy(e->primitive);
    }
    memset(lib.table, 0, SLOTS * sizeof *lib.table);
    lib.count = 0;
}

/* The entry of `key`; *found tells whether it was made before. */
static entry *find_entry(const int64_t *key, bool *found) {
    if (lib.count > SLOTS / 2) drop_entries();
    size_t at = hash_key(key) % SLOTS;
    while (lib.table[at].used && memcmp(lib.table[at].key, key, sizeof lib.table[at].key) != 0) at = (at + 1) % SLOTS;
    entry *e = &lib.table[at];
    *found = e->used;
    if (!e->used) {
        memcpy(e->key, key, sizeof e->key);
        e->used = true;
        lib.count++;
    }
    return e;
}

/* Keeps the primitive of `pd` unless it is a reference implementation; destroys pd. */
static bool adopt(entry *e, dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    bool slow = !name || strncmp(name, "ref", 3) == 0 || strncmp(name, "simple", 6) == 0;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (!slow && md && dnnl_memory_desc_get_size(md) > 0) {
        e->scratch_bytes = dnnl_memory_desc_get_size(md);
        if (dnnl_memory_create(&e->scratch, md, lib.engine, DNNL_MEMORY_NONE) != dnnl_success) slow = true;
    }
    if (!slow && dnnl_primitive_create(&e->primitive, pd) != dnnl_success) e->primitive = NULL;
    dnnl_primitive_desc_destroy(pd);
    return e->primitive != NULL;
}

static bool add_argument(entry *e, int argument, const dnnl_memory_desc_t *md) {
    assert(e->args < ARGS);
    if (dnnl_memory_create(&e->memory[e->args], md, lib.engine, DNNL_MEMORY_NONE) != dnnl_success) {
        if (e->primitive) dnnl_primitive_destroy(e->primitive);
        e->primitive = NULL;
        return false;
    }
    e->argument[e->args++] = argument;
    return true;
}

static bool execute(entry *e, void *const *data, arena *scratch) {
    dnnl_exec_arg_t args[ARGS + 1];
    for (int i = 0; i < e->args; i++) {
        dnnl_memory_set_data_handle_v2(e->memory[i], data[i], lib.stream);
        args[i] = (dnnl_exec_arg_t){e->argument[i], e->memory[i]};
    }
    int n = e->args;
    size_t mark = arena_mark(scratch);
    if (e->scratch) {
        void *space = arena_alloc(scratch, e->scratch_bytes);
        assert(space && "scratch arena is full");
        dnnl_memory_set_data_handle_v2(e->scratch, space, lib.stream);
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, e->scratch};
    }
    bool ok = dnnl_primitive_execute(e->primitive, lib.stream, n, args) == dnnl_success &&
              dnnl_stream_wait(lib.stream) == dnnl_success;
    arena_release(scratch, mark);
    return ok;
}

/* --- matrix products --------------------------------------------------------------------------------------------- */

/* A matrix as dnnl sees it, of rank 2, or 3 in a batch; `shared`: the same for the whole batch. */
static dnnl_memory_desc_t matrix(int64_t batch, bool shared, int64_t rows, int64_t cols, int64_t stride, int64_t ld,
                                 bool transposed, dnnl_data_type_t type) {
    dnnl_memory_desc_t md;
    dnnl_dims_t dims = {shared ? 1 : batch, rows, cols};
    dnnl_dims_t strides = {shared ? rows * cols : stride, transposed ? 1 : ld, transposed ? ld : 1};
    int skip = batch == 1;
    memmove(dims, dims + skip, 3 * sizeof *dims);
    memmove(strides, strides + skip, 3 * sizeof *strides);
    dnnl_memory_desc_init_by_strides(&md, 3 - skip, dims, type, strides);
    return md;
}

static void make_gemm(entry *e, const gemm *g, int64_t batch, dnnl_data_type_t type) {
    dnnl_memory_desc_t a = matrix(batch, g->sa == 0, g->m, g->k, g->sa, g->lda, g->ta, type),
                       b = matrix(batch, g->sb == 0, g->k, g->n, g->sb, g->ldb, g->tb, type),
                       c = matrix(batch, false, g->m, g->n, g->sc, g->ldc, false, dnnl_f32),
                       bias = matrix(batch, true, 1, g->n, g->n, g->n, false, dnnl_f32);
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd = NULL;
    if (dnnl_matmul_desc_init(&d, &a, &b, g->bias ? &bias : NULL, &c) != dnnl_success ||
        dnnl_primitive_desc_create(&pd, &d, g->add ? lib.sum : lib.plain, lib.engine, NULL) != dnnl_success)
        return;
    if (!adopt(e, pd)) return;
    if (add_argument(e, DNNL_ARG_SRC, &a) && add_argument(e, DNNL_ARG_WEIGHTS, &b) &&
        add_argument(e, DNNL_ARG_DST, &c) && g->bias)
        add_argument(e, DNNL_ARG_BIAS, &bias);
}

typedef struct halves {
    const float *from;
    uint16_t *to;
} halves;

static void to_half(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const halves *h = user;
    pith_from_f32(PITH_BF16, h->from + begin, end - begin, h->to + begin);
}

/* All floats a matrix of the batch touches, as bf16 at the same places. */
static const uint16_t *half_copy(const float *x, int64_t rows, int64_t ld, int64_t cols, int64_t batch, int64_t stride,
                                 arena *scratch) {
    int64_t n = (rows - 1) * ld + cols + (batch - 1) * stride;
    halves h = {x, arena_alloc(scratch, (size_t)n * sizeof(uint16_t))};
    assert(h.to && "scratch arena is full");
    parallel_for(n, 1 << 15, to_half, &h);
    return h.to;
}

bool onednn_gemm(const gemm *g, arena *scratch) {
    if (!open_library() || g->k == 0) return false;
    int64_t batch = g->batch ? g->batch : 1;
    bool half = g->bf16 && isa_active() == ISA_AVX512;
    int64_t key[KEY] = {1,
                        g->m,
                        g->n,
                        g->k,
                        g->lda,
                        g->ldb,
                        g->ldc,
                        g->ta | g->tb << 1 | g->add << 2 | half << 3,
                        g->bias != NULL,
                        batch,
                        g->sa,
                        g->sb,
                        g->sc,
                        parallel_threads()};
    bool found;
    entry *e = find_entry(key, &found);
    if (!found) make_gemm(e, g, batch, half ? dnnl_bf16 : dnnl_f32);
    if (!e->primitive) return false;
    size_t mark = arena_mark(scratch);
    const void *a = g->a, *b = g->b;
    if (half) {
        a = g->a16 ? g->a16 : half_copy(g->a, g->ta ? g->k : g->m, g->lda, g->ta ? g->m : g->k, batch, g->sa, scratch);
        b = g->b16 ? g->b16 : half_copy(g->b, g->tb ? g->n : g->k, g->ldb, g->tb ? g->k : g->n, batch, g->sb, scratch);
    }
    bool ok = execute(e, (void *[]){(void *)a, (void *)b, g->c, (void *)g->bias}, scratch);
    arena_release(scratch, mark);
    return ok;
}

#endif
