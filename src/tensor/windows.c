/* tensor/windows.c - f32 convolutions as products of windows with the kernel, in tiles of AMX.
 *
 * The windows of a block of output pixels are copied one row of the kernel at a time (as im2col does with whole
 * pictures), so they are still in the cache when they are multiplied. The gradient of the input is a convolution for
 * each of stride x stride phases: input pixels of the same phase meet the same weights, turned round. The gradient of
 * the weights sums over pixels, a fixed number of shares apart and then together in order, the same for any number of
 * threads. */
#include "tensor/windows.h"

#include "base/parallel.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

#include <assert.h>
#include <string.h>

enum { BLOCK = 128, SHARES = 8, SUM = 1 << 12 };

/* Of each pixel of a grid, for each picture: its window is `rows` times `pixels` pixels from (y step + y0, x step + x0)
 * on; zeros outside of the picture. */
typedef struct windows {
    const float *from; /* pictures, n x h x w x c */
    int64_t n, h, w, c;
    int64_t down, across; /* the grid */
    int64_t step, y0, x0, rows, pixels;
} windows;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t grid_pixels(const windows *s) { return s->n * s->down * s->across; }
static int64_t row_floats(const windows *s) { return s->pixels * s->c; }

static float *space(arena *scratch, int64_t floats) {
    float *p = arena_alloc(scratch, (size_t)floats * sizeof *p);
    assert(p && "scratch arena is full");
    return p;
}

/* For products of these sizes; NULL: not ours. In bf16 oneDNN's direct kernels mostly are faster. */
static const panel_kernels *tiles_for(const conv *v, int64_t m, int64_t n, int64_t k) {
    return v->groups > 1 || v->bf16 ? NULL : gemm_amx_tiles(m, n, k, false);
}

static void gather_pixel(const windows *s, int64_t row, int64_t pixel, float *to) {
    int64_t y = pixel / s->across % s->down * s->step + s->y0 + row, x = pixel % s->across * s->step + s->x0;
    int64_t left = most(0, least(s->pixels, -x)), right = most(left, least(s->pixels, s->w - x));
    if (y < 0 || y >= s->h) left = right = s->pixels;
    const float *picture = s->from + pixel / (s->across * s->down) * s->h * s->w * s->c;
    memset(to, 0, (size_t)(left * s->c) * sizeof *to);
    if (right > left)
        memcpy(to + left * s->c, picture + (y * s->w + x + left) * s->c, (size_t)((right - left) * s->c) * sizeof *to);
    memset(to + right * s->c, 0, (size_t)((s->pixels - right) * s->c) * sizeof *to);
}

/* One row of the windows of some pixels of the grid, one window after the other. */
static void gather(const windows *s, int64_t row, int64_t first, int64_t count, float *to) {
    for (int64_t i = 0; i < count; i++) gather_pixel(s, row, first + i, to + i * row_floats(s));
}

static panels panels_in(const panel_kernels *tiles, int64_t k, int64_t n, arena *scratch) {
    panels p = {.kernels = tiles, .k = k, .n = n};
    p.data = space(scratch, panels_floats_by(tiles, k, n));
    return p;
}

/* --- forward, and backward to the input --------------------------------------------------------------------------- */

typedef struct job {
    windows s;
    panels *kernel; /* for each row of the windows */
    const float *w; /* a row's weights w_next from those before, w_ld apart, `turned`: outputs lie along rows */
    int64_t w_next, w_ld;
    bool turned;
    const float *bias;
    float *to; /* pictures, h x w x out; the grid is every step-th pixel from (y, x) on */
    int64_t h, w_to, out, step, y, x;
    bool add;
    float *work;
    int64_t work_floats;
} job;

static void pack_rows(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t r = begin; r < end; r++)
        panels_pack(&j->kernel[r], 0, row_floats(&j->s), j->w + r * j->w_next, j->w_ld, j->turned);
}

static void put(const job *j, int64_t first, int64_t count, const float *sums) {
    for (int64_t i = 0; i < count; i++, sums += j->out) {
        int64_t pixel = first + i, x = pixel % j->s.across, row = pixel / j->s.across;
        int64_t y = row % j->s.down, picture = row / j->s.down;
        float *to = j->to + ((picture * j->h + y * j->step + j->y) * j->w_to + x * j->step + j->x) * j->out;
        if (!j->add) memcpy(to, sums, (size_t)j->out * sizeof *to);
        else
            for (int64_t c = 0; c < j->out; c++) to[c] += sums[c];
    }
}

static void run_blocks(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    int64_t k = row_floats(&j->s);
    float *rows = j->work + worker * j->work_floats, *sums = rows + BLOCK * k;
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * BLOCK, count = least(BLOCK, grid_pixels(&j->s) - first);
        panel_product p = {.m = count, .a = rows, .ars = k, .acs = 1, .from = j->bias, .c = sums, .ldc = j->out};
        for (int64_t r = 0; r < j->s.rows; r++) {
            gather(&j->s, r, first, count, rows);
            panels_multiply(&j->kernel[r], 0, k, 0, j->out, p);
            p.from = sums, p.ldf = j->out;
        }
        put(j, first, count, sums);
    }
}

static void convolve(job *j, const panel_kernels *tiles, arena *scratch) {
    int64_t k = row_floats(&j->s);
    j->kernel = arena_alloc(scratch, (size_t)j->s.rows * sizeof *j->kernel);
    assert(j->kernel && "scratch arena is full");
    for (int64_t r = 0; r < j->s.rows; r++) j->kernel[r] = panels_in(tiles, k, j->out, scratch);
    parallel_for(j->s.rows, 1, pack_rows, j);
    j->work_floats = BLOCK * (k + j->out);
    j->work = space(scratch, parallel_threads() * j->work_floats);
    parallel_for((grid_pixels(&j->s) + BLOCK - 1) / BLOCK, 1, run_blocks, j);
}

static windows windows_of(const conv *v, const float *x) {
    return (windows){x, v->n, v->h, v->w, v->c, v->oh, v->ow, v->stride, -v->pad, -v->pad, v->kh, v->kw};
}

bool windows_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    job j = {.s = windows_of(v, x), .bias = bias, .to = y, .h = v->oh, .w_to = v->ow, .out = v->o, .step = 1};
    const panel_kernels *tiles = tiles_for(v, grid_pixels(&j.s), v->o, row_floats(&j.s));
    if (!tiles) return false;
    size_t mark = arena_mark(scratch);
    j.w = w, j.w_next = v->kw * v->c, j.w_ld = v->kh * v->kw * v->c, j.turned = true;
    convolve(&j, tiles, scratch);
    arena_release(scratch, mark);
    return true;
}

/* Along one direction, which of a kernel's `taps` input pixels of a phase meet: every stride-th from `first` on,
 * `count`; in the order of the output pixels they meet they are turned round, the first of which is `begin` from the
 * pixel's own. */
typedef struct phase {
    int64_t first, count, begin, pixels; /* pixels: of the input in this phase */
} phase;

static phase phase_of(const conv *v, int64_t at, int64_t taps, int64_t size) {
    phase p = {.first = (at + v->pad) % v->stride, .pixels = (size - at + v->stride - 1) / v->stride};
    p.count = p.first < taps ? (taps - p.first + v->stride - 1) / v->stride : 0;
    p.begin = (at + v->pad - p.first) / v->stride - (p.count - 1);
    return p;
}

/* The weights of a phase: [rows][pixels][o][c] */
static float *turn_weights(const conv *v, const float *w, phase down, phase across, arena *scratch) {
    float *turned = space(scratch, down.count * across.count * v->o * v->c), *to = turned;
    for (int64_t r = down.count - 1; r >= 0; r--)
        for (int64_t p = across.count - 1; p >= 0; p--)
            for (int64_t o = 0; o < v->o; o++, to += v->c) {
                int64_t ky = down.first + r * v->stride, kx = across.first + p * v->stride;
                memcpy(to, w + ((o * v->kh + ky) * v->kw + kx) * v->c, (size_t)v->c * sizeof *to);
            }
    return turned;
}

static void run_phase(job *j, const conv *v, const float *w, const panel_kernels *tiles, arena *scratch) {
    phase down = phase_of(v, j->y, v->kh, v->h), across = phase_of(v, j->x, v->kw, v->w);
    size_t mark = arena_mark(scratch);
    j->s.down = down.pixels, j->s.across = across.pixels, j->s.y0 = down.begin, j->s.x0 = across.begin;
    j->s.rows = down.count, j->s.pixels = across.count;
    j->w = turn_weights(v, w, down, across, scratch), j->w_next = row_floats(&j->s) * v->c, j->w_ld = v->c;
    convolve(j, tiles, scratch);
    arena_release(scratch, mark);
}

bool windows_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch) {
    /* every phase meets a tap; the smallest decides */
    int64_t s = v->stride, pixels = v->n * (v->h / s) * (v->w / s);
    const panel_kernels *tiles = tiles_for(v, pixels, v->c, v->kw / s * v->o);
    if (v->kh < s || !tiles) return false;
    job j = {.to = dx, .h = v->h, .w_to = v->w, .out = v->c, .step = s, .add = add};
    j.s = (windows){.from = dy, .n = v->n, .h = v->oh, .w = v->ow, .c = v->o, .step = 1};
    for (j.y = 0; j.y < s; j.y++)
        for (j.x = 0; j.x < s; j.x++) run_phase(&j, v, w, tiles, scratch);
    return true;
}

/* --- backward to the weights -------------------------------------------------------------------------------------- */

typedef struct weights_job {
    windows s;
    const panel_kernels *tiles;
    const float *dy;
    int64_t out, share, shares; /* share: grid pixels of one */
    float *sums;                /* of each share, out x rows x row_floats */
    float *work;
    int64_t work_floats;
    float *dw;
    bool add;
} weights_job;

static int64_t weights_of(const weights_job *j) { return j->out * j->s.rows * row_floats(&j->s); }

static void sum_block(const weights_job *j, int64_t first, int64_t count, float *sums, bool begin, float *work) {
    int64_t k = row_floats(&j->s);
    for (int64_t r = 0; r < j->s.rows; r++) {
        float *to = sums + r * k;
        panels p = {.kernels = j->tiles, .k = count, .n = k, .data = work + PANEL_ROWS * k};
        gather(&j->s, r, first, count, work);
        panels_pack(&p, 0, count, work, k, false);
        panel_product x = {.m = j->out, .a = j->dy + first * j->out, .ars = 1, .acs = j->out};
        x.from = begin ? NULL : to, x.c = to, x.ldf = x.ldc = j->s.rows * k;
        panels_multiply(&p, 0, count, 0, k, x);
    }
}

static void sum_shares(void *user, int64_t begin, int64_t end, int worker) {
    const weights_job *j = user;
    for (int64_t s = begin; s < end; s++) {
        int64_t from = s * j->share, to = least(grid_pixels(&j->s), from + j->share);
        for (int64_t i = from; i < to; i += PANEL_ROWS)
            sum_block(j, i, least(PANEL_ROWS, to - i), j->sums + s * weights_of(j), i == from,
                      j->work + worker * j->work_floats);
    }
}

static void add_shares(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const weights_job *j = user;
    for (int64_t i = begin; i < end; i++) {
        float sum = j->add ? j->dw[i] : 0;
        for (int64_t s = 0; s < j->shares; s++) sum += j->sums[s * weights_of(j) + i];
        j->dw[i] = sum;
    }
}

bool windows_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch) {
    weights_job j = {.s = windows_of(v, x), .dy = dy, .out = v->o, .dw = dw, .add = add};
    int64_t pixels = grid_pixels(&j.s), k = row_floats(&j.s);
    j.tiles = tiles_for(v, v->o, k, pixels);
    if (!j.tiles) return false;
    size_t mark = arena_mark(scratch);
    int64_t blocks = (pixels + PANEL_ROWS - 1) / PANEL_ROWS;
    j.share = (blocks + SHARES - 1) / SHARES * PANEL_ROWS, j.shares = (pixels + j.share - 1) / j.share;
    j.sums = space(scratch, j.shares * weights_of(&j));
    j.work_floats = PANEL_ROWS * k + panels_floats_by(j.tiles, PANEL_ROWS, k);
    j.work = space(scratch, parallel_threads() * j.work_floats);
    parallel_for(j.shares, 1, sum_shares, &j);
    parallel_for(weights_of(&j), SUM, add_shares, &j);
    arena_release(scratch, mark);
    return true;
}
