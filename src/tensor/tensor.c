/* tensor/tensor.c - layout, ownership and views; the only place where sizes are computed. */
#include "tensor/tensor.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

pith_status pith_tensor_layout(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, uint64_t *bytes,
                               pith_error *err) {
    memset(t, 0, sizeof *t);
    if (type >= PITH_TYPES) return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "unknown tensor type %u", type);
    if (rank < 0 || rank > PITH_MAX_RANK)
        return pith_fail(err, PITH_UNSUPPORTED, NULL, -1, "expected at most %d dimensions, found %d", PITH_MAX_RANK,
                         rank);
    const pith_type_row *row = &pith_types[type];
    int64_t cols = rank ? shape[rank - 1] : 1, rows = 1;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected dimensions of 0 or more, found %lld",
                             (long long)shape[i]);
        t->shape[i] = shape[i];
        if (i < rank - 1 && __builtin_mul_overflow(rows, shape[i], &rows))
            return pith_fail(err, PITH_LIMIT, NULL, -1, "tensor size overflows");
    }
    if (cols % row->block)
        return pith_fail(err, PITH_MISMATCH, NULL, -1,
                         "expected a last dimension that is a multiple of %u for %s, found %lld", row->block, row->name,
                         (long long)cols);
    int64_t total, elements;
    if (__builtin_mul_overflow(cols / row->block, (int64_t)row->block_bytes, &t->row_bytes) ||
        __builtin_mul_overflow(rows, t->row_bytes, &total) || __builtin_mul_overflow(rows, cols, &elements))
        return pith_fail(err, PITH_LIMIT, NULL, -1, "tensor size overflows");
    t->type = type;
    t->rank = (uint8_t)rank;
    *bytes = (uint64_t)total;
    return PITH_OK;
}

pith_status pith_tensor_new(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, pith_error *err) {
    uint64_t bytes;
    pith_status s = pith_tensor_layout(t, type, rank, shape, &bytes, err);
    if (s != PITH_OK) return s;
    s = pith_buffer_new(&t->owner, bytes, err);
    if (s == PITH_OK) t->data = pith_buffer_data(t->owner);
    return s;
}

pith_status pith_tensor_wrap(pith_tensor *t, uint16_t type, int rank, const int64_t *shape, pith_buffer *b,
                             uint64_t offset, pith_error *err) {
    uint64_t bytes, size = pith_buffer_size(b);
    pith_status s = pith_tensor_layout(t, type, rank, shape, &bytes, err);
    if (s != PITH_OK) return s;
    if (offset > size || bytes > size - offset)
        return pith_fail(err, PITH_TRUNCATED, NULL, (int64_t)offset, "expected %llu bytes of tensor data, found %llu",
                         (unsigned long long)bytes, (unsigned long long)(offset > size ? 0 : size - offset));
    t->data = (uint8_t *)pith_buffer_data(b) + offset;
    t->owner = b;
    pith_buffer_retain(b);
    return PITH_OK;
}

pith_tensor pith_tensor_rows(const pith_tensor *t, int64_t first, int64_t count) {
    assert(t->rank == 2 && first >= 0 && count >= 0 && first + count <= t->shape[0]);
    pith_tensor view = *t;
    view.shape[0] = count;
    view.data = (uint8_t *)t->data + first * t->row_bytes;
    return view;
}

void pith_tensor_retain(pith_tensor *t) { pith_buffer_retain(t->owner); }

void pith_tensor_release(pith_tensor *t) {
    pith_buffer_release(t->owner);
    memset(t, 0, sizeof *t);
}

int64_t pith_tensor_row_count(const pith_tensor *t) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->rank; i++) rows *= t->shape[i];
    return rows;
}

int64_t pith_tensor_cols(const pith_tensor *t) { return t->rank ? t->shape[t->rank - 1] : 1; }
int64_t pith_tensor_elements(const pith_tensor *t) { return pith_tensor_row_count(t) * pith_tensor_cols(t); }
uint64_t pith_tensor_bytes(const pith_tensor *t) { return (uint64_t)(pith_tensor_row_count(t) * t->row_bytes); }
