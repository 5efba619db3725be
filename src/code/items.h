/* code/items.h - where items begin in a stream that many of them share, at the cost of one entry for each 64.
 *
 * An encoder marks the end of each item (pith_encoder_mark); every 64th mark is kept, as its distance to the one before
 * in Elias' gamma code, some 3 bytes. To reach item k, a decoder seeks to the entry at or before it and passes over at
 * most 63 items. */
#ifndef CODE_ITEMS_H
#define CODE_ITEMS_H

#include "code/code.h"

enum { ITEMS_EVERY = 64 };

typedef struct items_index { /* zeroed: empty */
    uint64_t *mark;          /* of items 0, 64, 128 ...: ascending, multiples of 8 */
    size_t count, capacity;  /* entries */
    uint64_t items;
    bool failed; /* out of memory; items_write tells */
} items_index;

/* The next item begins at `mark` (0, then what pith_encoder_mark returned). */
void items_add(items_index *x, uint64_t mark);
void items_free(items_index *x);

/* out->data: the caller's to memory_free. */
pith_status items_write(const items_index *x, pith_bytes *out, pith_error *err);
/* limit: bytes of the stream the index belongs to. CORRUPT for what no encoder wrote. */
pith_status items_read(items_index *x, pith_bytes in, uint64_t limit, pith_error *err);

/* Moves d to the entry at or before `item` (below x->items) and returns how many items to pass over, each ended by
 * pith_decoder_mark. */
uint64_t items_seek(const items_index *x, pith_decoder *d, uint64_t item);

#endif
