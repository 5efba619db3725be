/* grad/ops_table.c - every operation: what the gradient tests walk. */
#include "grad/ops.h"

const grad_op *const grad_ops[] = {
    &grad_op_linear,
    &grad_op_matmul,
    &grad_op_conv,
    &grad_op_conv_transposed,
    &grad_op_binary,
    &grad_op_unary,
    &grad_op_swiglu,
    &grad_op_rms_norm,
    &grad_op_embedding,
    &grad_op_rope,
    &grad_op_attention,
    &grad_op_cross_entropy,
    &grad_op_straight_through,
    &grad_op_pool,
    &grad_op_reduce,
    &grad_op_dropout,
    &grad_op_layer_norm,
    &grad_op_batch_norm,
    NULL,
};
