/* tensor/winograd.c - F(4x4, 3x3) (Winograd; Lavin, Gray: arXiv 1509.09308): 36 products of transformed pixels and
 * weights for a tile of 4 x 4 outputs that directly cost 144, at a rounding error some five times as large (1e-6).
 *
 * Tiles go by groups: pixels are transformed straight from NHWC, each of the 36 values is one matrix product over
 * (tiles, channels), by AMX where channels are many, the results are transformed back, and none of it leaves the second
 * cache. The gradient of the input is a convolution with weights turned round; that of the weights sums products over
 * tiles, a fixed number of shares apart and then together in order, the same for any number of threads. */
#include "tensor/winograd.h"

#include "base/isa.h"
#include "base/parallel.h"
#include "tensor/gemm.h"
#include "tensor/panels.h"

#include <assert.h>
#include <string.h>

ISA_DECLARE(winograd_kernels, winograd_table);
static const winograd_kernels *kernels(void) { return ISA_SELECT(winograd_table); }

/* APART: planes a power of two apart would push each other out of L1 */
enum { GROUP = 48, AMX_GROUP = 32, SHARES = 8, LEAST = 16, APART = 16 };

bool winograd_fits(const conv *v) {
    return v->kh == 3 && v->kw == 3 && v->stride == 1 && v->pad <= 2 && v->groups == 1 && v->c >= LEAST &&
           v->o >= LEAST && !(v->bf16 && isa_active() >= ISA_AVX512);
}

static int64_t rounded(int64_t channels) { return (channels + 15) / 16 * 16; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static float *space(arena *scratch, int64_t floats) {
    float *p = arena_alloc(scratch, (size_t)floats * sizeof *p);
    assert(p && "scratch arena is full");
    return p;
}

typedef struct job {
    conv v;
    const float *x, *w, *bias, *dy;
    float *y, *dw;
    float *u;                    /* transformed weights, 36 matrices; or their gradients, for each share */
    panels packed[WINOGRAD];     /* those weights */
    float *groups;               /* a worker's transformed tiles */
    int64_t in, out;             /* channels rounded up */
    int64_t in_plane, out_plane; /* floats from one of a tile's values to the next */
    int64_t across, tiles;       /* tiles of a row; of all pictures */
    int64_t group;               /* tiles that go together */
    int64_t shares, length;      /* groups of tiles a share */
    bool turned, add;
} job;

static job start(const conv *v) {
    job j = {.v = *v, .in = rounded(v->c), .out = rounded(v->o), .across = (v->ow + 3) / 4, .group = GROUP};
    j.tiles = v->n * ((v->oh + 3) / 4) * j.across;
    j.in_plane = GROUP * j.in + APART, j.out_plane = GROUP * j.out + APART;
    return j;
}

static int64_t groups_of(const job *j) { return (j->tiles + j->group - 1) / j->group; }

/* Where tile `index` begins in a picture of h x w x c, `pad` up and left of its outputs. */
static winograd_window window(const job *j, int64_t index, const float *pictures, int64_t h, int64_t w, int64_t c,
                              int64_t pad) {
    int64_t of_picture = (j->v.oh + 3) / 4 * j->across, picture = index / of_picture, at = index % of_picture;
    return (winograd_window){.picture = pictures + picture * h * w * c,
                             .h = h,
                             .w = w,
                             .c = c,
                             .y = at / j->across * 4 - pad,
                             .x = at % j->across * 4 - pad};
}

static void transform_inputs(const job *j, int64_t first, int64_t count, float *to) {
    for (int64_t r = 0; r < count; r++) {
        winograd_window from = window(j, first + r, j->x, j->v.h, j->v.w, j->v.c, j->v.pad);
        kernels()->input(&from, to + r * j->in, j->in_plane);
    }
}

/* ---- forward, and backward to the input ---- */

/* Floats of one of the 36 matrices: outputs by inputs, or inputs by outputs for the convolution back. */
static int64_t weights_plane(const job *j) { return j->out * (j->turned ? j->v.c : j->in); }

static void transform_weights(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t o = begin; o < end; o++)
        kernels()->weights(j->w + o * 9 * j->v.c, j->v.c, false, j->u + o * j->in, weights_plane(j));
}

/* Of the convolution back: its inputs are the outputs of the one whose weights these are. */
static void transform_turned(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    for (int64_t c = begin; c < end; c++)
        kernels()->weights(j->w + c * 9 * j->v.o, j->v.o, true, j->u + c * j->out, weights_plane(j));
}

static void pack_weights(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    int64_t ld = j->turned ? j->out : j->in, rows = j->turned ? j->v.c : j->v.o, plane = weights_plane(j);
    for (int64_t k = begin; k < end; k++) {
        float *u = j->u + k * plane;
        memset(u + rows * ld, 0, (size_t)(plane - rows * ld) * sizeof *u);
        panels_pack(&j->packed[k], 0, j->v.c, u, ld, !j->turned);
    }
}

static void run_groups(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    float *from = j->groups + worker * WINOGRAD * (j->in_plane + j->out_plane), *to = from + WINOGRAD * j->in_plane;
    for (int64_t g = begin; g < end; g++) {
        int64_t first = g * j->group, count = least(j->group, j->tiles - first);
        transform_inputs(j, first, count, from);
        for (int64_t k = 0; k < WINOGRAD; k++) {
            panel_product p = {.m = count, .a = from + k * j->in_plane, .ars = j->in, .acs = 1};
            p.c = to + k * j->out_plane, p.ldc = j->out;
            panels_multiply(&j->packed[k], 0, j->v.c, 0, j->out, p);
        }
        for (int64_t r = 0; r < count; r++) {
            winograd_window at = window(j, first + r, j->y, j->v.oh, j->v.ow, j->v.o, 0);
            kernels()->output(to + r * j->out, j->out_plane, j->bias, &at, j->add);
        }
    }
}

static void convolve(job *j, arena *scratch) {
    int64_t floats = panels_floats(j->v.c, j->out);
    float *data = space(scratch, WINOGRAD * floats);
    for (int64_t k = 0; k < WINOGRAD; k++) j->packed[k] = panels_of(j->v.c, j->out, data + k * floats);
    if (j->packed[0].kernels == gemm_digit_tiles()) j->group = AMX_GROUP;
    j->u = space(scratch, WINOGRAD * weights_plane(j));
    if (j->turned) parallel_for(j->v.c, 4, transform_turned, j);
    else parallel_for(j->v.o, 4, transform_weights, j);
    parallel_for(WINOGRAD, 1, pack_weights, j);
    j->groups = space(scratch, parallel_threads() * WINOGRAD * (j->in_plane + j->out_plane));
    parallel_for(groups_of(j), 1, run_groups, j);
}

void winograd_forward(const conv *v, const float *x, const float *w, const float *bias, float *y, arena *scratch) {
    size_t mark = arena_mark(scratch);
    job j = start(v);
    j.x = x, j.w = w, j.bias = bias, j.y = y;
    convolve(&j, scratch);
    arena_release(scratch, mark);
}

void winograd_backward_data(const conv *v, const float *dy, const float *w, float *dx, bool add, arena *scratch) {
    size_t mark = arena_mark(scratch);
    conv back = *v;
    back.h = v->oh, back.w = v->ow, back.c = v->o, back.oh = v->h, back.ow = v->w, back.o = v->c, back.pad = 2 - v->pad;
    job j = start(&back);
    j.x = dy, j.w = w, j.y = dx, j.turned = true, j.add = add;
    convolve(&j, scratch);
    arena_release(scratch, mark);
}

/* ---- backward to the weights ---- */

static void sum_shares(void *user, int64_t begin, int64_t end, int worker) {
    const job *j = user;
    float *from = j->groups + worker * WINOGRAD * (j->in_plane + j->out_plane), *dy = from + WINOGRAD * j->in_plane;
    int64_t plane = j->v.o * j->in;
    for (int64_t s = begin; s < end; s++)
        for (int64_t g = s * j->length; g < least(groups_of(j), (s + 1) * j->length); g++) {
            int64_t first = g * GROUP, count = least(GROUP, j->tiles - first);
            transform_inputs(j, first, count, from);
            for (int64_t r = 0; r < count; r++) {
                winograd_window at = window(j, first + r, j->dy, j->v.oh, j->v.ow, j->v.o, 0);
                kernels()->gradient(&at, dy + r * j->out, j->out_plane);
            }
            for (int64_t k = 0; k < WINOGRAD; k++)
                gemm_tiles()->tile(j->v.o, j->in, count, dy + k * j->out_plane, 1, j->out, from + k * j->in_plane,
                                   j->in, j->u + (s * WINOGRAD + k) * plane, j->in, g > s * j->length);
        }
}

static void finish_weights(void *user, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *j = user;
    int64_t plane = j->v.o * j->in;
    for (int64_t o = begin; o < end; o++)
        kernels()->taps(j->u + o * j->in, plane, j->shares, WINOGRAD * plane, j->dw + o * 9 * j->v.c, j->v.c, j->add);
}

void winograd_backward_weights(const conv *v, const float *x, const float *dy, float *dw, bool add, arena *scratch) {
    size_t mark = arena_mark(scratch);
    job j = start(v);
    j.x = x, j.dy = dy, j.dw = dw, j.add = add;
    j.length = (groups_of(&j) + SHARES - 1) / SHARES;
    j.shares = (groups_of(&j) + j.length - 1) / j.length;
    j.u = space(scratch, j.shares * WINOGRAD * v->o * j.in);
    j.groups = space(scratch, parallel_threads() * WINOGRAD * (j.in_plane + j.out_plane));
    parallel_for(j.shares, 1, sum_shares, &j);
    parallel_for(v->o, 4, finish_weights, &j);
    arena_release(scratch, mark);
}
