/* grad/backward.c - walking a tape back; stretches that are computed again; products with the Hessian.
 *
 * A node's outputs and their gradients are needed by nobody once its backward has run, so their memory serves the
 * gradients still to come: a step's high-water mark is little more than its activations. */
#include "grad/tape_state.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Where the gradient of value x goes. *fresh: nobody wrote it and the operation will assign; otherwise it is cleared.
 */
static bool gradient_of(tape *t, var x, bool may_assign, pith_tensor *d, bool *fresh) {
    const tape_value *v = &t->values[x];
    tape_value *base = &t->values[v->base];
    *fresh = false;
    if (!base->grad) {
        size_t bytes = pith_tensor_bytes(&base->t);
        if (!(base->grad = tape_block_new(t, bytes))) return false;
        *fresh = may_assign && pith_tensor_elements(&v->t) == pith_tensor_elements(&base->t);
        if (!*fresh) memset(base->grad, 0, bytes);
    }
    *d = v->t;
    d->data = base->grad + v->offset;
    return true;
}

static bool shares_an_input(const tape *t, const tape_node *n) {
    for (int i = 0; i < n->n; i++)
        for (int j = 0; j < i; j++)
            if (n->in[i] >= 0 && n->in[j] >= 0 && t->values[n->in[i]].base == t->values[n->in[j]].base) return true;
    return false;
}

static void run_backward(tape *t, const tape_node *n) {
    grad_call c;
    rng random;
    pith_tensor dout[GRAD_OUT], din[GRAD_IN];
    tape_call(t, n, &c, &random);
    for (int i = 0; i < n->outs; i++) {
        if (!t->values[n->out + i].grad) continue;
        dout[i] = t->values[n->out + i].t;
        dout[i].data = t->values[n->out + i].grad;
        c.dout[i] = &dout[i];
    }
    bool may_assign = n->op->fresh_ok && !shares_an_input(t, n);
    for (int i = 0; i < n->n; i++) {
        if (n->in[i] == VAR_NONE || !t->values[n->in[i]].wants) continue;
        if (!gradient_of(t, n->in[i], may_assign, &din[i], &c.fresh[i])) return;
        c.din[i] = &din[i];
    }
    size_t mark = arena_mark(&t->scratch);
    n->op->backward(&c);
    arena_release(&t->scratch, mark);
    for (int i = 0; t->trap_nan && i < n->n; i++)
        if (c.din[i]) tape_check_finite(t, n->op, c.din[i], "gradient");
}

static void walk_back(tape *t, size_t first);

static void forget_after(tape *t, size_t mark, size_t values, size_t nodes) {
    const uint8_t *end = t->step.base + mark;
    size_t kept = 0;
    for (size_t i = 0; i < t->block_count; i++)
        if ((const uint8_t *)t->blocks[i].data < end) t->blocks[kept++] = t->blocks[i];
    t->block_count = kept;
    for (int i = 0; i < t->param_vars_n; i++)
        if (t->param_vars[i] >= (var)values) t->param_vars[i] = VAR_NONE;
    t->value_count = values;
    t->node_count = nodes;
    arena_release(&t->step, mark);
}

static void run_replay(tape *t, const tape_node *n) {
    pith_tensor d;
    bool fresh;
    /* gradients of outer values must not lie in the memory released below */
    for (int i = 0; i < n->n; i++)
        if (n->in[i] >= 0 && t->values[n->in[i]].wants && !gradient_of(t, n->in[i], false, &d, &fresh)) return;
    size_t mark = arena_mark(&t->step), values = t->value_count, nodes = t->node_count;
    uint64_t draws = t->draws;
    bool again = t->again;
    t->draws = n->draws;
    t->again = true;
    var out = n->replay.fn(t, n->replay.user, n->in, n->n);
    t->again = again;
    t->draws = draws;
    if (t->error.status != PITH_OK) return;
    const float *from = t->values[n->out].grad;
    if (t->values[out].wants && gradient_of(t, out, false, &d, &fresh)) {
        float *to = d.data;
        int64_t count = pith_tensor_elements(&d);
        assert(count == pith_tensor_elements(&t->values[n->out].t) && "a recomputed stretch returned another shape");
        for (int64_t i = 0; i < count; i++) to[i] += from[i];
        walk_back(t, nodes);
    }
    forget_after(t, mark, values, nodes);
}

/* Hands the memory of a node's outputs to whoever comes next. */
static void recycle(tape *t, const tape_node *n) {
    for (int i = 0; i < n->outs; i++) {
        tape_value *v = &t->values[n->out + i];
        size_t bytes = pith_tensor_bytes(&v->t);
        if (v->grad) tape_block_free(t, v->grad, bytes);
        v->grad = NULL;
        if (v->owned && !v->hold) {
            tape_block_free(t, v->t.data, bytes);
            v->owned = false;
        }
    }
}

static void walk_back(tape *t, size_t first) {
    for (size_t i = t->node_count; i-- > first && t->error.status == PITH_OK;) {
        tape_node n = t->nodes[i]; /* a copy: a replay may move the list */
        bool reached = false;
        for (int k = 0; k < n.outs; k++) reached |= t->values[n.out + k].grad != NULL;
        if (reached && n.op) run_backward(t, &n);
        else if (reached) run_replay(t, &n);
        recycle(t, &n);
    }
}

void grad_backward(tape *t, var loss) {
    if (loss == VAR_FAILED || t->error.status != PITH_OK) return;
    const pith_tensor *v = grad_value(t, loss);
    assert(v->type == PITH_F32 && pith_tensor_elements(v) == 1 && "the loss of grad_backward has one element");
    if (!t->values[loss].wants) return;
    pith_tensor d;
    bool fresh;
    grad_hold(t, loss);
    if (!gradient_of(t, loss, false, &d, &fresh)) return;
    *(float *)d.data += 1.0f;
    walk_back(t, 0);
    t->node_count = 0;
}

var grad_recompute(tape *t, grad_fn fn, const void *user, size_t user_bytes, const var *in, int n) {
    assert(n <= GRAD_IN);
    if (!t->record) return fn(t, (void *)user, in, n);
    tape_node node = {.n = (uint8_t)n, .outs = 1, .draws = t->draws};
    memcpy(node.in, in, (size_t)n * sizeof *in);
    node.replay = (tape_replay){fn, tape_alloc(t, user_bytes)};
    if (!node.replay.user ||
        memory_reserve((void **)&t->nodes, &t->node_capacity, t->node_count + 1, sizeof *t->nodes) != 0) {
        tape_fail(t, PITH_NO_MEMORY, "tape", "no memory for the list of nodes");
        return VAR_FAILED;
    }
    memcpy(node.replay.user, user, user_bytes);
    size_t mark = arena_mark(&t->step), values = t->value_count, nodes = t->node_count;
    t->record = false;
    var inner = fn(t, (void *)user, in, n); /* the copy stays as it is for the replay, whatever fn does to it */
    t->record = true;
    if (inner == VAR_FAILED) return VAR_FAILED;
    tape_value result = t->values[inner];
    forget_after(t, mark, values, nodes);
    size_t bytes = pith_tensor_bytes(&result.t);
    void *from = result.t.data;
    if (!(result.t.data = tape_alloc(t, bytes))) return VAR_FAILED;
    memmove(result.t.data, from, bytes);
    node.out = grad_constant(t, &result.t);
    if (node.out < 0) return VAR_FAILED;
    t->values[node.out].owned = t->values[node.out].wants = true;
    t->nodes[t->node_count++] = node;
    return node.out;
}

/* The gradient at weights + scale * v, into g. */
static pith_status gradient_at(tape *t, uint64_t seed, uint64_t step, var (*loss)(tape *, void *), void *user,
                               const float *start, const float *v, float scale, float *g, pith_error *err) {
    grad_params *p = t->params;
    for (size_t i = 0; i < p->floats; i++) p->weights[i] = start[i] + scale * v[i];
    params_changed(p);
    params_zero_grads(p);
    tape_begin(t, seed, step);
    grad_backward(t, loss(t, user));
    memcpy(g, p->grads, p->floats * sizeof *g);
    return tape_status(t, err);
}

static double norm(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

pith_status grad_hvp(tape *t, uint64_t seed, uint64_t step, var (*loss)(tape *, void *), void *user, const float *v,
                     float *hv, pith_error *err) {
    grad_params *p = t->params;
    size_t n = p->floats;
    assert(p->grads);
    float *start = memory_aligned(n * sizeof *start), *before = memory_aligned(n * sizeof *before),
          *minus = memory_aligned(n * sizeof *minus);
    pith_status s = PITH_OK;
    if (!start || !before || !minus) {
        s = pith_fail(err, PITH_NO_MEMORY, "Hessian product", -1, "no memory for %zu floats", 3 * n);
        goto done;
    }
    memcpy(start, p->weights, n * sizeof *start);
    memcpy(before, p->grads, n * sizeof *before);
    /* half the digits of f32: rounding of the gradients against curvature of the loss */
    double length = norm(v, n);
    float h = length > 0 ? (float)(4e-3 * (1 + norm(start, n)) / length) : 1;
    s = gradient_at(t, seed, step, loss, user, start, v, h, hv, err);
    if (s == PITH_OK) s = gradient_at(t, seed, step, loss, user, start, v, -h, minus, err);
    for (size_t i = 0; s == PITH_OK && i < n; i++) hv[i] = (hv[i] - minus[i]) / (2 * h);
    memcpy(p->weights, start, n * sizeof *start);
    memcpy(p->grads, before, n * sizeof *before);
    params_changed(p);
done:
    memory_free(start);
    memory_free(before);
    memory_free(minus);
    return s;
}
