/* code/items.c - the index: gamma codes of the number of items + 1, then of each entry's distance in bytes + 1. */
#include "code/items.h"

#include "base/memory.h"
#include "code/bits.h"

#include <assert.h>
#include <string.h>

enum { GAMMA_BYTES = 14 }; /* of one number at most */

void items_add(items_index *x, uint64_t mark) {
    bool keep = x->items++ % ITEMS_EVERY == 0;
    if (!keep || x->failed) return;
    x->failed = memory_reserve((void **)&x->mark, &x->capacity, x->count + 1, sizeof *x->mark) != 0;
    if (!x->failed) x->mark[x->count++] = mark;
}

void items_free(items_index *x) {
    memory_free(x->mark);
    memset(x, 0, sizeof *x);
}

pith_status items_write(const items_index *x, pith_bytes *out, pith_error *err) {
    uint8_t *data = x->failed ? NULL : memory_alloc(GAMMA_BYTES * (x->count + 1));
    if (!data) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    bit_writer w = {.p = data};
    uint64_t before = 0;
    bits_put_gamma(&w, x->items + 1);
    for (size_t i = 0; i < x->count; before = x->mark[i++]) {
        assert(x->mark[i] >= before && x->mark[i] % 8 == 0);
        bits_put_gamma(&w, (x->mark[i] - before) / 8 + 1);
    }
    *out = (pith_bytes){data, (size_t)(bits_end(&w) - data)};
    return PITH_OK;
}

static pith_status wrong(pith_error *err) {
    return pith_fail(err, PITH_CORRUPT, NULL, -1, "expected an index of items, found a damaged one");
}

pith_status items_read(items_index *x, pith_bytes in, uint64_t limit, pith_error *err) {
    bit_reader r = {.p = in.data, .end = in.data + in.size};
    memset(x, 0, sizeof *x);
    uint64_t items = bits_get_gamma(&r), entries = items ? (items - 1 + ITEMS_EVERY - 1) / ITEMS_EVERY : 0, at = 0;
    if (!items || entries > 8 * (uint64_t)in.size) return wrong(err); /* an entry takes a bit at least */
    x->mark = memory_zero((size_t)entries, sizeof *x->mark);
    if (!x->mark) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    x->items = items - 1;
    for (; x->count < entries; x->count++) {
        uint64_t step = bits_get_gamma(&r);
        if (!step || step - 1 > limit - at) break;
        at += step - 1;
        x->mark[x->count] = 8 * at;
    }
    if (x->count == entries && bits_used_up(&r, in.size)) return PITH_OK;
    items_free(x);
    return wrong(err);
}

uint64_t items_seek(const items_index *x, pith_decoder *d, uint64_t item) {
    assert(item < x->items);
    pith_decoder_seek(d, x->mark[item / ITEMS_EVERY]);
    return item % ITEMS_EVERY;
}
