/* tensor/dnnl.c - oneDNN behind pith's own interfaces. */
#include "tensor/dnnl.h"

#if !defined(PITH_DNNL)

bool onednn_usable(void) { return false; }
bool onednn_gemm(const gemm *g, arena *scratch) {
    (void)g, (void)scratch;
    return false;
}
bool onednn_conv_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    (void)v, (void)x, (void)w, (void)bias, (void)y, (void)scratch;
    return false;
}
bool onednn_conv_backward_data(const conv *v, const float *dy, const float *w, float *dx, arena *scratch) {
    (void)v, (void)dy, (void)w, (void)dx, (void)scratch;
    return false;
}
bool onednn_conv_backward_weights(const conv *v, const float *x, const float *dy, float *dw, arena *scratch) {
    (void)v, (void)x, (void)dy, (void)dw, (void)scratch;
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

enum { KEY = 20, SLOTS = 4096, ARGS = 4 };

typedef struct operand { /* an argument; where the primitive wants another layout or type, with its conversion */
    int argument;
    bool output;
    dnnl_memory_t outside, inside; /* the same unless converted */
    dnnl_primitive_t convert;
    size_t bytes; /* of the converted copy */
} operand;

typedef struct entry { /* one primitive, ready to run */
    int64_t key[KEY];
    dnnl_primitive_t primitive; /* NULL: oneDNN has no fast way for this key */
    operand operand[ARGS];
    int args;
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

static void drop_operand(operand *o) {
    if (o->inside != o->outside) dnnl_memory_destroy(o->inside);
    dnnl_memory_destroy(o->outside);
    if (o->convert) dnnl_primitive_destroy(o->convert);
}

static void drop_entries(void) {
    for (size_t i = 0; i < SLOTS; i++) {
        entry *e = &lib.table[i];
        for (int k = 0; k < e->args; k++) drop_operand(&e->operand[k]);
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

static bool make_conversion(operand *o, const dnnl_memory_desc_t *outside, const dnnl_memory_desc_t *inside) {
    dnnl_primitive_desc_t pd = NULL;
    const dnnl_memory_desc_t *from = o->output ? inside : outside, *to = o->output ? outside : inside;
    if (dnnl_memory_create(&o->inside, inside, lib.engine, DNNL_MEMORY_NONE) != dnnl_success ||
        dnnl_reorder_primitive_desc_create(&pd, from, lib.engine, to, lib.engine, NULL) != dnnl_success)
        return false;
    o->bytes = dnnl_memory_desc_get_size(inside);
    bool ok = dnnl_primitive_create(&o->convert, pd) == dnnl_success;
    dnnl_primitive_desc_destroy(pd);
    return ok;
}

/* An argument as the caller has it (outside) and as the primitive wants it. On failure the entry is of no use. */
static bool add_operand(entry *e, int argument, bool output, const dnnl_memory_desc_t *outside,
                        const dnnl_memory_desc_t *inside) {
    assert(e->args < ARGS);
    operand *o = &e->operand[e->args++];
    *o = (operand){.argument = argument, .output = output};
    bool ok = dnnl_memory_create(&o->outside, outside, lib.engine, DNNL_MEMORY_NONE) == dnnl_success;
    o->inside = o->outside;
    if (ok && !dnnl_memory_desc_equal(outside, inside)) ok = make_conversion(o, outside, inside);
    if (!ok && e->primitive) {
        dnnl_primitive_destroy(e->primitive);
        e->primitive = NULL;
    }
    return ok;
}

static bool run_conversion(const operand *o) {
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, o->output ? o->inside : o->outside},
                               {DNNL_ARG_TO, o->output ? o->outside : o->inside}};
    return dnnl_primitive_execute(o->convert, lib.stream, 2, args) == dnnl_success;
}

static void *space(arena *scratch, size_t bytes) {
    void *p = arena_alloc(scratch, bytes);
    assert(p && "scratch arena is full");
    return p;
}

static bool execute(entry *e, void *const *data, arena *scratch) {
    dnnl_exec_arg_t args[ARGS + 1];
    size_t mark = arena_mark(scratch);
    bool ok = true;
    for (int i = 0; i < e->args; i++) {
        operand *o = &e->operand[i];
        dnnl_memory_set_data_handle_v2(o->outside, data[i], lib.stream);
        if (o->convert) dnnl_memory_set_data_handle_v2(o->inside, space(scratch, o->bytes), lib.stream);
        if (o->convert && !o->output) ok = ok && run_conversion(o);
        args[i] = (dnnl_exec_arg_t){o->argument, o->inside};
    }
    int n = e->args;
    if (e->scratch) {
        dnnl_memory_set_data_handle_v2(e->scratch, space(scratch, e->scratch_bytes), lib.stream);
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, e->scratch};
    }
    ok = ok && dnnl_primitive_execute(e->primitive, lib.stream, n, args) == dnnl_success;
    for (int i = 0; i < e->args; i++)
        if (e->operand[i].convert && e->operand[i].output) ok = ok && run_conversion(&e->operand[i]);
    ok = dnnl_stream_wait(lib.stream) == dnnl_success && ok;
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
    if (add_operand(e, DNNL_ARG_SRC, false, &a, &a) && add_operand(e, DNNL_ARG_WEIGHTS, false, &b, &b) &&
        add_operand(e, DNNL_ARG_DST, true, &c, &c) && g->bias)
        add_operand(e, DNNL_ARG_BIAS, false, &bias, &bias);
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
    bool half = g->bf16 && isa_active() >= ISA_AVX512;
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

/* --- convolutions ------------------------------------------------------------------------------------------------- */

typedef enum pass { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } pass;

typedef struct conv_descs {
    dnnl_memory_desc_t x, w, y, bias;    /* as pith has them */
    dnnl_memory_desc_t x_in, w_in, y_in; /* as the primitive may choose them */
    dnnl_dims_t strides, before, after;
} conv_descs;

static conv_descs describe(const conv *v) {
    conv_descs d;
    dnnl_dims_t x = {v->n, v->c, v->h, v->w}, y = {v->n, v->o, v->oh, v->ow}, bias = {v->o};
    dnnl_data_type_t type = v->bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_init_by_tag(&d.x, 4, x, dnnl_f32, dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&d.y, 4, y, dnnl_f32, dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&d.bias, 1, bias, dnnl_f32, dnnl_a);
    dnnl_memory_desc_init_by_tag(&d.x_in, 4, x, type, dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&d.y_in, 4, y, type, dnnl_nhwc);
    int64_t in = v->c / v->groups, out = v->o / v->groups;
    if (v->groups == 1) {
        dnnl_dims_t w = {out, in, v->kh, v->kw};
        dnnl_memory_desc_init_by_tag(&d.w, 4, w, dnnl_f32, dnnl_acdb);
        dnnl_memory_desc_init_by_tag(&d.w_in, 4, w, type, dnnl_format_tag_any);
    } else {
        dnnl_dims_t w = {v->groups, out, in, v->kh, v->kw};
        dnnl_dims_t strides = {out * v->kh * v->kw * in, v->kh * v->kw * in, 1, v->kw * in, in};
        dnnl_memory_desc_init_by_strides(&d.w, 5, w, dnnl_f32, strides);
        dnnl_memory_desc_init_by_tag(&d.w_in, 5, w, type, dnnl_format_tag_any);
    }
    d.strides[0] = d.strides[1] = v->stride;
    d.before[0] = d.before[1] = v->pad;
    d.after[0] = (v->oh - 1) * v->stride + v->kh - v->h - v->pad;
    d.after[1] = (v->ow - 1) * v->stride + v->kw - v->w - v->pad;
    return d;
}

/* The primitive descriptor of a pass, NULL if there is none. Backward needs the forward one as a hint. */
static dnnl_primitive_desc_t conv_desc(const conv_descs *d, pass p, bool bias, dnnl_primitive_desc_t hint) {
    dnnl_convolution_desc_t c;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s;
    if (p == FORWARD)
        s = dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, dnnl_convolution_direct, &d->x_in, &d->w_in,
                                               bias ? &d->bias : NULL, &d->y_in, d->strides, d->before, d->after);
    else if (p == BACKWARD_DATA)
        s = dnnl_convolution_backward_data_desc_init(&c, dnnl_convolution_direct, &d->x_in, &d->w_in, &d->y_in,
                                                     d->strides, d->before, d->after);
    else
        s = dnnl_convolution_backward_weights_desc_init(&c, dnnl_convolution_direct, &d->x_in, &d->w_in, NULL, &d->y_in,
                                                        d->strides, d->before, d->after);
    if (s != dnnl_success || dnnl_primitive_desc_create(&pd, &c, lib.plain, lib.engine, hint) != dnnl_success)
        return NULL;
    return pd;
}

static void make_conv(entry *e, const conv *v, pass p, bool bias) {
    conv_descs d = describe(v);
    dnnl_primitive_desc_t forward = conv_desc(&d, FORWARD, bias && p == FORWARD, NULL), pd = forward;
    if (!forward) return;
    if (p != FORWARD) {
        pd = conv_desc(&d, p, false, forward);
        dnnl_primitive_desc_destroy(forward);
        if (!pd) return;
    }
    static const dnnl_query_t queries[3][3] = {{dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
                                               {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
                                               {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md}};
    static const int arguments[3][3] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                                        {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                                        {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
    static const int output[3] = {2, 0, 1};
    const dnnl_memory_desc_t *outside[3] = {&d.x, &d.w, &d.y};
    dnnl_memory_desc_t inside[3];
    for (int i = 0; i < 3; i++) inside[i] = *dnnl_primitive_desc_query_md(pd, queries[p][i], 0);
    if (!adopt(e, pd)) return;
    for (int i = 0; i < 3; i++)
        if (!add_operand(e, arguments[p][i], i == output[p], outside[i], &inside[i])) return;
    if (bias && p == FORWARD) add_operand(e, DNNL_ARG_BIAS, false, &d.bias, &d.bias);
}

static bool run_conv(const conv *v, pass p, const float *x, const float *w, const float *y, const float *bias,
                     arena *scratch) {
    if (!open_library()) return false;
    conv c = *v;
    c.bf16 = v->bf16 && isa_active() >= ISA_AVX512;
    int64_t key[KEY] = {2 + p, c.n,  c.h,      c.w,   c.c,      c.oh,   c.ow,         c.o,
                        c.kh,  c.kw, c.stride, c.pad, c.groups, c.bf16, bias != NULL, parallel_threads()};
    bool found;
    entry *e = find_entry(key, &found);
    if (!found) make_conv(e, &c, p, bias != NULL);
    if (!e->primitive) return false;
    return execute(e, (void *[]){(void *)x, (void *)w, (void *)y, (void *)bias}, scratch);
}

bool onednn_conv_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    return run_conv(v, FORWARD, x, w, y, bias, scratch);
}

bool onednn_conv_backward_data(const conv *v, const float *dy, const float *w, float *dx, arena *scratch) {
    return run_conv(v, BACKWARD_DATA, dx, w, dy, NULL, scratch);
}

bool onednn_conv_backward_weights(const conv *v, const float *x, const float *dy, float *dw, arena *scratch) {
    return run_conv(v, BACKWARD_WEIGHTS, x, dw, dy, NULL, scratch);
}

#endif
