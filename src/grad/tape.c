/* grad/tape.c - values and nodes of one step, and running an operation forward. */
#include "grad/tape_state.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const uint64_t ADDRESS_SPACE = (uint64_t)1 << 40;

/* `memory` bytes; 0: a terabyte of addresses, or what the system grants of it, in halves. */
static bool open_space(arena *a, uint64_t memory) {
    if (memory) return arena_open(a, memory) == 0;
    for (uint64_t size = ADDRESS_SPACE; size >= (uint64_t)1 << 30; size /= 2)
        if (arena_open(a, size) == 0) return true;
    return false;
}

pith_status tape_new(tape **out, grad_params *params, uint64_t memory, pith_error *err) {
    *out = NULL;
    tape *t = memory_zero(1, sizeof *t);
    if (!t) return pith_fail(err, PITH_NO_MEMORY, "tape", -1, "no memory for a tape");
    /* the limit is on what a step holds; scratch comes and goes, and an operation has no way to fail */
    if (!open_space(&t->step, memory) || !open_space(&t->scratch, 0)) {
        tape_free(t);
        return pith_fail(err, PITH_NO_MEMORY, "tape", -1, "no address space for a training step");
    }
    t->params = params;
    t->record = t->training = true;
    *out = t;
    return PITH_OK;
}

void tape_free(tape *t) {
    if (!t) return;
    arena_close(&t->step);
    arena_close(&t->scratch);
    memory_free(t->values);
    memory_free(t->nodes);
    memory_free(t->blocks);
    memory_free(t->param_vars);
    memory_free(t);
}

void tape_begin(tape *t, uint64_t seed, uint64_t step) {
    arena_release(&t->step, 0);
    arena_release(&t->scratch, 0);
    t->value_count = t->node_count = t->block_count = 0;
    t->seed = seed, t->step_number = step, t->draws = 0;
    t->record = t->training = true, t->again = false;
    memset(&t->error, 0, sizeof t->error);
    for (int i = 0; i < t->param_vars_n; i++) t->param_vars[i] = VAR_NONE;
}

pith_status tape_status(const tape *t, pith_error *err) {
    if (t->error.status == PITH_OK) return PITH_OK;
    return pith_fail(err, t->error.status, t->error.where, -1, "%s", t->error.text);
}

size_t tape_high_water(const tape *t) { return t->step.high + t->scratch.high; }
void tape_bf16(tape *t, bool on) { t->bf16 = on; }
void tape_trap_nan(tape *t, bool on) { t->trap_nan = on; }
grad_params *tape_params(const tape *t) { return t->params; }
bool tape_is_training(const tape *t) { return t->training; }

bool tape_no_grad(tape *t, bool on) {
    bool before = !t->training;
    t->record = t->training = !on;
    return before;
}

void tape_fail(tape *t, pith_status s, const char *where, const char *what) {
    pith_fail(&t->error, s, where, -1, "%s", what);
}

void *tape_alloc(tape *t, size_t bytes) {
    if (t->error.status != PITH_OK) return NULL;
    void *p = arena_alloc(&t->step, bytes);
    if (!p) tape_fail(t, PITH_NO_MEMORY, "tape", "the memory limit of a training step is reached");
    return p;
}

void *tape_block_new(tape *t, size_t bytes) {
    for (size_t i = t->block_count; i-- > 0;) {
        if (t->blocks[i].size != bytes) continue;
        void *data = t->blocks[i].data;
        t->blocks[i] = t->blocks[--t->block_count];
        return data;
    }
    return tape_alloc(t, bytes);
}

void tape_block_free(tape *t, void *data, size_t bytes) {
    if (bytes == 0) return;
    /* a list that cannot grow loses the block until the next step, no more */
    if (memory_reserve((void **)&t->blocks, &t->block_capacity, t->block_count + 1, sizeof *t->blocks) != 0) return;
    t->blocks[t->block_count++] = (tape_block){data, bytes};
}

static var new_value(tape *t, const pith_tensor *x) {
    if (t->error.status != PITH_OK) return VAR_FAILED;
    if (t->value_count >= INT32_MAX ||
        memory_reserve((void **)&t->values, &t->value_capacity, t->value_count + 1, sizeof *t->values) != 0) {
        tape_fail(t, PITH_NO_MEMORY, "tape", "no memory for the list of values");
        return VAR_FAILED;
    }
    var v = (var)t->value_count++;
    t->values[v] = (tape_value){.t = *x, .base = v, .param = -1};
    t->values[v].t.owner = NULL;
    return v;
}

static tape_value *value_of(const tape *t, var x) {
    assert(x >= 0 && (size_t)x < t->value_count && "a var of another step?");
    return &t->values[x];
}

var grad_constant(tape *t, const pith_tensor *x) { return new_value(t, x); }

var grad_input(tape *t, const pith_tensor *x) {
    var v = new_value(t, x);
    if (v >= 0) t->values[v].wants = t->record, t->values[v].persistent = true;
    return v;
}

static bool room_for_params(tape *t) {
    if (t->param_vars_n >= t->params->n) return true;
    var *grown = memory_grow(t->param_vars, (size_t)t->params->n, sizeof *grown);
    if (!grown) {
        tape_fail(t, PITH_NO_MEMORY, "tape", "no memory for the list of parameters");
        return false;
    }
    for (int i = t->param_vars_n; i < t->params->n; i++) grown[i] = VAR_NONE;
    t->param_vars = grown;
    t->param_vars_n = t->params->n;
    return true;
}

var grad_parameter(tape *t, int id) {
    assert(t->params && id >= 0 && id < t->params->n && t->params->weights);
    if (t->error.status != PITH_OK || !room_for_params(t)) return VAR_FAILED;
    if (t->param_vars[id] == VAR_NONE) {
        const grad_param *p = &t->params->list[id];
        var v = new_value(t, &p->value);
        if (v < 0) return v;
        t->values[v].persistent = true;
        t->values[v].param = id;
        t->param_vars[id] = v;
    }
    tape_value *v = &t->values[t->param_vars[id]];
    if (t->record && t->params->grads && !t->params->list[id].frozen && !v->wants)
        v->wants = true, v->grad = params_grad(t->params, id);
    return t->param_vars[id];
}

var grad_fill(tape *t, int rank, const int64_t *shape, float value) {
    pith_tensor x;
    uint64_t bytes;
    pith_status s = pith_tensor_layout(&x, PITH_F32, rank, shape, &bytes, &t->error);
    if (s != PITH_OK || !(x.data = tape_block_new(t, bytes))) return VAR_FAILED;
    for (uint64_t i = 0; i < bytes / sizeof(float); i++) ((float *)x.data)[i] = value;
    return new_value(t, &x);
}

static var new_view(tape *t, var x, const pith_tensor *shape, int64_t offset) {
    var v = new_value(t, shape);
    if (v < 0) return v;
    const tape_value *from = value_of(t, x);
    t->values[v].base = from->base;
    t->values[v].offset = from->offset + offset;
    t->values[v].wants = from->wants;
    t->values[v].param = from->param;
    return v;
}

var grad_stop(tape *t, var x) {
    if (t->error.status != PITH_OK) return VAR_FAILED;
    var v = new_view(t, x, &value_of(t, x)->t, 0);
    if (v >= 0) t->values[v].wants = false;
    return v;
}

var grad_reshape(tape *t, var x, int rank, const int64_t *shape) {
    if (t->error.status != PITH_OK) return VAR_FAILED;
    const pith_tensor *from = &value_of(t, x)->t;
    int64_t count = pith_tensor_elements(from), known = 1, sizes[PITH_MAX_RANK];
    assert(rank >= 0 && rank <= PITH_MAX_RANK);
    int free_axis = -1;
    for (int i = 0; i < rank; i++) {
        sizes[i] = shape[i];
        if (shape[i] == -1) free_axis = i;
        else known *= shape[i];
    }
    if (free_axis >= 0) {
        assert(known > 0 && count % known == 0 && "grad_reshape: -1 does not divide");
        sizes[free_axis] = count / known;
    }
    pith_tensor to;
    uint64_t bytes;
    pith_status s = pith_tensor_layout(&to, from->type, rank, sizes, &bytes, &t->error);
    if (s != PITH_OK) return VAR_FAILED;
    assert(pith_tensor_elements(&to) == count && "grad_reshape: another number of elements");
    to.data = from->data;
    return new_view(t, x, &to, 0);
}

var grad_rows(tape *t, var x, int64_t first, int64_t count) {
    if (t->error.status != PITH_OK) return VAR_FAILED;
    const pith_tensor *from = &value_of(t, x)->t;
    assert(from->rank > 0 && first >= 0 && count >= 0 && first + count <= from->shape[0]);
    int64_t inner = 1;
    for (int i = 1; i < from->rank; i++) inner *= from->shape[i];
    pith_tensor to = *from;
    to.shape[0] = count;
    size_t element = pith_types[from->type].block_bytes;
    to.data = (char *)from->data + (size_t)(first * inner) * element;
    if (from->rank == 1) to.row_bytes = count * (int64_t)element;
    return new_view(t, x, &to, first * inner);
}

const pith_tensor *grad_value(const tape *t, var x) {
    static const pith_tensor nothing;
    return x == VAR_FAILED ? &nothing : &value_of(t, x)->t;
}

float grad_scalar(const tape *t, var x) {
    const pith_tensor *v = grad_value(t, x);
    if (!v->data) return NAN;
    assert(v->type == PITH_F32 && pith_tensor_elements(v) == 1);
    return *(const float *)v->data;
}

const float *grad_gradient(const tape *t, var x) {
    if (x == VAR_FAILED) return NULL;
    const tape_value *v = value_of(t, x), *base = &t->values[v->base];
    return base->grad ? base->grad + v->offset : NULL;
}

void grad_hold(tape *t, var x) {
    if (x != VAR_FAILED) t->values[value_of(t, x)->base].hold = true;
}

void tape_check_finite(tape *t, const grad_op *op, const pith_tensor *x, const char *what) {
    if (x->type != PITH_F32) return;
    const uint32_t *bits = x->data;
    int64_t n = pith_tensor_elements(x);
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (bits[i] & 0x7f800000u) == 0x7f800000u;
    if (!bad) return;
    int64_t at = 0;
    while ((bits[at] & 0x7f800000u) != 0x7f800000u) at++;
    pith_fail(&t->error, PITH_NOT_FINITE, op->name, -1,
              "expected finite values, found %g in the %s at element %lld (step %llu)", (double)((float *)x->data)[at],
              what, (long long)at, (unsigned long long)t->step_number);
}

void tape_call(tape *t, const tape_node *n, grad_call *c, rng *random) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < n->n; i++) {
        if (n->in[i] == VAR_NONE) continue;
        tape_value *v = value_of(t, n->in[i]);
        c->in[i] = &v->t;
        if (t->bf16 && v->param >= 0 && n->op->bf16_ok) {
            const uint16_t *half = params_half(t->params);
            if (half) c->half[i] = half + t->params->list[v->param].offset + v->offset;
        }
    }
    for (int i = 0; i < n->outs; i++) c->out[i] = &t->values[n->out + i].t;
    *random = rng_new(t->seed, t->step_number << 24 ^ n->draws);
    c->attr = n->attr;
    c->saved = n->saved;
    c->scratch = &t->scratch;
    c->random = random;
    c->bf16 = t->bf16;
    c->training = t->training;
    c->again = t->again;
}

/* Shapes of the outputs, their memory and that of `saved`. False: failed. */
static bool lay_out(tape *t, tape_node *n) {
    const pith_tensor *in[GRAD_IN] = {0};
    bool wants = false;
    for (int i = 0; i < n->n; i++) {
        if (n->in[i] == VAR_NONE) continue;
        in[i] = &value_of(t, n->in[i])->t;
        wants |= value_of(t, n->in[i])->wants;
    }
    pith_tensor out[GRAD_OUT] = {0};
    size_t saved = 0;
    n->op->shape(in, n->attr, out, &saved);
    if (saved && !(n->saved = tape_alloc(t, saved))) return false;
    n->out = (var)t->value_count;
    for (int i = 0; i < GRAD_OUT && (i == 0 || out[i].row_bytes || out[i].rank); i++) {
        if (!(out[i].data = tape_block_new(t, pith_tensor_bytes(&out[i])))) return false;
        var v = new_value(t, &out[i]);
        if (v < 0) return false;
        t->values[v].owned = true;
        t->values[v].wants = wants && t->record && out[i].type == PITH_F32;
        n->outs++;
    }
    return true;
}

var grad_apply(tape *t, const grad_op *op, const void *attr, size_t attr_bytes, const var *in, int n) {
    assert(n <= GRAD_IN);
    for (int i = 0; i < n; i++)
        if (in[i] == VAR_FAILED) return VAR_FAILED;
    if (t->error.status != PITH_OK) return VAR_FAILED;
    tape_node node = {.op = op, .n = (uint8_t)n};
    memcpy(node.in, in, (size_t)n * sizeof *in);
    if (attr_bytes) {
        if (!(node.attr = tape_alloc(t, attr_bytes))) return VAR_FAILED;
        memcpy(node.attr, attr, attr_bytes);
    }
    if (!lay_out(t, &node)) return VAR_FAILED;
    if (!op->deterministic) node.draws = ++t->draws;
    grad_call c;
    rng random;
    tape_call(t, &node, &c, &random);
    size_t mark = arena_mark(&t->scratch);
    op->forward(&c);
    arena_release(&t->scratch, mark);
    if (t->trap_nan)
        for (int i = 0; i < node.outs; i++) tape_check_finite(t, op, c.out[i], "output");
    if (!t->values[node.out].wants) return node.out;
    if (memory_reserve((void **)&t->nodes, &t->node_capacity, t->node_count + 1, sizeof *t->nodes) != 0) {
        tape_fail(t, PITH_NO_MEMORY, "tape", "no memory for the list of nodes");
        return VAR_FAILED;
    }
    t->nodes[t->node_count++] = node;
    return t->error.status == PITH_OK ? node.out : VAR_FAILED;
}
