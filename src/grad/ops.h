/* grad/ops.h - the operations, as a network calls them. One line of description each; shapes in order of dimensions.
 *
 * "..." stands for any leading dimensions. All values are f32 unless said otherwise; ids and labels are i32. */
#ifndef GRAD_OPS_H
#define GRAD_OPS_H

#include "grad/tape.h"
#include "grad/unary.h"

/* Products. */
var grad_linear(tape *t, var x, var w, var b); /* x (..., in), w (out, in), b (out) or VAR_NONE -> (..., out) */
/* That many linear layers with a function of grad/unary.h between; wb[2 i] and wb[2 i + 1] are w and b of layer i. Rows
 * go through all layers while they are in the cache, where w are small. */
var grad_mlp(tape *t, var x, int layers, const var *wb, unary_kind between, float p);
/* a (..., m, k) or (..., k, m) if ta; b (..., k, n) or (..., n, k) if tb; equal leading sizes, or b without -> (..., m,
 * n) */
var grad_matmul(tape *t, var a, var b, bool ta, bool tb);

/* Pictures x (n, h, w, c). `pad` zeros all round. */
/* w (o, kh, kw, c / groups), b (o) or VAR_NONE -> (n, (h + 2 pad - kh) / stride + 1, ..., o) */
var grad_conv(tape *t, var x, var w, var b, int64_t stride, int64_t pad, int64_t groups);
/* w (c, kh, kw, o / groups), b (o) or VAR_NONE -> (n, (h - 1) stride - 2 pad + kh + extra, ..., o), extra < stride */
var grad_conv_transposed(tape *t, var x, var w, var b, int64_t stride, int64_t pad, int64_t extra, int64_t groups);

/* Windows of size x size; padding counts for nothing. -> (n, (h + 2 pad - size) / stride + 1, ..., c) */
var grad_max_pool(tape *t, var x, int64_t size, int64_t stride, int64_t pad);
var grad_average_pool(tape *t, var x, int64_t size, int64_t stride, int64_t pad);

/* (n, h, w, c f^2) -> (n, h f, w f, c), and back; channel (o f + dy) f + dx goes to pixel (dy, dx). */
var grad_pixel_shuffle(tape *t, var x, int64_t factor);
var grad_pixel_unshuffle(tape *t, var x, int64_t factor);
/* To another size, pixel centers at half integers, borders repeated. */
var grad_resize_nearest(tape *t, var x, int64_t height, int64_t width);
var grad_resize_bilinear(tape *t, var x, int64_t height, int64_t width);
var grad_resize_bicubic(tape *t, var x, int64_t height, int64_t width);

/* Parts. */
var grad_concat(tape *t, const var *x, int count, int axis); /* at most GRAD_IN tensors */
var grad_slice(tape *t, var x, int axis, int64_t first, int64_t count);
var grad_gather(tape *t, var x, var ids); /* x (..., n), ids i32 (...) -> (...): x[..., ids[...]] */

/* Element-wise of two; sizes of b are those of a, or 1, or missing in front (b is repeated). */
var grad_add(tape *t, var a, var b);
var grad_sub(tape *t, var a, var b);
var grad_mul(tape *t, var a, var b);
var grad_div(tape *t, var a, var b);

/* Element-wise of one. */
var grad_unary(tape *t, var x, unary_kind kind, float p, float q); /* any of grad/unary.h; the usual by name: */
var grad_affine(tape *t, var x, float scale, float shift);         /* scale * x + shift */
var grad_exp(tape *t, var x);
var grad_log(tape *t, var x);
var grad_sqrt(tape *t, var x);
var grad_abs(tape *t, var x);
var grad_square(tape *t, var x);
var grad_pow(tape *t, var x, float power); /* x > 0 */
var grad_clamp(tape *t, var x, float low, float high);
var grad_sin(tape *t, var x, float frequency); /* sin(frequency * x) */
var grad_tanh(tape *t, var x);
var grad_sigmoid(tape *t, var x);
var grad_relu(tape *t, var x);
var grad_leaky_relu(tape *t, var x, float slope);
var grad_gelu(tape *t, var x); /* exact, by erf */
var grad_gelu_tanh(tape *t, var x);
var grad_silu(tape *t, var x);
var grad_softplus(tape *t, var x);
var grad_swiglu(tape *t, var gate, var up); /* silu(gate) * up, same shapes */

/* Sums and means over `count` dimensions from `first` on; count -1: all that follow. */
var grad_sum(tape *t, var x, int first, int count);
var grad_mean(tape *t, var x, int first, int count);

var grad_dropout(tape *t, var x, float p); /* nothing in a no-gradient scope */

/* Normalization. */
var grad_layer_norm(tape *t, var x, var w, var b, float epsilon); /* over the last dimension; w, b (last) or VAR_NONE */
/* x (..., channels), all others (channels). In training normalizes by the batch and moves mean and variance (frozen
 * parameters or constants, written in place) by momentum; in a no-gradient scope normalizes by these. */
var grad_batch_norm(tape *t, var x, var w, var b, var mean, var variance, float momentum, float epsilon);
var grad_rms_norm(tape *t, var x, var w, float epsilon); /* w (last) or VAR_NONE */

/* Sequences. */
var grad_embedding(tape *t, var table, var ids); /* table (rows, width), ids i32 (...) -> (..., width) */
/* x (batch, time, heads, size): pairs are turned by (first + time) * base^(-2 i / size). Pairs are (0,1), (2,3), ...
 * or, with halves, (i, i + size / 2). Only the first `turned` values of each head (0: all). */
var grad_rope(tape *t, var x, float base, int64_t first, int64_t turned, bool halves);
/* q (batch, time, heads, size), k and v (batch, past, groups, size), heads a multiple of groups; causal: query i sees
 * keys up to i + past - time. scale 0: 1 / sqrt(size). -> as q */
var grad_attention(tape *t, var q, var k, var v, bool causal, float scale);

/* Over the last dimension. */
var grad_softmax(tape *t, var x);
var grad_log_softmax(tape *t, var x);

/* Losses: one number. */
var grad_mse(tape *t, var a, var b); /* mean of (a - b)^2 */
var grad_l1(tape *t, var a, var b);  /* mean of |a - b| */
/* Mean over rows of T^2 KL(softmax(teacher / T) || softmax(student / T)); the teacher gets no gradient. */
var grad_kl(tape *t, var student, var teacher, float temperature);
/* Mean over rows of -log softmax(logits)[label]; logits (..., classes), labels i32 (...); rows labelled `ignore` do not
 * count; smoothing in [0, 1) mixes in the uniform distribution. */
var grad_cross_entropy(tape *t, var logits, var labels, int ignore, float smoothing);

/* Value of `hard`, gradient to x: rounding and the like, seen as the identity. Same shapes. */
var grad_straight_through(tape *t, var x, var hard);

/* The operations themselves, one a line. */
extern const grad_op grad_op_linear;
extern const grad_op grad_op_mlp;
extern const grad_op grad_op_matmul;
extern const grad_op grad_op_conv;
extern const grad_op grad_op_conv_transposed;
extern const grad_op grad_op_binary;
extern const grad_op grad_op_unary;
extern const grad_op grad_op_swiglu;
extern const grad_op grad_op_rms_norm;
extern const grad_op grad_op_embedding;
extern const grad_op grad_op_rope;
extern const grad_op grad_op_attention;
extern const grad_op grad_op_cross_entropy;
extern const grad_op grad_op_straight_through;
extern const grad_op grad_op_pool;
extern const grad_op grad_op_reduce;
extern const grad_op grad_op_dropout;
extern const grad_op grad_op_layer_norm;
extern const grad_op grad_op_batch_norm;
extern const grad_op grad_op_distance;
extern const grad_op grad_op_softmax;
extern const grad_op grad_op_kl;
extern const grad_op grad_op_concat;
extern const grad_op grad_op_slice;
extern const grad_op grad_op_gather;
extern const grad_op grad_op_pixel_shuffle;
extern const grad_op grad_op_resize;

#endif
